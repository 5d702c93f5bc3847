"""Exact gradients by relaxation, on the reference and on Lava, and on-chip learning: the screen of code in the README."""

import numpy as np

import dyadic_neuro as dn

network = dn.Network.dense([64, 32, 10], activation="tanh", loss="cross_entropy", seed=0)
data = dn.datasets.load("digits")
inputs, targets = data.inputs[:32], data.targets[:32]

trace = dn.relax(network, inputs, targets)  # 2D = 4 unit steps, every message local
exact = dn.backprop(network, inputs, targets)  # the textbook, sharing no code with the above
for key, gradient in trace.gradients.items():
    print(f"{key:16} {np.abs(gradient - exact[key]).max():.0e}")

on_lava = dn.relax(network, inputs, targets, backend="lava")  # one Lava process a population
print("same trajectory:", np.allclose(on_lava.potentials["hidden1"], trace.potentials["hidden1"], rtol=0, atol=1e-12))
print("messages per sample:", on_lava.messages.total() // len(inputs))

result = dn.train(network, data, backend="lava", epochs=3, batch_size=20, learning_rate=0.5)
print(f"test accuracy after 3 epochs in the processes: {result.history[-1].validation:.1%}")
