"""Spaces: what varies, within which bounds, and the way from vectors to parameters and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import brainsim as bs
from brainsim.errors import ParameterError, UnitError, UnknownNameError
from brainsim.models import LIF, ExpCurrent


def network():
    net = bs.Network(seed=3)
    net.add("e", LIF(tau=20.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0), 5)
    net.add("i", LIF(tau=10.0, v_rest=-60.0, v_th=-50.0, v_reset=-60.0), 3)
    some = bs.from_edges([0, 0, 1, 4], [0, 2, 2, 1])
    net.connect("e", "i", ExpCurrent(tau=5.0), some, weight=bs.uniform(1.0, 2.0), delay=1.0)
    net.connect("i", "e", ExpCurrent(tau=10.0), bs.all_to_all(), weight=-3.0, delay=1.0)
    return net


@pytest.fixture(scope="module")
def sim():
    return network().compile(dt=0.1, record=["e.spikes"])


ENTRIES = {
    "bounded": ("e.tau", bs.bounded(5.0, 50.0), 17.0),
    "logarithm": ("e.tau", bs.bounded(5.0, 50.0, log=True), 17.0),
    "text with a unit": ("e.tau", bs.bounded("5 ms", "0.05 s"), 17.0),
    "positive": ("e->i.tau", bs.positive(5.0), 3.0),
    "negative": ("i->e.weight", bs.negative(2.0), -4.0),
    "free": ("e.v_rest", bs.free(60.0), -55.0),
    "every edge": ("e->i.weight", bs.bounded(0.0, 3.0), np.array([0.5, 1.0, 2.0, 2.5])),
    "every neuron": ("e.tau", bs.bounded(5.0, 50.0, per="neuron"), np.array([6.0, 7.0, 8.0, 20.0, 40.0])),
    "one for all edges": ("e->i.weight", bs.positive(per="all"), np.full(4, 1.5)),
    "one per source": ("e->i.weight", bs.positive(per="pre"), np.array([1.0, 1.0, 2.0, 0.5])),
    "one per target": ("e->i.weight", bs.positive(per="post"), np.array([1.0, 2.0, 2.0, 0.5])),
    "simplex of edges": ("e->i.weight", bs.simplex(4.0), np.array([0.5, 1.0, 1.0, 1.5])),
}


@pytest.mark.parametrize("kind", ENTRIES)
def test_vectors_and_parameters_are_each_others_inverse(kind, sim):
    name, how, value = ENTRIES[kind]
    bound = bs.Space({name: how}).bind(sim)
    u = bound.vector({name: value})
    assert u.shape == (bound.size,) == (len(bound.labels),)
    np.testing.assert_allclose(bound.params(jnp.asarray(u))[name], value, rtol=2e-6)
    sizes = {"every neuron": 5, "every edge": 4, "one per source": 3, "one per target": 3, "simplex of edges": 3}
    assert bound.size == sizes.get(kind, 1)
    sim.run(0.2, params=bound.params(jnp.asarray(u)))
    slope = jax.jacfwd(lambda u: bound.params(u)[name])(jnp.asarray(u))
    assert np.isfinite(slope).all() and np.abs(slope).reshape(-1, bound.size).max(0).min() > 0


def test_factors_masks_ties_and_patterns(sim):
    before = np.asarray(sim.params["e->i.weight"])
    bound = bs.Space({"e->i.weight": bs.bounded(0.1, 10.0, per="all", relative=True)}).bind(sim)
    np.testing.assert_allclose(bound.params(jnp.asarray(bound.vector()))["e->i.weight"], before, rtol=1e-5)
    np.testing.assert_allclose(bound.params(jnp.zeros(1))["e->i.weight"], 5.05 * before, rtol=1e-5)

    mask = np.array([True, False, False, True])
    bound = bs.Space({"e->i.weight": bs.positive(mask=mask)}).bind(sim)
    found = bound.params(jnp.zeros(2))["e->i.weight"]
    np.testing.assert_allclose(found, np.where(mask, 1.0, before), rtol=1e-6)

    bound = bs.Space({"?.tau": bs.bounded(5.0, 50.0), "e->i.tau": bs.tied("e.tau", 0.5)}).bind(sim)
    assert bound.names == ["e.tau", "i.tau", "e->i.tau"] and bound.size == 2
    found = bound.params(jnp.array([0.0, 1.0]))
    assert found["e->i.tau"] == pytest.approx(13.75) and found["e.tau"] == pytest.approx(27.5)

    several = bs.Space({("e.tau", "i.tau", "e->i.tau"): bs.simplex(30.0)}).bind(sim)
    assert sum(float(x) for x in several.params(jnp.array([0.3, -1.0])).values()) == pytest.approx(30.0, rel=1e-5)


PRIORS = {
    "uniform": (bs.bounded(5.0, 50.0), stats.uniform(5.0, 45.0)),
    "uniform in the logarithm": (bs.bounded(5.0, 50.0, log=True), stats.loguniform(5.0, 50.0)),
    "normal, cut": (
        bs.bounded(5.0, 50.0, prior=bs.normal(20.0, 8.0, low=5.0, high=50.0)),
        stats.truncnorm(-15 / 8, 30 / 8, 20.0, 8.0),
    ),
    "lognormal": (
        bs.positive(20.0, prior=bs.lognormal(20.0, 10.0)),
        stats.lognorm(np.sqrt(np.log1p(0.25)), scale=20.0 / np.sqrt(1.25)),
    ),
    "gamma": (bs.positive(20.0, prior=bs.gamma(4.0, 5.0)), stats.gamma(4.0, scale=5.0)),
    "exponential": (bs.positive(20.0, prior=bs.exponential(10.0)), stats.expon(scale=10.0)),
}


@pytest.mark.parametrize("kind", PRIORS)
def test_draws_and_densities_are_those_of_the_prior(kind, sim, x64):
    how, law = PRIORS[kind]
    here = network().compile(dt=0.1)
    bound = bs.Space({"e.tau": how}).bind(here)
    u = bound.draw(4000, key=1)
    values = np.asarray(jax.vmap(bound.params)(jnp.asarray(u))["e.tau"])
    assert stats.kstest(values, law.cdf).pvalue > 1e-3
    # density of u: that of the value times its slope, up to one constant
    u = np.linspace(-2.0, 2.0, 9)
    values = np.asarray(jax.vmap(bound.params)(jnp.asarray(u)[:, None])["e.tau"])
    slope = np.asarray(jax.vmap(jax.grad(lambda x: bound.params(x[None])["e.tau"]))(jnp.asarray(u)))
    expected = law.logpdf(values) + np.log(slope)
    found = np.asarray(jax.vmap(bound.log_prior)(jnp.asarray(u)[:, None]))
    np.testing.assert_allclose(found - found[0], expected - expected[0], atol=1e-9)


def test_draws_do_not_depend_on_what_else_varies(sim):
    alone = bs.Space({"e.tau": bs.bounded(5.0, 50.0)}).bind(sim).draw(3)
    both = bs.Space({"i.tau": bs.bounded(5.0, 50.0), "e.tau": bs.bounded(5.0, 50.0)}).bind(sim).draw(3)
    assert np.array_equal(both[:, 1:], alone) and not np.array_equal(both[:, :1], alone)


BAD = {
    "no dict": (lambda: bs.Space([1]), ParameterError, "give a dict"),
    "no bounds": (lambda: bs.Space({"e.tau": 5.0}), ParameterError, "how it varies"),
    "bounds in the wrong order": (lambda: bs.bounded(5.0, 1.0), ParameterError, "first must be below"),
    "logarithm of 0": (lambda: bs.bounded(0.0, 1.0, log=True), ParameterError, "must be above 0"),
    "unknown per": (lambda: bs.bounded(0.0, 1.0, per="synapse"), ParameterError, "give 'all'"),
    "unknown name": (lambda sim: bs.Space({"e.taum": bs.positive()}).bind(sim), UnknownNameError, "did you mean"),
    "no name": (lambda sim: bs.Space({3: bs.positive()}).bind(sim), UnknownNameError, "is no name"),
    "wrong unit": (lambda sim: bs.Space({"e.tau": bs.bounded("5 mV", "50 mV")}).bind(sim), UnitError, "mV"),
    "beyond the model": (lambda sim: bs.Space({"e.tau": bs.free()}).bind(sim), ParameterError, "the model allows"),
    "twice": (
        lambda sim: bs.Space({"e.tau": bs.positive(), "*.tau": bs.positive()}).bind(sim),
        ParameterError,
        "varies twice",
    ),
    "mask of another shape": (
        lambda sim: bs.Space({"e->i.weight": bs.positive(mask=[True])}).bind(sim),
        ParameterError,
        "mask has shape",
    ),
    "numbers of what varies": (
        lambda sim: bs.Space({"e->i.weight": bs.positive(mask=[0, 1, 2, 3])}).bind(sim),
        ParameterError,
        "mask holds int",
    ),
    "empty mask": (
        lambda sim: bs.Space({"e->i.weight": bs.positive(mask=[False] * 4)}).bind(sim),
        ParameterError,
        "nothing varies",
    ),
    "per edge of a shared weight": (
        lambda sim: bs.Space({"i->e.weight": bs.negative(per="edge")}).bind(sim),
        ParameterError,
        "connect with an array",
    ),
    "per edge of a population": (
        lambda sim: bs.Space({"e.tau": bs.positive(per="edge")}).bind(sim),
        ParameterError,
        "per='edge' does not fit",
    ),
    "outside of its bounds": (
        lambda sim: bs.Space({"e.tau": bs.bounded(30.0, 50.0)}).bind(sim).vector(),
        ParameterError,
        "not inside its bounds",
    ),
    "different values where there is one": (
        lambda sim: bs.Space({"e->i.weight": bs.positive(per="all")}).bind(sim).vector(),
        ParameterError,
        "its values differ",
    ),
    "tied to what is tied": (
        lambda sim: bs.Space({"e.tau": bs.tied("i.tau"), "i.tau": bs.tied("e->i.tau")}).bind(sim),
        ParameterError,
        "tied itself",
    ),
    "prior beyond the bounds": (
        lambda sim: bs.Space({"e.tau": bs.bounded(5.0, 6.0, prior=bs.normal(20.0, 8.0))}).bind(sim).draw(20),
        ParameterError,
        "outside of the bounds",
    ),
    "negative scale": (lambda: bs.negative(-10.0), ParameterError, "must be positive; the sign"),
    "no scale": (lambda: bs.free(0.0), ParameterError, "must be positive"),
    "factor beyond the model": (
        lambda sim: bs.Space({"e.tau": bs.bounded(-3.0, 3.0, relative=True)}).bind(sim),
        ParameterError,
        "the model allows",
    ),
    "tied beyond the model": (
        lambda sim: bs.Space({"e.tau": bs.bounded(5.0, 9.0), "i.tau": bs.tied("e.tau", -1.0)}).bind(sim),
        ParameterError,
        "the model allows",
    ),
    "tied to another unit": (
        lambda sim: bs.Space({"e.v_rest": bs.tied("e.tau")}).bind(sim),
        ParameterError,
        "cannot be tied",
    ),
    "prior without a density": (lambda: bs.positive(prior=bs.choice([1.0])), ParameterError, "no density"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_spaces_say_what_to_write(kind, sim):
    make, error, message = BAD[kind]
    with pytest.raises(error, match=message):
        make(sim) if make.__code__.co_argcount else make()
