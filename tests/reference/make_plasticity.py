"""Make plasticity.json: plastic weights of NEST and Brian2 under the same fixed spike trains.

    python tests/reference/make_plasticity.py        # in the peers' environment: tests/bench/peers.py makes it

Two sources, three targets, six edges with delays of 0.1 to 5 ms; the trains (plasticity_trains.py) hold exact ties. All
stamps are ends of steps, in steps of 0.1 ms: NEST prints them so, Brian2 one step earlier. NEST's weights are those that
each presynaptic spike delivered (weight_recorder), Brian2's are samples at ends of steps.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path

import brian2
import nest
import numpy as np
import plasticity_brian2
import plasticity_nest
from plasticity_trains import DELAYS, DT, STEPS, dopamine, trains

HERE = Path(__file__).parent


def main():
    pre, post = trains()
    versions = dict(python=platform.python_version(), nest=nest.__version__, brian2=brian2.__version__)
    result = dict(
        script="make_plasticity.py",
        versions=versions | dict(numpy=np.__version__),
        units="ms, mV, pF, nS, pA; stamps and delays in steps",
        dt=DT,
        steps=STEPS,
        pre=pre,
        post=post,
        dopamine=dopamine(),
        delays=DELAYS,
        nest=plasticity_nest.main(),
        brian2=plasticity_brian2.main(),
    )
    text = json.dumps(result, separators=(",", ":"))
    (HERE / "plasticity.json").write_text(text.replace('"weights"', '\n"weights"') + "\n")
    print(f"plasticity.json: {len(text) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
