"""A network, or a mapping of one, cut into the records of the Lava processes that run it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from dyadic_neuro import arithmetic, messages
from dyadic_neuro.arrays import Array
from dyadic_neuro.codings import Coding, Graded
from dyadic_neuro.dynamics import State
from dyadic_neuro.fixed_point import FixedNetwork
from dyadic_neuro.fixed_point.scales import WIDEST
from dyadic_neuro.graph import Graph
from dyadic_neuro.mappings.copies import KINDS
from dyadic_neuro.mappings.mapping import Mapping as Placed
from dyadic_neuro.mappings.slices import Slice
from dyadic_neuro.messages import RATE, SENSITIVITY, Link, Signal
from dyadic_neuro.processes.parts import CoreSlice, InputPart, MappedPlan, Part, Readout, Way
from dyadic_neuro.processes.slices import (
    Axons,
    Clock,
    ForwardSlice,
    InputSlice,
    LossSlice,
    Plan,
    Samples,
    SensitivitySlice,
    Widths,
)
from dyadic_neuro.projection import Projection
from dyadic_neuro.schedule import Schedule

_GRADED = Graded()


def population_plan(
    network: Graph,
    clock: Clock,
    schedule: Schedule,
    alpha: float,
    initial: State,
    feedback: Mapping[str, Projection],
    inputs: Array,
    targets: Array,
    order: Array,
    learning_rate: float | None,
    weight_decay: float = 0.0,
    coding: Coding = _GRADED,
) -> Plan:
    """Cut the network into the records of two processes a population."""
    every, axons = messages.links(network, learning=learning_rate is not None), _axons(network, schedule, coding, initial, order)
    widths = _widths(network, axons)

    def sent_by(name: str, *kinds: tuple[str, bool]) -> tuple[Link, ...]:
        return tuple(link for link in every if link.source == name and (link.kind, link.local) in kinds)

    forward, sensitivity = [], []
    for population in network.dynamic:
        name, readout = population.name, population.name == network.output
        bias = None if population.bias is None else np.asarray(population.bias)
        incoming, outgoing = network.incoming[name], network.outgoing[name]
        forward.append(
            ForwardSlice(
                name,
                arithmetic.rules(network, name),
                initial.potentials[name],
                bias,
                tuple(incoming),
                tuple(axons[p.source, RATE] for p in incoming),
                axons.get((name, RATE)),
                schedule.potentials[name],
                alpha,
                learning_rate,
                weight_decay,
                readout,
                sent_by(name, (RATE, False), ("derivative", True), (RATE, True), ("potential", True)),
                widths.get(name, {}),
            )
        )
        sensitivity.append(
            SensitivitySlice(
                name,
                arithmetic.rules(network, name),
                initial.sensitivities[name],
                tuple((p.name, feedback[p.name]) for p in outgoing),
                tuple(axons[p.target, SENSITIVITY] for p in outgoing),
                axons.get((name, SENSITIVITY)),
                schedule.sensitivities[name],
                alpha,
                learning_rate,
                weight_decay,
                messages.learns(network, name),
                readout,
                sent_by(name, (SENSITIVITY, False), (SENSITIVITY, True)),
                widths.get(f"{name}.sensitivity", {}),
            )
        )
    clamped, output, learning = network.input, network.output, learning_rate is not None
    links = sent_by(clamped, (RATE, False)), sent_by(output, ("error", True))
    first = InputSlice(clamped, Samples(inputs, order), axons[clamped, RATE], links[0], widths.get(clamped, {}))
    timing, target = schedule.potentials[output], Samples(targets, order)
    loss = LossSlice(output, network.cost, target, timing, learning, links[1], widths.get("loss", {}))
    return Plan(clock, str(np.dtype(network.dtype)), first, tuple(forward), tuple(sensitivity), loss)


def core_plan(
    mapping: Placed,
    network: Graph,
    clock: Clock,
    schedule: Schedule,
    alpha: float,
    initial: State,
    feedback: Mapping[str, Projection],
    inputs: Array,
    targets: Array,
    order: Array,
    learning_rate: float | None,
    weight_decay: float = 0.0,
    coding: Coding = _GRADED,
) -> MappedPlan:
    """Cut the network into the records of the cores of its mapping."""
    every, axons = messages.links(network, learning=learning_rate is not None), _axons(network, schedule, coding, initial, order)
    links = {p.name: tuple(link for link in every if link.source == p.name) for p in network.populations}
    held: dict[int, list[Slice]] = {int(core): [] for core in mapping.cores}
    for piece in mapping.slices:
        held[piece.core].append(piece)
    sends, keeps, receives = ways(mapping)

    def shown(piece: Slice) -> InputPart:
        name, start, stop = piece.population, piece.start, piece.stop
        samples = Samples(inputs[:, start:stop], order)
        return InputPart(name, start, samples, axons[name, RATE].of(start, stop), links[name])

    def part(piece: Slice) -> Part:
        name, start, stop = piece.population, piece.start, piece.stop
        bias = network.population(name).bias
        return Part(
            name,
            start,
            arithmetic.rules(network, name, start),
            initial.potentials[name][:, start:stop],
            initial.sensitivities[name][:, start:stop],
            None if bias is None else np.asarray(bias)[start:stop],
            tuple(own for p in network.incoming[name] if (own := p.onto(start, stop)) is not None),
            tuple((p.name, own) for p in network.outgoing[name] if (own := feedback[p.name].onto(start, stop)) is not None),
            schedule.potentials[name],
            schedule.sensitivities[name],
            {kind: axons[name, kind].of(start, stop) for kind in (RATE, SENSITIVITY) if (name, kind) in axons},
            links[name],
        )

    def readout(parts: Iterable[Part]) -> Readout | None:
        columns = [np.arange(p.start, p.stop) for p in parts if p.population == network.output]
        if not columns:
            return None
        samples = Samples(targets[:, np.concatenate(columns)], order)
        return Readout(network.output, network.cost, samples, learning_rate is not None)

    def core(number: int, pieces: list[Slice]) -> CoreSlice:
        parts = tuple(part(piece) for piece in pieces if piece.population != network.input)
        signals = [(p.source, RATE) for q in parts for p in q.incoming]
        signals += [(p.source, SENSITIVITY) for q in parts for _, p in q.feedback]
        return CoreSlice(
            number,
            order.shape[1],
            tuple(shown(piece) for piece in pieces if piece.population == network.input),
            parts,
            readout(parts),
            {signal: axons[signal] for signal in signals},
            tuple(sends[number]),
            tuple(keeps[number]),
            tuple(receives[number]),
            alpha,
            learning_rate,
            weight_decay,
            _core_widths(network, axons, parts, sends[number]),
        )

    return MappedPlan(clock, str(np.dtype(network.dtype)), tuple(core(number, pieces) for number, pieces in held.items()))


# What travels, and how wide it is


def _axons(network: Graph, schedule: Schedule, coding: Coding, initial: State, order: Array) -> dict[Signal, Axons]:
    """Return how every signal travels; whoever sends has told the initial state, an input nothing yet."""
    found, batch, fixed = {}, order.shape[1], isinstance(network, FixedNetwork)
    for number, (name, kind) in messages.signals(network):
        rates = kind == RATE
        told = np.zeros((batch, network.population(name).size), network.dtype)
        if coding.name != "graded" and name != network.input:
            rules = arithmetic.rules(network, name)
            told = rules.rate(initial.potentials[name]) if rates else rules.message(initial.sensitivities[name])
        timing = (schedule.potentials if rates else schedule.sensitivities)[name]
        found[name, kind] = Axons(coding, network.bits(name, kind) if fixed else 0, number, 0, told, timing)
    return found


def _widths(network: Graph, axons: Mapping[Signal, Axons]) -> dict[str, Widths]:
    """Return the widths of the ports of every process of a network of integers."""
    if not isinstance(network, FixedNetwork):
        return {}
    found: dict[str, dict[str, int]] = {"loss": {"error_out": network.bits(network.output, "error")}}
    for population in network.dynamic:
        name, scales = population.name, network.scales[population.name]
        partner = max(network.bits(name, kind) for kind in (RATE, "derivative"))
        found[name] = {"potential_out": scales.potential.bits, "partner_out": partner, "state_out": scales.potential.bits}
        found[f"{name}.sensitivity"] = {"partner_out": scales.message.bits, "state_out": scales.sensitivity.bits}
    for (name, kind), signal in axons.items():
        process, port = (name, "rate_out") if kind == RATE else (f"{name}.sensitivity", "sensitivity_out")
        found.setdefault(process, {})[port] = signal.wire_bits
    return dict(found)


def _core_widths(network: Graph, axons: Mapping[Signal, Axons], parts: Iterable[Part], sends: Iterable[Way]) -> Widths:
    """Return the widths of a core's ports in a network of integers: states share one, as wide as the widest of them."""
    if not isinstance(network, FixedNetwork):
        return {}
    scales = [network.scales[part.population] for part in parts]
    states = max((bits for s in scales for bits in (s.potential.bits, s.sensitivity.bits)), default=WIDEST)
    return {f"way_out_{i}": axons[way.population, way.kind].wire_bits for i, way in enumerate(sends)} | {"state_out": states}


# The routes of a mapping


def ways(mapping: Placed) -> tuple[dict[int, list[Way]], dict[int, list[Way]], dict[int, list[Way]]]:
    """Return what each core sends to others, keeps for itself, and receives from others, along the mapping's routes."""
    slices, routes, senders = mapping.slices, mapping.routes, mapping.senders
    ends: dict[Way, tuple[int, set[int]]] = {}
    for r, i in zip(senders.route, senders.slice, strict=True):
        start, stop = int(max(slices.start[i], routes.start[r])), int(min(slices.stop[i], routes.stop[r]))
        way = Way(routes.names[routes.population[r]], KINDS[routes.kind[r]], start, stop)
        _, cores = ends.setdefault(way, (int(slices.core[i]), set()))
        cores.update(int(core) for core in routes.core[routes.first[r] : routes.first[r + 1]])
    sends, keeps, receives = defaultdict(list), defaultdict(list), defaultdict(list)
    for way, (home, cores) in ends.items():
        if cores - {home}:
            sends[home].append(way)
        if home in cores:
            keeps[home].append(way)
        for core in sorted(cores - {home}):
            receives[core].append(way)
    return sends, keeps, receives
