"""Chemical synapses that release by voltage instead of spikes."""

import brainsim as bs
from brainsim.functions import sigmoid


class GradedSynapse(bs.Synapse):
    """Graded chemical synapse, one activation per source (Kunert, Shlizerman & Kutz 2014, 10.1103/PhysRevE.89.052805).

    ``ds/dt = ar phi (1 - s) - ad s`` with ``phi = 1 / (1 + exp(-beta (v_pre - v_th)))``; the target receives
    ``sum_j w_j g s_j (E_j - v_post)``. The weight counts contacts. `E` and `v_th` may be given per presynaptic cell.
    At ``v_pre = v_th`` the activation rests at ``ar / (ar + 2 ad)``, 1/11 with the defaults.
    """

    g = bs.param(0.1, "nS", bounds=(0, None), closed=True)  # conductance of one contact at s = 1
    E = bs.param(0.0, "mV")
    v_th = bs.param(-35.0, "mV")
    ar = bs.param(1e-3 / 1.5, "1/ms", bounds=(0, None))
    ad = bs.param(5e-3 / 1.5, "1/ms", bounds=(0, None))
    beta = bs.param(0.125, "1/mV", bounds=(0, None))
    w = bs.weight(bounds=(0, None))

    s = bs.state(0.0, on="pre")

    def ds(self, s, v_pre):
        phi = sigmoid(self.beta * (v_pre - self.v_th))
        return self.ar * phi * (1 - s) - self.ad * s

    def output(self, s):
        return dict(G=self.g * s, GE=self.g * s * self.E)

    def current(self, G, GE, v_post):
        return GE - G * v_post
