"""Memory bandwidth of one core: the time of a copy far larger than the caches. `python tests/bench/bandwidth.py`."""

import time

import numpy as np
import workers

CELLS = 64_000_000  # float32: 256 MB


def main():
    workers.hold(1)
    workers.headline("copy of 256 MB", 1)
    source, target = np.ones(CELLS, np.float32), np.empty(CELLS, np.float32)
    spent = []
    for _ in range(10):
        begun = time.perf_counter()
        np.copyto(target, source)
        spent.append(time.perf_counter() - begun)
    print(f"{2 * source.nbytes / min(spent) / 1e9:.1f} GB/s read and written")


if __name__ == "__main__":
    main()
