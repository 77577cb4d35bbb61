"""Write superneuromat.json and digits.npz; never imports brainsim.

Make an environment of its own, `python -m venv env && env/bin/pip install superneuromat==3.5.0 scikit-learn`, and run it
there: `env/bin/python tests/reference/make_superneuromat.py`.

superneuromat.json: random networks, what they were given, and the spikes, states and weights that superneuromat found. The
`seeds` are 0 .. 19, all of them. digits.npz: the handwritten digits of scikit-learn (a part of the UCI data set of Alpaydin
and Kaynak, CC BY 4.0, 10.24432/C50P49) with the split of NeuroCoreX's tutorial.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import superneuromat

HERE = Path(__file__).parent
SEEDS, CELLS, STEPS, DENSITY, LEARNING = range(20), 12, 40, 0.3, 0.6
A_PLUS, A_MINUS = (1.0, 0.5, 0.25), (-0.1, -0.05, -0.025)


def draw(seed):
    """A network and its input, as plain numbers."""
    rng = np.random.default_rng(seed)
    pre, post = np.nonzero(rng.random((CELLS, CELLS)) < DENSITY)
    inputs = np.where(rng.random((STEPS, CELLS)) < 0.25, rng.integers(1, 7, (STEPS, CELLS)), 0)
    return {
        "seed": seed,
        "threshold": rng.integers(0, 6, CELLS).tolist(),
        "leak": rng.integers(0, 3, CELLS).tolist(),
        "reset": rng.integers(-1, 1, CELLS).tolist(),
        "initial": rng.integers(-3, 4, CELLS).tolist(),
        "refractory": rng.integers(0, 3, CELLS).tolist(),
        "pre": pre.tolist(),
        "post": post.tolist(),
        "weight": rng.integers(-3, 7, len(pre)).tolist(),
        "learning": (rng.random(len(pre)) < LEARNING).tolist(),
        "inputs": inputs.tolist(),
    }


def emulate(net):
    """Spikes (steps, cells), final states and final weights of the package."""
    snn = superneuromat.SNN()
    snn.backend, snn.sparse = "cpu", False
    for i in range(CELLS):
        snn.create_neuron(
            threshold=net["threshold"][i],
            leak=net["leak"][i],
            reset_state=net["reset"][i],
            refractory_period=net["refractory"][i],
            initial_state=net["initial"][i],
        )
    for pre, post, weight, learning in zip(net["pre"], net["post"], net["weight"], net["learning"]):
        snn.create_synapse(pre, post, weight=weight, stdp_enabled=learning)
    for step, values in enumerate(net["inputs"]):
        for i, value in enumerate(values):
            if value:
                snn.add_spike(step, i, value)
    snn.stdp_setup(Apos=list(A_PLUS), Aneg=list(A_MINUS))
    snn.simulate(STEPS)
    matrix = snn.weight_mat()
    return {
        "spikes": np.asarray(snn.spike_train, int).tolist(),
        "final_states": np.asarray(snn.neuron_states, float).tolist(),
        "final_weights": matrix[net["pre"], net["post"]].tolist(),
    }


def digits():
    """Images (1797, 64) of 0 .. 16, labels, and the indices of the tutorial's two parts."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    train, test = train_test_split(np.arange(len(data.target)), test_size=0.33, random_state=42)
    return {
        "images": data.data.astype(np.uint8),
        "labels": data.target.astype(np.uint8),
        "train": train.astype(np.int16),
        "test": test.astype(np.int16),
        "versions": np.array(f"scikit-learn {version('scikit-learn')}"),
    }


def main():
    networks = [{**net, **emulate(net)} for net in map(draw, SEEDS)]
    made = {"versions": {p: version(p) for p in ("superneuromat", "numpy")}, "A_plus": A_PLUS, "A_minus": A_MINUS}
    lines = ",\n".join(json.dumps(net, separators=(",", ":")) for net in networks)
    text = json.dumps(made)[:-1] + ', "networks": [\n' + lines + "\n]}\n"
    (HERE / "superneuromat.json").write_text(text)
    np.savez_compressed(HERE / "digits.npz", **digits())


if __name__ == "__main__":
    main()
