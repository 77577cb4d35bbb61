"""Neuron models, one family per file."""
