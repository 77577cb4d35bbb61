"""What the tests of pictures share."""

import io

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def clean():
    """Settings stay as they were, figures are closed."""
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before


def smoke(ax):
    """Save the figure of some axes and check that it shows something."""
    file = io.BytesIO()
    ax.figure.savefig(file, dpi=80)
    size = file.tell()
    file.seek(0)
    pixels = plt.imread(file)[..., :3]
    assert size > 5000
    assert np.mean(np.any(pixels < 0.98, axis=-1)) > 0.01


def offsets(ax):
    """Centres of all marks of scatter plots, (n, 2)."""
    return np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections])


def colour(artist):
    """Hexadecimal colour, upper case."""
    return mpl.colors.to_hex(np.atleast_2d(artist)[0]).upper()
