"""Traffic: how many messages, bits and hops credit assignment takes, where and when, and how they grow.

Under "free" every population sends in each of the 2D steps, and a sample takes 2D (R + S) messages along projections, where R is
the sum of n_source over all projections, S that of n_target over those that do not start at the input. Under "wavefront" every
population sends its rate once and its sensitivity once: R + S. Their ratio is 2D, whatever the network.

How many of them are new: when a new sample comes to a settled network, a potential changes in step n if there is a path of n
hops from the input to it, a sensitivity one step after its own potential, or after a sensitivity that it receives; that of the
readout also at once, because the target is new. What does not change in a step need not be sent in the next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.backends.chip import MappedChip
from dyadic_neuro.datasets import random_batch
from dyadic_neuro.errors import MappingError, OptionError
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.copies import KINDS, RATE
from dyadic_neuro.mappings.mapping import Mapping, map_network
from dyadic_neuro.messages import MessageLedger
from dyadic_neuro.network import Network
from dyadic_neuro.relaxation import relax
from dyadic_neuro.schedule import SCHEDULES
from dyadic_neuro.studies.tables import frame
from dyadic_neuro.trace import Trace

COLD, WARM = "cold", "warm"
TRAFFIC = {
    "step": "int64",
    "source": "object",
    "target": "object",
    "kind": "object",
    "messages": "float64",
    "bits": "float64",
    "changed": "float64",
}
PACKETS = {
    "step": "int64",
    "source": "object",
    "kind": "object",
    "packets": "int64",
    "hops": "int64",
    "chip_crossings": "int64",
}
GROWTH = {
    "depth": "int64",
    "width": "int64",
    "batch": "int64",
    "schedule": "object",
    "start": "object",
    "messages": "float64",
    "bits": "float64",
    "packets": "float64",
    "hops": "float64",
    "changed": "float64",
    "predicted_messages": "int64",
    "predicted_changed": "float64",
}


def traffic(trace: Trace, *, previous: Trace | None = None) -> Any:  # noqa: ANN401  (a DataFrame)
    """Return the messages, and bits, of one sample along each projection in each step, from the ledger of the run.

    `changed` are the messages whose value is not the one that its neuron sent the last time: all that would go out if only
    changes were sent. What a neuron sends first is a change, unless `previous` is the run before, from whose final state this
    one started. Messages inside a dyad go nowhere and are left out. Raises OptionError for a run that does not hold every step
    or that sends events, MissingExtraError.
    """
    sent = None if previous is None else _Sent(previous).last
    changed, batch, ledger = _Sent(trace, sent).changed, len(trace.inputs), _ledger(trace)
    return frame(
        TRAFFIC,
        [
            {
                "step": entry.step,
                "source": entry.source,
                "target": entry.target,
                "kind": entry.kind,
                "messages": entry.messages / batch,
                "bits": entry.bits / batch,
                "changed": changed[entry.step, entry.source, entry.kind] / batch,
            }
            for entry in ledger
            if not entry.local
        ],
    )


def packets(trace: Trace, mapping: Mapping) -> Any:  # noqa: ANN401  (a DataFrame)
    """Return what the messages of one sample take on a chip: a row for each population and kind that sends in a step.

    A packet is a message times a core that it goes to. Each takes as many `hops` as its X-Y route has links between tiles, none
    within a tile; `chip_crossings` of them lead from one chip to another. Raises MappingError if the mapping is of another
    network than the one that ran, OptionError as `traffic`, MissingExtraError.
    """
    if mapping.network.fingerprint != trace.network.fingerprint:
        fix = "relax on backends.MappedChip(mapping), or the network mapping.apply(network)"
        raise MappingError("mapping", f"is of another network than the one that ran, {trace.network!r}", fix)
    paths = _paths(mapping)
    senders = dict.fromkeys((entry.step, entry.source, entry.kind) for entry in _ledger(trace) if not entry.local)
    return frame(PACKETS, [{"step": t, "source": name, "kind": kind} | paths[name, kind] for t, name, kind in senders])


def growth(
    depths: Sequence[int] = (2, 4, 8),
    widths: Sequence[int] = (16, 32, 64),
    batches: Sequence[int] = (1, 8),
    *,
    schedules: Sequence[str] = SCHEDULES,
    chip: Chip | str = "loihi2",
    seed: int = 0,
) -> Any:  # noqa: ANN401  (a DataFrame)
    """Return what one sample of random tanh chains takes in 2D steps, by depth, width of all layers, batch and schedule.

    `start` is "cold", from the zero state, or "warm", from what another batch left. `messages`, `bits`, `changed` are as in
    `traffic`, `packets` and `hops` as in `packets`, on the chip. Predicted is what follows from the graph and the sizes of the
    populations (those on the chip, where it had to divide a fan-in); of changes only those after a warm start (else NaN).
    Raises OptionError (depths, widths, batches, schedules), CapacityError, UnknownNameError and FileError (chip),
    MissingExtraError.
    """
    _check(schedules, depths=depths, widths=widths, batches=batches)
    parts = []
    for depth, width in product(depths, widths):
        network = Network.dense([width] * (depth + 1), seed=seed)
        mapping = map_network(network, chip)
        backend = MappedChip(mapping, fast=True)
        for batch, schedule in product(batches, schedules):
            before, data = (random_batch(network, batch, drawn) for drawn in (seed + 1, seed))
            previous = relax(network, *before, backend=backend, schedule=schedule)
            cold = relax(network, *data, backend=backend, schedule=schedule)
            warm = relax(network, *data, backend=backend, schedule=schedule, initial=previous.final)
            for start, trace, earlier in ((COLD, cold, None), (WARM, warm, previous)):
                crossed = packets(trace, mapping)
                parts.append(
                    {
                        "depth": depth,
                        "width": width,
                        "batch": batch,
                        "schedule": schedule,
                        "start": start,
                        "messages": trace.messages.total() / batch,
                        "bits": trace.messages.bits() / batch,
                        "packets": crossed["packets"].sum(),
                        "hops": crossed["hops"].sum(),
                        "changed": traffic(trace, previous=earlier)["changed"].sum(),
                        "predicted_messages": predicted_messages(mapping.network, schedule),
                        "predicted_changed": predicted_changed(mapping.network, schedule) if start == WARM else np.nan,
                    }
                )
    return frame(GROWTH, parts)


def predicted_messages(network: Network, schedule: str) -> int:
    """Return how many messages one sample takes along projections in 2D steps. Raises CycleError."""
    times = network.relaxation_steps if schedule == "free" else 1
    return _along(network, dict.fromkeys(network.heights, times), dict.fromkeys(network.heights, times))


def predicted_changed(network: Network, schedule: str) -> int:
    """Return how many of them have a new value, when a new sample comes to a settled network. Raises CycleError.

    They are fewer where something stays the same: a class, a unit beyond a kink, a neuron that a projection leaves out.
    """
    if schedule != "free":
        return predicted_messages(network, schedule)
    potentials: dict[str, set[int]] = {p.name: set() for p in network.populations}  # the steps in which they change
    sensitivities: dict[str, set[int]] = {p.name: set() for p in network.dynamic}
    potentials[network.input].add(0)
    for name in network.order[1:]:
        potentials[name] = {t + 1 for p in network.incoming[name] for t in potentials[p.source]}
    for name in reversed(network.order[1:]):
        bends = name == network.output or network.activations[name].name != "identity"
        heard = {t for p in network.outgoing[name] for t in sensitivities[p.target]} | (potentials[name] if bends else set())
        sensitivities[name] = {t + 1 for t in heard} | ({1} if name == network.output else set())
    return _along(network, *({name: len(times) for name, times in kind.items()} for kind in (potentials, sensitivities)))


def _along(network: Network, rates: dict[str, int], sensitivities: dict[str, int]) -> int:
    """Return the messages along all projections if each population sends so often."""
    size = {p.name: p.size for p in network.populations}
    forward = sum(size[p.source] * rates[p.source] for p in network.projections)
    return forward + sum(size[p.target] * sensitivities[p.target] for p in network.projections if p.source != network.input)


class _Sent:
    """What the neurons of a run sent: how many `changed` values, by (step, population, kind), and what they sent `last`."""

    def __init__(self, trace: Trace, last: dict[tuple[str, str], Array] | None = None) -> None:
        self.changed: dict[tuple[int | None, str, str], int] = {}
        self.last = {} if last is None else dict(last)
        for step, name, kind in dict.fromkeys((e.step, e.source, e.kind) for e in _ledger(trace) if not e.local):
            value, known = _value(trace, name, kind, step or 0), self.last.get((name, kind))
            self.changed[step, name, kind] = value.size if known is None else int((value != known).sum())
            self.last[name, kind] = value


def _value(trace: Trace, name: str, kind: str, step: int) -> Array:
    """Return what a population sends at the start of a step, (batch, n)."""
    if kind != RATE:
        return np.asarray(trace.sensitivities[name][step - 1])
    if name == trace.network.input:
        return trace.inputs
    return np.asarray(trace.network.activations[name].rate(trace.potentials[name][step - 1]))


def _ledger(trace: Trace) -> MessageLedger:
    """Return the messages of a run that holds every step. Raises OptionError."""
    if trace.firing is not None:
        raise OptionError("trace", "is of a run that sends events instead of values", "count them: trace.spikes, trace.messages")
    if not trace.messages.by_step or any(len(rows) != trace.steps + 1 for rows in trace.potentials.values()):
        raise OptionError("trace", "does not hold every step", 'relax with record="all"')
    return trace.messages


def _paths(mapping: Mapping) -> dict[tuple[str, str], dict[str, int]]:
    """Return what it takes when all neurons of a population send once, by (population, kind)."""
    chip, slices, routes, senders = mapping.chip, mapping.slices, mapping.routes, mapping.senders
    chip_x, chip_y = chip.x // int(chip.mesh.columns.value or 1), chip.y // int(chip.mesh.rows.value or 1)
    found = {(name, kind): {"packets": 0, "hops": 0, "chip_crossings": 0} for name in routes.names for kind in KINDS}
    bounds = np.searchsorted(senders.route, np.arange(len(routes) + 1))
    for r, (population, kind) in enumerate(zip(routes.population, routes.kind, strict=True)):
        own, path = slice(bounds[r], bounds[r + 1]), found[routes.names[population], KINDS[kind]]
        neurons, starts = senders.neurons[own], slices.core[senders.slice[own]]
        ends = routes.core[routes.first[r] : routes.first[r + 1]]
        path["packets"] += int(neurons.sum()) * len(ends)
        for field, places in (("hops", (chip.x, chip.y)), ("chip_crossings", (chip_x, chip_y))):
            path[field] += sum(int(neurons @ np.abs(place[starts][:, None] - place[ends]).sum(axis=1)) for place in places)
    return found


def _check(schedules: Sequence[str], **numbers: Sequence[int]) -> None:
    for name, values in numbers.items():
        if not len(values) or any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1 for n in values):
            raise OptionError(name, f"{values!r} are no sizes", "give integers of at least 1")
    if not schedules or not set(schedules) <= set(SCHEDULES):
        raise OptionError("schedules", f"{schedules!r} are no schedules", f"use some of {list(SCHEDULES)}")


# In words


def sentences(
    sent: Any = None,  # noqa: ANN401
    crossed: Any = None,  # noqa: ANN401
    grown: Any = None,  # noqa: ANN401
    *,
    chip: str = "the chip",
    ran: bool = True,
) -> list[str]:
    """Return what the tables of `traffic`, `packets` and `growth` hold, in words: each only if it is given.

    `chip` is the name of that of the packets, `ran` whether the network ran on it, and was not only mapped to it.
    """
    parts = [(sent, _told), (crossed, lambda table: _carried(table, chip, ran=ran)), (grown, _growing)]
    return [sentence for table, words in parts if table is not None and len(table) for sentence in words(table)]


def _told(table: Any) -> Iterator[str]:  # noqa: ANN401
    total, steps = table["messages"].sum(), table["step"].nunique()
    kinds = ", ".join(
        f"{count:,.6g} of kind {kind}" for kind, count in table.groupby("kind", sort=False)["messages"].sum().items()
    )
    busiest = table.groupby("source", sort=False)["messages"].sum()
    share = table["changed"].sum() / total
    part = "All" if share == 1 else f"{100 * share:.3g} %"
    yield (
        f"One sample takes {total:,.6g} messages ({kinds}) and {table['bits'].sum():,.6g} bits along projections, in {steps}"
        f" step{'' if steps == 1 else 's'}; no population sends more than {busiest.idxmax()}, {busiest.max():,.6g}."
        f" {part} have another value than the last one of their neuron, or are its first."
    )


def _carried(table: Any, chip: str, *, ran: bool) -> Iterator[str]:  # noqa: ANN401
    total, hops, borders = (table[name].sum() for name in ("packets", "hops", "chip_crossings"))
    said = f"On {chip} that {'is' if ran else 'would be'} {total:,.6g} packet{'' if total == 1 else 's'} a sample"
    if not hops:
        yield f"{said}, none of which leaves its tile."
        return
    sources = table.groupby(["source", "kind"], sort=False)["hops"].sum()
    border = f", {borders:,.6g} of them from chip to chip" if borders else ""
    yield (
        f"{said}, and {hops:,.6g} hops, {hops / total:.3g} a packet{border}; nothing takes more than the {sources.idxmax()[1]} of"
        f" {sources.idxmax()[0]}, {sources.max():,.6g}."
    )


def _growing(table: Any) -> Iterator[str]:  # noqa: ANN401
    right, warm = int((table["messages"] == table["predicted_messages"]).sum()), table[table["predicted_changed"].notna()]
    sizes = " and ".join(f"{axis} {_span(table[axis], '{:g}')}" for axis in ("depth", "width"))
    yield (
        f"In random chains of {sizes}, the messages of a sample are as many as the sizes of the network foretell in {right} of"
        f" {len(table)} cases."
    )
    if len(warm):
        right = int(np.isclose(warm["changed"], warm["predicted_changed"], rtol=1e-9, atol=0.0).sum())
        yield f"From a warm start, those with a new value are as many as its paths foretell in {right} of {len(warm)} cases."
    for schedule, rows in table.groupby("schedule", sort=False):
        cold = rows[rows["start"] == COLD]
        found = {name: _powers(cold, name) for name in ("messages", "packets", "hops")}
        found |= {
            f"new values from a {start} start": _powers(part, "changed") for start, part in rows.groupby("start", sort=False)
        }
        powers = [f"{name} as {power}" for name, power in found.items() if power]
        if powers:
            yield f"Under {schedule}, what a sample takes grows with these powers: {'; '.join(powers)}."
    keys = ["depth", "width", "batch", "start"]
    free, wave = (table[table["schedule"] == kind].set_index(keys) for kind in SCHEDULES)
    factor = (free["messages"] / wave["messages"]).dropna().rename("factor").reset_index()
    if len(factor):
        listed = ", ".join(f"{part.mean():.4g} at depth {depth}" for depth, part in factor.groupby("depth")["factor"])
        yield f"Free sends so many times the messages of wavefront: {listed}."
    for schedule, rows in table.groupby("schedule", sort=False):
        shares = (rows["changed"] / rows["messages"]).groupby(rows["start"], sort=False)
        listed = ", ".join(f"{_span(100 * part, '{:.3g}')} % from a {start} start" for start, part in shares)
        yield f"Of the messages under {schedule}, so many have a new value: {listed}."


def _span(values: Any, how: str) -> str:  # noqa: ANN401
    """Return the least and the largest value, or the one that there is."""
    return " .. ".join(dict.fromkeys(how.format(value) for value in (values.min(), values.max())))


def _powers(rows: Any, name: str) -> str:  # noqa: ANN401
    """Return the exponents of a power law through those of the rows that are not 0, "" where none can be fitted."""
    rows = rows[rows[name] > 0]
    axes = [axis for axis in ("depth", "width", "batch") if rows[axis].nunique() > 1]
    if not axes:
        return ""
    logs = np.column_stack([np.ones(len(rows)), *(np.log(rows[axis].to_numpy()) for axis in axes)])
    fitted = np.linalg.lstsq(logs, np.log(rows[name].to_numpy()), rcond=None)[0][1:]
    return " ".join(f"{axis}^{power:.2f}" for axis, power in zip(axes, np.round(fitted, 9) + 0.0, strict=True))
