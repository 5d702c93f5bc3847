"""The independent check of a mapping: every law worked out again from the plain data of its records.

Nothing here is shared with what made the mapping, on purpose: depths, axons, bits and the loads of links are computed a
second time, in another way. Only arrays, sizes and names are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from dyadic_neuro.errors import MappingError
from dyadic_neuro.mappings.verify.division import division_faults
from dyadic_neuro.mappings.verify.faults import SHOWN, Fault, Law, alike, each, is_whole, where
from dyadic_neuro.mappings.verify.resources import used
from dyadic_neuro.mappings.verify.view import KINDS, ExpectedCopy, View

if TYPE_CHECKING:
    from dyadic_neuro.mappings.mapping import Mapping


def check(mapping: Mapping) -> None:
    """Raise MappingError with the first faults, if there are any."""
    found = faults(mapping)
    if found:
        more = f"; and {len(found) - SHOWN} more faults" if len(found) > SHOWN else ""
        problem = "; ".join(str(fault) for fault in found[:SHOWN]) + more
        raise MappingError("mapping", problem, "map the network again: map_network(network, chip)")


def faults(mapping: Mapping) -> tuple[Fault, ...]:
    """Return what is wrong with a mapping, at most a few findings a law.

    What follows from a part is looked at only where that part is right: slices, then synapses, then routes, then the rest.
    """
    view = View(mapping)
    stages: tuple[tuple[Callable[[View], Iterator[Fault]], ...], ...] = (
        (division_faults, _slices),
        (_synapses,),
        (_routes,),
        (_links, _limits, _departures),
    )
    for stage in stages:
        found = tuple(fault for law in stage for fault in law(view))
        if found:
            return found
    return ()


def _slices(view: View) -> Iterator[Fault]:
    """Every neuron in exactly one slice, slices in order and on cores that exist, the readout in one piece if it must be."""
    s, network = view.mapping.slices, view.network
    if sorted(s.names) != sorted(p.name for p in network.populations):
        yield Fault(Law.FORM, f"slices are of {list(s.names)}, not of the network's populations")
        return
    arrays = {"population": s.population, "start": s.start, "stop": s.stop, "core": s.core}
    wrong = list(alike("slices", arrays, {"population": len(s.names), "core": view.cores}))
    if wrong:
        yield from wrong
        return

    def named(i: int) -> str:
        return f"slice {i}, {s.names[s.population[i]]}[{s.start[i]}:{s.stop[i]}],"

    outside = (s.start < 0) | (s.stop > view.size[s.population]) | (s.start >= s.stop)
    if outside.any():
        yield from where(Law.FORM, outside, lambda i: f"{named(i)} is empty or not within 0 .. {view.size[s.population[i]]}")
        return
    if (np.lexsort((s.start, s.population)) != np.arange(len(s.start))).any():
        yield Fault(Law.FORM, "slices are not sorted by population and start")
        return
    begin = np.append(view.offset[s.population] + s.start, view.size.sum())
    end = np.concatenate([[0], view.offset[s.population] + s.stop])

    def neuron(number: int) -> str:
        i = int(np.searchsorted(view.offset, number, side="right")) - 1
        return f"neuron {number - view.offset[i]} of {s.names[i]}"

    yield from where(Law.EVERY_NEURON, begin > end, lambda i: f"{neuron(int(end[i]))} lies in no slice")
    yield from where(Law.ONE_SLICE, begin < end, lambda i: f"{neuron(int(begin[i]))} lies in two slices")
    readout = np.unique(s.core[s.population == view.index[network.output]])
    if len(readout) > 1 and not network.cost.separable:
        problem = f"{network.output} lies on {len(readout)} cores, its loss {network.cost.name} needs one"
        yield Fault(Law.READOUT_WHOLE, problem)


def _synapses(view: View) -> Iterator[Fault]:
    """Every synapse of every copy stored once, with the neuron that it drives, and nothing else stored."""
    s, slices = view.mapping.synapses, view.mapping.slices
    stored = [
        ExpectedCopy(c.projection, c.kind, c.source, c.target, c.rows, c.columns, c.one_to_one, c.plastic) for c in s.copies
    ]
    if sorted(stored) != sorted(view.copies):
        lost = [f"the {c.kind} copy of {c.projection} is missing" for c in view.copies if c not in stored]
        lost += [f"the {c.kind} copy of {c.projection} is none of the network's" for c in stored if c not in view.copies]
        lost = lost or ["a copy is there twice"]
        yield from each(Law.COPIES, np.arange(len(lost)), lambda i: lost[i])
        return
    fields = ("copy", "slice", "row_start", "row_stop", "column_start", "column_stop")
    arrays = {name: getattr(s, name) for name in fields}
    wrong = list(alike("synapses", arrays, {"copy": len(s.copies), "slice": len(slices.core)}))
    if wrong:
        yield from wrong
        return
    if (np.diff(s.copy) < 0).any():
        yield Fault(Law.FORM, "synapses are not sorted by copy")
        return

    def named(i: int) -> str:
        copy, k = stored[s.copy[i]], int(s.slice[i])
        held = f"{slices.names[slices.population[k]]}[{slices.start[k]}:{slices.stop[k]}]"
        rows, columns = f"{s.row_start[i]}:{s.row_stop[i]}", f"{s.column_start[i]}:{s.column_stop[i]}"
        return f"block {i} of synapses, [{rows}, {columns}] of the {copy.kind} copy of {copy.projection} in slice {held},"

    target = np.array([view.index[c.target] for c in stored], np.int64)
    rows, columns = np.array([c.rows for c in stored], np.int64), np.array([c.columns for c in stored], np.int64)
    single = np.array([c.one_to_one for c in stored], bool)
    astray = slices.population[s.slice] != target[s.copy]
    astray |= (s.row_start < slices.start[s.slice]) | (s.row_stop > slices.stop[s.slice])
    yield from where(Law.SYNAPSE_PLACE, astray, lambda i: f"{named(i)} drives other neurons than lie there")
    beyond = (s.row_start < rows[s.copy, 0]) | (s.row_stop > rows[s.copy, 1]) | (s.row_start >= s.row_stop)
    beyond |= (s.column_start < columns[s.copy, 0]) | (s.column_stop > columns[s.copy, 1]) | (s.column_start >= s.column_stop)
    askew = single[s.copy] & (s.row_start - rows[s.copy, 0] != s.column_start - columns[s.copy, 0])
    askew |= single[s.copy] & (s.row_stop - s.row_start != s.column_stop - s.column_start)
    yield from where(Law.SYNAPSE_PLACE, beyond | askew, lambda i: f"{named(i)} holds what the copy has not, or nothing")
    if (astray | beyond | askew).any():
        return
    # a block is all that a slice stores of a copy: so many synapses, once, and they are the right ones
    base = view.offset[target]
    copy, held, neurons = view.met(base + rows[:, 0], base + rows[:, 1])
    wanted, count = copy * len(slices.core) + held, np.where(single, 1, columns[:, 1] - columns[:, 0])
    key = s.copy * len(slices.core) + s.slice
    found, first, times = np.unique(key, return_index=True, return_counts=True)
    yield from each(Law.ONE_SYNAPSE, first[times > 1], lambda i: f"{named(i)} is not all that this slice stores of this copy")
    size = (s.row_stop - s.row_start) * np.where(single[s.copy], 1, s.column_stop - s.column_start)
    at = np.searchsorted(found, wanted)
    at_known = np.minimum(at, max(len(found) - 1, 0))
    there = found[at_known] == wanted if len(found) else np.zeros(len(wanted), bool)
    held_size = np.where(there, size[first[at_known]], 0) if len(found) else np.zeros(len(wanted), np.int64)
    lacking = held_size < neurons * count[copy]

    def lack(i: int) -> str:
        c, k = stored[copy[i]], int(held[i])
        where = f"slice {k}, {slices.names[slices.population[k]]}[{slices.start[k]}:{slices.stop[k]}],"
        needed = int(neurons[i] * count[copy[i]])
        return f"{where} stores {held_size[i]} of the {needed} synapses of the {c.kind} copy of {c.projection}"

    yield from where(Law.EVERY_SYNAPSE, lacking, lack)


def _routes(view: View) -> Iterator[Fault]:
    """Every message that synapses wait for has one route to their core, and none is sent for nothing."""
    r = view.mapping.routes
    if sorted(r.names) != sorted(view.names):
        yield Fault(Law.FORM, f"routes are of {list(r.names)}, not of the network's populations")
        return
    heads = {"population": r.population, "kind": r.kind, "start": r.start, "stop": r.stop}
    wrong = list(alike("routes", heads, {"population": len(r.names), "kind": len(KINDS)}))
    wrong += alike("routes", {"core": r.core, "synapses": r.synapses}, {"core": view.cores})
    wrong += alike("routes", {"first": r.first}, {})
    if wrong:
        yield from wrong
        return
    if len(r.first) != len(r.population) + 1 or r.first[0] != 0 or r.first[-1] != len(r.core):
        yield Fault(Law.FORM, f"routes.first does not lead from 0 to {len(r.core)} in {len(r.population)} parts")
        return
    if (r.first[1:] <= r.first[:-1]).any():
        yield from where(Law.FORM, r.first[1:] <= r.first[:-1], lambda i: f"route {i} leads to no core")
        return
    outside = (r.start < 0) | (r.stop > view.size[view.route_population]) | (r.start >= r.stop)
    if outside.any():
        yield from where(Law.FORM, outside, lambda i: f"route {i} is of neurons {r.start[i]} .. {r.stop[i]} - 1, which are none")
        return
    a = view.arrivals

    def named(i: int) -> str:
        name, kind = view.names[a.signal[i] // 2], KINDS[a.signal[i] % 2]
        return f"the {kind} of {name}[{a.start[i]}:{a.stop[i]}]"

    lost, waste, twice = (a.messages == 0) & (a.wanted > 0), (a.messages > 0) & (a.wanted == 0), a.messages > 1
    differs = (a.messages == 1) & (a.wanted > 0) & (a.wanted != a.routed)
    yield from where(Law.EVERY_MESSAGE, lost, lambda i: f"{named(i)} has no route to core {a.core[i]}")
    yield from where(Law.NO_WASTE, waste, lambda i: f"{named(i)} is sent to core {a.core[i]}, which has no synapses for it")
    yield from where(Law.ONE_MESSAGE, twice, lambda i: f"{named(i)} is sent {a.messages[i]} times to core {a.core[i]}")
    yield from where(
        Law.SYNAPSES_MET,
        differs,
        lambda i: f"{named(i)} meets {a.wanted[i]} synapses on core {a.core[i]}, its route says {a.routed[i]}",
    )


def _links(view: View) -> Iterator[Fault]:
    """Compare the loads with those of X-Y routing, and see that what arrives at a tile or starts there ends or goes on."""
    links, (rows, columns) = view.mapping.links, view.extent
    wanted = view.loads()
    for direction, load in wanted.items():
        if not is_whole(getattr(links, direction), 2) or getattr(links, direction).shape != load.shape:
            yield Fault(Law.FORM, f"links.{direction} is no array of whole numbers {load.shape}")
            return
    leaving = np.zeros((rows, columns), np.int64)  # less what enters
    leaving[:, :-1] += links.east - links.west
    leaving[:, 1:] += links.west - links.east
    leaving[:-1] += links.north - links.south
    leaving[1:] += links.south - links.north
    for direction, load in wanted.items():
        recorded = getattr(links, direction)
        step = (direction == "south", direction == "west")  # these links start at their upper end
        for y, x in np.argwhere(load != recorded)[:SHOWN]:
            tile = (int(x) + step[1], int(y) + step[0])
            problem = f"the link {direction} from tile {tile} carries {load[y, x]:,} messages, not {recorded[y, x]:,}"
            yield Fault(Law.LINK_LOAD, problem)
    kept = leaving - (view.flows.emitted - view.flows.absorbed)
    for y, x in np.argwhere(kept != 0)[:SHOWN]:
        yield Fault(Law.FLOW, f"at tile {(int(x), int(y))} {kept[y, x]:+,} messages leave that neither came nor started there")


def _limits(view: View) -> Iterator[Fault]:
    """No core uses more than its chip says it has. What is not published is not checked."""
    m, steps = view.mapping, view.steps
    if m.pipeline and steps is None:
        yield Fault(Law.WINDOW, "a network with a cycle cannot be a pipeline")
        return
    for resource, amount in used(view).items():
        limit = getattr(m.chip.limits, resource).value
        if limit is not None:
            law = f"the {int(limit):,} that it has of {resource}"
            yield from where(Law.LIMIT, amount > limit, lambda i, a=amount, t=law: f"core {i} uses {a[i]:,} of {t}")  # type: ignore[misc]


def _departures(view: View) -> Iterator[Fault]:
    """Every signal that has a route leaves in one step, after it is known and before anyone needs it."""
    m, steps = view.mapping, view.steps
    if steps is None:
        if m.departures:
            yield Fault(Law.WINDOW, "a network with a cycle has no wavefront, but departures")
        return
    needed: dict[tuple[str, str], tuple[int, str]] = {}
    for copy in view.copies:
        use = (steps.updated[copy.target, copy.kind], copy.target)
        signal = (copy.source, copy.kind)
        needed[signal] = min(needed.get(signal, use), use)
    left: dict[tuple[str, str], int] = {}
    for d in m.departures:
        signal, name = (d.population, d.kind), f"the {d.kind} of {d.population}"
        if signal not in steps.updated:
            yield Fault(Law.KNOWN_SIGNAL, f"{name}, which is none, leaves in step {d.step}")
            continue
        if signal in left:
            yield Fault(Law.ONE_DEPARTURE, f"{name} leaves in step {left[signal]} and again in step {d.step}")
        left[signal] = d.step
        if not 1 <= d.step <= 2 * steps.depth:
            yield Fault(Law.WINDOW, f"{name} leaves in step {d.step}, not in 1 .. {2 * steps.depth}")
        if d.step <= steps.updated[signal]:
            yield Fault(Law.AFTER_UPDATE, f"{name} leaves in step {d.step}, but is updated in step {steps.updated[signal]}")
        if signal in needed and d.step > needed[signal][0]:
            latest, target = needed[signal]
            yield Fault(Law.BEFORE_USE, f"{name} leaves in step {d.step}, but {target} needs it in step {latest}")
    routed = np.unique(2 * view.route_population + m.routes.kind)
    silent = [(view.names[i // 2], KINDS[i % 2]) for i in routed.tolist() if (view.names[i // 2], KINDS[i % 2]) not in left]
    yield from each(Law.EVERY_DEPARTURE, np.arange(len(silent)), lambda i: f"the {silent[i][1]} of {silent[i][0]} never leaves")
