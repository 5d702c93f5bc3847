"""The picture in the README: potentials sweep up, sensitivities sweep back down, and behind both everything is exact."""

import sys

import dyadic_neuro as dn
from dyadic_neuro.studies.convergence import convergence

data = dn.datasets.load("digits")
network = dn.Network.dense([64, *[32] * 7, 10], activation="tanh", loss="cross_entropy", seed=0)
left_behind = dn.relax(network, data.inputs[:32], data.targets[:32]).final  # no reset between samples
trace = dn.relax(network, data.inputs[32:64], data.targets[32:64], initial=left_behind, steps=network.relaxation_steps + 2)

rows = convergence(trace)
for row in rows:
    print(f"{row.layer:8} {row.quantity:12} exact from step {row.exact_from(1e-12)}, predicted {row.due}")
path = sys.argv[1] if len(sys.argv) > 1 else "two_waves.png"
dn.plotting.save(dn.plotting.waves(rows, "Eight layers, 32 digits, after another batch"), path, overwrite=True)
