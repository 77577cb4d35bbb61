"""Runs from spike to spike (`bs.EventGrad`): against runs in steps as dt falls, an integrator with event location, closed
forms and finite differences; fits; what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from support import finite_difference

import brainsim as bs
from brainsim.errors import ParameterError, RunError
from brainsim.models import LIF, STDP, AdEx, Delta, ExpConductance, ExpCurrent, PoissonSource, SpikeSource

TIMES, CELLS, DURATION = np.array([1.0, 3.0, 2.0, 8.0, 11.0, 15.3]), np.array([0, 1, 2, 0, 1, 2]), 50.0
INPUTS = {"in.spikes": bs.spike_trains(TIMES, CELLS), "a.I": 14.0, "b.I": np.array([18.0, 0.0, 16.0])}


def circuit(dt=0.1, record=("a.spikes", "b.spikes")):
    """Two populations that excite, inhibit and delay each other; b[0] and b[2] fire also by themselves."""
    net, rng = bs.Network(), np.random.default_rng(0)
    net.add("in", SpikeSource(), 3)
    net.add("a", LIF(tau=10.0, R=0.5, t_ref=1.0, v_reset=-68.0), 3)
    net.add("b", LIF(tau=20.0, t_ref=2.0), 3)
    shared = ExpCurrent(tau=4.0)
    weights, delays = rng.uniform(60, 140, 9), rng.integers(1, 20, 9) * 0.1
    net.connect("in", "a", shared, bs.all_to_all(), weight=weights, delay=delays)
    net.connect("b", "a", shared, bs.fixed_probability(0.5), weight=-30.0, delay=0.7)
    net.connect("a", "a", shared, bs.fixed_probability(0.5), weight=20.0, delay=1.1, name="one")
    net.connect("a", "a", shared, bs.fixed_probability(0.5), weight=10.0, delay=2.0, name="two")
    learned = bs.learnable_delay(rng.integers(5, 20, 9) * 0.1, 5.0, width=0.0)
    net.connect("a", "b", ExpCurrent(tau=3.0), bs.all_to_all(), weight=rng.uniform(30, 80, 9), delay=learned)
    net.init("b.v", np.array([-60.0, -65.0, -70.0]))
    net.init("in->a.i", 3.0)
    return net.compile(dt=dt, record=record)


@pytest.fixture(scope="module")
def sim():
    return circuit()


def exact(sim, params=None, inputs=None, most=10):
    return sim.run(DURATION, params=params, inputs=inputs or INPUTS, adjoint=bs.EventGrad(most))


def test_is_the_limit_of_runs_in_steps(sim, x64):
    """The difference falls with dt, and is a few steps: one for each crossing on the way."""
    sim, found = circuit(), {}
    result = exact(sim)
    assert result.ok
    for dt in (0.1, 0.01):
        clocked = circuit(dt).run(DURATION, inputs=INPUTS)
        for name in "ab":
            times, spikes = np.asarray(result[name].times), clocked.spikes[name]
            for c, row in enumerate(times):
                steps = spikes.times[spikes.indices == c]
                assert len(steps) == result[name].counts[c] >= 2
                found.setdefault(dt, []).append(np.abs(steps - row[: len(steps)]).max())
        assert sum(result[name].counts.sum() for name in "ab") == sum(len(clocked.spikes[name]) for name in "ab")
    assert max(found[0.01]) < 0.25 * max(found[0.1]) and max(found[0.01]) < 15 * 0.01


def test_one_cell_equals_integration_with_event_location(x64):
    """A cell that fires by itself and is held back: v falls below its reset before it rises."""
    net = bs.Network()
    net.add("in", SpikeSource(), 2)
    net.add("c", LIF(tau=9.0, R=1.2, v_reset=-60.0, t_ref=1.5), 1)
    net.connect("in", "c", ExpCurrent(tau=4.0), bs.all_to_all(), weight=np.array([-90.0, 60.0]), delay=0.5)
    given = [(20.0, -90.0), (31.0, 60.0), (40.0, -90.0), (41.0, 60.0)]
    trains = bs.spike_trains([20.0, 31.0, 40.0, 41.0], [0, 1, 0, 1])
    run = net.compile(record=["c.spikes"]).run
    times = run(70.0, inputs={"in.spikes": trains, "c.I": 14.0}, adjoint=bs.EventGrad(30))["c"].times[0]
    y, now, free, found = np.array([-65.0, 0.0]), 0.0, 0.0, []
    events = [(t + 0.5, w) for t, w in given]
    crossing = lambda t, y: y[0] + 50.0
    crossing.terminal, crossing.direction = True, 1
    while now < 70.0:
        end = min([70.0, *[t for t, _ in events], *([free] if free > now else [])])
        held = free > now
        flow = lambda t, y, held=held: [0.0 if held else (-65.0 - y[0] + 1.2 * (14.0 + y[1])) / 9.0, -y[1] / 4.0]
        done = solve_ivp(flow, (now, end), y, events=crossing, method="DOP853", rtol=1e-12, atol=1e-12, max_step=1.0)
        now, y = done.t[-1], done.y[:, -1]
        if done.status == 1:
            found.append(now)
            y, free = np.array([-60.0, y[1]]), now + 1.5
        while events and events[0][0] <= now + 1e-12:
            y[1] += events.pop(0)[1]
    assert len(found) >= 3
    np.testing.assert_allclose(times[: len(found) + 1], [*found, np.inf], rtol=0, atol=1e-8)
    alone = run(70.0, inputs={"c.I": 14.0}, adjoint=bs.EventGrad(30))["c"].times[0]
    period = 1.5 + 9.0 * np.log((-65 + 16.8 + 60.0) / (-65 + 16.8 + 50.0))
    np.testing.assert_allclose(np.diff(alone[alone < np.inf]), period, rtol=1e-10)
    assert np.isinf(run(70.0, inputs={"c.I": 12.0}, adjoint=bs.EventGrad(30))["c"].times).all()


def test_derivatives_by_everything(x64):
    """All parameters, constant inputs and given times, in both modes, against differences of the run itself."""
    sim = circuit()
    params = {k: jnp.asarray(v) for k, v in sim.params.items() if not k.startswith("in.")}
    del params["a->b.delay_width"]
    given = {**params, "times": jnp.asarray(TIMES), "a.I": jnp.asarray(14.0), "b.I": jnp.asarray(INPUTS["b.I"])}
    first = exact(sim)
    mixed = {k: jnp.asarray(np.random.default_rng(1).normal(size=first[k].times.shape)) for k in "ab"}

    @jax.jit
    def total(given):
        inputs = {"in.spikes": bs.spike_trains(given["times"], CELLS), "a.I": given["a.I"], "b.I": given["b.I"]}
        result = exact(sim, {k: given[k] for k in params}, inputs)
        return sum(jnp.sum(mixed[k] * result[k].filled(0.0)) for k in "ab")

    reverse = jax.jit(jax.grad(total))(given)
    forward = jax.jit(lambda given, moves: jax.jvp(total, (given,), (moves,))[1])
    rng = np.random.default_rng(2)
    for name, value in given.items():
        moves = {k: jnp.zeros_like(v) for k, v in given.items()}
        moves[name] = jnp.asarray(rng.uniform(0.5, 1.5, value.shape)) * (1.0 + abs(value))
        slow = finite_difference(total, given, moves, 3e-7)
        assert abs(slow) > 1e-3, name
        np.testing.assert_allclose(jnp.sum(reverse[name] * moves[name]), slow, rtol=1e-6, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(forward(given, moves), slow, rtol=1e-6, atol=1e-5, err_msg=name)


def test_batches_and_lists_of_spikes(sim):
    run = lambda times: exact(sim, None, {**INPUTS, "in.spikes": bs.spike_trains(times, CELLS)})
    both = jax.jit(jax.vmap(run))(np.stack([TIMES, TIMES + 0.5]))
    alone = exact(sim, None, {**INPUTS, "in.spikes": bs.spike_trains(TIMES + 0.5, CELLS)})
    np.testing.assert_allclose(both["a"].times[1], alone["a"].times, rtol=1e-5)
    listed = alone["b"].listed()
    assert len(listed) == alone["b"].counts.sum() and listed.n_cells == 3
    assert (np.diff(listed.times) >= 0).all() and np.isin(listed.times, np.asarray(alone["b"].times, float)).all()
    missing = run(np.where(np.arange(6) == 5, 1e3, TIMES))["a"].times
    traced = jax.jit(run)(np.where(np.arange(6) == 5, np.inf, TIMES))["a"].times
    np.testing.assert_allclose(traced, missing, rtol=1e-5)


def pair(width=0.0):
    net = bs.Network()
    net.add("in", SpikeSource(), 2)
    net.add("a", LIF(tau=10.0, t_ref=1.0), 2)
    net.add("b", LIF(tau=10.0, t_ref=1.0), 1)
    rule = bs.all_to_all
    delays = lambda x: bs.learnable_delay(np.array(x), 6.0, width=width)
    net.connect(
        "in", "a", ExpCurrent(tau=5.0), rule(), weight=np.array([60.0, 45, 40, 70]), delay=delays([1, 3, 2, 1.5])
    )
    net.connect("a", "b", ExpCurrent(tau=5.0), rule(), weight=np.array([50.0, 35]), delay=delays([2.0, 0.5]))
    return net.compile(dt=0.5, record=["a.spikes", "b.spikes"])


@pytest.mark.slow
def test_fit_finds_weights_and_delays(x64):
    """Of all edges, from the spike times of two populations."""
    sim = pair()
    inputs = {"in.spikes": bs.spike_trains([1.0, 4, 11, 19, 2, 5, 12, 24, 30], [0, 0, 0, 0, 1, 1, 1, 1, 0])}
    how = {"inputs": inputs, "adjoint": bs.EventGrad(20)}
    true = sim.run(60.0, **how)
    data = {k: true[k].filled(60.0) for k in "ab"}
    assert min(true["a"].counts.min(), true["b"].counts.min()) >= 4
    loss = lambda result, data: jnp.concatenate([(result[k].filled(60.0) - data[k]).ravel() for k in "ab"])
    space = bs.Space({"*.weight": bs.positive(50.0), "*.delay": bs.bounded(0.0, 6.0)})
    rng = np.random.default_rng(3)
    start = {
        k: v * rng.uniform(0.93, 1.07, v.shape) for k, v in sim.params.items() if k.endswith((".weight", ".delay"))
    }
    fit = bs.fit(sim, space, loss, data, duration=60.0, method="lm", steps=25, starts=[start], **how)
    for name in start:
        np.testing.assert_allclose(fit.params[name], sim.params[name], rtol=1e-4)
    with pytest.raises(RunError, match=r"first start .*: EventGrad: cell \d of '[ab]' fires more than most=2 spikes"):
        early = lambda result, data: (result["a"].times[:, :2] - data["a"][:, :2]).ravel()
        bs.fit(sim, space, early, data, duration=60.0, method="lm", **how | {"adjoint": bs.EventGrad(2)})
    wrong = bs.losses.first_spike_cross_entropy(true["a"].filled(60.0)[:, 0], 0, tau=2.0)
    assert np.isfinite(wrong)


def other(**kinds):
    """A network with one part that is not within reach."""
    net = bs.Network()
    net.add("in", kinds.get("source", SpikeSource()), 2)
    net.add("c", kinds.get("cell", LIF()), 2)
    delay = kinds.get("delay", 1.0)
    more = {k: v for k, v in kinds.items() if k in ("plasticity",)}
    rule = kinds.get("rule", bs.all_to_all())
    net.connect("in", "c", kinds.get("synapse", ExpCurrent()), rule, weight=1.0, delay=delay, **more)
    if "second" in kinds:
        net.connect("c", "c", kinds["second"], bs.all_to_all(), weight=1.0, delay=1.0)
    if "drive" in kinds:
        net.connect(kinds["drive"], "c", ExpCurrent(), weight=1.0, name="drive")
    return net.compile(record=kinds.get("record", ["c.spikes"]), smooth=kinds.get("smooth", False))


REFUSED = {
    "cell": (dict(cell=AdEx()), {}, "population 'c': AdEx"),
    "source": (dict(source=PoissonSource()), {}, "population 'in': PoissonSource"),
    "conductance": (dict(synapse=ExpConductance()), {}, "'in->c' has the synapse ExpConductance"),
    "delta": (dict(synapse=Delta()), {}, "'in->c' has the synapse Delta"),
    "two taus": (dict(second=ExpCurrent(tau=7.0)), {}, "'in->c' and 'c->c' reach the same cells"),
    "plastic": (dict(plasticity=STDP()), {}, "'in->c' learns"),
    "procedural": (dict(rule=bs.procedural(bs.fixed_probability(0.5))), {}, "'in->c' has edges that are not stored"),
    "drive": (dict(drive=bs.poisson(5.0)), {}, "'drive' is a drive"),
    "voltage": (dict(record=["c.v"]), {}, "'c.v' is recorded"),
    "smooth": (dict(smooth=True), {}, "smooth=True"),
    "changing": ({}, dict(inputs={"c.I": bs.step(1.0, 2.0)}), "'c.I' is Step, which changes with time"),
    "random": ({}, dict(inputs={"in.spikes": bs.poisson(9.0)}), "'in.spikes' is Poisson"),
    "nudge": ({}, dict(inputs={"c.v": bs.nudge(np.zeros((100, 2)), 1.0)}), "'c.v' is pulled"),
    "state": ({}, dict(state={"step": 0}), "state= is given"),
}


@pytest.mark.parametrize("kinds, given, says", REFUSED.values(), ids=REFUSED)
def test_refused(kinds, given, says):
    with pytest.raises(RunError, match=says) as error:
        other(**kinds).run(10.0, adjoint=bs.EventGrad(4), **given)
    assert "bs.BPTT()" in str(error.value)


def test_two_time_constants_are_one_if_they_are_known_to_be(sim):
    run = lambda net, **params: net.run(10.0, params, {"in.spikes": bs.spike_train([1.0])}, adjoint=bs.EventGrad(4))
    equal = other(second=ExpCurrent())
    assert run(equal).ok
    with pytest.raises(RunError, match="give both the same synapse object"):
        jax.grad(lambda tau: run(equal, **{"c->c.tau": tau})["c"].filled(0.0).sum())(5.0)


def test_wrong_numbers():
    for bad in (0, 2.5, True):
        with pytest.raises(ParameterError, match="give the spikes that a cell has room for"):
            bs.EventGrad(bad)
    sim = pair()
    run = lambda most=12, **params: sim.run(60.0, params, {"in.spikes": bs.spike_train(np.arange(1.0, 30))},
                                            adjoint=bs.EventGrad(most))  # fmt: skip
    with pytest.raises(RunError, match=r"cell \d of '[ab]' fires more than most=2"):
        run(2)
    hidden = jax.jit(lambda w: run(2, **{"a->b.weight": w}))(np.array([50.0, 35.0]))
    assert not hidden.ok and np.isnan(hidden["b"].times).all()
    assert not jax.jit(lambda d: run(40, **{"a->b.delay": d}))(np.array([7.0, 1.0])).ok
    with pytest.raises(RunError, match="cell 0 of 'c' starts, or is reset, above its threshold"):
        other(cell=LIF(v_rest=-40.0)).run(10.0, adjoint=bs.EventGrad(4))
    times = lambda t: other().run(10.0, inputs={"in.spikes": bs.spike_trains(t, np.array([0]))})
    with pytest.raises(RunError, match="spike times are traced"):
        jax.jit(times)(np.array([1.0]))


def lonely(delay, weight=-30.0):
    """One cell that hears itself, without sources."""
    net = bs.Network()
    net.add("c", LIF(tau=10.0), 1)
    net.connect("c", "c", ExpCurrent(tau=5.0), bs.all_to_all(), weight=weight, delay=delay)
    return net.compile(dt=1e-3, record=["c.spikes"])


@pytest.mark.parametrize("current", [16.0, 20.0, 21.3])
def test_a_spike_does_not_take_back_itself(current):
    """Inhibition without delay comes too late for the spike that sends it, however that rounds."""
    run = lambda delay: lonely(delay).run(60.0, inputs={"c.I": current}, adjoint=bs.EventGrad(6))["c"].times
    now, soon = run(0.0), run(1e-3)
    assert np.isfinite(now).any()
    np.testing.assert_allclose(now, soon, atol=0.02)


def test_given_spikes_that_do_not_count():
    sim = other(record=["in.spikes", "c.spikes"])
    run = lambda times, cells: sim.run(10.0, inputs={"in.spikes": bs.spike_trains(times, cells)},
                                       adjoint=bs.EventGrad(4))  # fmt: skip
    np.testing.assert_array_equal(run([1.0, 30.0], [0, 0])["in"].times[0], [1.0, np.inf])
    assert np.isinf(run([], [])["in"].times).all()
    with pytest.raises(RunError, match="cell 0 fires twice at 1 ms"):
        run([1.0, 2.0, 1.0], [0, 0, 0])
