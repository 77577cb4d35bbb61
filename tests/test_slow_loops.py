"""Synapses with variables on sources and on edges, against simulations by explicit loops over steps, cells and edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from samples import Depressing, Fire, Leak, Saturating, matrix
from scipy.linalg import expm
from support import check_gradient

import brainsim as bs
from brainsim.errors import CompileError

DT, STEPS = 0.1, 400
W = matrix(3, 4, 0.7, seed=3)
CURRENT = np.array([1.5, 2.1, 3.3])


def network(synapse, delay, method="auto"):
    net = bs.Network()
    net.add("s", Fire(), 3)
    net.add("t", Leak(), 4, method=None if method == "auto" else method)
    rule = bs.from_matrix(W)
    n = np.count_nonzero(W)
    net.connect(
        "s", "t", synapse, rule, delay=np.linspace(0.0, 2.0, n).round(1) if delay == "edges" else delay, name="x"
    )
    return net


def run(net, record):
    with jax.enable_x64(True):
        return net.compile(dt=DT, record=["s.spikes", "t.v", *record]).run(STEPS * DT, inputs={"s.I": CURRENT})


class Sources:
    """The cells that fire, by the closed form of their leak."""

    def __init__(self):
        self.v, self.fired = np.zeros(3), np.zeros((STEPS, 3), bool)

    def step(self, n):
        keep = np.exp(-DT / 10.0)
        for a in range(3):
            self.v[a] = self.v[a] * keep + CURRENT[a] * (1.0 - keep)
            self.fired[n, a] = self.v[a] > 1.0
            if self.fired[n, a]:
                self.v[a] -= 1.0


def edges(net):
    e = net["x"].edges
    steps = np.broadcast_to(np.round(np.asarray(net["x"].delay) / DT), e.pre.shape).astype(int)
    return list(zip(e.pre.tolist(), e.post.tolist(), net["x"].weight.tolist(), steps.tolist()))


@pytest.mark.parametrize("delay", [0.0, 1.2, "edges"])
def test_variables_on_sources(delay):
    """u and x of a source change at its spikes; what it sends is w u x of that moment, to two variables of the target."""
    net = network(Depressing(), delay)
    found = run(net, ["x.u", "x.x", "x.i", "x.j"])

    sources, m = Sources(), Depressing()
    x, u = np.ones(3), np.full(3, m.U)
    sent = np.zeros((STEPS, 3))
    z = np.zeros((4, 3))  # v, i, j
    a = np.array([[-0.1, 0.1, 0.1], [0.0, -1.0 / m.tau, 0.0], [0.0, 0.0, -1.0 / m.slow]])
    move = expm(a * DT)
    kept = {name: [] for name in ("t.v", "x.i", "x.j", "x.u", "x.x")}
    for n in range(STEPS):
        for pre, post, w, d in edges(net):
            if n - 1 - d >= 0 and sources.fired[n - 1 - d, pre]:
                z[post, 1] += w * sent[n - 1 - d, pre]
                z[post, 2] += 0.5 * w * sent[n - 1 - d, pre]
        for b in range(4):
            z[b] = move @ z[b]
        sources.step(n)
        for p in range(3):
            x[p] = 1.0 + (x[p] - 1.0) * np.exp(-DT / m.tau_x)
            u[p] = m.U + (u[p] - m.U) * np.exp(-DT / m.tau_u)
            if sources.fired[n, p]:
                sent[n, p] = u[p] * x[p]
                x[p], u[p] = x[p] - u[p] * x[p], u[p] + m.U * (1.0 - u[p])
        for name, values in (("t.v", z[:, 0]), ("x.i", z[:, 1]), ("x.j", z[:, 2]), ("x.u", u), ("x.x", x)):
            kept[name].append(values.copy())
    assert sources.fired.sum() > 15 and len(found["s"]) == sources.fired.sum()
    for name, values in kept.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("delay", [0.0, 1.2, "edges"])
def test_variables_on_edges(delay):
    """Gates on edges; their currents depend on the gate, the weight and the voltage of the target."""
    net = network(Saturating(), delay)
    found = run(net, ["x.s"])

    sources, m = Sources(), Saturating()
    s, v = np.zeros(len(edges(net))), np.zeros(4)
    kept = {"t.v": [], "x.s": []}
    for n in range(STEPS):
        current, slope = np.zeros(4), np.zeros(4)
        for k, (pre, post, w, d) in enumerate(edges(net)):
            if n - 1 - d >= 0 and sources.fired[n - 1 - d, pre]:
                s[k] += m.a * (1.0 - s[k])
            current[post] += w * s[k] * (m.E - v[post])
            slope[post] -= w * s[k]
            s[k] *= np.exp(-DT / m.tau)
        for b in range(4):
            f, rate = (-v[b] + current[b]) / 10.0, (-1.0 + slope[b]) / 10.0
            v[b] += f * np.expm1(rate * DT) / rate
        sources.step(n)
        kept["t.v"].append(v.copy()), kept["x.s"].append(s.copy())
    for name, values in kept.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=1e-12, err_msg=name)


class Mixed(bs.Synapse):
    """A slow voltage on the source, a gate on the edge that reads both ends, and a current at the target."""

    tau_x = bs.param(20.0, "ms")
    tau = bs.param(4.0, "ms")
    half = bs.param(2.0, "mV")
    w = bs.weight("pA")
    x = bs.state(1.0, "mV", on="pre")
    s = bs.state(0.0, on="edge")
    i = bs.state(0.0, "pA")

    def dx(self, x, v_pre):
        return (v_pre - x) / self.tau_x

    def ds(self, s, x, v_post):
        return (-s + 0.1 * (x - v_post) / self.half) / self.tau

    def di(self, i):
        return -i / self.tau

    def on_pre(self, s, w, v_post):
        return dict(s=0.5 * (1.0 - s), i=w * s * (1.0 - v_post / self.half))

    def current(self, i):
        return i


def test_variables_everywhere():
    net = network(Mixed(), 0.0)
    found = run(net, ["x.x", "x.s", "x.i"])
    sources, m = Sources(), Mixed()
    x, s, v, i = np.ones(3), np.zeros(len(edges(net))), np.zeros(4), np.zeros(4)
    move = expm(np.array([[-0.1, 0.1], [0.0, -1.0 / m.tau]]) * DT)
    move_x = expm(np.array([[-0.1, 0.0], [1.0 / m.tau_x, -1.0 / m.tau_x]]) * DT)  # v of the source, x
    push_x = np.linalg.solve([[-0.1, 0.0], [1.0 / m.tau_x, -1.0 / m.tau_x]], move_x - np.eye(2))
    kept = {"t.v": [], "x.x": [], "x.s": [], "x.i": []}
    for n in range(STEPS):
        arrived, hits = np.zeros(4), []
        for k, (pre, post, w, d) in enumerate(edges(net)):
            if n - 1 - d >= 0 and sources.fired[n - 1 - d, pre]:
                arrived[post] += w * s[k] * (1.0 - v[post] / m.half)
                hits.append((k, 0.5 * (1.0 - s[k])))
        for k, amount in hits:
            s[k] += amount
        i += arrived
        for k, (pre, post, _, _) in enumerate(edges(net)):
            target = 0.1 * (x[pre] - v[post]) / m.half
            s[k] = target + (s[k] - target) * np.exp(-DT / m.tau)
        for b in range(4):
            v[b], i[b] = move @ np.array([v[b], i[b]])
        for p in range(3):
            x[p] = (move_x @ [sources.v[p], x[p]] + push_x @ [CURRENT[p] / 10.0, 0.0])[1]
        sources.step(n)
        for name, values in (("t.v", v), ("x.x", x), ("x.s", s), ("x.i", i)):
            kept[name].append(values.copy())
    for name, values in kept.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=1e-12, err_msg=name)


def test_equations_on_edges_read_the_source_without_delay():
    with pytest.raises(
        CompileError, match=r"x: Mixed reads x on every edge, without a delay, but the projection has one"
    ):
        network(Mixed(), 0.6).compile()


def test_a_release_variable_and_a_gate_do_not_mix():
    """What a source sends is known at its spike; a gate on an edge is read when the spike arrives."""

    class Both(Saturating):
        x = bs.state(1.0, on="pre")

        def dx(self, x):
            return (1.0 - x) / self.tau

        def on_pre(self, x, s):
            return dict(x=-0.5 * x, s=x * (1.0 - s))

    with pytest.raises(
        CompileError, match=r"x: Both\.on_pre uses x, which lives on the source, .* declare it on='edge'"
    ):
        network(Both(), 0.0).compile()


# ---- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("synapse, name", [(Depressing(), "x.x"), (Saturating(), "x.s")], ids=["sources", "edges"])
def test_gradients(synapse, name, x64):
    """Of the smooth form, in reverse and forward mode, to every parameter, weight and initial value; and a batch."""
    net = network(synapse, 0.4)
    net.init(name, 0.3)
    net.init("t.v", np.linspace(0.0, 0.5, 4))
    sim = net.compile(dt=0.2, record=["t.v", name], smooth=True, surrogate=bs.Surrogate("sigmoid", 0.3))
    pull = np.cos(np.arange(4.0))

    @jax.jit
    def f(params):
        found = sim.run(6.0, params, {"s.I": CURRENT})
        return jnp.sum(found["t.v"][-1] * pull) + jnp.sum(found[name][15])

    gradient = check_gradient(f, sim.params, rtol=1e-5, directions=2)
    assert all(np.any(np.abs(g) > 1e-9) for g in gradient.values())
    taus = jnp.array([2.0, 4.0])
    many = jax.vmap(lambda tau: f({**sim.params, "x.tau": tau}))(taus)
    assert float(many[1]) == pytest.approx(float(f({**sim.params, "x.tau": 4.0})), rel=1e-12)
