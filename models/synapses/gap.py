"""Electrical synapses."""

import brainsim as bs


class GapJunction(bs.Synapse):
    """Ohmic gap junction (Wicks, Roehrig & Rankin 1996, 10.1523/JNEUROSCI.16-12-04017.1996).

    Each cell receives ``sum_j w_j g (v_j - v)``. The weight counts junctions; an edge is given once and acts both
    ways.
    """

    symmetric = True

    g = bs.param(0.1, "nS", bounds=(0, None), closed=True)  # conductance of one junction
    w = bs.weight(bounds=(0, None))

    def output(self, v_pre):
        return dict(G=self.g, GV=self.g * v_pre)

    def current(self, G, GV, v_post):
        return GV - G * v_post
