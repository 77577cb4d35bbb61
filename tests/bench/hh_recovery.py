"""Conductances of a Hodgkin-Huxley cell from its voltage, from wild starts, by several methods.

    python tests/bench/hh_recovery.py [--starts 32] [--noise 0 1] [--methods nudged,lm,adam,windows]

A cell with g_Na, g_K, g_L = 120, 36, 0.3 (mS/cm2) and a current of 10 from 5 to 45 ms spikes; the data are its voltage over
60 ms at a step of 0.025 ms, with white noise. Starts lie in the box 50 to 200, 10 to 80, 0.05 to 1: half of them normal with
standard deviation 1 in logistic coordinates, half with 2. Methods:

nudged   Levenberg-Marquardt on the voltage, with the cell pulled to the data at a rate of 1 / ms that falls to 0
lm       the same without the pull
adam     Adam on the mean square of the voltage, 500 steps
windows  mean and standard deviation of the voltage in 12 windows, gradient descent with gradients divided by their norm to
         the power 0.8, 500 steps: the recipe of Deistler et al. 2025 (Jaxley, 10.1038/s41592-025-02895-w) in its plain form

Prints for each: starts within 1 % and 5 % of all three values, median error, seconds with compilation.
"""

import argparse
import platform

import jax
import jax.numpy as jnp
import numpy as np
import optax

import brainsim as bs
from brainsim.models import HodgkinHuxley

TRUE = {"hh.g_Na": 120.0, "hh.g_K": 36.0, "hh.g_L": 0.3}
BOX = {"hh.g_Na": (50.0, 200.0), "hh.g_K": (10.0, 80.0), "hh.g_L": (0.05, 1.0)}
RUN = {"duration": 60.0, "inputs": {"hh.I": bs.step(10.0, 5.0, 45.0)}}


def membrane():
    net = bs.Network()
    net.add("hh", HodgkinHuxley(C=1.0, **{k.partition(".")[2]: v for k, v in TRUE.items()}), 1)
    return net.compile(dt=0.025, record=["hh.v"])


def wild(n):
    """Vectors of starts, (n, 3)."""
    rng = np.random.default_rng(1)
    every = np.concatenate([rng.normal(size=(16, 3)), 2.0 * rng.normal(size=(16, 3))])
    return every[-n:]


def voltage(result, data):
    return (result["hh.v"] - data)[::10, 0]


def windows(result, data):
    """Mean and standard deviation in 12 windows of 5 ms, in units of 5 and 10 mV."""
    features = lambda v: jnp.concatenate(
        [f(v.reshape(12, -1), axis=1) / s for f, s in ((jnp.mean, 5.0), (jnp.std, 10.0))]
    )
    return features(result["hh.v"]) - features(data)


METHODS = {
    "nudged": dict(loss=voltage, method="lm", steps=60),
    "lm": dict(loss=voltage, method="lm", steps=60),
    "adam": dict(loss=voltage, method=optax.adam(0.05), steps=500),
    "windows": dict(loss=windows, method=optax.sgd(0.05), normalize=0.8, steps=500),
}


def recover(method, noise, starts):
    """(largest relative error of every start, fit) of a method; `noise` in mV."""
    sim = membrane()
    data = np.asarray(sim.run(**RUN)["hh.v"])
    data = data + noise * np.random.default_rng(0).normal(size=data.shape)
    how = dict(METHODS[method])
    if method == "nudged":
        how["nudge"] = {"hh.v": data}
    space = bs.Space({name: bs.bounded(*ends) for name, ends in BOX.items()})
    fit = bs.fit(sim, space, how.pop("loss"), data, **RUN, **how, starts=wild(starts))
    return np.max([np.abs(fit.values[k] / v - 1.0) for k, v in TRUE.items()], axis=0), fit


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=32)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 1.0])
    parser.add_argument("--methods", default=",".join(METHODS))
    args = parser.parse_args()
    bs.enable_x64()
    print(f"jax {jax.__version__}, {platform.processor() or platform.machine()}")
    for noise in args.noise:
        for method in args.methods.split(","):
            errors, fit = recover(method, noise, args.starts)
            near, close = (errors < 0.01).sum(), (errors < 0.05).sum()
            print(
                f"noise {noise:g} mV  {method:8s} within 1 %: {near:2d}, 5 %: {close:2d} of {args.starts}; median error "
                f"{np.median(errors):.2g}; {fit.seconds:.1f} s"
            )


if __name__ == "__main__":
    main()
