"""Distributions: what is drawn, from which stream, and what is refused."""

import doctest
import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from brainsim import distributions
from brainsim.distributions import (
    Distribution,
    as_values,
    choice,
    exponential,
    gamma,
    generator,
    lognormal,
    normal,
    uniform,
)
from brainsim.errors import BrainsimError, ParameterError, UnitError

N = 40_000
SIGMA = math.sqrt(math.log1p((3 / 2) ** 2))
ORACLES = [
    (uniform(-2.0, 5.0), scipy.stats.uniform(-2, 7)),
    (normal(1.5, 0.75), scipy.stats.norm(1.5, 0.75)),
    (normal(1.0, 2.0, low=0.5), scipy.stats.truncnorm(-0.25, np.inf, 1, 2)),
    (normal(1.0, 2.0, high=0.5), scipy.stats.truncnorm(-np.inf, -0.25, 1, 2)),
    (normal(0.0, 1.0, 1.0, 1.5), scipy.stats.truncnorm(1, 1.5)),
    (lognormal(2.0, 3.0), scipy.stats.lognorm(SIGMA, scale=2 * math.exp(-(SIGMA**2) / 2))),
    (exponential(4.0), scipy.stats.expon(scale=4)),
    (gamma(2.5, 3.0), scipy.stats.gamma(2.5, scale=3)),
]


@pytest.mark.parametrize("spec, oracle", ORACLES, ids=lambda x: repr(x) if isinstance(x, Distribution) else "")
def test_samples_have_the_distribution(spec, oracle, request):
    values = spec.sample(generator(1, request.node.name), N)
    assert values.dtype == np.float64 and values.shape == (N,)
    assert scipy.stats.kstest(values, oracle.cdf).pvalue > 1e-4
    assert abs(values.mean() - oracle.mean()) < 4 * oracle.std() / math.sqrt(N)


@pytest.mark.parametrize("spec, oracle", ORACLES, ids=lambda x: repr(x) if isinstance(x, Distribution) else "")
def test_support(spec, oracle):
    """No value is outside, and limits that are stated are those of the distribution."""
    low, high = spec.support()
    values = spec.sample(generator(0), N)
    assert low <= values.min() and values.max() <= high
    assert (low, high) == pytest.approx(oracle.support())


def test_support_of_choice():
    assert choice([3.0, -1.0, 2.0]).support() == (-1.0, 3.0)


def test_lognormal_takes_mean_and_sd_of_the_values():
    oracle = ORACLES[5][1]
    assert oracle.mean() == pytest.approx(2.0) and oracle.std() == pytest.approx(3.0)


def test_limits_hold():
    values = normal(1.0, 5.0, low=0.5, high=2.0).sample(generator(0), 10_000)
    assert values.min() >= 0.5 and values.max() <= 2.0
    assert np.unique(values).size == values.size  # redrawn, not clipped


def test_choice():
    values = choice([1.0, 2.0, 5.0], p=[0.5, 0.25, 0.25]).sample(generator(0), N)
    counts = [(values == v).sum() for v in (1.0, 2.0, 5.0)]
    assert sum(counts) == N and scipy.stats.chisquare(counts, [N / 2, N / 4, N / 4]).pvalue > 1e-4
    equal = choice([1.0, 2.0]).sample(generator(0), N)
    assert abs((equal == 1.0).mean() - 0.5) < 4 * 0.5 / math.sqrt(N)


def test_degenerate_cases():
    assert normal(2.0, 0.0).sample(generator(0), 3).tolist() == [2.0] * 3
    assert lognormal(2.0, 0.0).sample(generator(0), 2) == pytest.approx([2.0, 2.0])
    assert uniform(0, 1).sample(generator(0), 0).shape == (0,)
    assert choice([3]).sample(generator(0), 2).tolist() == [3.0, 3.0]


@pytest.mark.parametrize("spec, text", [
    (uniform(0.5, 2.0), "uniform(0.5, 2.0)"), (normal(0, 1), "normal(0, 1)"),
    (normal(0, 1, high=2.0), "normal(0, 1, high=2.0)"),
    (choice([1.0, 2.0], [0.5, 0.5]), "choice((1.0, 2.0), p=(0.5, 0.5))"),
    (uniform("1 ms", "2 ms"), "uniform('1 ms', '2 ms')"),
])  # fmt: skip
def test_repr_and_equality(spec, text):
    assert repr(spec) == text and eval(text) == spec and hash(eval(text)) == hash(spec)
    with pytest.raises(AttributeError):
        spec.low = 3


def test_units_are_converted_at_the_door():
    assert uniform("500 us", 2.0).in_unit("ms", "delay") == uniform(0.5, 2.0)
    assert normal("1 s", "100 ms", low="0 ms").in_unit("ms", "x") == normal(1000.0, 100.0, low=0.0)
    assert gamma(2, "0.01 s").in_unit("ms", "x") == gamma(2.0, 10.0)
    assert choice(["1 mV", 2.0], p=[0.5, 0.5]).in_unit("mV", "x") == choice([1.0, 2.0], p=[0.5, 0.5])
    assert lognormal("2 nA", 30.0).in_unit("pA", "x") == lognormal(2000.0, 30.0)
    assert uniform(jnp.float32(1), np.int64(2)).in_unit("ms", "x") == uniform(1.0, 2.0)


@pytest.mark.parametrize("make, text", [
    (lambda: uniform(2.0, 0.5), "uniform(2.0, 0.5): low must be below high; write uniform(0.5, 2.0)"),
    (lambda: uniform(1.0, 1.0), "low must be below high"),
    (lambda: uniform(0.0, np.inf), "high must be finite, got inf"),
    (lambda: normal(np.nan, 1.0), "mean must be finite, got nan"),
    (lambda: normal(0.0, -1.0), "sd must be at least 0, got -1.0; write normal(0.0, 1.0)"),
    (lambda: normal(0.0, 1.0, low=2, high=1), "low must be below high, got low=2, high=1"),
    (lambda: normal(0.0, 1.0, low=5), "only a fraction 3e-07 of values lies between low and high"),
    (lambda: normal(0.0, 0.0, low=5), "sd is 0 and the mean lies outside"),
    (lambda: lognormal(-1.0, 1.0), "mean must be above 0, got -1.0: log-normal values are positive"),
    (lambda: lognormal(1.0, -1.0), "sd must be at least 0"),
    (lambda: exponential(0.0), "mean must be above 0, got 0.0"),
    (lambda: gamma(0.0, 1.0), "shape and scale must be above 0"), (lambda: choice([]), "at least one value"),
    (lambda: choice([1, 2], [1.0]), "2 values but 1 probabilities"),
    (lambda: choice([1, 2], [0.5, 0.6]), "sum to 1, got (0.5, 0.6) with sum 1.1"),
    (lambda: choice([1, 2], [-0.5, 1.5]), "p must be at least 0"),
    (lambda: uniform("2 ms", "1 ms").in_unit("ms", "exc.tau"), "exc.tau: uniform(2.0, 1.0): low must be below high"),
    (lambda: uniform(True, 2.0).in_unit("ms", "x"), "got True (bool)"),
    (lambda: uniform(np.arange(2.0), 2.0).in_unit("ms", "x"), "low of uniform"),
    (lambda: uniform("1 ms", "2 ms").sample(generator(0), 2), "uniform('1 ms', '2 ms') still has units"),
])  # fmt: skip
def test_impossible_arguments(make, text):
    with pytest.raises(ParameterError) as error:
        make()
    assert text in str(error.value)


def test_wrong_dimension():
    with pytest.raises(UnitError, match=r"exc\.tau: low of uniform needs time \(ms\), got '5 mV', a voltage"):
        uniform("5 mV", 2.0).in_unit("ms", "exc.tau")
    with pytest.raises(UnitError, match="shape of gamma needs a plain number, got '2 ms'"):
        gamma("2 ms", "1 ms").in_unit("ms", "x")


def test_streams_depend_on_seed_and_names_only():
    draws = [
        tuple(generator(*key).integers(0, 2**60, 4))
        for key in [
            *[(0, "a"), (1, "a"), (-1, "a"), (2**80, "a"), (0, "b"), (0,)],
            *[(0, "a", "b"), (0, "ab"), (0, "a", 1), (0, "a", "1"), (0, "", "a"), (0, "a", "")],
        ]
    ]
    assert len(set(draws)) == len(draws)
    assert tuple(generator(np.int64(0), "a").integers(0, 2**60, 4)) == draws[0]


def test_streams_are_the_same_in_every_process():
    """A pinned number: if it changes, the networks of every user change with it."""
    assert int(generator(7, "exc", "v").integers(2**62)) == 3271029036407305490
    code = "from brainsim.distributions import generator; print(generator(7, 'exc', 'v').integers(2**62))"
    for seed in ("1", "2"):
        out = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True
        )
        assert int(out.stdout) == 3271029036407305490


@pytest.mark.parametrize("key", [(True,), (1.0,), ("a", "b"), (None,), (0, 1.5), (0, True)])
def test_bad_keys(key):
    with pytest.raises(ParameterError, match="a generator needs a whole number and names, got"):
        generator(*key)


def values(spec, n=3, unit="ms", what="a->b.delay", **options):
    return as_values(spec, n, generator(0, "values"), unit, what, **options)


def test_as_values():
    assert values(2) == 2.0 and values("2 s") == 2000.0 and np.ndim(values(2)) == 0
    assert values([1, 2, 3]).tolist() == [1.0, 2.0, 3.0]
    assert values(uniform("1 ms", "2 ms")).shape == (3,)
    assert values(uniform(1.0, 2.0)).tolist() == uniform(1.0, 2.0).sample(generator(0, "values"), 3).tolist()
    assert values(lambda d: 1.0 + d / 100, distance=[0, 100, 200]).tolist() == [1.0, 2.0, 3.0]
    assert values(lambda d: 1.5, distance=np.zeros(3)) == 1.5
    assert values(lambda d: "2 s", distance=np.zeros(3)) == 2000.0
    assert values([], n=0).shape == (0,)
    array = jnp.ones(3)
    assert values(array) is array
    assert jax.jit(lambda x: values(x) * 2)(2.0) == 4.0


@pytest.mark.parametrize("spec, text", [
    ([1, 2], "a->b.delay has 2 values, but 3 are needed; give one number, or an array of length 3"),
    (np.ones((3, 1)), "has values of shape (3, 1), but 3 are needed"),
    (np.ones((3, 4)), "a matrix [pre, post] goes through bs.from_matrix"),
    (jnp.ones(2), "has 2 values, but 3 are needed"),
    (uniform, "a->b.delay is uniform without arguments; write bs.uniform(...)"),
    (lambda d: d, "is a function of distance: give positions= to net.add, or values instead"), (None, "got None"),
    ([1, np.nan, 2], "must be finite, got nan at index 1"), ("2 mV", "got '2 mV', a voltage"),
])  # fmt: skip
def test_as_values_refuses(spec, text):
    with pytest.raises(BrainsimError) as error:
        values(spec)
    assert text in str(error.value)


def test_as_values_refuses_what_a_function_of_distance_gives():
    with pytest.raises(ParameterError, match="has 2 values, but 3 are needed"):
        values(lambda d: d[:2], distance=np.zeros(3))
    with pytest.raises(ParameterError, match="must be finite, got nan at index 0"):
        values(lambda d: d * np.nan, distance=np.zeros(3))


def test_doctests():
    assert doctest.testmod(distributions).failed == 0 < doctest.testmod(distributions).attempted
