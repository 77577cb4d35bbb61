"""Work in parts on all cores: the generators, sorts and copies of NumPy release the interpreter lock."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice


def cores() -> int:
    """Cores that this process may use; the environment variable NPROC lowers the number, as it does for XLA."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        allowed = os.cpu_count() or 1
    asked = os.environ.get("NPROC", "")
    return min(allowed, int(asked)) if asked.isdecimal() and int(asked) else allowed


def in_order(function: Callable, jobs: Iterable) -> Iterator:
    """Results of function(job) in the order of the jobs, computed by as many threads as there are cores.

    Few results wait at any time, so memory does not grow with the number of jobs. One job, or one core, needs no
    thread. An exception of a job is raised when its result is due.
    """
    jobs, workers = iter(jobs), cores()
    first = list(islice(jobs, 2))
    if workers == 1 or len(first) < 2:
        yield from map(function, chain(first, jobs))
        return
    waiting = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for job in chain(first, jobs):
                waiting.append(pool.submit(function, job))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for left in waiting:
                left.cancel()


def for_all(function: Callable, jobs: Iterable) -> None:
    """Call function(job) for every job; see `in_order`."""
    deque(in_order(function, jobs), maxlen=0)


@contextmanager
def native_threads(most: int | None):
    """At most so many threads for every native operator call within; None: as many as before."""
    if most is None:
        yield
        return
    from .ops.parallel import use_threads

    before = use_threads(most)
    try:
        yield
    finally:
        use_threads(before)
