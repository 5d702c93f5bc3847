"""The division of a fan-in, checked: every weight in one piece, and the sums those of before."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dyadic_neuro.mappings.verify.faults import Fault, Law, where
from dyadic_neuro.mappings.verify.view import View

if TYPE_CHECKING:
    from dyadic_neuro.mappings.fan_in import Division
    from dyadic_neuro.projection import Projection


def division_faults(view: View) -> Iterator[Fault]:
    """Every weight of the original in one piece, and the pieces joined so that the sums are those of before."""
    division = view.mapping.division
    original, divided = division.original, division.network
    projections = {p.name: p for p in divided.projections}
    weights = {p.name: p for p in original.projections}
    pieces = {name: p for name, p in division.pieces.items() if name in projections and p.original in weights}
    if len(pieces) < len(division.pieces):
        strange = next(name for name in division.pieces if name not in pieces)
        yield Fault(Law.SAME_SUM, f"piece {strange} is of no projection")
    yield from _same_populations(division)
    of_whole: dict[str, list[str]] = {name: [] for name in weights}
    for key, piece in pieces.items():
        of_whole[piece.original].append(key)
    for name, whole in weights.items():
        own = of_whole[name]
        yield from _pieces_tile(whole, own, [_rectangle(projections[key], pieces[key].row, pieces[key].column) for key in own])
    into: dict[str, list[Projection]] = {p.name: [] for p in divided.populations}
    out: dict[str, list[Projection]] = {p.name: [] for p in divided.populations}
    for p in divided.projections:
        into[p.target].append(p)
        out[p.source].append(p)
    old = {p.name for p in original.populations}
    sizes = {p.name: p.size for p in divided.populations}
    for name, p in projections.items():
        if name in pieces:
            piece = pieces[name]
            yield from _joins_the_same(p, weights[piece.original], (piece.row, piece.column), old, into, out, pieces)
        else:
            passes = len(p.weights.shape) == 1 and p.weights.shape[0] == sizes[p.source] == sizes[p.target]
            middle = (p.target not in old and len(into[p.target]) == 1) or (p.source not in old and len(out[p.source]) == 1)
            if not passes or p.plastic or not middle:
                yield Fault(Law.SAME_SUM, f"{name} is no piece, but not the one fixed diagonal of a population in between either")


def _same_populations(division: Division) -> Iterator[Fault]:
    original, divided = division.original, division.network
    ends = [(n.input, n.output, n.cost.name, n.dtype) for n in (original, divided)]
    if ends[0] != ends[1]:
        yield Fault(Law.SAME_SUM, f"the divided network has other ends than the original one: {ends[1]}, not {ends[0]}")
    found = {p.name: p for p in divided.populations}
    for p in original.populations:
        new = found.pop(p.name, None)
        if new is None or (new.size, new.phi.name, new.bias is None) != (p.size, p.phi.name, p.bias is None):
            yield Fault(Law.SAME_SUM, f"population {p.name} is not in the divided network as it was")
    for name, p in found.items():
        if p.phi.name != "identity" or p.bias is not None:
            yield Fault(Law.SAME_SUM, f"population {name}, which was added, has a rate function or a bias")


def _rectangle(p: Projection, row: int, column: int) -> tuple[int, int, int, int]:
    """Return (first row, last, first column, last) of what a projection holds; a diagonal is a column."""
    shape = (*p.weights.shape, 1)
    return row, row + shape[0], column, column + shape[1]


def _pieces_tile(whole: Projection, names: Sequence[str], pieces: list[tuple[int, int, int, int]]) -> Iterator[Fault]:
    """Look whether rectangles cover the weights of a projection, each weight once."""
    high, wide = (*whole.weights.shape, 1)[:2]
    parts = np.array(pieces, np.int64).reshape(-1, 4)
    outside = (parts[:, 0] < 0) | (parts[:, 1] > high) | (parts[:, 2] < 0) | (parts[:, 3] > wide)
    yield from where(Law.SAME_SUM, outside, lambda i: f"piece {names[i]} does not lie within the weights of {whole.name}")
    if outside.any():
        return
    for i in range(len(parts)):
        a, others = parts[i], parts[i + 1 :]
        meets = (others[:, 0] < a[1]) & (others[:, 1] > a[0]) & (others[:, 2] < a[3]) & (others[:, 3] > a[2])
        if meets.any():
            other = names[i + 1 + int(meets.argmax())]
            yield Fault(Law.ONE_PIECE, f"pieces {names[i]} and {other} hold the same weights of {whole.name}")
            return
    held = int(((parts[:, 1] - parts[:, 0]) * (parts[:, 3] - parts[:, 2])).sum())
    if held < high * wide:
        yield Fault(Law.EVERY_WEIGHT, f"{high * wide - held:,} of the {high * wide:,} weights of {whole.name} are in no piece")


def _joins_the_same(
    p: Projection,
    whole: Projection,
    place: tuple[int, int],
    old: set[str],
    into: dict[str, list[Projection]],
    out: dict[str, list[Projection]],
    pieces: Container[str],
) -> Iterator[Fault]:
    """Follow what was added from both ends of a piece, up to the populations that its weights join."""
    source, target = p.source, p.target
    for _ in into:  # a way through what was added is never longer than that, even where it goes in a circle
        before = source, target
        if source not in old and len(into[source]) == 1 and into[source][0].name not in pieces:
            source = into[source][0].source
        if target not in old and len(out[target]) == 1 and out[target][0].name not in pieces:
            target = out[target][0].target
        if (source, target) == before:
            break
    single = len(p.weights.shape) == 1
    corner = (whole.corner[0] + place[0], whole.corner[1] + place[1])
    if (source, target) != (whole.source, whole.target):
        yield Fault(Law.SAME_SUM, f"piece {p.name} joins {source} and {target}, but is of {whole.name}")
    elif tuple(p.corner) != corner or single != (len(whole.weights.shape) == 1) or p.plastic != whole.plastic:
        yield Fault(Law.SAME_SUM, f"piece {p.name} stands at {tuple(p.corner)}, not at {corner}, or is no part of {whole.name}")
