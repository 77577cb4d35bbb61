"""The touched worm: its cycle, ablations, growth rates and derivatives, and what `brainsim demo` says of them.

tests/test_connectome.py has counts, orientation, thresholds, the eigenvalue at the Hopf point, and runs of 30 s (1.0e4,
1.4e4, and 2.0e4 without PVC).
"""

import csv
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import check_gradient

import brainsim as bs
from brainsim.models.circuits import worm, worm_demo, worm_figure, worm_stability

KNOWN = json.loads((Path(__file__).resolve().parent.parent / "reference" / "worm.json").read_text())
GAIN = {"power": 1.0, "derivative": -47.0, "difference": -47.0}


@pytest.fixture(scope="module")
def celegans():
    return worm.celegans()


@pytest.fixture(scope="module")
def runs():
    """Touches of 20 s, as `brainsim demo --quick` makes them: (amplitude, ablated) -> (row, result)."""
    return worm_demo.touch(lambda text: None, quick=True)


@pytest.fixture(scope="module")
def rows(runs):
    return [row for row, _ in runs.values()]


@pytest.fixture(scope="module")
def stability():
    """What `worm_demo.stability` finds, from the reference: finding it takes half a minute."""
    rates = {float(amplitude): (complex(*value), None) for amplitude, value in KNOWN["leading"].items()}
    return dict(worm_stability.REFERENCE), rates


@pytest.fixture(scope="module")
def exact(celegans):
    """The network in float64."""
    with jax.enable_x64(True):
        return worm.touch_simulation(celegans)


def at_fixed_point(sim, connectome, amplitude, noise=0.0):
    """Parameters that start the run at the fixed point of a touch, the voltages off by `noise` mV."""
    params = {**sim.params, "neurons.I_bias": jnp.asarray(worm.plm_touch(amplitude, connectome))}
    v = worm.resting_voltage(params, connectome)
    off = noise * np.random.default_rng(0).normal(size=v.shape)
    return {**params, "neurons.v(0)": v + off, "chemical.s(0)": jnp.full(v.shape, 1 / 11)}, np.asarray(v)


def test_cycle_of_two_modes(runs):
    row, result = runs[2.0e4, None]
    assert row["period"] == pytest.approx(KNOWN["runs"][3]["period_s"], rel=0.02)
    assert row["energy"] >= 0.99
    assert row["amplitude_mV"] == pytest.approx(KNOWN["runs"][3]["amplitude_mV"], rel=0.05)
    assert result.ok and result.traces["neurons.v"].values.shape == (4000, 279)


@pytest.mark.parametrize("touched, outcome", [
    ((1.0e4, None), "settles"), ((2.0e4, "PVC"), "settles"), ((2.0e4, "AVB"), "cycles"),
])  # fmt: skip
def test_signs(runs, touched, outcome):
    assert runs[touched][0]["outcome"] == outcome


def test_touch_of_the_tail_reaches_the_head(celegans, runs):
    """The forward motor neurons of the head move with the cycle; in the ablated worm they rest."""
    head = celegans.ids(["DB1", "DB2", "VB1", "VB2"])
    moves = {lost: worm_figure.deviation(runs[2.0e4, lost][1], 10_000.0)[head] for lost in (None, "PVC")}
    assert (moves[None] > 0.3).all() and (moves["PVC"] < 0.01).all()


def test_ablation_by_parameters_is_ablation_of_the_connectome(celegans):
    """Weights of 0 in the compiled program, against a network built without those weights."""
    sim = worm.touch_simulation(celegans)
    params = {**sim.params, "neurons.I_bias": worm.plm_touch(2.0e4)}
    one = sim.run(1_000.0, params=worm.ablate(params, celegans, class_="AVA"))["neurons.v"]
    other = worm.worm_network(celegans.ablate(class_="AVA"), amplitude=2.0e4)
    two = other.run(1_000.0, dt=1.0, record=[bs.trace("neurons.v", every=5.0)])["neurons.v"]
    np.testing.assert_allclose(one, two, rtol=2e-5, atol=2e-3)
    assert abs(one - sim.run(1_000.0, params=params)["neurons.v"]).max() > 1.0


def test_fixed_point_is_exact(celegans, exact, x64):
    """(v_th, 1/11) under the present input stays where it is, although it is unstable there."""
    params, v = at_fixed_point(exact, celegans, 2.0e4)
    values = exact.run(500.0, params=params)["neurons.v"]
    assert abs(values - v).max() < 1e-8 and v.max() > 1e3


@pytest.mark.parametrize("amplitude", [1.0e4, 2.0e4])
def test_small_deviations_grow_as_the_eigenvalue_says(celegans, exact, amplitude, x64):
    """Propagator of the first two modes of the motor neurons, fitted over 2 s; the step of 1 ms biases it."""
    params, v = at_fixed_point(exact, celegans, amplitude, noise=1e-6)
    trace = exact.run(5_000.0, params=params).traces["neurons.v"]
    late = (trace.values - v)[600:, celegans.ids(class_=worm.MOTOR)]
    x = late @ np.linalg.svd(late, full_matrices=False)[2][:2].T
    step = np.linalg.lstsq(x[:-20], x[20:], rcond=None)[0]  # over 100 ms
    rate = np.log(np.linalg.eigvals(step).astype(complex)) / 0.1
    known = complex(*KNOWN["leading"][f"{amplitude:.4g}"])
    assert rate[rate.imag.argmax()] == pytest.approx(known, rel=0.03)


@pytest.mark.slow
def test_hopf_point():
    hopf, rates = worm_demo.stability(lambda text: None, [1.0e4, 2.0e4])
    known = KNOWN["hopf"]
    assert hopf["amplitude"] == pytest.approx(known["amplitude"], rel=1e-8)
    assert hopf["omega"] == pytest.approx(known["omega_per_s"], rel=1e-6)
    assert hopf["slope"] == pytest.approx(known["slope_per_s_per_1e4"], rel=1e-5)
    assert worm_stability.REFERENCE == pytest.approx(dict(zip(hopf, known.values())), rel=1e-5)
    for amplitude, (value, _) in rates.items():
        if f"{amplitude:.4g}" in KNOWN["leading"]:
            assert value == pytest.approx(complex(*KNOWN["leading"][f"{amplitude:.4g}"]), rel=1e-6)


def test_growth_rate_needs_no_x64_outside():
    assert not jax.config.jax_enable_x64
    value, slope = worm_stability.growth()(1.2e4)
    assert (value.real, value.imag) == pytest.approx(KNOWN["leading"]["1.2e+04"], rel=1e-6)
    assert slope.real == pytest.approx(3.0357, rel=1e-4)


def test_gradient_of_the_motor_power(celegans, exact, x64):
    """Reverse and forward mode against central differences; the thresholds move with the parameters."""
    base = {**exact.params, "neurons.I_bias": jnp.asarray(worm.plm_touch(2.0e4, celegans))}
    names = ("chemical.g", "chemical.beta", "gap.g", "neurons.E_L", "neurons.C")

    def power(scale):
        return worm.motor_power({**base, **{k: scale[k] * base[k] for k in names}}, exact, celegans, 500.0)

    gradient = check_gradient(jax.jit(power), {k: jnp.ones(()) for k in names}, directions=2)
    assert all(abs(value) > 1e-3 for value in gradient.values())


def test_report_has_a_line_for_every_run(rows):
    text = worm_demo.report(rows)
    assert text.count("(cycles)") == 2 and text.count("(settles)") == 2 and "SciPy" in text and "Kunert" in text
    assert "1.81" in text and "(1.806)" in text


def test_table(rows, tmp_path):
    worm_demo.write_table(tmp_path / "table.csv", rows)
    with (tmp_path / "table.csv").open() as file:
        read = list(csv.DictReader(file))
    assert [row["outcome"] for row in read] == [row["reference_outcome"] for row in read]
    assert float(read[1]["period_s"]) == pytest.approx(float(read[1]["reference_period_s"]), rel=0.02)
    assert (read[2]["ablated"], read[2]["period_s"]) == ("PVC", "nan")


def test_picture(celegans, runs, stability, tmp_path):
    hopf, rates = stability
    figure = worm_figure.touch_figure(celegans, runs, rates, hopf)
    titles = " ".join(ax.get_title(loc="left") for ax in figure.axes)
    assert "needs PVC, not AVB" in titles and "279 cells" in titles
    labels = {ax.get_xlabel() for ax in figure.axes}
    assert {"time (s)", "mode 1 (mV)", "touch of PLML and PLMR, each (nA)"} <= labels
    worm_figure.save(figure, tmp_path / "worm.png")
    assert 50_000 < (tmp_path / "worm.png").stat().st_size < 200_000


def test_heat_map_lists_every_motor_neuron_once(celegans):
    order = worm_figure.motor_order(celegans)
    assert sorted(order) == list(range(74))
    ids = celegans.ids(class_=worm.MOTOR)[order]
    assert [celegans.names[i] for i in ids[[0, 8, 9, -1]]] == ["DA1", "DA9", "DB2", "VC5"]


def test_demo_ends_with_1_if_the_worm_misbehaves(runs, stability, tmp_path, monkeypatch, capsys):
    """The same work as the command, on runs that are already made: all good, then one that does not stop."""
    monkeypatch.setattr(worm_demo, "touch", lambda told, quick: runs)
    monkeypatch.setattr(worm_demo, "stability", lambda told, amplitudes: stability)
    monkeypatch.setattr(worm, "gain_derivative", lambda duration: GAIN)
    monkeypatch.setattr(worm_figure, "save", lambda figure, path: None)
    assert worm_demo.main(tmp_path / "new") == 0
    said = capsys.readouterr().out
    assert said.count("\nPASS") == 9 and "FAIL" not in said and "2194 chemical edges (6394 synapses)" in said
    trace = bs.load(tmp_path / "new" / "worm.h5").traces["neurons.v"]
    np.testing.assert_array_equal(trace.values, runs[2.0e4, None][1].traces["neurons.v"].values)
    row, result = runs[2.0e4, "PVC"]
    monkeypatch.setitem(runs, (2.0e4, "PVC"), ({**row, "outcome": "cycles"}, result))
    assert worm_demo.main(tmp_path) == 1
    assert "FAIL  without PVC the cycle stops" in capsys.readouterr().out


@pytest.mark.parametrize("change, failed", [
    ({"period": 1.70}, 1), ({"period": np.nan, "energy": np.nan, "outcome": "settles"}, 2), ({"energy": 0.9}, 1),
])  # fmt: skip
def test_judge_sees_a_wrong_cycle(rows, stability, change, failed):
    given = [{**row, **change} if (row["amplitude"], row["ablated"]) == (2.0e4, None) else row for row in rows]
    verdict = worm_demo.judge(given, worm_demo.COUNTS, stability[0], GAIN)
    assert sum(not kept for kept, _ in verdict) == failed


@pytest.mark.slow
def test_all_touches_match_the_reference():
    """30 s each; exponential Euler at 1 ms is up to 1 % slow."""
    found = worm.touch_experiment((1.0e4, 1.3e4, 1.4e4, 2.0e4, 3.0e4), ("PVC", "DVA", "AVA", "AVB", "LUA"))
    assert len(found) == len(worm.REFERENCE)
    for row in found:
        known = row["reference"]
        assert row["outcome"] == ("settles" if known is None else "cycles"), row
        if known is not None:
            assert row["period"] == pytest.approx(known[0], rel=0.02)
            assert row["energy"] == pytest.approx(known[1], abs=1e-3)
            assert row["amplitude_mV"] == pytest.approx(known[2], rel=0.06)


@pytest.mark.slow
def test_period_converges_with_first_order():
    """The bias of the step halves with the step; extrapolated, the period is that of the reference."""
    one, half = (worm.touch_experiment([1.4e4], (), dt=dt)[0]["period"] for dt in (1.0, 0.5))
    known = worm.REFERENCE[1.4e4, None][0]
    assert (one - known) / (half - known) == pytest.approx(2.0, rel=0.2)
    assert 2 * half - one == pytest.approx(known, rel=1e-3)


@pytest.mark.slow
def test_cycle_forgets_how_it_began():
    period = [worm.touch_experiment([2.0e4], (), seed=seed)[0]["period"] for seed in (0, 1)]
    assert period[0] == pytest.approx(period[1], rel=1e-3)
