"""`bs.fit`: every method, starts, trials, nudging, interruption, and what it refuses."""

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import brainsim as bs
from brainsim.errors import ParameterError, RunError, UnknownNameError
from brainsim.models import LIF, STDP, ExpCurrent, SpikeSource

RUN = {"duration": 40.0, "inputs": {"c.I": bs.step(10.0, 5.0, 25.0)}}
SPACE = bs.Space({"c.tau": bs.bounded(2.0, 60.0, log=True), "c.R": bs.positive(1.0)})
TRUE = {"c.tau": 12.0, "c.R": 1.7}


def passive(n=1):
    """A membrane that never reaches its threshold: its time course is known in closed form."""
    net = bs.Network(seed=0)
    net.add("c", LIF(v_rest=-60.0, v_th=1000.0, v_reset=-60.0), n)
    return net.compile(dt=0.1, record=["c.v"])


def trace_of(sim, params=TRUE, **run):
    return np.asarray(sim.run(**{**RUN, **run}, params=params)["c.v"])


def residuals(result, data):
    return (result["c.v"] - data)[::5, 0]


METHODS = {
    "lm": dict(method="lm", steps=15),
    "lbfgs": dict(method="lbfgs", steps=40),
    "adam": dict(method=optax.adam(0.1), steps=200),
    "normalised and clipped": dict(method=optax.sgd(optax.cosine_decay_schedule(0.3, 150)), normalize=0.9, clip=1.0, steps=150),
    "lm, tangents one by one": dict(method=bs.LevenbergMarquardt(chunk=1), steps=15),
    "starts one by one": dict(method="lm", steps=15, width=1),
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_every_method_finds_the_parameters(name, x64):
    sim = passive()
    data = trace_of(sim)
    result = bs.fit(sim, SPACE, residuals, data, **RUN, starts=3, **METHODS[name])
    for key, value in TRUE.items():
        assert result.params[key] == pytest.approx(value, rel=0.02 if "normal" in name else 2e-3), key
    assert result.losses.shape == (METHODS[name]["steps"], 3) and result.loss == np.min(result.best_losses)
    assert result.loss <= np.nanmin(result.losses) and result.status == ["ok"] * 3
    assert result.losses[0].std() > 0  # starts differ
    first = float(np.mean(residuals({"c.v": trace_of(sim, params=None)}, data) ** 2))
    assert result.losses[0, 0] == pytest.approx(first)  # the first begins at the present values


def test_evolution_needs_no_derivatives(x64):
    pytest.importorskip("cma")
    sim = passive()
    data = trace_of(sim)
    loss = lambda result, data: jnp.mean(jnp.round((result["c.v"] - data)[::5, 0], 3) ** 2)  # flat almost everywhere
    result = bs.fit(sim, SPACE, loss, data, **RUN, method="cma", steps=60, starts=2)
    for key, value in TRUE.items():
        assert result.params[key] == pytest.approx(value, rel=0.01)


def test_a_start_that_fails_leaves_the_others_alone(x64):
    sim = passive()
    data = trace_of(sim)

    def loss(result, data, params):
        return jnp.where(params["c.tau"] > 40.0, jnp.nan, 1.0) * residuals(result, data)

    starts = [{"c.tau": 20.0}, {"c.tau": 50.0, "c.R": 3.0}, {"c.tau": 5.0}]
    result = bs.fit(sim, SPACE, loss, data, **RUN, starts=starts, method="lm", steps=15)
    assert result.status == ["ok", "set aside: not finite", "ok"]
    assert np.isnan(result.losses[:, 1]).all() and not np.isfinite(result.best_losses[1])
    assert result.params["c.tau"] == pytest.approx(12.0, rel=1e-4)
    alone = bs.fit(sim, SPACE, loss, data, **RUN, starts=[starts[0], starts[2]], method="lm", steps=15)
    np.testing.assert_allclose(result.best_losses[[0, 2]], alone.best_losses, atol=1e-12)
    with pytest.raises(RunError, match=r"none of 1 starts has a finite loss.*c.tau = 50.*: its run is finite"):
        bs.fit(sim, SPACE, loss, data, **RUN, starts=[starts[1]], method="lm", steps=7)


def test_a_step_that_fails_is_taken_back(x64):
    """A step of gradient descent that leaves the region where the loss is finite."""
    sim = passive()
    data = trace_of(sim)

    def loss(result, data, params):
        return jnp.where(params["c.tau"] > 8.0, jnp.nan, jnp.mean(residuals(result, data) ** 2))

    result = bs.fit(
        sim, SPACE, loss, data, **RUN, starts=[{"c.tau": 3.0}], method=optax.sgd(0.2), normalize=0.9, steps=40
    )
    assert result.status != ["ok"] and result.loss < 0.9 * result.losses[0, 0] and result.params["c.tau"] < 8.0


def test_trials_come_once_in_every_epoch_and_runs_differ(x64):
    sim, seen = passive(), []
    amplitudes = np.array([2.0, 4.0, 6.0, 8.0])
    data = {"I": amplitudes, "v": np.stack([trace_of(sim, inputs={"c.I": a}) for a in amplitudes])}
    inputs = lambda data: {"c.I": data["I"]}

    def loss(result, data):
        jax.debug.callback(lambda i: seen.append(float(i)), data["I"])
        return residuals(result, data["v"])

    result = bs.fit(sim, SPACE, loss, data, duration=40.0, inputs=inputs, method=optax.adam(0.1), batch=2, steps=200)
    jax.effects_barrier()
    epochs = np.array(seen[: 2 * 2 * 100]).reshape(-1, 2 * 2)
    assert (np.sort(epochs, axis=1) == amplitudes).all() and len(np.unique(epochs[:, 0])) > 1
    assert result.params["c.tau"] == pytest.approx(12.0, rel=0.01)
    with pytest.raises(RunError, match="batch=3 does not divide 4 trials; take 2"):
        bs.fit(sim, SPACE, loss, data, duration=40.0, inputs=inputs, batch=3)
    with pytest.raises(RunError, match="one leading axis of trials"):
        bs.fit(sim, SPACE, loss, {**data, "v": data["v"][:3]}, duration=40.0, inputs=inputs, batch=2)


def test_other_arrays_are_trained_beside_the_parameters(x64):
    """Encoder and readout, given as a tree."""
    sim = passive()
    target = 3.0 * trace_of(sim, inputs={"c.I": bs.step(8.0, 5.0, 25.0)}) + 200.0
    inputs = lambda extra: {"c.I": bs.step(10.0 * extra["gain"], 5.0, 25.0)}
    loss = lambda result, data, extra: (extra["out"]["w"] * result["c.v"] + 100.0 * extra["out"]["b"] - data)[::5, 0]
    extra = {"gain": 1.0, "out": {"w": 1.0, "b": 0.0}}
    run = {"duration": 40.0, "inputs": inputs, "method": "lm"}
    fixed = bs.Space({"c.tau": bs.bounded(2.0, 60.0)})
    result = bs.fit(sim, fixed, loss, target, **run, extra=extra, params=TRUE, steps=60)
    assert result.extra["gain"] * result.extra["out"]["w"] == pytest.approx(2.4, rel=1e-3)
    assert result.params["c.tau"] == pytest.approx(12.0, rel=1e-3)
    alone = bs.fit(sim, bs.Space({}), loss, target, **run, extra=extra, params=TRUE, steps=60)
    assert not alone.params and alone.loss < 1e-6


def test_noise_is_fresh_or_the_same():
    net = bs.Network(seed=0)
    net.add("c", LIF(v_rest=-60.0, v_th=1000.0, v_reset=-60.0), 3)
    sim = net.compile(dt=0.1, record=["c.v"])
    noisy = {"duration": 10.0, "inputs": {"c.I": bs.ou_noise(0.0, 5.0, 5.0)}}
    loss = lambda result: jnp.mean(result["c.v"])
    still = optax.sgd(0.0)
    of = lambda **kw: bs.fit(sim, SPACE, loss, **noisy, method=still, steps=4, **kw).losses[:, 0]
    assert len(np.unique(of(noise="fresh"))) == 4 and len(np.unique(of(noise="same"))) == 1
    assert np.array_equal(of(key=1), of(key=1)) and not np.array_equal(of(key=1), of(key=2))


def test_nudging_is_a_pull_towards_the_data(x64):
    sim = passive(2)
    v = np.asarray(sim.run(30.0, inputs={"c.I": 5.0, "c.v": bs.nudge(-40.0, np.array([0.0, 0.2]))})["c.v"])
    for k, found in zip((0.0, 0.2), v.T, strict=True):
        expected = [-60.0]
        for _ in range(300):
            x = -55.0 + (expected[-1] + 55.0) * np.exp(-0.1 / 20.0)
            expected.append(x + (-40.0 - x) * (1 - np.exp(-0.1 * k)))
        np.testing.assert_allclose(found, expected[1:], atol=1e-9)
        limit = (-55.0 / 20.0 + k * -40.0) / (1 / 20.0 + k)  # of the equation with the pull in it
        assert abs(found[-1] - limit) < (0.3 if k else 1.2)
    with pytest.raises(UnknownNameError, match=r"there is no state 'c.I'"):
        sim.run(1.0, inputs={"c.I": bs.nudge(-40.0, 0.1)})
    with pytest.raises(ParameterError, match="nudge rate = -1"):
        bs.nudge(-40.0, -1.0)
    with pytest.raises(RunError, match="values cover 1 ms"):
        sim.run(2.0, inputs={"c.v": bs.nudge(np.zeros(10), 0.1)})


def test_a_rate_of_0_changes_no_bit(x64):
    """Also of cells that share arrays with those that are nudged, and with exact propagators."""
    net = bs.Network(seed=0)
    for name in "ab":
        net.add(name, LIF(v_rest=-60.0, v_th=-50.0, v_reset=-60.0), 2)
    net.connect("a", "b", ExpCurrent(tau=5.0), bs.all_to_all(), weight=30.0, delay=1.0)
    sim = net.compile(dt=1.0, record=["*.v"])
    drive = {"*.I": bs.sine(15.0, 20.0, offset=10.0)}
    plain = sim.run(100.0, inputs=drive)
    nudged = sim.run(100.0, inputs={**drive, "a.v": bs.nudge(-55.0, 0.0)})
    pulled = sim.run(100.0, inputs={**drive, "a.v": bs.nudge(-55.0, 0.5)})
    traced = jax.jit(lambda k: sim.run(100.0, inputs={**drive, "a.v": bs.nudge(-55.0, k)})["a.v"])
    for name in ("a.v", "b.v"):
        assert np.array_equal(plain[name], nudged[name]) and not np.array_equal(plain[name], pulled[name])
    np.testing.assert_allclose(traced(0.5), pulled["a.v"], rtol=1e-9)


def test_the_point_of_a_lucky_batch_is_not_the_result(x64):
    """Two trials whose optima are 1 and 5: with one of them in each step the end is near 3, and so is the result."""
    sim, data = passive(), np.array([1.0, 5.0])
    loss = lambda params, data: (params["c.R"] - data) ** 2
    only = bs.Space({"c.R": bs.positive(1.0)})
    run = {"duration": 0.1, "method": optax.adam(optax.cosine_decay_schedule(0.1, 300)), "steps": 300}
    result = bs.fit(sim, only, loss, data, **run, batch=1)
    assert result.params["c.R"] == pytest.approx(3.0, abs=0.5)
    assert result.loss == pytest.approx(4.0, abs=0.3) and np.nanmin(result.losses) < 2.0


def test_what_follows_a_fit_uses_its_noise(x64):
    net = bs.Network(seed=0)
    net.add("c", LIF(v_rest=-60.0, v_th=1000.0, v_reset=-60.0), 1)
    sim = net.compile(dt=0.1, record=["c.v"])
    noisy = {"duration": 20.0, "inputs": {"c.I": bs.ou_noise(5.0, 5.0, 5.0)}}
    loss = lambda result: (result["c.v"] + 55.0)[::2, 0]
    result = bs.fit(sim, bs.Space({"c.R": bs.positive(1.0)}), loss, **noisy, method="lm", steps=15)
    assert float(result.objective.value(jnp.asarray(result.vectors[0]))) == pytest.approx(result.loss, rel=1e-9)
    assert result.laplace().variance == pytest.approx(result.loss * 100 / 99, rel=1e-6)


OTHER = {
    "another scale": dict(space=bs.Space({"c.tau": bs.bounded(2.0, 60.0, log=True), "c.R": bs.positive(2.0)})),
    "another map": dict(space=bs.Space({"c.tau": bs.bounded(2.0, 60.0), "c.R": bs.positive(1.0)})),
    "another loss": dict(loss=lambda result, data: 2.0 * residuals(result, data)),
    "another input": dict(inputs={"c.I": bs.step(11.0, 5.0, 25.0)}),
    "another rate": dict(method=optax.adam(0.2)),
    "other starts": dict(starts=[{"c.tau": 9.0}, {"c.tau": 21.0}]),
    "other data": dict(data=np.full((400, 1), -58.0)),
    "another key": dict(key=3),
}


def test_the_file_of_another_fit_is_refused(tmp_path):
    sim = passive()
    file = tmp_path / "fit.h5"
    start = [{"c.tau": 9.0}, {"c.tau": 20.0}]
    how = {**RUN, "space": SPACE, "loss": residuals, "data": np.full((400, 1), -57.0), "starts": start}
    how |= {"method": optax.adam(0.1), "steps": 3, "resume": file}
    first = bs.fit(sim, **how)
    assert np.array_equal(bs.fit(sim, **how).vectors, first.vectors)
    for kind, change in OTHER.items():
        with pytest.raises(ParameterError, match="holds another fit"):
            bs.fit(sim, **{**how, **change})
            pytest.fail(kind)


def test_a_finished_fit_goes_on_with_more_steps(tmp_path):
    sim, file = passive(), tmp_path / "fit.h5"
    how = {**RUN, "method": optax.adam(0.1), "starts": 2}
    data = trace_of(sim)
    bs.fit(sim, SPACE, residuals, data, **how, steps=7, resume=file)
    longer = bs.fit(sim, SPACE, residuals, data, **how, steps=19, resume=file)
    whole = bs.fit(sim, SPACE, residuals, data, **how, steps=19)
    assert np.array_equal(longer.losses, whole.losses) and np.array_equal(longer.vectors, whole.vectors)
    with pytest.raises(ParameterError, match="has taken 19 steps, here steps=7"):
        bs.fit(sim, SPACE, residuals, data, **how, steps=7, resume=file)
    nudged = {**RUN, "method": "lm", "nudge": {"c.v": data}, "resume": tmp_path / "nudged.h5"}
    bs.fit(sim, SPACE, residuals, data, **nudged, steps=10)
    with pytest.raises(ParameterError, match="steps of the nudging"):
        bs.fit(sim, SPACE, residuals, data, **nudged, steps=20)


def test_a_loss_of_a_whole_batch_sees_its_trials_together(x64):
    """The variance over trials of a mean over time: 0 for a loss that sees one of them."""
    sim = passive()
    drive = np.array([4.0, 6.0, 9.0, 11.0])
    inputs = lambda data: {"c.I": data["I"]}

    def spread(result, data):
        assert result["c.v"].shape == (len(data["I"]), 400, 1) and data["I"].shape in ((2,), (4,))
        return (jnp.std(jnp.mean(result["c.v"], axis=(1, 2))) - 0.8) ** 2

    o = bs.Objective(sim, SPACE, spread, {"I": drive}, duration=40.0, inputs=inputs, batch=2, per="batch")
    means = [np.mean(sim.run(40.0, inputs={"c.I": i})["c.v"]) for i in drive]
    expected = [(np.std(means[:2]) - 0.8) ** 2, (np.std(means[2:]) - 0.8) ** 2]
    assert float(o.value(o.start(), rows=jnp.array([0, 1]))) == pytest.approx(expected[0], rel=1e-9)
    assert float(o.total(o.start())) == pytest.approx(np.mean(expected), rel=1e-9)
    fit = bs.fit(sim, SPACE, spread, {"I": drive}, duration=40.0, inputs=inputs, batch=4, per="batch", steps=20,
                 method=optax.adam(0.2))  # fmt: skip
    assert fit.loss < 0.1 * fit.losses[0, 0]
    with pytest.raises(ParameterError, match="with batch= trials in it"):
        bs.fit(sim, SPACE, spread, {"I": drive}, duration=40.0, inputs=inputs, per="batch")


def test_a_record_that_is_not_there_is_named():
    with pytest.raises(RunError, match=r"results c\.v .*'d'"):
        bs.fit(passive(), SPACE, lambda result: jnp.sum(result.spikes["d"]), **RUN, steps=1)


def recovery(noise, starts):
    """Of `tests/bench/hh_recovery.py`: relative errors (starts,), and the fit."""
    file = Path(__file__).parent / "bench" / "hh_recovery.py"
    spec = importlib.util.spec_from_file_location("hh_recovery", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.recover("nudged", noise, starts)


def test_wild_starts_find_a_spiking_membrane(x64):
    errors, _ = recovery(noise=0.0, starts=6)
    assert (errors < 0.01).sum() >= 5


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_thirty_of_32_wild_starts_find_a_spiking_membrane(noise, x64):
    errors, result = recovery(noise, starts=32)
    print(f"noise {noise} mV: {(errors < 0.01).sum()} of 32 within 1 % in {result.seconds:.1f} s")
    assert (errors < 0.01).sum() >= 30


def test_laplace_is_the_closed_form_of_a_linear_model(x64):
    sim = passive()
    clean = trace_of(sim)
    data = clean + 0.5 * np.random.default_rng(0).normal(size=clean.shape)
    only = bs.Space({"c.R": bs.positive(1.0)})
    run = {**RUN, "params": {"c.tau": 12.0}}
    result = bs.fit(sim, only, lambda result, data: (result["c.v"] - data)[:, 0], data, **run, method="lm", steps=20)
    found = result.laplace()
    x = (clean[:, 0] + 60.0) / 1.7  # the trace is linear in R
    s2 = result.loss * len(x) / (len(x) - 1)
    assert found.variance == pytest.approx(s2, rel=1e-6)
    assert found.errors["c.R"] == pytest.approx(np.sqrt(s2 / np.sum(x**2)), rel=1e-5)
    assert found.covariance.shape == (1, 1) and abs(result.params["c.R"] - 1.7) < 4 * found.errors["c.R"]
    assert np.cov(found.sample(20000).T) == pytest.approx(found.covariance[0, 0], rel=0.05)


def test_sloppy_directions_are_what_the_data_cannot_tell(x64):
    """Resistance and current enter as their product."""
    sim = passive()
    inputs = lambda extra: {"c.I": bs.step(10.0 * extra, 5.0, 25.0)}
    loss = lambda result, data: (result["c.v"] - data)[:, 0]
    only = bs.Space({"c.R": bs.positive(1.0)})
    data = trace_of(sim) + 0.1 * np.random.default_rng(0).normal(size=(400, 1))
    run = {"duration": 40.0, "inputs": inputs, "params": {"c.tau": 12.0}}
    result = bs.fit(sim, only, loss, data, **run, extra=1.0, method="lm", steps=30)
    laplace = result.laplace()
    assert len(laplace.sloppy()) == 1 and "c.R" in laplace.sloppy()[0] and "extra[0]" in laplace.sloppy()[0]
    assert laplace.eigenvalues[0] / laplace.eigenvalues[1] > 1e8
    with pytest.raises(ParameterError, match="return a vector of residuals"):
        bs.fit(sim, only, lambda result: jnp.mean(result["c.v"]), **run, extra=1.0, method="adam", steps=1).laplace()


KILLED = """
    import sys, time
    import numpy as np, optax
    import brainsim as bs
    from brainsim.models import LIF, ExpCurrent
    net = bs.Network(seed=0)
    net.add("c", LIF(v_rest=-60.0, v_th=1000.0, v_reset=-60.0), 1)
    sim = net.compile(dt=0.1, record=["c.v"])
    space = bs.Space({"c.tau": bs.bounded(2.0, 60.0, log=True), "c.R": bs.positive(1.0)})
    run = dict(duration=40.0, inputs={"c.I": bs.step(10.0, 5.0, 25.0)})
    data = np.asarray(sim.run(**run, params={"c.tau": 12.0, "c.R": 1.7})["c.v"])
    loss = lambda result, data: (result["c.v"] - data)[::5, 0]
    def slowly(step, steps, best):
        print(step, flush=True)
        time.sleep(float(sys.argv[2]))
    result = bs.fit(sim, space, loss, data, **run, starts=3, method=optax.adam(0.1), steps=100, resume=sys.argv[1] or None,
                    progress=slowly)
    print("done", result.losses.tobytes().hex(), result.vectors.tobytes().hex(), flush=True)
"""


def test_a_killed_fit_goes_on_with_the_same_bits(tmp_path):
    script = tmp_path / "fit.py"
    script.write_text(textwrap.dedent(KILLED))
    start = lambda file, pause: subprocess.Popen(
        [sys.executable, script, file, str(pause)], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    whole = start("", 0.0).communicate(timeout=300)[0].splitlines()[-1]
    file = tmp_path / "fit.h5"
    running = start(str(file), 1.0)
    until = time.monotonic() + 240
    while not file.exists() and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(running.pid, signal.SIGKILL)
    out = running.communicate()[0].splitlines()
    assert "done" not in out[-1] and int(out[-1]) < 100
    rest = start(str(file), 0.0).communicate(timeout=300)[0].splitlines()
    assert int(rest[0]) > 1 and rest[-1] == whole  # it went on and did not begin anew
    sim = passive()
    with pytest.raises(ParameterError, match="holds another fit: its"):
        bs.fit(sim, SPACE, residuals, trace_of(sim), **RUN, steps=100, starts=3, method="lm", resume=file)


def test_results_are_kept_in_files_tables_and_pictures(tmp_path):
    sim = passive()
    result = bs.fit(sim, SPACE, residuals, trace_of(sim), **RUN, method="lm", steps=10, starts=2)
    result.save(tmp_path / "fit.h5")
    again = bs.FitResult.load(tmp_path / "fit.h5")
    assert (
        again.params == result.params and np.array_equal(again.losses, result.losses) and again.labels == result.labels
    )
    table = result.table().splitlines()
    assert len(table) == 3 and "c.tau" in table[0] and table[1].endswith("ok")
    axes = result.plot()
    assert len(axes.lines) == 2 and axes.get_ylabel() == "loss"
    assert "2 of 2 starts finite" in repr(result)
    with pytest.raises(ParameterError, match="without its objective"):
        again.laplace()


def test_a_fit_stops_when_asked(x64):
    sim = passive()
    data = trace_of(sim)
    result = bs.fit(sim, SPACE, residuals, data, **RUN, method="lm", steps=200, tolerance=1e-10)
    assert result.steps < 150 and result.loss <= 1e-10
    flat = bs.fit(sim, SPACE, lambda result: jnp.mean(result["c.v"]) * 0.0, **RUN, steps=500, patience=10)
    assert flat.steps < 200


BAD = {
    "no space": (dict(space={"c.tau": 1.0}), "write bs.Space"),
    "unknown argument of the loss": (dict(loss=lambda trace, data: 0.0), "asks for 'trace'"),
    "no loss": (dict(loss=None), "give a function"),
    "matrix as a loss": (dict(loss=lambda result: result["c.v"]), "return a number, or a vector"),
    "number for residuals": (dict(loss=lambda result: jnp.mean(result["c.v"])), "needs residuals"),
    "unknown method": (dict(method="sgdd"), "there is no method"),
    "no method": (dict(method=3), "give 'lm'"),
    "clipping without gradients": (dict(clip=1.0), "leave them out"),
    "no steps": (dict(steps=0), "steps=0"),
    "no starts": (dict(starts=0), "starts=0"),
    "starts of another size": (dict(starts=np.zeros((2, 5))), "give finite vectors"),
    "starts that are nan": (dict(starts=np.full((2, 2), np.nan)), "give finite vectors"),
    "unknown noise": (dict(noise="white"), "give 'fresh' or 'same'"),
    "annealing of nothing": (dict(anneal=(1.0, 0.0)), "schedule of nudge"),
    "nudge without a name": (dict(nudge=np.zeros(400)), "give a dict"),
    "negative annealing": (dict(nudge={"c.v": np.zeros(400)}, anneal=(-1.0, 0.0)), "at least 0"),
    "nothing varies": (dict(space=bs.Space({})), "nothing varies"),
    "annealing that does not end": (dict(nudge={"c.v": np.zeros(400)}, anneal=(1.0, 0.5)), "end with 0"),
    "annealing in words": (dict(nudge={"c.v": np.zeros(400)}, anneal="fast"), "end with 0"),
    "a start that does not vary": (dict(starts=[{"c.Tau": 7.0}]), "did you mean 'c.tau'"),
    "negative clipping": (dict(method="adam", clip=-1.0), "clip=-1.0; give a positive number"),
    "clipping in words": (dict(method="adam", clip="a"), "give a positive number"),
    "large normalisation": (dict(method="adam", normalize=1.5), "up to 1"),
    "clipping without a gradient": (dict(method="cma", clip=1.0), "leave them out"),
    "fresh noise without a gradient": (dict(method="cma", noise="fresh"), "one noise"),
    "tolerance in words": (dict(tolerance="a"), "give a loss"),
    "inputs that are none": (dict(inputs=5.0), "give a dict such as"),
    "a loss and something else": (dict(loss=lambda result: (jnp.mean(result["c.v"]), 1.0)), "returns tuple"),
    "a complex loss": (dict(loss=lambda result: result["c.v"][:, 0] * 1j), "values of type complex"),
    "a start instead of starts": (dict(starts={"c.tau": 7.0}), "a list of dicts"),
    "an adjoint without derivatives": (dict(method="cma", adjoint=bs.SLTT()), "would be ignored"),
    "extra of words": (dict(extra={"a": "x"}), "give its parameters"),
    "a file in no folder": (dict(resume="nowhere/fit.h5"), "folder does not exist"),
    "a loss of known numbers": (dict(loss=lambda result: [float(result["c.v"][0, 0])]), "write it with jax.numpy"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_fits_say_what_to_write(kind):
    given, message = BAD[kind]
    sim = passive()
    args = {"space": SPACE, "loss": residuals, "data": np.zeros((400, 1)), "method": "lm", **RUN, **given}
    with pytest.raises((ParameterError, RunError, UnknownNameError), match=message):
        bs.fit(sim, **args)


def test_starts_are_numbers_of_numpy_or_have_units():
    fit = lambda starts: bs.fit(passive(), SPACE, lambda result: jnp.mean(result["c.v"]), **RUN, steps=1, starts=starts)
    assert fit(np.int64(2)).vectors.shape == (2, 2)
    np.testing.assert_array_equal(fit([{"c.tau": "7 ms"}]).vectors, fit([{"c.tau": 7.0}]).vectors)


def test_plastic_weights_vary_within_their_bounds():
    net = bs.Network(seed=0)
    net.add("in", SpikeSource(), 1)
    net.add("c", LIF(), 1)
    net.connect("in", "c", ExpCurrent(), bs.all_to_all(), weight=1.0, plasticity=STDP(), bounds=(0.0, 2.0), name="s")
    sim = net.compile(record=["c.v"])
    for how in (bs.bounded(0.0, 5.0), bs.positive(), bs.bounded(0.5, 3.0, relative=True)):
        with pytest.raises(ParameterError, match=r"the model allows \(0, 2\)"):
            bs.Space({"s.weight": how}).bind(sim)
    assert bs.Space({"s.weight": bs.bounded(0.5, 2.0)}).bind(sim).size == 1


def test_data_of_another_length_are_refused():
    sim = passive()
    with pytest.raises(RunError, match=r"the loss fails on results c.v \(400, 1\) and data of shape \(300, 1\)"):
        bs.fit(sim, SPACE, residuals, np.zeros((300, 1)), **RUN, method="lm")
