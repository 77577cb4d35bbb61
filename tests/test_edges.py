"""Edges: order, columns, checks on the host."""

import numpy as np
import pytest

from brainsim.edges import Edges
from brainsim.errors import BrainsimError


def pairs(edges):
    return list(zip(edges.pre.tolist(), edges.post.tolist()))


def refused(call):
    with pytest.raises(BrainsimError) as error:
        call()
    return str(error.value)


def test_edges_are_sorted_and_columns_follow():
    edges = Edges([2, 0, 0, 1], [0, 1, 0, 2], 3, 3, weight=[1, 2, 3, 4], delay=[4.0, 3.0, 2.0, 1.0])
    assert pairs(edges) == [(0, 0), (0, 1), (1, 2), (2, 0)]
    assert edges.weight.tolist() == [3, 2, 4, 1] and edges.delay.tolist() == [2, 3, 1, 4]
    assert edges.pre.dtype == edges.post.dtype == np.int32 and edges.weight.dtype == np.float64
    assert len(edges) == 4 and edges.duplicates == 0
    assert edges.in_degree.tolist() == [2, 1, 1] and edges.out_degree.tolist() == [2, 1, 1]


def test_duplicates_are_kept_in_order_and_counted():
    edges = Edges([1, 0, 1, 1], [0, 0, 0, 0], 2, 1, weight=[1, 2, 3, 4])
    assert pairs(edges) == [(0, 0), (1, 0), (1, 0), (1, 0)] and edges.weight.tolist() == [2, 1, 3, 4]
    assert edges.duplicates == 2
    many = Edges(np.arange(200) % 2, np.zeros(200), 2, 1, weight=np.arange(200))
    assert many.weight.tolist() == [*range(0, 200, 2), *range(1, 200, 2)]
    assert repr(edges) == "Edges(2 -> 1 cells, 4 edges, 2 duplicates, with weight)"


def test_edges_are_frozen_and_take_what_files_give():
    edges = Edges(np.array([0.0, 1.0]), np.array([1, 0], np.uint8), 2, 2, delay=1.5)
    assert edges.pre.tolist() == [0, 1] and edges.delay.tolist() == [1.5, 1.5]
    with pytest.raises(AttributeError):
        edges.pre = 1
    assert len(Edges([], [], 0, 0)) == 0


@pytest.mark.parametrize("arguments, text", [
    (([0, 3, 9], [0, 0, 0], 3, 1),
     "row 1: pre=3, but there are 3 pre cells, with indices 0 to 2 (2 rows are out of range)"),
    (([0, 1], [0, -1], 3, 5), "row 1: post=-1, but there are 5 post cells, with indices 0 to 4; counting starts at 0"),
    (([0], [0], 1, 0), "row 0: post=0, but there are no post cells"),
    (([0, 1], [0], 3, 3), "2 values of pre but 1 of post"),
    (([0, 1.5], [0, 0], 3, 3), "row 1: pre=1.5 is not an index"),
    (([0, np.nan], [0, 0], 3, 3), "row 1: pre=nan is not an index"),
    (([[0]], [[0]], 3, 3), "pre must be a list of indices, got int64 of shape (1, 1)"),
    (([True], [0], 3, 3), "write numpy.flatnonzero(mask)"), ((["a"], [0], 3, 3), "pre must be a list of indices"),
    (([0], [0], 1, 1, [1.0, 2.0]), "weight has 2 values (float64), but there are 1 edges; give 1 numbers"),
    (([0], [0], 1, 1, [[1.0]]), "weight has shape (1, 1)"),
    (([0, 0], [0, 0], 1, 1, [1.0, np.nan]), "row 1: weight=nan must be finite"),
    (([0, 0], [0, 0], 1, 1, None, [1.0, -0.1]), "row 1: delay=-0.1 must be finite and at least 0 ms"),
    (([0], [0], 1, 1, None, [np.inf]), "row 0: delay=inf must be finite"),
    (([2**40], [0], 3, 3), "row 0: pre=1099511627776, but"),
])  # fmt: skip
def test_bad_edges(arguments, text):
    assert text in refused(lambda: Edges(*arguments))
