"""From counts to energy and time, at the prices of a chip."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Mapped
from typing import TYPE_CHECKING

import numpy as np

from dyadic_neuro.codings import Coding, Delta, Graded, Rate
from dyadic_neuro.cost import STATIC, Component, Cost
from dyadic_neuro.errors import OptionError
from dyadic_neuro.fixed_point import FixedNetwork
from dyadic_neuro.graph import Graph
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.counts import Counter, StepCounts
from dyadic_neuro.mappings.timing import seconds, step_s, unknown_times
from dyadic_neuro.quantity import Quantity
from dyadic_neuro.schedule import Schedule

if TYPE_CHECKING:
    from dyadic_neuro.mappings.mapping import Mapping

PIPELINE = "pipeline"
_GRADED = Graded()
_BATCHES = "weights wait for the end of a batch: memory for the sums beside them is not counted"


def price(
    mapping: Mapping,
    steps: Iterable[StepCounts],
    *,
    samples: int,
    learning: bool,
    pipelined: bool = False,
    batch: int = 1,
    network: Graph | None = None,
    coding: Coding = _GRADED,
) -> Cost:
    """Return the cost of samples that go through these steps each, or (`pipelined`) all of them together.

    A batch is as many samples one after the other. With `learning` weights (or sums beside them) change once for each
    sample, since each has its own product to add; `batch` is how many samples they wait for. Each of the steps ends with a
    barrier: where `coding` takes several for a unit step, these are its micro-steps. `network` is what ran, if not floats.

    Raises OptionError for samples that are no multiple of those whose events were counted together.
    """
    chip, counter = mapping.chip, mapping.counter
    tiles, chips = mapping.tiles_in_use, mapping.chips_in_use
    events, times = dict.fromkeys(_EVENTS, 0), []
    for counts in steps:
        if counts not in counter.priced:
            counter.priced[counts] = (_events(chip, counter, counts), step_s(chip, counts, counter.mapped, tiles))
        found, time_s = counter.priced[counts]
        times.append(time_s)
        repeats, rest = (1, 0) if pipelined else divmod(samples, counts.samples)
        if rest:
            problem = f"{samples} are no multiple of the {counts.samples} whose events were counted together"
            raise OptionError("samples", problem, "give a multiple, or counts of one sample")
        for name, count in found.items():
            events[name] += count * repeats
    learned = counter.learning if learning else np.zeros_like(counter.learning)
    events["learning_update"] = int(learned.sum()) * samples
    barrier = float(chip.barrier_s(tiles) or 0.0)
    learning_s = float(learned.max(initial=0)) * seconds(chip, "learning_update") + barrier if learning else 0.0
    parts = components(chip, events)
    powered_s = chips * (sum(times) * (1 if pipelined else samples) + learning_s * samples)
    if powered_s:
        parts.append(Component(STATIC, powered_s, chip.power.static))
    absent = _missing_times(chip, tiles, events)
    assumed = (*assumptions(mapping, network, coding), *(_of_learning(counter, batch, coding) if learning else ()))
    return Cost(chip.name, assumed, samples, tuple(parts), tuple(times), learning_s, absent, pipelined)


def components(chip: Chip, events: Mapped[str, float]) -> list[Component]:
    """Return the parts of the energy of these events that are not 0, or not known."""
    parts = [Component(name, count, getattr(chip.energy, name)) for name, count in events.items()]
    return [part for part in parts if part.count and part.each.value != 0]


def sample_cost(mapping: Mapping, schedule: str = "free", *, learning: bool | None = None) -> Cost:
    """Return the cost of one sample: 2D steps and (`learning`) the change of the weights. Raises CycleError.

    `learning` None means as the mapping was made. `schedule` "pipeline" is one sample of a full pipeline: one step, in which
    everything sends. Raises OptionError if the mapping has no room for it, or for learning.
    """
    learning = mapping.learning if learning is None else learning
    if learning and not mapping.learning:
        raise OptionError("learning", "the mapping has no room for it", "map_network(..., learning=True)")
    steps = sample_steps(mapping, schedule)
    return price(mapping, steps, samples=1, learning=learning, pipelined=schedule == PIPELINE)


def sample_steps(mapping: Mapping, schedule: str) -> list[StepCounts]:
    """Return the events of the steps from one sample to the next; steps alike are the same object. Raises as `sample_cost`."""
    if schedule == PIPELINE:
        if not mapping.pipeline:
            raise OptionError("schedule", "the mapping has no room for a pipeline", "map_network(..., pipeline=True)")
        return [mapping.counter.scheduled(Schedule.of(mapping.network, "free"), 1)]  # everything sends and is updated
    timing = Schedule.of(mapping.network, schedule)
    return [mapping.counter.scheduled(timing, t) for t in range(1, mapping.network.relaxation_steps + 1)]


def assumptions(mapping: Mapping, network: Graph | None = None, coding: Coding = _GRADED) -> tuple[str, ...]:
    """Return what every number of this mapping takes for granted, with floats, or with the integers of `network` on it."""
    chip, demand = mapping.chip, mapping.demand
    if isinstance(network, FixedNetwork):
        return _of_integers(chip, network, coding)
    bits = [f"weights {chip.widths.weight.value} bit", f"messages {demand.message_bits} bit"]
    bits += [f"{name} {demand.width(name)} bit" for name in ("state", *(("accumulator",) if mapping.pipeline else ()))]
    guessed = [name for name in ("state", "message", "accumulator") if not getattr(chip.widths, name).known]
    guessed = [name for name in guessed if name != "accumulator" or mapping.pipeline]
    widths = (f"widths not published, and taken as {demand.width(guessed[0])} bit: {', '.join(guessed)}",) if guessed else ()
    emulated = f"float emulation: computed in {np.dtype(mapping.network.dtype)}, costed at {', '.join(bits)}"
    return (*chip.hypotheses, emulated, *widths)


def _of_learning(counter: Counter, batch: int, coding: Coding) -> tuple[str, ...]:
    """Return what the cost of learning takes for granted."""
    found = [_BATCHES] if batch > 1 else []
    if coding.name == Delta.name:
        synapses = int(counter.plastic.sum())
        found.append(f"delta: an update of weights takes {synapses:,} synaptic operations to form the sums again, not counted")
        if batch > 1:
            found.append("delta: every sample of a batch has latches of its own, whose memory is not counted")
    return tuple(found)


def _beyond(chip: Chip, bits: int) -> str:
    """Return what to say of messages of so many bits: nothing if they fit, or if nobody knows what would."""
    most = chip.widths.message.value if chip.graded else None
    return "" if most is None or bits <= most else f", wider than the chip's {int(most)} bit"


def _of_integers(chip: Chip, network: FixedNetwork, coding: Coding) -> tuple[str, ...]:
    """Return what the numbers of a run take for granted that computes what the chip would."""
    form, widest, wire = network.format, max(network.message_bits.values()), coding.wire_bits(network.format.message_bits)
    widths = f"weights {form.weight_bits} bit, messages {form.message_bits} bit, states {form.state_bits} bit"
    found = [*(chip.hypotheses if wire > 1 else ()), f"fixed point: {widths}"]
    if widest > form.message_bits:
        found.append(f"partial sums travel whole, in messages of up to {widest} bit{_beyond(chip, coding.wire_bits(widest))}")
    if coding.name != _GRADED.name:
        steps = f"micro-steps in a step, each with a barrier: {coding.micro_steps}"
        found.append(f"coding {coding.name}: {steps}; {wire} bit a message{_beyond(chip, wire)}")
        found.append("memory for what senders and receivers of the coding hold is counted where weights learn only")
    if coding.name == Rate.name:
        found.append("a sign is an axon of its own: axons are counted once for both")
    return tuple(found)


_EVENTS = (
    "neuron_access",
    "neuron_update",
    "neuron_fire",
    "synaptic_operation",
    "message",
    "message_in",
    "hop_horizontal",
    "hop_vertical",
    "chip_crossing",
    "learning_update",
)


def _events(chip: Chip, counter: Counter, counts: StepCounts) -> dict[str, int]:
    horizontal, vertical = counts.links.hops
    return {
        "neuron_access": int(counter.mapped.sum()) * counts.samples,
        "neuron_update": int(counts.updated.sum()),
        "neuron_fire": int(counts.fired.sum()),
        "synaptic_operation": int(counts.synaptic_events.sum()),
        "message": int(counts.messages_out.sum()),
        "message_in": int(counts.messages_in.sum()),
        "hop_horizontal": horizontal,
        "hop_vertical": vertical,
        "chip_crossing": sum(counts.links.crossing(chip).hops),
    }


def _missing_times(chip: Chip, tiles: int, events: dict[str, int]) -> tuple[str, ...]:
    """Return what the times of this run lack: events that happened, and the barrier of a system beyond its table."""
    needed = {"link_message": events["hop_horizontal"] + events["hop_vertical"], "chip_link_message": events["chip_crossing"]}
    found = [name for name in unknown_times(chip) if (needed | events)[name]]
    barrier: Quantity = chip.barrier.at(tiles)
    if not barrier.known or chip.barrier_is_bound(tiles):
        found.append(f"barrier of {tiles:,} tiles")
    return tuple(found)
