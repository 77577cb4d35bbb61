"""Running: what may change between runs and what may not change any number."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from samples import Count, Depressing, Fire, Leak, Pulse, Saturating, matrix

import brainsim as bs
from brainsim import models
from brainsim.errors import RunError

DT = 0.1


class Noisy(models.LIF):
    """A leaky cell with voltage noise."""

    sigma = bs.param(1.0, "mV/ms**0.5")

    def noise_v(self):
        return self.sigma


class Wave(bs.Neuron):
    """Fires when its oscillation crosses zero upwards."""

    w = bs.param(0.6, "1/ms")
    x = bs.state(1.0)
    y = bs.state(0.0)

    spike_on = "crossing"

    def dx(self, x, y):
        return -self.w * y

    def dy(self, x, y):
        return self.w * x

    def spike(self, x):
        return x


def balanced(before=None, after=None):
    """400 cells with per-edge weights and delays, voltage noise, Poisson sources, and whatever else one adds."""
    net = bs.Network(seed=5)
    if before is not None:
        before(net)
    net.add("src", models.PoissonSource(rate=40.0), 60)
    net.add("exc", Noisy(), 272)
    net.add("inh", Noisy(t_ref=1.0), 68)
    for name, E, weight in (("exc", 0.0, bs.uniform(0.0, 0.012)), ("inh", -80.0, 0.13)):
        delay = bs.uniform(0.1, 3.0) if name == "exc" else 1.5
        synapse = models.ExpConductance(E=E)
        net.connect(name, ["exc", "inh"], synapse, bs.fixed_probability(0.1), weight=weight, delay=delay)
    net.connect("src", ["exc", "inh"], models.Delta(), bs.fixed_probability(0.1), weight=0.5, delay=0.4)
    net.connect(bs.poisson(300.0), "exc", models.ExpConductance(), weight=0.02)
    net.init("*h.v", bs.uniform(-65.0, -50.0))
    net.init("exc.v", bs.uniform(-65.0, -50.0))
    if after is not None:
        after(net)
    return net


RECORD = ["src.spikes", "exc.spikes", "inh.spikes", bs.trace("exc.v", of=[0, 100, 271]), bs.trace("inh.v", of=[7])]
INPUTS = {"exc.I": bs.ou_noise(13.0, 4.0, 5.0), "inh.I": 14.0}


def same(a, b, names=("src", "exc", "inh"), traces=("exc.v", "inh.v")):
    """Equal bit for bit."""
    for name in names:
        np.testing.assert_array_equal(a[name].times, b[name].times, err_msg=name)
        np.testing.assert_array_equal(a[name].indices, b[name].indices, err_msg=name)
    for name in traces:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.fixture(scope="module")
def sim():
    return balanced().compile(dt=DT, record=RECORD)


@pytest.fixture(scope="module")
def forty(sim):
    return sim.run(40.0, inputs=INPUTS)


# ---- one program -----------------------------------------------------------------------------------------------------


def test_the_network_is_alive(forty):
    assert 5.0 < forty.rates()["exc"] < 100.0 and 5.0 < forty.rates()["inh"] < 100.0 and len(forty["src"]) > 50
    assert forty["exc"].times.max() > 38.0


def test_runs_share_one_program(sim, forty):
    sim.run(40.0, inputs=INPUTS)
    n = sim.n_traces
    again = sim.run(40.0, inputs=INPUTS)
    sim.run(3.0, inputs=INPUTS)
    sim.run(17.3, inputs={"exc.I": bs.ou_noise(1.0, 2.0, 3.0), "inh.I": 3}, key=7)
    sim.run(5.0, {"exc.tau": 15.0}, INPUTS, again.state)
    assert sim.n_traces == n
    same(again, forty)


def test_a_run_is_what_its_parts_are(sim, forty):
    first = sim.run(20.0, inputs=INPUTS)
    second = sim.run(20.0, inputs=INPUTS, state=first.state)
    assert second.t_start == 20.0 and second.traces["exc.v"].times[0] == pytest.approx(20.1)
    same(bs.Result.join([first, second]), forty)
    jax.tree.map(np.testing.assert_array_equal, second.state, forty.state)


def test_advance_keeps_the_state(sim, forty):
    sim.advance(10.0, inputs=INPUTS, reset=True)
    parts = [sim.advance(d, inputs=INPUTS) for d in (0.1, 0.0, 19.9, 10.0)]
    assert parts[-1].t_stop == 40.0 and sim.state is parts[-1].state
    whole = bs.Result.join([sim.run(10.0, inputs=INPUTS), *parts])
    same(whole, forty)
    same(sim.advance(40.0, inputs=INPUTS, reset=True), forty)


def test_run_is_pure(sim, forty):
    sim.advance(1.0, reset=True)
    before = sim.state
    sim.run(5.0)
    assert sim.state is before
    state = sim.run(1.0).state
    a, b = sim.run(5.0, state=state), sim.run(5.0, state=state)
    same(a, b)


def test_keys_are_realisations(sim, forty):
    a, b = sim.run(10.0, inputs=INPUTS, key=1), sim.run(10.0, inputs=INPUTS, key=2**40 + 1)
    assert not np.array_equal(a["exc.v"], b["exc.v"]) and not np.array_equal(a["exc.v"], forty["exc.v"][:100])
    words = np.array([1, 0], np.uint32)
    same(a, sim.run(10.0, inputs=INPUTS, key=words))
    keys = jnp.array([1, 9])
    v = jax.jit(jax.vmap(lambda k: sim.run(5.0, inputs=INPUTS, key=k)["exc.v"]))(keys)
    np.testing.assert_allclose(v[0], a["exc.v"][:50], rtol=1e-4)
    assert np.abs(v[1] - v[0]).max() > 0.1


def test_a_traced_run_is_the_same_run(sim, forty):
    found = jax.jit(lambda p: sim.run(10.0, p, INPUTS))(sim.params)
    assert bool(found.ok) and found["exc"].shape == (100, 272)
    step, cell = np.nonzero(np.asarray(found["exc"]))
    early = forty["exc"].between(0.0, 10.0)
    np.testing.assert_allclose((step + 1) * DT, early.times, atol=1e-4)
    np.testing.assert_array_equal(cell, early.indices)
    np.testing.assert_allclose(found["exc.v"], forty["exc.v"][:100], rtol=1e-5)
    np.testing.assert_allclose(found.traces["exc.v"].times, forty.traces["exc.v"].times[:100], rtol=1e-6)


def test_vmap_over_parameters_is_a_loop_over_them():
    net = bs.Network()
    net.add("a", Fire(), 3)
    net.connect("a", "a", Pulse(), bs.all_to_all(), weight=0.3, delay=0.5)
    sim = net.compile(dt=DT, record=["a.v", "a.spikes", bs.mean("a.v")])
    inputs = {"a.I": np.array([2.0, 3.0, 4.0])}
    taus = jnp.array([5.0, 10.0, 20.0])
    many = jax.vmap(lambda tau: sim.run(20.0, {"a.tau": tau}, inputs))(taus)
    for i, tau in enumerate(taus):
        one = sim.run(20.0, {"a.tau": tau}, inputs)
        np.testing.assert_allclose(many["a.v"][i], one["a.v"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(many.summaries["a.v"][i], one["a.v"].mean(0), rtol=1e-5)
        assert many["a"][i].sum() == len(one["a"]) > 0


# ---- nothing else changes a number -----------------------------------------------------------------------------------


def busy(net, name, model, n=37):
    """A population of its own, with synapses, many delays and inputs."""
    net.add(name, model, n)
    net.init(f"{name}.v", bs.uniform(-65.0, -50.0))
    rule = bs.fixed_probability(0.1)
    for k in range(6):
        net.connect(name, name, models.ExpConductance(), rule, weight=0.1, delay=0.1 * k, name=f"{name}{k}")


def before(net):
    busy(net, "same class first", Noisy(tau=13.0))
    busy(net, "other class first", models.AdEx())
    net.add("sources", models.PoissonSource(rate=90.0), 11)


def after(net):
    busy(net, "same object", net["exc"].model)
    busy(net, "same class", Noisy(tau=13.0))
    busy(net, "values per cell", Noisy(tau=bs.uniform(5.0, 9.0), sigma=2.0))
    busy(net, "other class", models.LIF())


@pytest.mark.parametrize("where", ["before", "after"])
def test_an_added_population_changes_nothing_else(where, forty):
    net = balanced(**{where: globals()[where]})
    sim = net.compile(dt=DT, record=["*.spikes", *RECORD])
    driven = [name for name in net.populations if "class" in name or "same" in name]
    inputs = {**INPUTS, **{f"{name}.I": 900.0 if name == "other class first" else 20.0 for name in driven}}
    found = sim.run(40.0, inputs=inputs)
    assert len(found.spikes) > 5 and all(len(s) for s in found.spikes.values())
    same(found, forty)


def test_a_recorder_changes_nothing_else(forty):
    every = ["*->exc.g", bs.mean("*.v"), bs.trace("inh->exc.current", every=0.5)]
    sim = balanced().compile(dt=DT, record=[*every, *RECORD])
    same(sim.run(40.0, inputs=INPUTS), forty)


def test_an_input_of_one_population_leaves_the_other(forty):
    """Independent parts of one network."""
    net = balanced(after=lambda net: busy(net, "more", Noisy()))
    sim = net.compile(dt=DT, record=["more.spikes", *RECORD])
    a, b = (sim.run(10.0, inputs={**INPUTS, "more.I": i}) for i in (0.0, 30.0))
    assert len(b["more"]) > len(a["more"])
    same(a, b)


# ---- checkpoints -----------------------------------------------------------------------------------------------------


def everything():
    """Every kind of state: rings, histories, refractoriness, crossings, values at sources and edges, noise, drives."""
    net = balanced()
    net.add("wave", Wave(), 5)
    net.add("leak", Leak(), 4, method="rk4")
    net.add("fire", Fire(), 6)
    net.connect("wave", "leak", Depressing(), bs.all_to_all(), weight=1.0, delay=np.linspace(0.0, 3.0, 20).round(1))
    net.connect("fire", "leak", Saturating(), bs.from_matrix(matrix(6, 4, 0.5)), delay=1.1)
    net.connect("leak", "leak", models.GapJunction(), bs.from_edges([0, 1], [1, 2]), weight=1.0)
    net.connect("fire", "wave", Count(), bs.fixed_outdegree(2), weight=1.0)
    net.connect("leak", "fire", models.GradedSynapse(), bs.all_to_all(), weight=0.5, delay=0.7)
    return net


ALL = [*RECORD, "wave.spikes", "fire.spikes", "leak.v", "wave.x", "wave->leak.u", "fire->leak.s", "leak->fire.s"]
ALL_INPUTS = {
    **INPUTS,
    "fire.I": bs.sine(3.0, 50.0, offset=2.0),
    "leak.I": [bs.step(1.0, 15.0), bs.ou_noise(0.0, 1.0, 2.0)],
}


def compiled():
    return everything().compile(dt=DT, record=ALL)


def compare(a, b):
    assert set(a.spikes) == set(b.spikes) and set(a.traces) == set(b.traces)
    same(a, b, a.spikes, a.traces)


@pytest.fixture(scope="module")
def complete():
    sim = compiled()
    return sim, sim.run(30.0, inputs=ALL_INPUTS)


def test_every_kind_of_state_goes_on(complete):
    sim, whole = complete
    first = sim.run(10.0, inputs=ALL_INPUTS)
    second = sim.run(20.0, inputs=ALL_INPUTS, state=first.state)
    assert all(len(s) for s in second.spikes.values())
    compare(bs.Result.join([first, second]), whole)


NEW_PROCESS = """
from test_simulate import ALL_INPUTS, compiled
sim = compiled()
sim.restore({checkpoint!r}, ALL_INPUTS)
sim.advance(20.0, inputs=ALL_INPUTS).save({result!r})
"""


def start_python(code):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    code = f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}\n{code}"
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)


def test_a_checkpoint_goes_on_in_another_process(complete, tmp_path):
    sim, whole = complete
    first = sim.advance(10.0, inputs=ALL_INPUTS, reset=True)
    checkpoint, result = str(tmp_path / "state.h5"), str(tmp_path / "rest.h5")
    sim.checkpoint(checkpoint)
    with start_python(NEW_PROCESS.format(checkpoint=checkpoint, result=result)) as process:
        assert process.wait() == 0
    compare(bs.Result.join([first, bs.load(result)]), whole)
    sim.restore(checkpoint, ALL_INPUTS)
    compare(bs.Result.join([first, sim.advance(20.0, inputs=ALL_INPUTS)]), whole)


# ---- interruptions ---------------------------------------------------------------------------------------------------


def small():
    net = bs.Network(seed=1)
    net.add("a", Fire(), 3)
    net.connect("a", "a", Pulse(), bs.all_to_all(), weight=0.1, delay=2.0)
    return net.compile(dt=DT, record=["a.spikes", "a.v"])


def test_control_c_returns_what_is_done(tmp_path):
    sim = small()
    inputs = {"a.I": np.array([2.0, 3.0, 4.0])}

    def stop(done, total):
        if done >= 2000.0:
            raise KeyboardInterrupt

    whole = sim.run(4000.0, inputs=inputs)
    found = sim.advance(4000.0, inputs=inputs, progress=stop)
    assert not found.complete and found.duration == 2000.0 and whole.complete
    rest = sim.advance(2000.0, inputs=inputs)
    assert rest.t_start == 2000.0 and rest.complete
    joined = bs.Result.join([found, rest])
    same(joined, whole, ["a"], ["a.v"])
    sim.advance(4000.0, inputs=inputs, progress=stop, stream=tmp_path / "run.h5", reset=True)
    kept = bs.load(tmp_path / "run.h5")
    assert not kept.complete and kept.duration == 2000.0
    same(kept, found, ["a"], ["a.v"])


def test_control_c_in_the_middle_loses_nothing(monkeypatch):
    """Between the end of the compiled chunk and its safe place."""
    sim = small()
    inputs = {"a.I": np.array([2.0, 3.0, 4.0])}
    whole = sim.run(3000.0, inputs=inputs)
    collect, calls = sim.chunk.collect, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return collect(*args)

    monkeypatch.setattr(sim.chunk, "collect", interrupted)
    first = sim.advance(3000.0, inputs=inputs, reset=True)
    assert first.duration == 1000.0 and not first.complete
    rest = sim.advance(2000.0, inputs=inputs)
    same(bs.Result.join([first, rest]), whole, ["a"], ["a.v"])


KILLED = """
from test_simulate import small
def tell(done, total):
    print(done, flush=True)
small().run(1e6, inputs={{"a.I": [2.0, 3.0, 4.0]}}, progress=tell, stream={file!r})
"""


def test_a_killed_run_leaves_its_finished_parts(tmp_path):
    file = str(tmp_path / "run.h5")
    with start_python(KILLED.format(file=file)) as process:
        done = [float(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGKILL)
    kept = bs.load(file)
    assert kept.duration >= done[-1] == 3000.0 and not kept.complete
    same(kept, small().run(kept.duration, inputs={"a.I": [2.0, 3.0, 4.0]}), ["a"], ["a.v"])


def test_streaming_is_the_same_run(tmp_path):
    sim = small()
    whole = sim.run(2500.0, inputs={"a.I": 3.0})
    streamed = sim.run(2500.0, inputs={"a.I": 3.0}, stream=tmp_path / "run.h5")
    same(streamed, whole, ["a"], ["a.v"])
    same(bs.load(tmp_path / "run.h5"), whole, ["a"], ["a.v"])
    assert streamed.complete and int(streamed.state["step"]) == 25000


def test_progress_is_told_after_every_part():
    told = []
    small().run(2500.0, inputs={"a.I": 3.0}, progress=lambda done, total: told.append((done, total)))
    assert told == [(1000.0, 2500.0), (2000.0, 2500.0), (2500.0, 2500.0)]


# ---- the compiled program --------------------------------------------------------------------------------------------


def text_of_the_loop(n_edges):
    """The program of a chunk without its shapes."""
    rng = np.random.default_rng(0)
    net = bs.Network()
    net.add("e", models.LIF(), 1000)
    for k, delay in enumerate((1.5, "edges")):
        pre, post = rng.integers(0, 1000, (2, n_edges))
        d = np.append(5.0, rng.integers(1, 50, n_edges - 1) * 0.1) if delay == "edges" else delay
        rule = bs.from_edges(pre, post, weight=rng.random(n_edges), delay=None if delay == 1.5 else d)
        net.connect("e", "e", models.ExpConductance(), rule, name=f"p{k}", **({"delay": d} if delay == 1.5 else {}))
    sim = net.compile(dt=DT, record=["e.spikes"])
    begun = time.perf_counter()
    ready = sim._prepare(sim.topology, sim.params)
    state = sim._start(sim.params, {})
    words = np.zeros(2, np.uint32)
    lowered = sim.chunk.run.lower(sim.topology, ready, state, {}, words, sim.chunk.buffers(), np.int32(10), np.int32(0))
    text = lowered.compile().as_text()
    seconds = time.perf_counter() - begun
    return re.sub(r"\b\d[\d,]*\b|%[\w.-]+", "#", text), seconds, len(text)


def test_the_program_does_not_grow_with_the_edges():
    small, _, length = text_of_the_loop(10_000)
    large, seconds, more = text_of_the_loop(1_000_000)
    assert small == large
    assert more < length + 5000 and seconds < 60.0


def test_the_precision_follows_jax(x64):
    net = bs.Network()
    net.add("a", Leak(), 2)
    sim = net.compile(dt=DT, record="a.v")
    v = sim.run(5.0, inputs={"a.I": 1.0})["a.v"]
    assert v.dtype == np.float64 and sim.params["a.tau"].dtype == jnp.float64
    np.testing.assert_allclose(v[:, 0], 1.0 - np.exp(-np.arange(1, 51) * DT / 10.0), rtol=1e-13)


def test_meta():
    found = small().run(1.0, inputs={"a.I": 1.0})
    assert found.meta["dtype"] == "float32" and found.meta["device"] == "cpu" and found.meta["populations"] == {"a": 3}
    assert found.meta["wall_s"] > 0.0 and found.seed == 1 and found.dt == DT
    assert json.dumps({k: v for k, v in found.meta.items()})


def test_what_a_simulation_says():
    sim = small()
    assert "dt=0.1 ms; a (3 Fire, exact); records ['a.spikes', 'a.v']" in repr(sim) and sim.dt == DT
    with pytest.raises(RunError, match="nothing to save"):
        sim.checkpoint("x.h5")
    assert sim.state is None
    assert sim.compiled_for == jnp.float32
