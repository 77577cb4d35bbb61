"""What map_edges refuses: what does not fit while tracing, and what lies outside when it runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsim.ops import map_edges

FLOAT, INT = np.float32, np.int32
FAILS = (ValueError, jax.errors.JaxRuntimeError)


def arguments(**changes):
    """Two near cells that both spike in step 0, with two edges and one, numbered 2, 0, 1."""
    given = dict(
        function=lambda s, n, y, w: (w + y, w), ids=np.array([[0, 1, 0], [0, 0, 0]], INT), counts=np.array([2, 0], INT),
        step=0, indptr=np.array([0, 2, 3], INT), far=np.array([0, 1, 3], INT), order=np.array([2, 0, 1], INT), span=(0, 2),
        across=np.ones(4, FLOAT), edge=np.ones(3, FLOAT), into=np.zeros(4, FLOAT),
    )  # fmt: skip
    return given | changes


OUTSIDE = [
    (dict(far=np.array([0, 4, 3], INT)), [1, 2, 2], [1, 0, 0, 1]),
    (dict(far=np.array([0, -1, 3], INT)), [1, 2, 2], [1, 0, 0, 1]),
    (dict(order=np.array([2, 0, 3], INT)), [2, 1, 2], [1, 1, 0, 0]),
    (dict(order=np.array([-1, 0, 1], INT)), [2, 2, 1], [0, 1, 0, 1]),
    (dict(across=np.ones((3, 4), FLOAT), far=np.array([0, 12, 3], INT)), [1, 2, 2], [1, 0, 0, 1]),
    (dict(across=np.ones((3, 4), FLOAT), far=np.array([0, -1, 3], INT)), [1, 2, 2], [1, 0, 0, 1]),
    (dict(packed=True, far=np.array([4, -4, 7], INT)), [1, 2, 2], [1, 0, 0, 1]),
]


@pytest.mark.parametrize("changes, edges, sums", OUTSIDE)
def test_edges_outside_are_an_error_or_are_dropped(changes, edges, sums):
    with pytest.raises(FAILS, match=r"an edge of map_edges points outside.*pass the arrays of this graph"):
        jax.block_until_ready(map_edges(**arguments(**changes), backend="native"))
    new, total = map_edges(**arguments(**changes), backend="xla")
    assert (new.tolist(), total.tolist()) == (edges, sums)


@pytest.mark.parametrize("indptr", [[0, 2, 4], [-1, 2, 3], [0, -1, 3]])
def test_rows_outside_are_an_error(indptr):
    with pytest.raises(FAILS, match="points outside"):
        jax.block_until_ready(map_edges(**arguments(indptr=np.array(indptr, INT)), backend="native"))


def test_what_lies_outside_is_not_looked_at_where_no_cell_spikes():
    quiet = arguments(counts=np.zeros(2, INT), far=np.full(3, 99, INT), order=np.full(3, -5, INT))
    new, total = map_edges(**quiet, backend="native")
    assert (new.tolist(), total.tolist()) == ([1] * 3, [0] * 4)


@pytest.mark.parametrize("changes, message", [
    (dict(counts=np.array([4, 0], INT)), "overflowed"), (dict(counts=np.array([-1, 0], INT)), "overflowed"),
    (dict(ids=np.array([[1, 0, 0], [0, 0, 0]], INT)), "do not ascend"),
    (dict(ids=np.array([[1, 1, 0], [0, 0, 0]], INT)), "do not ascend"),
])  # fmt: skip
def test_lists_that_overflow_or_fall_are_an_error(changes, message):
    with pytest.raises(FAILS, match=message):
        jax.block_until_ready(map_edges(**arguments(**changes), backend="native"))


@pytest.mark.parametrize("changes, message", [
    (dict(ids=np.zeros((2, 3))), "ids has dtype float64"), (dict(counts=np.zeros(3, INT)), "a count for each"),
    (dict(ids=np.zeros((0, 3), INT), counts=np.zeros(0, INT)), "at least one"), (dict(step=0.5), "step has dtype"),
    (dict(span=3), "span is 3"), (dict(span=(-1, 2)), "first cell of span is -1"), (dict(span=(2**31 - 2, 2)), "int32"),
    (dict(indptr=np.zeros(4, INT)), "2 pieces"), (dict(n_delays=2), "4 pieces"), (dict(n_delays=0), "n_delays is 0"),
    (dict(n_delays=3), "has 2 rows"), (dict(far=np.zeros(3)), "far has dtype"),
    (dict(order=np.zeros(2, INT)), "order has length 2"), (dict(order=None, edge=np.ones(4, FLOAT)), "leaf 0 of edge"),
    (dict(edge=np.ones(3, np.complex64)), "complex64"), (dict(edge=np.ones((3, 1), FLOAT)), "leaf 0 of edge"),
    (dict(edge=np.ones(0, FLOAT)), "has no values"), (dict(across=(), into=np.ones(0, FLOAT)), "has no values"),
    (dict(across=np.ones((0, 4), FLOAT)), "has no values"), (dict(across=np.ones(5, FLOAT)), "leaf 0 of into"),
    (dict(across=np.ones((2, 4), FLOAT), packed=False), "packed is False"),
    (dict(across=(np.ones((2, 4), FLOAT), np.ones((3, 4), FLOAT))), "leaf 1 of across"),
    (dict(near=np.ones(3, FLOAT)), "leaf 0 of near"), (dict(near=np.ones((3, 2), FLOAT)), r"\(2,\) or \(2, 2\)"),
    (dict(shared=np.ones(2, FLOAT)), "leaf 0 of shared"), (dict(into=np.ones(4, INT)), "float32 or float64"),
    (dict(function=lambda s, n, y, w: w), "returns two things"),
    (dict(function=lambda s, n, y, w: ((w,), w)), "in the same tree"),
    (dict(function=lambda s, n, y, w: (w > 0, w)), "returns bool"),
    (dict(function=lambda s, n, y, w: (w, w.astype("int32"))), "returns int32"),
    (dict(function=lambda s, n, y, w: (jnp.ones(2, FLOAT), w)), r"returns float32\(2,\)"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_while_tracing(changes, message):
    with pytest.raises(ValueError, match=message):
        map_edges(**arguments(**changes))
