"""The copies of the weights as a chip sees them: which messages reach which neurons, and how many synapses they meet."""

from __future__ import annotations

from dataclasses import dataclass

from dyadic_neuro.network import Network

RATE, SENSITIVITY = "rate", "sensitivity"
KINDS = (RATE, SENSITIVITY)


@dataclass(frozen=True)
class Copy:
    """One copy of a projection's weights, stored with the neurons that it drives.

    Messages of `kind` from neurons `columns` of `source` reach neurons `rows` of `target`: each of them all of those, or
    (`one_to_one`) each its own. The forward copy of k -> v takes rates from k to v, the backward copy sensitivities from
    v to k.
    """

    projection: str
    kind: str
    source: str
    target: str
    rows: tuple[int, int]
    columns: tuple[int, int]
    one_to_one: bool
    plastic: bool


def copies(network: Network) -> tuple[Copy, ...]:
    """Return the forward copy of every projection, then the backward copy of every one that does not start at the input."""
    found = []
    for kind in KINDS:
        for p in network.projections:
            rows, columns = (p.rows.start, p.rows.stop), (p.columns.start, p.columns.stop)
            if kind == RATE:
                found.append(Copy(p.name, kind, p.source, p.target, rows, columns, p.one_to_one, p.plastic))
            elif p.source != network.input:
                found.append(Copy(p.name, kind, p.target, p.source, columns, rows, p.one_to_one, p.plastic))
    return tuple(found)
