"""Inner loops of the native CPU operators: one row of the graph at a time, in numba.

Imports numba, so import it only through `native.py`. Every function says whether all targets were inside their array:
a target outside stops the walk and becomes an error of the XLA call, never a read or write outside.
"""

import numpy as np
from numba import njit

from .call_frame import ARGUMENTS, widen
from .kernel_frame import INT32, PRED, element

INDPTR, INDICES, DELAYS, STEP, ACTIVE = 2, 3, 4, 5, 6  # argument numbers of the graph
GRAPH = ((INT32, 1), (INT32, 1), (INT32, 1), (INT32, 0), (PRED, 1))  # their dtype codes and ranks
CHUNK = 64  # edges whose targets are worked out together


@njit(error_model="numpy")
def ring_base(frame, n_batch, flat, n_slots):
    """Slot of the current step."""
    return np.int64(element(frame, ARGUMENTS, STEP, n_batch, flat, 0, np.int32)[0]) % n_slots if n_slots > 0 else 0


@njit(error_model="numpy", inline="always")
def address(e, indices, delays, has_delays, slot, n_slots, n_post):
    """Flat target of edge `e` in (n_slots, n_post), or -1 where it is outside.

    Packed edges hold delay * n_post + target in `indices`; otherwise the delay is read beside it.
    """
    total = n_slots * n_post
    target = np.int64(indices[e])
    if has_delays:
        if target < 0 or target >= n_post:
            return np.int64(-1)
        row = slot + np.int64(delays[e])
        row += n_slots * (np.int64(row < 0) - np.int64(row >= n_slots))  # no branch: half of random delays wrap
        if row < 0 or row >= n_slots:  # a delay beyond the ring: rare, so the slow modulo waits for it
            row = row % n_slots
        return row * n_post + target
    if target < 0 or target >= total:
        return np.int64(-1)
    target += slot * n_post
    return target - total * np.int64(target >= total)


@njit(error_model="numpy")
def locate(first, count, indices, delays, has_delays, slot, n_slots, n_post, places):
    """Flat targets of `count` edges into `places`; False where one needs the care of `address`.

    No branch and 32-bit arithmetic: the loops vectorise, which halves the cost of an event.
    """
    odd = np.uint32(0)
    if has_delays:
        if n_slots > 2**30:
            return False  # slot + delay could pass int32
        for k in range(count):
            target, row = indices[first + k], np.int32(slot + delays[first + k])
            row = np.int32(row + n_slots * (np.int32(row < 0) - np.int32(row >= n_slots)))
            odd |= np.uint32(np.uint32(target) >= np.uint32(n_post)) | np.uint32(np.uint32(row) >= np.uint32(n_slots))
            places[k] = np.int32(row * np.int32(n_post) + target)
        return odd == 0
    total = np.int32(n_slots * n_post)
    shift = np.int32(slot * n_post - n_slots * n_post)
    for k in range(count):
        target = indices[first + k]
        odd |= np.uint32(np.uint32(target) >= np.uint32(total))
        place = np.int32(target + shift)
        places[k] = np.int32(place + total * np.int32(place < 0))
    return odd == 0


@njit(error_model="numpy")
def scatter_row(lo, hi, value, w, w_step, indices, delays, has_delays, slot, n_slots, n_post, out, places):
    """out[address(e)] += value * w[e] over one row; False at the first target outside. `places`: room for CHUNK."""
    for first in range(lo, hi, CHUNK):
        count = min(CHUNK, hi - first)
        if not locate(first, count, indices, delays, has_delays, slot, n_slots, n_post, places):
            for k in range(count):
                a = address(first + k, indices, delays, has_delays, slot, n_slots, n_post)
                if a < 0:
                    return False
                places[k] = np.int32(a)
        if w_step == 0:
            product = value * type(value)(widen(w[0]))
            for k in range(count):
                out[places[k]] += product
        else:
            for k in range(count):
                out[places[k]] += value * type(value)(widen(w[first + k]))
    return True


@njit(error_model="numpy")
def outer_row(lo, hi, value, x, g_step, indices, delays, has_delays, slot, n_slots, n_post, g):
    """g[e] += value * x[address(e)] over one row; False at the first target outside."""
    for e in range(lo, hi):
        a = address(e, indices, delays, has_delays, slot, n_slots, n_post)
        if a < 0:
            return False
        g[e * g_step] += value * x[a]
    return True


@njit(error_model="numpy")
def gather_row(lo, hi, zero, x, w, w_step, indices, delays, has_delays, slot, n_slots, n_post):
    """(sum of w[e] * x[address(e)] over one row, whether all targets were inside).

    Four partial sums hide the latency of the additions; their order is fixed, so the bits are.
    """
    a0, a1, a2, a3 = zero, zero, zero, zero
    e = lo
    while e + 4 <= hi:
        i = address(e, indices, delays, has_delays, slot, n_slots, n_post)
        j = address(e + 1, indices, delays, has_delays, slot, n_slots, n_post)
        k = address(e + 2, indices, delays, has_delays, slot, n_slots, n_post)
        m = address(e + 3, indices, delays, has_delays, slot, n_slots, n_post)
        if (i | j | k | m) < 0:
            return zero, False
        a0 += type(zero)(widen(w[e * w_step])) * x[i]
        a1 += type(zero)(widen(w[(e + 1) * w_step])) * x[j]
        a2 += type(zero)(widen(w[(e + 2) * w_step])) * x[k]
        a3 += type(zero)(widen(w[(e + 3) * w_step])) * x[m]
        e += 4
    while e < hi:
        i = address(e, indices, delays, has_delays, slot, n_slots, n_post)
        if i < 0:
            return zero, False
        a0 += type(zero)(widen(w[e * w_step])) * x[i]
        e += 1
    return (a0 + a1) + (a2 + a3), True
