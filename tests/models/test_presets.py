"""Published parameter sets: complete, valid, and refused by a helpful message where they do not exist."""

import numpy as np
import pytest

from brainsim.errors import ParameterError, UnknownNameError
from brainsim.models import ALIF, EIF, GIF, LIF, QIF, AdEx, CurrentALIF, Izhikevich, Izhikevich2007, MorrisLecar

WITH_PRESETS = [AdEx, GIF, Izhikevich, Izhikevich2007, MorrisLecar]


@pytest.mark.parametrize("cls", WITH_PRESETS)
def test_every_preset_is_a_valid_model(cls):
    for name, values in cls.PRESETS.items():
        model = cls.preset(name)
        assert isinstance(model, cls)
        assert all(getattr(model, k) == v for k, v in values.items())
    for names in (getattr(cls, "CURRENTS", {}), getattr(cls, "NAMES", {})):
        assert not names or set(names) == set(cls.PRESETS)


@pytest.mark.parametrize("cls", WITH_PRESETS)
def test_a_preset_can_be_changed(cls):
    name = next(iter(cls.PRESETS))
    parameter = next(iter(cls.__params__))
    value = getattr(cls(), parameter) * 0.99 + 1e-3
    assert getattr(cls.preset(name, **{parameter: value}), parameter) == value


@pytest.mark.parametrize("cls", WITH_PRESETS)
def test_an_unknown_preset_names_the_nearest(cls):
    name = next(iter(cls.PRESETS))
    with pytest.raises(UnknownNameError, match=rf"did you mean '{name}'|Known: .*{name}"):
        cls.preset(name + "_")


def test_defaults_are_the_first_preset():
    for cls, name in ((Izhikevich, "RS"), (Izhikevich2007, "RS"), (GIF, "A"), (MorrisLecar, "hopf")):
        assert repr(cls.preset(name)) == repr(cls())


def test_letters_of_table_1():
    assert list(GIF.PRESETS) == list("ABCDEFGHIJKLMNOPQRST")
    m = GIF.preset("M")
    np.testing.assert_allclose([m.a, m.A1 / m.C, m.A2 / m.C], [5e-3, 10.0, -0.6], rtol=1e-12)


@pytest.mark.parametrize("cls, low, high", [
    (LIF, "v_reset", "v_th"), (ALIF, "v_reset", "v_th"), (CurrentALIF, "v_reset", "v_th"), (QIF, "v_reset", "v_peak"),
    (EIF, "V_r", "V_peak"), (AdEx, "V_r", "V_peak"), (Izhikevich, "c", "v_peak"), (Izhikevich2007, "c", "v_peak"),
    (GIF, "V_r", "theta_r"),
])  # fmt: skip
def test_reset_lies_below_threshold(cls, low, high):
    with pytest.raises(ParameterError, match=f"{low}.*{high}"):
        cls(**{low: 60.0})
    with pytest.raises(ParameterError, match=f"{low}.*{high}"):
        cls(**{low: np.array([-80.0, 60.0])})
    assert cls(**{low: -90.0})
