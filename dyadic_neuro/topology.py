"""Which population feeds which: order, depth, height and cycles of a directed graph of names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from graphlib import CycleError as _Cycle
from graphlib import TopologicalSorter


def find_cycle(nodes: Iterable[str], edges: Iterable[tuple[str, str]]) -> list[str] | None:
    """Return one cycle as [a, b, ..., a] in the direction of the edges, or None."""
    try:
        order(nodes, edges)
    except _Cycle as error:
        return list(error.args[1])
    return None


def order(nodes: Iterable[str], edges: Iterable[tuple[str, str]]) -> list[str]:
    """Return the nodes, every source before its targets."""
    sources: dict[str, list[str]] = {node: [] for node in nodes}
    for source, target in edges:
        sources[target].append(source)
    return list(TopologicalSorter(sources).static_order())


def longest_paths(order: Sequence[str], edges: Iterable[tuple[str, str]], start: str) -> dict[str, int]:
    """Return for each node the number of edges on its longest path from `start`; `order` is topological."""
    targets: dict[str, list[str]] = {node: [] for node in order}
    for source, target in edges:
        targets[source].append(target)
    length = {start: 0}
    for node in order:
        if node in length:
            for target in targets[node]:
                length[target] = max(length.get(target, 0), length[node] + 1)
    return length


def reachable(edges: Iterable[tuple[str, str]], start: str) -> set[str]:
    """Return every node on some path from `start`, itself included."""
    targets: dict[str, list[str]] = {}
    for source, target in edges:
        targets.setdefault(source, []).append(target)
    seen, frontier = {start}, [start]
    while frontier:
        for target in targets.get(frontier.pop(), []):
            if target not in seen:
                seen.add(target)
                frontier.append(target)
    return seen
