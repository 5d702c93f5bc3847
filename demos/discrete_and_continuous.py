"""Unit steps against continuous time: the three figures a paper would show, and what they say in words."""

import sys
from pathlib import Path

import dyadic_neuro as dn
from dyadic_neuro.studies.timestep.sweeps import SWEEPS

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "discrete_and_continuous")

# One network: the error of its gradient at every step, for step sizes alpha = dt / tau from 1.5 down to 0.01. And many
# circuits: other depths, unequal time constants, noise, delays, events, and learning that does not wait long enough.
result = dn.compare(
    dn.Network.dense([64, 32, 10], activation="tanh", loss="cross_entropy", seed=0),
    dn.datasets.load("digits"),
    backends=["reference"],  # add "brian2" to see it on a simulator
    sweeps=SWEEPS,
    out=folder,
    journal=folder / "journal.jsonl",  # interrupted, it goes on from there
    overwrite=True,
)
print(*result.answers, sep="\n")
print("written:", *sorted(path.name for path in result.files if path.suffix == ".png"))
