"""What the operators on lists of spikes refuse: wrong shapes and dtypes while tracing, what is outside when it runs."""

import jax
import numpy as np
import pytest

from brainsim.ops import lists

FAILS = (ValueError, jax.errors.JaxRuntimeError)


def arguments(**changes):
    rng = np.random.default_rng(0)
    indptr, targets, delays = np.arange(0, 301, 20)[:17], rng.integers(0, 23, 300), rng.integers(0, 5, 300)
    indptr, targets, delays = (a.astype(np.int32) for a in (np.append(indptr, 300), targets, delays))
    given = dict(
        ring=np.zeros((5, 23), np.float32), ids=np.arange(4, dtype=np.int32), count=np.int32(4), weights=1.0,
        parts=np.array([[0, 16, 0]], np.int32), indptr=indptr, indices=targets, delays=delays, step=0,
    )  # fmt: skip
    return {**given, **changes}


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(count=np.int32(5)), "the list of spikes has overflowed"),
        (dict(count=np.int32(-1)), "the list of spikes has overflowed"),
        (dict(ids=np.array([3, 1, 2, 9], np.int32), parts=np.array([[2, 3, 0]], np.int32)), "must ascend"),
        (dict(parts=np.array([[0, 20, 14]], np.int32)), "a.* edge points outside: parts must name rows"),
        (dict(parts=np.array([[0, 20, -1]], np.int32)), "edge points outside"),
        (dict(indices=np.full(300, 23, np.int32)), "edge points outside"),
        (dict(indices=np.full(300, -1, np.int32), delays=None), "edge points outside"),
        (dict(indptr=np.arange(17, dtype=np.int32) * 1000), "edge points outside"),
    ],
)
def test_native_delivery_refuses_what_is_outside(changes, message):
    with pytest.raises(FAILS, match=message):
        jax.block_until_ready(lists.deliver_list(**arguments(**changes), backend="native"))


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(ids=np.zeros(4)), r"ids has dtype float64, but it must be int32; convert"),
        (dict(ids=np.zeros((2, 4), np.int32)), "ids has shape .* one axis; use jax.vmap"),
        (dict(count=np.zeros(1, np.int32)), "count has shape"),
        (dict(count=4.0), "count has dtype float64"),
        (dict(parts=np.zeros((2, 2), np.int32)), r"parts have shape \(2, 2\), but .*; pass \(n_parts, 3\)"),
        (dict(parts=np.zeros(3, np.int32)), "parts has shape"),
        (dict(n_blocks=3), "indptr has length 17, but 3 blocks split every row; pass n_rows"),
        (dict(n_blocks=0), "n_blocks is 0, but it is at least 1; pass 1 or more"),
        (dict(n_blocks=2.0), "n_blocks is 2.0, but it is static; pass a Python int"),
        (dict(weights=np.ones(7, np.float32)), "weights have shape"),
        (dict(ring=np.zeros((2, 9), np.int32)), "ring has dtype int32"),
        (dict(delays=np.zeros(3, np.int32)), "delays have length 3"),
        (dict(row=0), "ids has shape .* two axes"),
        (dict(row=0, ids=np.zeros((2, 4), np.int32), count=np.zeros(3, np.int32)), "counts have length 3, but the history has 2 rows"),
        (dict(row=0, ids=np.zeros((0, 4), np.int32), count=np.zeros(0, np.int32)), "it needs a row"),
    ],
)  # fmt: skip
def test_deliver_list_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        lists.deliver_list(**arguments(**changes))


def test_weights_wider_than_the_ring_are_refused(x64):
    with pytest.raises(ValueError, match="weights are float64, but the values they meet are float32"):
        lists.deliver_list(**arguments(weights=np.ones(300)))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: lists.compact(np.zeros(3, np.int32)), "spikes has dtype int32, but it must be bool or"),
        (lambda: lists.compact(np.zeros((2, 3), bool)), "spikes has shape"),
        (lambda: lists.compact(np.zeros(3, bool), -1), "capacity is -1, but it is at least 0; pass 0 or more"),
        (lambda: lists.compact(np.zeros(3, bool), 2.5), "capacity is 2.5, but it is static"),
        (lambda: lists.push_list(np.zeros((2, 3)), np.zeros(2, np.int32), np.zeros(3, bool), 0), "history_ids has dtype"),
        (lambda: lists.push_list(np.zeros((2, 3), np.int32), np.zeros(3, np.int32), np.zeros(3, bool), 0), "counts have length 3"),
        (lambda: lists.block_edges([0, 2], [0, 5], 5, 2), r"targets\[1\] = 5, but it is outside \[0, 5\)"),
        (lambda: lists.block_edges([0, 1], [0, 1], 5, 2), "indptr does not fit"),
        (lambda: lists.block_edges([0, 2, 1, 2], [0, 1], 5, 2), "indptr falls"),
    ],
)  # fmt: skip
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
