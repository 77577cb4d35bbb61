"""Fitting: parameters found from data, through gradients of a run."""
