"""The Brian2 backend: the circuit in continuous time, and at dt = tau the unit step, on each of Brian2's targets.

`layout` says where neurons, axons and synapses stand, `equations` what they do, `integrators` how they take a step, `functions`
what the equations call, `circuit` makes Brian2's objects of them; `runtime` and `standalone` run a circuit (the latter compiled
by `compiler` into what `program` says), `deployment` gives a network's values to one and reads its results, `session` takes
orders.
"""

from dyadic_neuro.backends.brian2.backend import Brian2, on_numpy, on_standalone, stepped

__all__ = ["Brian2", "on_numpy", "on_standalone", "stepped"]
