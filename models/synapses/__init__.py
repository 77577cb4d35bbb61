"""Synapse models, one family per file."""
