"""The Brian2 backend: the circuit in continuous time, and at dt = tau the unit step, on each of Brian2's targets.

`layout` says where neurons, axons and synapses stand, `equations` what they do, `functions` what the equations call, `circuit`
makes Brian2's objects of them; `runtime` and `standalone` run a circuit (the latter compiled by `compiler`), `deployment`
gives a network's values to one and reads its results, `session` takes orders.
"""

from dyadic_neuro.backends.brian2.backend import Brian2, on_numpy, standalone

__all__ = ["Brian2", "on_numpy", "standalone"]
