"""Distances, profiles, and connection by distance."""

import doctest
import math

import numpy as np
import pytest
import scipy.spatial

from brainsim import spatial
from brainsim.distributions import generator
from brainsim.errors import BrainsimError
from brainsim.spatial import distance_dependent, distances, exponential_decay, gaussian, pairs_within

POINTS = generator(0, "points").uniform(0, 100, (12, 2))


def draw(rule, n_pre, n_post, **options):
    return rule.edges(n_pre, n_post, generator(0, "draw"), **options)


def pairs(edges):
    return list(zip(edges.pre.tolist(), edges.post.tolist()))


def refused(call):
    with pytest.raises(BrainsimError) as error:
        call()
    return str(error.value)


def test_distances():
    a, b = np.array([[0.0, 0.0], [90.0, 0.0]]), np.array([[3.0, 4.0], [10.0, 0.0]])
    assert distances(a, b).tolist() == [5.0, 80.0]
    assert distances(a, b, periodic=100.0) == pytest.approx([5.0, 20.0])
    assert distances(a[:, None], b[None], periodic=(100.0, 5.0)).shape == (2, 2)
    assert distances(a[0], b[0], periodic=(100.0, 5.0)) == pytest.approx(math.hypot(3, 1))


@pytest.mark.parametrize("periodic", [None, 100.0, (100.0, 130.0)])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_tree_changes_nothing(periodic, d, monkeypatch):
    if periodic is not None and d != 2:
        periodic = 100.0
    a, b = (generator(0, side).uniform(-20, 120, (n, d)) for side, n in (("a", 40), ("b", 50)))
    rule = distance_dependent(gaussian(20.0), max_distance=30.0, periodic=periodic)
    plain = pairs(draw(rule, 40, 50, pre_positions=a, post_positions=b))
    monkeypatch.setattr(spatial, "BLOCK", 50)
    calls = []
    tree = scipy.spatial.cKDTree
    monkeypatch.setattr(scipy.spatial, "cKDTree", lambda *x, **k: (calls.append(1), tree(*x, **k))[1])
    assert pairs(draw(rule, 40, 50, pre_positions=a, post_positions=b)) == plain and calls and plain
    expected = [(i, j) for i in range(40) for j in range(50) if distances(a[i], b[j], periodic) <= 30.0]
    found = [(i, j) for block in pairs_within(a, b, 30.0, periodic) for i, j in zip(*(x.tolist() for x in block[:2]))]
    assert found == expected


def test_probability_follows_the_profile():
    a = np.array([[0.0, 0.0]])
    b = np.column_stack([np.repeat([0.0, 50.0, 100.0], 4000), np.zeros(12000)])
    edges = draw(distance_dependent(gaussian(50.0, 0.8)), 1, 12000, pre_positions=a, post_positions=b)
    counts = np.bincount(edges.post // 4000, minlength=3)
    for count, p in zip(counts, 0.8 * np.exp([0, -0.5, -2])):
        assert abs(count - 4000 * p) < 4 * math.sqrt(4000 * p * (1 - p))
    rule = distance_dependent(gaussian(50.0, 0.8), max_distance="0.06 mm")
    near = draw(rule, 1, 12000, pre_positions=a, post_positions=b)
    assert near.post.max() < 8000 < edges.post.max()


def test_profiles():
    assert gaussian("0.1 mm") == gaussian(100.0) and gaussian(100.0)(100.0) == pytest.approx(math.exp(-0.5))
    assert exponential_decay(50.0, 0.5)(np.array([0.0, 50.0])) == pytest.approx([0.5, 0.5 / math.e])
    assert repr(gaussian(100.0, 0.5)) == "gaussian(sigma=100.0, p_max=0.5)"
    assert "gaussian: sigma must be above 0 um, got -1" in refused(lambda: gaussian(-1))
    assert "exponential_decay: lambda_ needs length (um), got '3 ms'" in refused(lambda: exponential_decay("3 ms"))


@pytest.mark.parametrize("rule, options, text", [
    (distance_dependent(gaussian(1.0)), {},
     "needs positions of the pre cells; give net.add positions= of shape (12, 2)"),
    (distance_dependent(gaussian(1.0)), dict(pre_positions=POINTS), "needs positions of the post cells"),
    (distance_dependent(gaussian(1.0)), dict(pre_positions=POINTS[:3]), "positions of the pre cells have shape (3, 2)"),
    (distance_dependent(lambda d: d), dict(pre_positions=POINTS, post_positions=POINTS), "it must lie between 0 and 1"),
    (distance_dependent(lambda d: -d - 1), dict(pre_positions=POINTS, post_positions=POINTS),
     "the profile gives -1 at 0 um"),
    (distance_dependent(lambda d: d[:2]), dict(pre_positions=POINTS, post_positions=POINTS),
     "shape (2,) for 144 distances"),
    (distance_dependent(lambda d: d * np.nan), dict(pre_positions=POINTS, post_positions=POINTS),
     "must be finite, got nan"),
    (distance_dependent(gaussian(1.0)), dict(pre_positions=POINTS * np.nan),
     "positions of the pre cells must be finite"),
])  # fmt: skip
def test_bad_space(rule, options, text):
    assert text in refused(lambda: draw(rule, 12, 12, **options))


def test_doctests():
    assert doctest.testmod(spatial).failed == 0 < doctest.testmod(spatial).attempted
