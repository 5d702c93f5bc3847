"""Hold a backend of your own to the conformance suite: any object with the parts of `dyadic_neuro.backends.base.Backend`."""

from dyadic_neuro.backends import Reference
from dyadic_neuro.testing import conformance


class Rounded(Reference):
    """The reference with gradients cut to six decimals: what a careless read-out would do."""

    name = "rounded"

    def open(self, network):
        session = super().open(network)
        relax = session.relax

        def rounded(order):
            trace = relax(order)
            for gradient in trace.gradients.values():
                gradient.round(6, out=gradient)
            return trace

        session.relax = rounded
        return session


for result in conformance.check(Rounded()):
    print(f"{result.case:18} {result.verdict:8} {result.reason or f'{result.measured:.1e} (limit {result.limit:.0e})'}")
