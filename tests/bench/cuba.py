"""CUBA with delays of 1.5 ms in brainsim and NEST on this machine: microseconds per step and ratios.

    python tests/bench/peers.py simulators           # once: makes NEST's environment
    python tests/bench/cuba.py                       # 4000 and 40,000 cells
    python tests/bench/cuba.py --cells 4000 --threads 2 --json out/cuba.json

Network: the current-based one of Vogels & Abbott 2005 / Brette et al. 2007 with a delay of 15 steps, as a simulator of
distributed networks needs it; NEST integrates its cells exactly. Otherwise as coba.py, which describes the procedure.
"""

import coba

BAND = (4.8, 6.5)  # Hz; networks of 4000 in NEST with this delay: 5.5 to 5.7, in Brian2 without: 5.0 to 6.3
JOBS = {
    "brainsim": (None, "brainsim_coba.py", ["--network", "cuba", "--delay", "1.5"]),
    "nest": ("simulators", "peer_nest_coba.py", ["--network", "cuba", "--delay", "1.5"]),
}

if __name__ == "__main__":
    coba.main("CUBA, delays 1.5 ms,", __doc__, JOBS, BAND, "4000,40000")
