"""Plasticity rules: what spikes, rates, voltages and modulators do to weights."""
