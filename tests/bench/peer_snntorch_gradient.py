"""The recurrent network of gradients.py in snnTorch: prints one JSON line.

peer_snntorch_gradient.py CELLS STEPS REPEATS
"""

import json
import resource
import statistics
import sys
import time

import numpy as np
import snntorch
import torch

DECAY, GAIN = 0.9, 0.35


def main():
    cells, steps, repeats = (int(x) for x in sys.argv[1:])
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    w = torch.tensor(rng.normal(0.0, GAIN / np.sqrt(cells), (cells, cells)), dtype=torch.float32, requires_grad=True)
    currents = torch.tensor(rng.uniform(0.0, 0.25, (steps, cells)), dtype=torch.float32)
    cell = snntorch.Leaky(beta=DECAY, threshold=1.0, reset_mechanism="subtract", reset_delay=False)

    def loss():
        v, s, total, count = torch.zeros(cells), torch.zeros(cells), 0.0, 0.0
        for n in range(steps):
            s, v = cell(DECAY * (s @ w) + currents[n], v)
            total = total + torch.sum(s**2)
            count += float(s.detach().sum())
        return total / (steps * cells), count

    def forward():
        with torch.no_grad():
            return loss()

    def both():
        w.grad = None
        loss()[0].backward()

    def timed(f):
        f()
        took = []
        for _ in range(repeats):
            begun = time.process_time()
            f()
            took.append(time.process_time() - begun)
        return statistics.median(took)

    _, spikes = forward()
    first = timed(forward)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    second = timed(both)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(json.dumps(dict(forward=first, both=second, memory=memory, spikes=int(spikes), version=snntorch.__version__)))


if __name__ == "__main__":
    main()
