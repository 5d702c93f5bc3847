"""Who knows what, when: change one thing after another, watch when every state learns of it, and draw it in space and time."""

import sys

import dyadic_neuro as dn
from dyadic_neuro.studies import locality

network = dn.Network.dense([16, *[12] * 5, 4], activation="tanh", loss="cross_entropy", seed=0)
report = locality.examine(network, backend="chip", parts=["cones", "lock"])
for claim in report.claims:
    print(f"{claim.name:11} {claim.verdict:6} {claim.found}")
for claim in report.contrast:
    if claim.broken:
        print(f"textbook: {claim.name} is broken: {claim.counterexample}")
path = sys.argv[1] if len(sys.argv) > 1 else "light_cones.png"
dn.plotting.save(dn.plotting.light_cones(report.cones), path, overwrite=True)
print("written:", path)
