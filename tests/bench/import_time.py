"""Wall time of `import brainsim`, and of reaching its network, against `import jax`, in fresh interpreters.

Usage: python tests/bench/import_time.py [REPEATS]
"""

import statistics
import subprocess
import sys

CODE = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
JAX, BRAINSIM, NETWORK = "import jax", "import brainsim", "import jax, brainsim; brainsim.Network"
TARGET = 0.3  # s


def seconds(statement: str) -> float:
    command = [sys.executable, "-c", CODE.format(statement)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main(repeats: int = 7) -> None:
    seconds(NETWORK)  # the first import compiles bytecode
    times = {JAX: [], BRAINSIM: [], NETWORK: []}
    for _ in range(repeats):  # in turn: a busy machine hits all
        for statement, taken in times.items():
            taken.append(seconds(statement))
    for statement, taken in times.items():
        print(f"{statement:<40} median {statistics.median(taken):.3f} s   fastest {min(taken):.3f} s")
    more = statistics.median(both - jax for both, jax in zip(times[NETWORK], times[JAX], strict=True))
    print(f"brainsim on top of jax: {more:+.3f} s (target: at most {TARGET} s)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
