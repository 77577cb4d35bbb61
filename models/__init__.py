"""The library of models: neurons, synapses and plasticity rules.

Each has its equation, units, published parameters and citation.

    from brainsim.models import AdEx, ExpConductance

Modules are imported when first used. To add a model, write a file and a line in the table below; the tests find it
there.
"""

if __name__ != "brainsim.models":
    raise ImportError(f"this folder is the package brainsim.models, imported as {__name__!r}; import brainsim.models")

from importlib import import_module
from typing import TYPE_CHECKING

_HOME = {
    "neurons.lif": ["LIF"],
    "neurons.linear_leak_lif": ["LinearLeakLIF"],
    "neurons.alif": ["ALIF", "CurrentALIF"],
    "neurons.qif": ["QIF"],
    "neurons.eif": ["EIF"],
    "neurons.adex": ["AdEx"],
    "neurons.izhikevich": ["Izhikevich", "Izhikevich2007"],
    "neurons.gif": ["GIF"],
    "neurons.hodgkin_huxley": ["HodgkinHuxley"],
    "neurons.traub_miles": ["TraubMiles"],
    "neurons.wang_buzsaki": ["WangBuzsaki"],
    "neurons.fitzhugh_nagumo": ["FitzHughNagumo"],
    "neurons.morris_lecar": ["MorrisLecar"],
    "neurons.hindmarsh_rose": ["HindmarshRose"],
    "neurons.rate": ["LinearRate", "ThresholdLinearRate"],
    "neurons.source": ["PoissonSource", "SpikeSource"],
    "neurons.readout": ["LeakyReadout"],
    "neurons.graded": ["GradedNeuron"],
    "neurons.wilson_cowan": ["WilsonCowan"],
    "neurons.jansen_rit": ["JansenRit"],
    "neurons.wong_wang": ["ReducedWongWang"],
    "neurons.homeostatic": ["HomeostaticLIF"],
    "neurons.clopath_adex": ["ClopathAdEx"],
    "neurons.astrocyte": ["Astrocyte"],
    "synapses.delta": ["Delta"],
    "synapses.exponential": ["ExpCurrent", "ExpConductance"],
    "synapses.alpha": ["AlphaCurrent", "AlphaConductance"],
    "synapses.dual_exponential": ["DualExpCurrent", "DualExpConductance"],
    "synapses.receptors": ["AMPA", "GABAA"],
    "synapses.gabab": ["GABAB"],
    "synapses.nmda": ["NMDA", "SaturatingNMDA"],
    "synapses.graded": ["GradedSynapse"],
    "synapses.gap": ["GapJunction"],
    "synapses.short_term": [
        "TsodyksMarkramCurrent",
        "TsodyksMarkramConductance",
        "StochasticTsodyksMarkramCurrent",
        "StochasticTsodyksMarkramConductance",
    ],
    "synapses.glia": ["ToAstrocyte"],
    "plasticity.pair": ["STDP", "NearestSTDP", "PreCentredSTDP", "ReducedSTDP", "SymmetricSTDP"],
    "plasticity.triplet": ["TripletSTDP", "NearestTripletSTDP"],
    "plasticity.clopath": ["Clopath", "ClopathNEST", "HomeostaticClopath"],
    "plasticity.reward": ["ModulatedSTDP", "RewardSTDP", "DopamineSTDP", "ThreeFactorHebbian", "ThreeFactorSTDP"],
    "plasticity.hebbian": ["Oja", "BCM", "Covariance", "AntiHebbian", "SpikingOja", "SpikingBCM"],
    "plasticity.inhibitory": ["InhibitorySTDP"],
    "plasticity.homeostasis": ["SynapticScaling", "HomeostaticTripletSTDP", "OrchestratedSTDP"],
    "plasticity.astrocyte": ["AstrocyteSTDP", "InhibitoryAstrocyteSTDP"],
}
_WHERE = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_WHERE)

if TYPE_CHECKING:
    from .neurons.adex import AdEx as AdEx
    from .neurons.alif import ALIF as ALIF
    from .neurons.alif import CurrentALIF as CurrentALIF
    from .neurons.astrocyte import Astrocyte as Astrocyte
    from .neurons.clopath_adex import ClopathAdEx as ClopathAdEx
    from .neurons.eif import EIF as EIF
    from .neurons.fitzhugh_nagumo import FitzHughNagumo as FitzHughNagumo
    from .neurons.gif import GIF as GIF
    from .neurons.graded import GradedNeuron as GradedNeuron
    from .neurons.hindmarsh_rose import HindmarshRose as HindmarshRose
    from .neurons.hodgkin_huxley import HodgkinHuxley as HodgkinHuxley
    from .neurons.homeostatic import HomeostaticLIF as HomeostaticLIF
    from .neurons.izhikevich import Izhikevich as Izhikevich
    from .neurons.izhikevich import Izhikevich2007 as Izhikevich2007
    from .neurons.jansen_rit import JansenRit as JansenRit
    from .neurons.lif import LIF as LIF
    from .neurons.linear_leak_lif import LinearLeakLIF as LinearLeakLIF
    from .neurons.morris_lecar import MorrisLecar as MorrisLecar
    from .neurons.qif import QIF as QIF
    from .neurons.rate import LinearRate as LinearRate
    from .neurons.rate import ThresholdLinearRate as ThresholdLinearRate
    from .neurons.readout import LeakyReadout as LeakyReadout
    from .neurons.source import PoissonSource as PoissonSource
    from .neurons.source import SpikeSource as SpikeSource
    from .neurons.traub_miles import TraubMiles as TraubMiles
    from .neurons.wang_buzsaki import WangBuzsaki as WangBuzsaki
    from .neurons.wilson_cowan import WilsonCowan as WilsonCowan
    from .neurons.wong_wang import ReducedWongWang as ReducedWongWang
    from .plasticity.astrocyte import AstrocyteSTDP as AstrocyteSTDP
    from .plasticity.astrocyte import InhibitoryAstrocyteSTDP as InhibitoryAstrocyteSTDP
    from .plasticity.clopath import Clopath as Clopath
    from .plasticity.clopath import ClopathNEST as ClopathNEST
    from .plasticity.clopath import HomeostaticClopath as HomeostaticClopath
    from .plasticity.hebbian import BCM as BCM
    from .plasticity.hebbian import AntiHebbian as AntiHebbian
    from .plasticity.hebbian import Covariance as Covariance
    from .plasticity.hebbian import Oja as Oja
    from .plasticity.hebbian import SpikingBCM as SpikingBCM
    from .plasticity.hebbian import SpikingOja as SpikingOja
    from .plasticity.homeostasis import HomeostaticTripletSTDP as HomeostaticTripletSTDP
    from .plasticity.homeostasis import OrchestratedSTDP as OrchestratedSTDP
    from .plasticity.homeostasis import SynapticScaling as SynapticScaling
    from .plasticity.inhibitory import InhibitorySTDP as InhibitorySTDP
    from .plasticity.pair import STDP as STDP
    from .plasticity.pair import NearestSTDP as NearestSTDP
    from .plasticity.pair import PreCentredSTDP as PreCentredSTDP
    from .plasticity.pair import ReducedSTDP as ReducedSTDP
    from .plasticity.pair import SymmetricSTDP as SymmetricSTDP
    from .plasticity.reward import DopamineSTDP as DopamineSTDP
    from .plasticity.reward import ModulatedSTDP as ModulatedSTDP
    from .plasticity.reward import RewardSTDP as RewardSTDP
    from .plasticity.reward import ThreeFactorHebbian as ThreeFactorHebbian
    from .plasticity.reward import ThreeFactorSTDP as ThreeFactorSTDP
    from .plasticity.triplet import NearestTripletSTDP as NearestTripletSTDP
    from .plasticity.triplet import TripletSTDP as TripletSTDP
    from .synapses.alpha import AlphaConductance as AlphaConductance
    from .synapses.alpha import AlphaCurrent as AlphaCurrent
    from .synapses.delta import Delta as Delta
    from .synapses.dual_exponential import DualExpConductance as DualExpConductance
    from .synapses.dual_exponential import DualExpCurrent as DualExpCurrent
    from .synapses.exponential import ExpConductance as ExpConductance
    from .synapses.exponential import ExpCurrent as ExpCurrent
    from .synapses.gabab import GABAB as GABAB
    from .synapses.gap import GapJunction as GapJunction
    from .synapses.glia import ToAstrocyte as ToAstrocyte
    from .synapses.graded import GradedSynapse as GradedSynapse
    from .synapses.nmda import NMDA as NMDA
    from .synapses.nmda import SaturatingNMDA as SaturatingNMDA
    from .synapses.receptors import AMPA as AMPA
    from .synapses.receptors import GABAA as GABAA
    from .synapses.short_term import StochasticTsodyksMarkramConductance as StochasticTsodyksMarkramConductance
    from .synapses.short_term import StochasticTsodyksMarkramCurrent as StochasticTsodyksMarkramCurrent
    from .synapses.short_term import TsodyksMarkramConductance as TsodyksMarkramConductance
    from .synapses.short_term import TsodyksMarkramCurrent as TsodyksMarkramCurrent


def __getattr__(name):
    if name in _WHERE:
        value = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
        globals()[name] = value
        return value
    from brainsim.errors import unknown

    raise AttributeError(f"brainsim.models: {unknown('model', name, __all__)}")


def __dir__():
    return list(__all__)
