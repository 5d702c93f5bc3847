"""A network on a chip: where it lies, that it computes the same there, and what learning a sample takes."""

import numpy as np

import dyadic_neuro as dn

network = dn.Network.dense([64, 64, 10], activation="tanh", loss="cross_entropy", seed=0)
mapping = dn.map_network(network, "loihi1", objective="latency")  # or dn.Chip.load("my-chip.toml", chips=(2, 2))
mapping.verify()  # every limit, synapse and route again, by code that shares nothing with the mapper
print(mapping)
print("fullest core, synaptic memory in bits:", max(mapping.utilization["synaptic_memory"].values()))

data = dn.datasets.load("digits")
inputs, targets = data.inputs[:8], data.targets[:8]
trace = dn.relax(network, inputs, targets, backend=dn.backends.MappedChip(mapping))  # core by core, every event counted
exact = dn.backprop(network, inputs, targets)
print("exact on the cores:", all(np.allclose(trace.gradients[key], exact[key], rtol=0, atol=1e-12) for key in exact))
print(trace.cost)
for part in trace.cost.components:
    print(f"  {part.name:20} {part.count:>12,.6g} x {part.each}")
print("taken for granted:", *trace.cost.assumptions, sep="\n  ")
