"""brainsim: a differentiable brain simulator on JAX."""
