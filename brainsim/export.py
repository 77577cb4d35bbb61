"""Results as tables of other libraries: pandas, xarray, neo. Each is imported when asked for."""

from itertools import pairwise

import numpy as np

from . import extras
from .hdf5 import as_json


def to_pandas(result) -> dict:
    """Tables of a result.

    Returns:
        "spikes": DataFrame with the columns time_ms, population, cell, ordered by time; and for each trace its name:
        DataFrame with the index time_ms, one column a recorded cell (its index), and `attrs["unit"]`.
    """
    pandas = extras.load("pandas")
    tables = {}
    names = list(result.spikes)
    if names:
        spikes = list(result.spikes.values())
        code = np.repeat(np.arange(len(names)), [len(s) for s in spikes])
        table = pandas.DataFrame(
            {
                "time_ms": np.concatenate([s.times for s in spikes]),
                "population": pandas.Categorical.from_codes(code, categories=names),
                "cell": np.concatenate([s.indices for s in spikes]),
            }
        )
        tables["spikes"] = table.sort_values("time_ms", kind="stable", ignore_index=True)
    for name, trace in result.traces.items():
        index, columns = pandas.Index(trace.times, name="time_ms"), pandas.Index(trace.indices, name="cell")
        tables[name] = pandas.DataFrame(trace.values, index=index, columns=columns)
        tables[name].attrs["unit"] = trace.unit
    return tables


def _shared(arrays: dict, common: str, own: str) -> dict[str, str]:
    """Dimension of each array: `common` if all are equal, else one of its own."""
    equal = all(np.array_equal(a, b) for a, b in pairwise(arrays.values()))
    return {name: common if equal else own.format(name) for name in arrays}


def to_xarray(result):
    """An xarray Dataset of a result.

    Traces keep their names, with the dimensions `time` (ms; `<trace>_time` where sampling differs) and
    `<population>_cell` (`<trace>_cell` where the recorded cells differ). Spikes are the variables
    `<population>.spike_time` and `<population>.spike_cell` along `<population>_spike`. Units and provenance are
    attributes.
    """
    xarray = extras.load("xarray")
    variables, coordinates = {}, {}
    time_of = _shared({k: t.times for k, t in result.traces.items()}, "time", "{}_time")
    for name, trace in result.traces.items():
        population = name.rpartition(".")[0] or name
        peers = {k: t.indices for k, t in result.traces.items() if (k.rpartition(".")[0] or k) == population}
        time, cell = time_of[name], _shared(peers, f"{population}_cell", "{}_cell")[name]
        coordinates[time] = (time, trace.times, {"units": "ms"})
        coordinates[cell] = (cell, trace.indices)
        variables[name] = ((time, cell), trace.values, {"units": trace.unit})
    for name, spikes in result.spikes.items():
        along = f"{name}_spike"
        variables[f"{name}.spike_time"] = (along, spikes.times, {"units": "ms"})
        variables[f"{name}.spike_cell"] = (along, spikes.indices, {"n_cells": spikes.n_cells})
    facts = {k: getattr(result, k) for k in ("duration", "t_start", "dt")}
    facts |= {"seed": "" if result.seed is None else result.seed, "meta": as_json(result.meta, "meta")}
    return xarray.Dataset(variables, coordinates, facts)


def to_neo(result):
    """A neo Block with one Segment: a SpikeTrain a cell (silent cells too) and an AnalogSignal a trace.

    Each carries `population` and `cell` (or `cells`) as annotations. A unit that neo does not know stays dimensionless
    with the annotation `unit`; unequally spaced samples become an IrregularlySampledSignal.
    """
    neo, quantities = extras.load("neo"), extras.load("quantities")
    block, segment = neo.Block(name="brainsim"), neo.Segment(name="run")
    block.annotate(dt=result.dt, seed=result.seed, meta=as_json(result.meta, "meta"))
    block.segments.append(segment)
    for name, spikes in result.spikes.items():
        window = {"t_start": result.t_start, "t_stop": max([result.t_stop, *spikes.times[-1:]])}  # rounding of the last
        for cell in range(spikes.n_cells):
            train = neo.SpikeTrain(spikes.of(cell), units="ms", name=f"{name}[{cell}]", **window)
            train.annotate(population=name, cell=cell)
            segment.spiketrains.append(train)
    for name, trace in result.traces.items():
        signal = _neo_signal(neo, quantities, name, trace, result.dt)
        signal.annotate(population=name.rpartition(".")[0], cells=trace.indices.tolist(), unit=trace.unit)
        regular = isinstance(signal, neo.AnalogSignal)
        (segment.analogsignals if regular else segment.irregularlysampledsignals).append(signal)
    return block


def _neo_signal(neo, quantities, name, trace, dt):
    try:
        unit = quantities.Quantity(1.0, trace.unit.replace("GOhm", "Gohm").replace("^", "**"))
    except LookupError:
        unit = quantities.dimensionless
    steps = np.diff(trace.times)
    spacing = float(np.mean(steps)) if len(steps) else dt
    if len(steps) and np.ptp(steps) > 1e-6 * spacing:
        return neo.IrregularlySampledSignal(trace.times, trace.values, units=unit, time_units="ms", name=name)
    period = spacing * quantities.ms
    start = (trace.times[0] if len(trace) else 0.0) * quantities.ms
    return neo.AnalogSignal(trace.values, units=unit, sampling_period=period, t_start=start, name=name)
