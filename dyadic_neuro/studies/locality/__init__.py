"""The locality study: who knows what, when, and what a weight update may read, on any backend, through `relax` and `train`.

`examine` does all of it for one network on one backend, a `Subject`, and returns a `Report` with a verdict per `Claim`:

    perturbation, interventions       what is changed, and the runs that change it
    graph, cones, verdicts            where the graph lets a change go, where it is seen to go, what that says
    isolation, crossings              what is cut off and changed; what acts across boundaries without a message
    updates, copies, learning         what an update reads, where both copies of a weight act, what both learn from
    lock, release                     from when a gradient is exact, and may be used; what haste costs
    faults, asynchrony, recovery, stability    what goes wrong, who updates when, how long all takes to be exact again
    traffic, transport                messages, bits and hops; what wrong copies of W^T cost
    textbook                          backpropagation with a global phase switch, for contrast
    report, findings                  all parts, piece by piece
"""

from dyadic_neuro.studies.locality.claim import Claim
from dyadic_neuro.studies.locality.cones import Cones, measure
from dyadic_neuro.studies.locality.perturbation import Perturbation
from dyadic_neuro.studies.locality.report import PARTS, Report, examine
from dyadic_neuro.studies.locality.subject import Subject
from dyadic_neuro.studies.locality.textbook import Textbook

__all__ = ["PARTS", "Claim", "Cones", "Perturbation", "Report", "Subject", "Textbook", "examine", "measure"]
