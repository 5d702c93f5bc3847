"""What every core uses, counted a second time from the plain data of the records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.mappings.verify.view import RATE, SENSITIVITY, View, whole

if TYPE_CHECKING:
    from dyadic_neuro.mappings.chip import Chip

_NO_WIDTH = 32  # bits of a number on a chip that does not say: docs of mappings.demand


def used(view: View) -> dict[str, Array]:
    """Return what every core of the chip uses of every resource, (cores,)."""
    m, slices, s = view.mapping, view.mapping.slices, view.mapping.synapses
    neurons = np.array([1 if name == view.network.input else 2 for name in view.names], np.int64)
    state = np.array([_state_bits(view, name) for name in view.names], np.int64)
    size = slices.stop - slices.start
    zero = np.zeros(view.cores, np.int64)
    # a block has a list for every neuron that it hears, of the synapses that its message meets
    single = np.array([c.one_to_one for c in s.copies], bool)[s.copy]
    plastic = np.array([c.plastic for c in s.copies], bool)[s.copy]
    lists, length = s.column_stop - s.column_start, np.where(single, 1, s.row_stop - s.row_start)
    lengths, which = np.unique(length, return_inverse=True)
    bits = np.array([_list_bits(m.chip, int(n)) for n in lengths], np.int64)[which]
    kept = np.array([_kept_messages(view, c.kind, c.source, c.target, plastic=c.plastic) for c in s.copies], np.int64)[s.copy]
    width = _width(m.chip, "message" if m.chip.widths.payload.value == "graded" else "state")
    sums = length * _width(m.chip, "accumulator") * plastic * bool(m.learning and m.pipeline)
    synaptic, largest, arrived, sent = zero.copy(), zero.copy(), zero.copy(), zero.copy()
    np.add.at(synaptic, slices.core[s.slice], lists * bits)
    memory, mapped = synaptic.copy(), zero.copy()
    np.add.at(memory, slices.core[s.slice], lists * (kept * width + sums))
    np.add.at(memory, slices.core, size * state[slices.population])
    np.add.at(mapped, slices.core, size * neurons[slices.population])
    np.maximum.at(largest, slices.core, ((state + neurons - 1) // neurons)[slices.population])
    a, (route, held, messages) = view.arrivals, view.senders
    np.add.at(arrived, a.core, (a.stop - a.start) * (a.wanted > 0))
    np.add.at(sent, slices.core[held], messages * (m.routes.first[route + 1] - m.routes.first[route]))
    return {
        "neurons": mapped,
        "synaptic_memory": synaptic,
        "core_memory": memory,
        "state_per_neuron": largest,
        "input_axons": arrived,
        "output_axons": sent,
    }


def _width(chip: Chip, what: str) -> int:
    value = getattr(chip.widths, what).value
    return _NO_WIDTH if value is None else int(value)


def _list_bits(chip: Chip, synapses: int) -> int:
    """Return the bits of a list of synapses, block after block: each has a header and fills whole words."""
    bits, store = 0, chip.storage
    while synapses > 0:
        block = min(synapses, whole(store.synapses_per_block))
        filled = whole(store.header_bits) + block * (whole(chip.widths.weight) + whole(store.extra_bits))
        words = filled // whole(store.word_bits) + (filled % whole(store.word_bits) > 0)
        bits, synapses = bits + words * whole(store.word_bits), synapses - block
    return bits


def _state_bits(view: View, name: str) -> int:
    """Return the bits of a dyad: u, s, bias and targets, in a pipeline the lines of phi' and r, and the sum of bias gradients."""
    m, network, width = view.mapping, view.network, _width(view.mapping.chip, "state")
    if name == network.input:
        return width
    biased = any(p.name == name and p.bias is not None for p in network.populations)
    numbers = 3 if biased else 2
    if name == network.output:
        numbers += view.steps.depth if m.pipeline and view.steps else 1
    if m.pipeline and view.steps and any(p.source == name for p in network.projections):
        numbers += 2 * (view.steps.updated[name, SENSITIVITY] - view.steps.updated[name, RATE])
    return numbers * width + (_width(m.chip, "accumulator") if biased and m.learning and m.pipeline else 0)


def _kept_messages(view: View, kind: str, source: str, target: str, *, plastic: bool) -> int:
    """Return how many messages an axon of a copy keeps: one to learn from; in a pipeline all those that wait for their sample."""
    m, steps = view.mapping, view.steps
    learns = bool(m.learning and plastic)
    if not m.pipeline or steps is None:
        return int(learns)
    if kind == RATE and learns:  # until the target's sensitivity is there
        return steps.updated[target, SENSITIVITY] - steps.updated[source, RATE]
    return steps.updated[target, kind] - steps.updated[source, kind] - 1
