"""Adjoints: blocks, horizons and memory of BPTT, forward mode, and what the approximations leave out, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from samples import Leak

import brainsim as bs
from brainsim.adjoint import BPTT, DRTRL, ESDRTRL, SLTT, EProp, Feedback, Forward
from brainsim.design import Design
from brainsim.errors import RunError, UnknownNameError
from brainsim.fitting import online
from brainsim.models import ALIF, AMPA, LIF, Delta, ExpConductance, ExpCurrent, GradedSynapse, SpikeSource
from brainsim.stretches import block_of


def cosine(a, b):
    a, b = (np.concatenate([np.ravel(x[k]) for k in sorted(x)]) for x in (a, b))
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def close(a, b, rtol=1e-10):
    """Equal by name, relative to the largest entry of each."""
    for k in a:
        np.testing.assert_allclose(a[k], b[k], rtol=0, atol=rtol * (1e-30 + np.max(np.abs(b[k]))), err_msg=k)


# --- BPTT and Forward


ALL = ("e.spikes", "e.v", bs.mean("e.v"))


def spiking(record=ALL):
    """Conductances with a delay per edge, so that what is on its way waits in a ring."""
    net = bs.Network(seed=1)
    net.add("e", LIF(tau=10.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=1.0), 6)
    drawn = dict(weight=bs.uniform(0.01, 0.1), delay=bs.uniform(0.0, 2.0))
    net.connect("e", "e", ExpConductance(tau=5.0, E=0.0), bs.fixed_probability(0.5), **drawn, name="w")
    net.init("*.v", bs.uniform(-60.0, -50.0))
    return net.compile(dt=0.1, record=list(record), surrogate=bs.Surrogate("sigmoid", 1.0))


def graded(record=ALL):
    """Delayed couplings, which are summed in windows of steps."""
    net = bs.Network(seed=2)
    net.add("e", LIF(tau=10.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=1.0), 6)
    drawn = dict(weight=bs.uniform(0.5, 1.0), delay=bs.uniform(0.4, 1.2))
    net.connect("e", "e", GradedSynapse(v_th=-52.0), bs.fixed_probability(0.6), **drawn, name="w")
    net.init("*.v", bs.uniform(-60.0, -50.0))
    # the costs of so few edges speak against windows
    design = Design(levels=(2, 4))
    sim = net.compile(dt=0.1, record=list(record), surrogate=bs.Surrogate("sigmoid", 1.0), design=design)
    assert sim.program.window == 4
    return sim


SIMS = {"spikes": spiking, "windows": graded}
SOME = ("e.tau", "e.v_th", "w.weight", "e.v(0)")


def measure(result):
    return jnp.mean(result["e.v"] ** 2) + jnp.sum(result.spikes["e"]) + jnp.sum(result.summaries["e.v"])


def slope(sim, adjoint, duration=20.0, measure=measure):
    some = {k: sim.params[k] for k in SOME}
    loss = lambda p: measure(sim.run(duration, params=p, inputs={"*.I": 20.0}, adjoint=adjoint))
    return jax.jit(jax.value_and_grad(loss)), some


@pytest.mark.parametrize("kind", SIMS)
def test_blocks_change_no_gradient(kind, x64):
    sim, found = SIMS[kind](), {}
    for checkpoint in (None, "auto", 7, "nested"):
        f, some = slope(sim, BPTT(checkpoint))
        found[checkpoint] = f(some)
    for checkpoint in ("auto", 7, "nested"):
        assert float(found[checkpoint][0]) == float(found[None][0])
        close(found[checkpoint][1], found[None][1])
    assert np.max(np.abs(found[None][1]["w.weight"])) > 1e-3
    if kind == "spikes":
        same, some = slope(sim, BPTT(block_of(200)))
        jax.tree.map(np.testing.assert_array_equal, same(some), found["auto"])


@pytest.mark.parametrize("kind", SIMS)
def test_a_horizon_cuts_the_state_between_stretches(kind, x64):
    """Against runs of the stretches one after the other, each from the state of the last without derivative."""
    sim = SIMS[kind](("e.v", "e.spikes"))
    value = lambda r: jnp.sum(r["e.v"] ** 2) + jnp.sum(r.spikes["e"])
    f, some = slope(sim, BPTT(horizon=3.1), 8.0, value)

    def by_hand(p):
        state, total = None, 0.0
        for length in (3.1, 3.1, 1.8):
            result = sim.run(length, params=p, inputs={"*.I": 20.0}, state=state)
            state, total = jax.lax.stop_gradient(result.state), total + value(result)
        return total

    expected = jax.jit(jax.value_and_grad(by_hand))(some)
    found, (plain, whole) = (
        f(some),
        (slope(sim, adjoint, 8.0, value)[0](some) for adjoint in (BPTT(), BPTT(horizon=8.0))),
    )
    assert float(found[0]) == pytest.approx(float(expected[0]), rel=1e-12)
    close(found[1], expected[1])
    close(whole[1], plain[1], 0.0)
    assert not np.allclose(found[1]["w.weight"], plain[1]["w.weight"], rtol=0.1)


def temporary(sim, adjoint, steps):
    f, some = slope(sim, adjoint, steps * 0.1, lambda r: jnp.sum(r.summaries["e.v"]))
    return f.lower(some).compile().memory_analysis().temp_size_in_bytes


def test_memory_grows_with_the_root_of_the_steps():
    sim = spiking((bs.mean("e.v"),))
    plain, auto = ([temporary(sim, BPTT(c), n) for n in (400, 6400)] for c in (None, "auto"))
    nested = [temporary(sim, BPTT("nested"), n) for n in (400, 6400)]
    assert plain[1] / plain[0] > 13
    assert auto[1] / auto[0] < 5
    assert nested[1] / nested[0] < 4
    assert nested[1] < auto[1] < plain[1] / 10


def test_a_budget_of_memory_chooses_the_blocks():
    sim = spiking()
    for n, budget in ((400, 200e3), (3200, 600e3)):
        used = temporary(sim, BPTT(memory=budget), n)
        assert used < 1.2 * budget
    with pytest.raises(RunError, match=r"memory = 20 kB is too little for the gradient of 400 steps.*write memory='"):
        temporary(sim, BPTT(memory="20 kB"), 400)


def test_forward_mode_is_reverse_mode_in_any_chunks(x64):
    sim = spiking()
    start = jnp.array([10.0, -50.0, -60.0])

    def loss(u, scale, adjoint):
        named = dict(zip(("e.tau", "e.v_th", "e.v_reset"), u))
        return scale * measure(sim.run(8.0, params=named, inputs={"*.I": 20.0}, adjoint=adjoint))

    of = lambda adjoint: jax.jit(adjoint.value_and_grad(lambda u, scale: loss(u, scale, adjoint)))
    value, reverse = of(BPTT())(start, 2.0)
    for chunk in (None, 1, 2):
        one = of(Forward(chunk))
        assert float(one(start, 2.0)[0]) == pytest.approx(float(value), rel=1e-12)
        np.testing.assert_allclose(one(start, 2.0)[1], reverse, rtol=1e-10)
    many = jax.vmap(of(Forward(2)), (0, None))(jnp.stack([start, start + 0.5]), 2.0)
    np.testing.assert_allclose(many[1][0], reverse, rtol=1e-10)
    with_more = Forward(2).value_and_grad(lambda u: (loss(u, 2.0, Forward(2)), u[0]), has_aux=True)
    (_, more), again = jax.jit(with_more)(start)
    assert float(more) == 10.0
    np.testing.assert_allclose(again, reverse, rtol=1e-10)


def test_forward_mode_needs_no_memory_for_steps():
    sim = spiking((bs.mean("e.v"),))

    def size(n):
        run = lambda u: sim.run(n * 0.1, params={"e.tau": u[0]}, inputs={"e.I": 20.0}, adjoint=Forward())
        f = jax.jit(Forward().value_and_grad(lambda u: jnp.sum(run(u).summaries["e.v"])))
        return f.lower(jnp.array([10.0])).compile().memory_analysis().temp_size_in_bytes

    assert size(400) == size(6400)


# --- e-prop by hand

DT, N_IN, N, N_OUT, STEPS = 0.1, 3, 4, 2, 90
TAU, TAU_A, TAU_S, TAU_O, TAU_OS, TH, T_REF = 8.0, 30.0, 3.0, 12.0, 2.0, 4.0, 0.5
BETA = np.array([0.0, 0.0, 1.5, 2.0])  # two LIF and two ALIF cells
WIDTH = 1.0


def exp_sums(tau, tau_s):
    """Decay of a current, of a voltage, and what a unit of current makes of the voltage in one step."""
    slow, fast = np.exp(-DT / tau), np.exp(-DT / tau_s)
    return fast, slow, (fast - slow) / tau / (1 / tau - 1 / tau_s)


def setup(recurrent=True):
    """Random network as dense arrays, [target, source]: weights and delays in steps; inputs and targets."""
    rng = np.random.default_rng(5)
    return dict(
        w_in=rng.uniform(10.0, 30.0, (N, N_IN)),
        w_rec=rng.normal(0.0, 12.0, (N, N)) * recurrent,
        w_out=rng.normal(0.0, 5.0, (N_OUT, N)),
        d_in=np.full((N, N_IN), 3),
        d_rec=rng.integers(0, 9, (N, N)),
        d_out=rng.integers(0, 4, (N_OUT, N)),
        x=(rng.random((STEPS, N_IN)) < 0.3).astype(float),
        target=rng.normal(size=(STEPS, N_OUT)),
        v0=rng.uniform(0.0, 3.0, N),
    )


def simulate(s):
    """Spikes (steps, N), readout (steps, N_OUT), pseudo-derivatives, steps that were clamped."""
    fs, fm, fc = exp_sums(TAU, TAU_S)
    gs, gm, gc = exp_sums(TAU_O, TAU_OS)
    current, v, a, held = np.zeros(N), s["v0"].copy(), np.zeros(N), np.zeros(N, int)
    out_current, y = np.zeros(N_OUT), np.zeros(N_OUT)
    z, ys, psi, clamped = (
        np.zeros((STEPS, N)),
        np.zeros((STEPS, N_OUT)),
        np.zeros((STEPS, N)),
        np.zeros((STEPS, N), bool),
    )
    for t in range(STEPS):
        for j in range(N):
            arrived = sum(s["w_in"][j, i] * past(s["x"], t, s["d_in"][j, i], i) for i in range(N_IN))
            arrived += sum(s["w_rec"][j, i] * past(z, t, s["d_rec"][j, i], i) for i in range(N))
            clamped[t, j] = held[j] > 0
            now = current[j] + arrived
            current[j], v[j] = fs * now, v[j] if clamped[t, j] else fm * v[j] + fc * now
            a[j] *= np.exp(-DT / TAU_A)
            x = (v[j] - TH - BETA[j] * a[j]) / WIDTH
            held[j] = max(0, held[j] - 1)
            if not clamped[t, j]:
                psi[t, j] = 1 / (1 + np.exp(-x)) / (1 + np.exp(x)) / WIDTH
                if x > 0:
                    z[t, j], held[j] = 1.0, round(T_REF / DT)
                    v[j], a[j] = v[j] - TH, a[j] + 1.0
        for k in range(N_OUT):
            now = out_current[k] + sum(s["w_out"][k, j] * past(z, t, s["d_out"][k, j], j) for j in range(N))
            out_current[k], y[k] = gs * now, gm * y[k] + gc * now
        ys[t] = y
    return z, ys, psi, clamped


def past(x, t, delay, i):
    return x[t - 1 - delay, i] if t - 1 - delay >= 0 else 0.0


def eligibility(s, j, sent, delay, psi, clamped):
    """(steps,) derivative of the spikes of cell j by the weight of what `sent` (steps,) brings: three states."""
    fs, fm, fc = exp_sums(TAU, TAU_S)
    current, v, a, e = 0.0, 0.0, 0.0, np.zeros(STEPS)
    for t in range(STEPS):
        now = current + (sent[t - 1 - delay] if t - 1 - delay >= 0 else 0.0)
        current, v, a = fs * now, v if clamped[t, j] else fm * v + fc * now, np.exp(-DT / TAU_A) * a
        e[t] = psi[t, j] * (v - BETA[j] * a)
        a += e[t]
    return e


def filtered(e, delay):
    """What a unit weight makes of it in a readout."""
    gs, gm, gc = exp_sums(TAU_O, TAU_OS)
    current, y, out = 0.0, 0.0, np.zeros(STEPS)
    for t in range(STEPS):
        now = current + (e[t - 1 - delay] if t - 1 - delay >= 0 else 0.0)
        current, y = gs * now, gm * y + gc * now
        out[t] = y
    return out


def eprop_by_hand(s, feedback):
    """Gradient of the sum of squares of the readout, [target, source]."""
    z, ys, psi, clamped = simulate(s)
    error, out = 2 * (ys - s["target"]), {}
    for name, source in (("in", s["x"]), ("rec", z)):
        g = np.zeros_like(s[f"w_{name}"])
        for j in range(N):
            for i in range(source.shape[1]):
                e = eligibility(s, j, source[:, i], s[f"d_{name}"][j, i], psi, clamped)
                g[j, i] = sum(feedback[k, j] * error[:, k] @ filtered(e, s["d_out"][k, j]) for k in range(N_OUT))
        out[name] = g
    out["out"] = np.array([[error[:, k] @ filtered(z[:, j], s["d_out"][k, j]) for j in range(N)] for k in range(N_OUT)])
    return z, np.sum((ys - s["target"]) ** 2), out


def built(s):
    """The same network in brainsim; dense places of the edges by projection."""
    net, places = bs.Network(), {}
    common = dict(tau=TAU, v_rest=0.0, v_th=TH, v_reset=0.0, t_ref=T_REF, tau_a=TAU_A)
    net.add("in", SpikeSource(), N_IN)
    net.add("rec", ALIF(**common, beta=BETA), N)
    net.add("out", Leak(tau=TAU_O), N_OUT)
    net.init("rec.v", s["v0"])
    for name, pre, post, tau in (
        ("in", "in", "rec", TAU_S),
        ("rec", "rec", "rec", TAU_S),
        ("out", "rec", "out", TAU_OS),
    ):
        w, d = s[f"w_{name}"], s[f"d_{name}"]
        to, of = np.indices(w.shape).reshape(2, -1)
        rule = bs.from_edges(of, to, weight=w.ravel(), delay=d.ravel() * DT)
        p = net.connect(pre, post, ExpCurrent(tau=tau), rule, name=f"w_{name}")
        places[name] = p.edges.post, p.edges.pre
    surrogate = bs.Surrogate("sigmoid", WIDTH, detach_reset=("v",))
    return net.compile(dt=DT, record=["rec.spikes", "out.v"], surrogate=surrogate), places


def gradient_of(sim, s, adjoint, params=None, names=("w_in.weight", "w_rec.weight", "w_out.weight")):
    def loss(p):
        result = sim.run(STEPS * DT, params=p, inputs={"in.spikes": bs.array(s["x"])}, adjoint=adjoint)
        return jnp.sum((result["out.v"] - s["target"]) ** 2), result.spikes["rec"]

    some = {k: (params or sim.params)[k] for k in names}
    return jax.jit(jax.value_and_grad(loss, has_aux=True))(some)


def same(found, expected, places, rtol=1e-10):
    close({k: found[f"w_{k}.weight"] for k in expected}, {k: expected[k][places[k]] for k in expected}, rtol)


def test_eprop_is_the_sum_of_learning_signals_and_eligibilities(x64):
    s = setup()
    sim, places = built(s)
    z, value, expected = eprop_by_hand(s, s["w_out"])
    assert z.sum(axis=0).min() >= 2
    (found, spikes), slope = gradient_of(sim, s, EProp())
    np.testing.assert_array_equal(spikes, z)
    assert float(found) == pytest.approx(value, rel=1e-10)
    same(slope, expected, places)
    exact = gradient_of(sim, s, BPTT())[1]
    assert 0.5 < cosine(slope, exact) < 1 - 1e-6


def test_eprop_with_other_feedback(x64):
    s = setup()
    sim, places = built(s)
    b = np.random.default_rng(1).normal(size=s["w_out"].shape)
    given = EProp(feedback=Feedback({"w_out": b[places["out"]]}))
    same(gradient_of(sim, s, given)[1], eprop_by_hand(s, b)[2], places)

    def dense(adjoint):
        out = np.zeros_like(s["w_out"])
        out[places["out"]] = adjoint.drawn("w_out", out.size)
        return out

    random = EProp(feedback="random", seed=3, scale=2.0)
    drawn = dense(random)
    assert 0.5 < drawn.std() < 4.0 and not np.allclose(drawn, dense(EProp(feedback="random", seed=4, scale=2.0)))
    same(gradient_of(sim, s, random)[1], eprop_by_hand(s, drawn)[2], places)
    moved = {**s, "w_out": s["w_out"] + np.random.default_rng(2).normal(size=s["w_out"].shape)}
    params = {**sim.params, "w_out.weight": moved["w_out"][places["out"]]}
    adaptive = gradient_of(sim, moved, EProp(feedback="adaptive", seed=3, scale=2.0), params)[1]
    same(adaptive, eprop_by_hand(moved, drawn + moved["w_out"] - s["w_out"])[2], places)


def test_without_recurrence_eprop_is_exact(x64):
    s = setup(recurrent=False)
    sim, _ = built(s)
    names = [k for k in sim.params if k not in ("rec.t_ref", "w_rec.weight")]
    (_, exact), (_, found) = (gradient_of(sim, s, a, names=names) for a in (BPTT(), EProp()))
    close(found, exact)


def test_eprop_cuts_values_on_edges_and_sources(x64):
    """A synapse whose sources compute what they send, to cells and to a readout: only the path to the readout is kept."""
    net = bs.Network(seed=4)
    net.add("e", LIF(tau=10.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=1.0), 4)
    net.add("out", Leak(), 2)
    net.connect("e", "e", AMPA(), bs.all_to_all(), weight=bs.uniform(1.0, 2.0), delay=0.3, name="w")
    net.connect("e", "e", GradedSynapse(v_th=-52.0), bs.all_to_all(), weight=0.3, delay=0.5, name="slow")
    net.connect("e", "out", ExpCurrent(), bs.all_to_all(), weight=bs.uniform(1.0, 2.0), delay=0.2, name="o")
    net.init("e.v", bs.uniform(-60.0, -50.0))
    sim = net.compile(dt=0.1, record=["out.v"], surrogate=bs.Surrogate("sigmoid", 1.0))
    run = lambda adjoint, v0: sim.run(9.0, params={"e.v(0)": v0}, inputs={"e.I": 20.0}, adjoint=adjoint)["out.v"]
    by_cell = jax.jit(jax.jacrev(lambda v0: jnp.sum(run(EProp(), v0)[:, 0])))(sim.params["e.v(0)"])
    # the derivative of a readout by the start of cell j passes through cell j alone: cells are fed what they were fed
    alone = sim.params["o.weight"].reshape(4, 2)
    for j in (0, 3):
        quiet = jnp.zeros((4, 2)).at[j].set(alone[j]).reshape(-1)
        only = lambda v0, quiet=quiet: jnp.sum(
            sim.run(9.0, params={"e.v(0)": v0, "o.weight": quiet}, inputs={"e.I": 20.0}, adjoint=EProp())["out.v"][:, 0]
        )
        one = jax.jit(jax.grad(only))(sim.params["e.v(0)"])
        assert float(one[j]) == pytest.approx(float(by_cell[j]), rel=1e-9)
        np.testing.assert_array_equal(np.delete(one, j), 0.0)
        assert abs(float(one[j])) > 1e-6


# --- SLTT


def sltt_by_hand(s):
    """A spike has the derivative psi c x by the weights of that step; it reaches readouts, and cells, in one step."""
    z, ys, psi, clamped = simulate(s)
    error, c, c_out = 2 * (ys - s["target"]), exp_sums(TAU, TAU_S)[2], exp_sums(TAU_O, TAU_OS)[2]
    by_spike = np.zeros((STEPS, N))  # of the loss
    for t in reversed(range(STEPS)):
        for j in range(N):
            for k in range(N_OUT):
                late = t + 1 + s["d_out"][k, j]
                by_spike[t, j] += error[late, k] * c_out * s["w_out"][k, j] if late < STEPS else 0.0
            for i in range(N):
                late = t + 1 + s["d_rec"][i, j]
                if late < STEPS and not clamped[late, i]:
                    by_spike[t, j] += by_spike[late, i] * psi[late, i] * c * s["w_rec"][i, j]
    out = {}
    for name, source in (("in", s["x"]), ("rec", z)):
        out[name] = np.array(
            [
                [
                    sum(
                        by_spike[t, j] * psi[t, j] * c * past(source, t, s[f"d_{name}"][j, i], i)
                        for t in range(STEPS)
                        if not clamped[t, j]
                    )
                    for i in range(source.shape[1])
                ]
                for j in range(N)
            ]
        )
    out["out"] = np.array(
        [
            [sum(error[t, k] * c_out * past(z, t, s["d_out"][k, j], j) for t in range(STEPS)) for j in range(N)]
            for k in range(N_OUT)
        ]
    )
    return out


def test_sltt_cuts_the_states_and_keeps_what_is_sent(x64):
    s = setup()
    sim, places = built(s)
    same(gradient_of(sim, s, SLTT())[1], sltt_by_hand(s), places)


# --- online


def step_loss(s):
    return lambda seen, k: jnp.sum((seen["out.v"] - jnp.asarray(s["target"])[k]) ** 2)


def online_gradient(sim, s, adjoint, names, params=None):
    f = online.value_and_grad(sim, step_loss(s), names, STEPS * DT, adjoint=adjoint)
    return jax.jit(lambda p: f(p, inputs={"in.spikes": bs.array(s["x"])}))(params)


def test_drtrl_is_eprop_made_forward(x64):
    s = setup()
    sim, places = built(s)
    names = ["w_*.weight", "w_in.tau", "rec.tau*", "rec.beta", "rec.v_th", "out.tau", "rec.v(0)"]
    value, found = online_gradient(sim, s, DRTRL(), names)
    assert "w_rec.weight" in found and found["rec.beta"].shape == (N,)
    (expected, _), slope = gradient_of(sim, s, EProp(), names=list(found))
    assert float(value) == pytest.approx(float(expected), rel=1e-12)
    close(found, slope)
    same(found, eprop_by_hand(s, s["w_out"])[2], places)
    close(gradient_of(sim, s, DRTRL(), names=list(found))[1], slope, 0.0)


@pytest.mark.slow
def test_drtrl_goes_on_from_a_state_with_spikes_on_their_way(x64):
    s = setup()
    sim, _ = built(s)
    state = sim.run(4.0, inputs={"in.spikes": bs.array(s["x"][:40])}).state
    inputs, some = {"in.spikes": bs.array(s["x"])}, {k: sim.params[k] for k in ("w_in.weight", "w_rec.weight")}
    f = online.value_and_grad(sim, lambda seen, k: jnp.sum(seen["out.v"] ** 2), list(some), 5.0)
    _, found = f(inputs=inputs, state=state)
    run = lambda p: sim.run(5.0, params=p, inputs=inputs, state=state, adjoint=EProp())
    close(found, jax.jit(jax.grad(lambda p: jnp.sum(run(p)["out.v"] ** 2)))(some))


@pytest.mark.slow
def test_drtrl_is_exact_without_recurrence_also_where_synapses_compute(x64):
    """Jumps of the voltage that refractory cells drop, values computed by sources, two receivers, one weight for all."""
    net = bs.Network(seed=3)
    net.add("in", SpikeSource(), 5)
    net.add("e", LIF(tau=10.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=1.0), 4)
    net.add("out", Leak(), 2)
    net.connect("in", "e", Delta(), bs.fixed_probability(0.8), weight=bs.uniform(1.0, 3.0), delay=0.3, name="jump")
    net.connect(
        "in", "e", ExpConductance(tau=4.0, E=0.0), bs.all_to_all(), weight=0.05, delay=bs.uniform(0.0, 1.0), name="g"
    )
    net.connect("e", "out", ExpCurrent(), bs.all_to_all(), weight=bs.normal(0.0, 2.0), delay=0.2, name="o")
    net.init("e.v", bs.uniform(-60.0, -50.0))
    sim = net.compile(dt=0.1, record=["out.v", "e.spikes", "e.v"], surrogate=bs.Surrogate("sigmoid", 1.0))
    inputs = {"in.spikes": bs.array(np.random.default_rng(0).random((120, 5)) < 0.1), "e.I": 6.0}
    each = lambda v, z, y: jnp.sum(y**2) + jnp.sum(z) + 1e-3 * jnp.sum(v**2)
    names = [k for k in sim.params if k not in ("e.t_ref",)]
    f = online.value_and_grad(sim, lambda seen, k: each(seen["e.v"], seen["e.spikes"], seen["out.v"]), names, 12.0)
    value, found = jax.jit(lambda: f(inputs=inputs))()

    def loss(p):
        r = sim.run(12.0, params=p, inputs=inputs)
        return each(r["e.v"], r.spikes["e"], r["out.v"])

    expected, slope = jax.jit(jax.value_and_grad(loss))(sim.params)
    assert float(value) == pytest.approx(float(expected), rel=1e-12)
    close(found, {k: slope[k] for k in names})


def test_rank_one_points_the_same_way(x64):
    s = setup()
    sim, _ = built(s)
    names = ["w_in.weight", "w_rec.weight", "w_out.weight"]
    exact, diagonal = gradient_of(sim, s, BPTT())[1], online_gradient(sim, s, DRTRL(), names)[1]
    found = online_gradient(sim, s, ESDRTRL(0.9), names)[1]
    assert cosine(found, diagonal) > 0.8
    assert cosine(found, exact) > 0.6


def test_rank_one_is_exact_where_one_input_tells_all(x64):
    """With decay 0 and a readout that forgets at once, eligibilities are what arrives in the step itself."""
    net = bs.Network(seed=3)
    net.add("in", SpikeSource(), 4)
    net.add("out", Leak(tau=1e-3), 3)
    net.connect(
        "in",
        "out",
        ExpCurrent(tau=1e-3),
        bs.all_to_all(),
        weight=bs.normal(0.0, 50.0),
        delay=bs.uniform(0.0, 1.0),
        name="w",
    )
    sim = net.compile(dt=0.1, record=["out.v"])
    inputs = {"in.spikes": bs.array(np.random.default_rng(0).random((50, 4)) < 0.3)}
    of = lambda a: online.value_and_grad(
        sim, lambda seen, k: jnp.sum(seen["out.v"] ** 2 * (1.0 + k)), "w.weight", 5.0, adjoint=a
    )
    (_, found), (_, exact) = (jax.jit(lambda a=a: of(a)(inputs=inputs))() for a in (ESDRTRL(0.0), DRTRL()))
    close(found, exact)


def test_sltt_made_forward(x64):
    s = setup()
    sim, places = built(s)
    names = ["w_in.weight", "w_rec.weight", "w_out.weight"]
    with pytest.raises(RunError, match=r"spikes of rec come back.*SLTT\(reach=\.\.\.\)"):
        online_gradient(sim, s, SLTT(), names)
    with pytest.raises(RunError, match=r"reach = 0\.25 ms is no multiple.*write reach=0\.2"):
        online_gradient(sim, s, SLTT(reach=0.25), names)
    _, found = online_gradient(sim, s, SLTT(reach=STEPS * DT), names)
    same(found, sltt_by_hand(s), places)


@pytest.mark.slow
def test_online_memory_does_not_grow_with_the_run():
    net = bs.Network(seed=3)
    net.add("a", LIF(tau=10.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0), 5)
    net.add("b", LIF(tau=10.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0), 5)
    net.add("out", Leak(), 2)
    net.connect("a", "b", ExpCurrent(), bs.all_to_all(), weight=20.0 * np.ones(25), delay=0.5, name="w")
    net.connect("b", "out", ExpCurrent(), bs.all_to_all(), weight=np.ones(10), delay=0.2, name="o")
    sim = net.compile(dt=0.1, record=["out.v"])
    for adjoint in (DRTRL(), ESDRTRL(), SLTT()):
        sizes = []
        for n in (400, 3200):
            f = online.value_and_grad(
                sim, lambda seen, k: jnp.sum(seen["out.v"] ** 2), "w.weight", n * 0.1, adjoint=adjoint
            )
            compiled = jax.jit(lambda p, f=f: f(p, inputs={"a.I": 20.0})).lower(sim.params).compile()
            sizes.append(compiled.memory_analysis().temp_size_in_bytes)
        assert sizes[1] == pytest.approx(sizes[0], rel=0.2), (adjoint, sizes)  # of 8 times as many steps


# --- bad input


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EProp(feedback="symetric"), "no feedback 'symetric'; did you mean 'symmetric'"),
        (lambda: BPTT(checkpoint="blocks"), "checkpoint = 'blocks' is unknown; write 'auto'"),
        (lambda: BPTT(checkpoint=0), "checkpoint = 0 is unknown"),
        (lambda: BPTT(checkpoint=5, memory="1 GB"), "both choose the blocks; give one"),
        (lambda: BPTT(memory="much"), "memory = 'much' is no size; write bytes"),
        (lambda: BPTT(horizon=-1.0), "horizon = -1.0 must be a positive time in ms"),
        (lambda: Forward(chunk=0), "chunk = 0 must be a whole number of at least 1"),
        (lambda: ESDRTRL(decay=1.0), "decay = 1.0 must be at least 0 and below 1"),
        (lambda: ESDRTRL().value_and_grad(lambda u: u), "call brainsim.fitting.online.value_and_grad"),
    ],
)
def test_impossible_adjoints(make, message):
    with pytest.raises(RunError, match=message.replace("(", r"\(")):
        make()


def test_adjoints_that_a_run_refuses():
    sim = spiking()
    differentiate = lambda adjoint: slope(sim, adjoint)[0].lower(slope(sim, adjoint)[1])
    with pytest.raises(RunError, match=r"horizon = 0\.25 ms is not a multiple of dt = 0\.1 ms; write horizon=0\.2"):
        differentiate(BPTT(horizon=0.25))
    with pytest.raises(RunError, match=r"'bptt' is no adjoint; write adjoint=bs.BPTT"):
        sim.run(1.0, adjoint="bptt")
    with pytest.raises(RunError, match="ESDRTRL is computed while the network runs"):
        differentiate(ESDRTRL())
    net = bs.Network()
    net.add("e", LIF(), 3)
    net.add("out", Leak(), 2)
    net.connect("e", "out", ExpCurrent(), bs.all_to_all(), weight=1.0, name="o")
    sim = net.compile(dt=0.1, record=["out.v"])
    run = lambda adjoint: jax.grad(lambda tau: jnp.sum(sim.run(1.0, params={"e.tau": tau}, adjoint=adjoint)["out.v"]))(
        9.0
    )
    with pytest.raises(RunError, match=r"'o' has one weight for all edges.*array of 6 weights"):
        run(EProp(feedback="random"))
    with pytest.raises(RunError, match="no projection of spikes into a readout 'p'"):
        run(EProp(feedback=Feedback({"p": np.ones(6)})))


def test_what_online_derivatives_refuse():
    loss = lambda seen, k: 0.0
    with pytest.raises(RunError, match=r"BPTT\(.*does not go forward with the run; write DRTRL"):
        online.value_and_grad(spiking(), loss, "e.tau", 1.0, adjoint=BPTT())
    for adjoint in (DRTRL(), SLTT()):
        with pytest.raises(RunError, match="cannot follow 'w': its cells send values with a delay; use delay=0"):
            online.value_and_grad(graded(), loss, "e.tau", 1.0, adjoint=adjoint)
    with pytest.raises(UnknownNameError, match=r"did you mean 'e\.tau'"):
        online.value_and_grad(spiking(), loss, "e.taw", 1.0)
