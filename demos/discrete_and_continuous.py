"""Unit steps against continuous time: the three figures a paper would show, and what they say in words."""

import sys
from pathlib import Path

import dyadic_neuro as dn
from dyadic_neuro.studies.timestep import answers, compare, sweeps

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "discrete_and_continuous")
folder.mkdir(exist_ok=True)

# One network: the error of its gradient at every step, for step sizes alpha = dt / tau from 1.5 down to 0.01.
network = dn.Network.dense([64, 32, 10], activation="tanh", loss="cross_entropy", seed=0)
comparison = compare(network, dn.datasets.load("digits"), backends=["reference"])  # add "brian2" to see it on a simulator

# Many circuits: other depths, unequal time constants, noise, delays, and learning that does not wait long enough.
points = [point for sweep in sweeps.SWEEPS.values() for point in sweep()]
table = sweeps.run(points, journal=folder / "journal.jsonl")  # interrupted, it goes on from there

figures = {
    "approach": dn.plotting.approach(comparison.curves, comparison.depth, "64-32-10 on 16 digits"),
    "settling": dn.plotting.settling_costs(table, "tanh chains: medians of three random networks"),
    "imperfections": dn.plotting.imperfections(table, "tanh chains of depth 4, and digits"),
}
for name, figure in figures.items():
    dn.plotting.save(figure, folder / f"{name}.png", overwrite=True)
print(*answers(table, comparison), sep="\n")
print("written:", *sorted(path.name for path in folder.glob("*.png")))
