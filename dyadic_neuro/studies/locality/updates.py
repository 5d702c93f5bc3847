"""What a weight update reads, and what it costs to bring that to the synapse.

dW_ij is to depend on s_i of the synapse's own population and on the r_j that arrived, and on nothing else (DESIGN section 2).
Measured by intervention, through `relax` alone. The products that updates are compared with are formed here, from the
states that a trace recorded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.datasets import random_batch
from dyadic_neuro.dynamics import State
from dyadic_neuro.errors import OptionError
from dyadic_neuro.mappings.copies import RATE, SENSITIVITY, Copy
from dyadic_neuro.mappings.cores import Delivery
from dyadic_neuro.mappings.mapping import Mapping as Placed
from dyadic_neuro.network import Network
from dyadic_neuro.studies import tables
from dyadic_neuro.studies.locality.claim import Claim
from dyadic_neuro.studies.locality.crossings import approximate, counted, covered, mapping_of, packets
from dyadic_neuro.studies.locality.perturbation import INPUT, POTENTIAL, STATES, TARGET, Perturbation, every, moved
from dyadic_neuro.studies.locality.subject import Subject
from dyadic_neuro.trace import Trace

ROUNDING = 4500
"""What a few operations may lose, in units in the last place: 1e-12 of a float64."""

CYCLIC_STEPS = 4
"""The steps of a run where a cycle leaves no 2D."""

SMALLEST = float(np.finfo(np.float32).tiny)
"""Below it a product is none that rounding is judged by."""

_SAMPLES = 3  # of a batch, where the subject has only one
_UPDATES = "a weight's update is s_i r_j of its own synapse, and a bias's s_i, and depends on nothing else"
_COLUMNS = {
    "parameter": "object",
    "copy": "object",
    "held_by": "object",
    "local": "object",
    "arrives": "object",
    "messages": "int64",
    "bytes": "float64",
    "packets": "float64",
    "hops_mean": "float64",
    "hops_max": "float64",
}


# What an update reads


def claim_updates(subject: Subject, *, runs: int = 12) -> Claim:
    """Return the claim "updates": what every dW_ij and db_i depends on.

    In at most `runs` interventions one variable is changed before the last step, and every update of which neither factor
    changed has to keep its bits. In each run, and in runs of several lengths, the updates are the products of their factors but
    for rounding, of rank one for one sample, and the mean of the samples' products for a batch. On a chip that shows its packets,
    the factor that has to arrive is there. Raises as `Subject.relax`.
    """
    rough, stages = approximate(subject.backend), getattr(subject.backend, "stages", 1)
    if rough is not None:
        return Claim.nothing("updates", _UPDATES, rough)
    if stages > 1:
        why = f"this backend declares {stages} stages in a step, and synapses read what passes between"
        return Claim.nothing("updates", _UPDATES, why)
    if not subject.network.plastic:
        return Claim.nothing("updates", _UPDATES, "nothing in this network learns")
    found = _Updates(subject)
    start, lengths = subject.state(1), _lengths(subject.running)
    control = found.run(1, "one step", initial=start)
    if control.firing is not None:
        return Claim.nothing("updates", _UPDATES, "its populations send events, and a synapse reads the last of them")
    changes = list(_changes(subject, runs))
    for change in changes:
        trace = found.run(1, f"one step after a change of {change}", **_changed(subject, start, change))
        found.compare(control, trace, change)
    for steps in lengths:
        trace = found.run(steps, counted(steps, "step"), initial=start)
    rank = None if subject.running is not subject.network else found.rank(trace)
    batch = (
        (subject.inputs, subject.targets) if len(subject.inputs) > 1 else random_batch(subject.network, _SAMPLES, subject.seed)
    )
    found.run(lengths[-1], f"a batch of {len(batch[0])}", inputs=batch[0], targets=batch[1])
    tried, kept = counted(len(changes), "intervention"), counted(found.kept, "update")
    parts = [
        f"in {tried} {kept} had the factors they have without, and {found.moved:,} changed",
        f"updates differ from the products of their factors by at most {found.worst:.1e} of these",
        *([] if rank is None else [f"the second singular value of those by one sample is at most {rank:.1e} of the first"]),
        *found.presence(lengths[-1], start),
        f"not local to a synapse: {_not_local(subject.running)}",
    ]
    return Claim.judged("updates", _UPDATES, "; ".join(parts), found.counterexample)


def _not_local(network: Network) -> str:
    """Say what an update reads that no synapse has of its own."""
    loss = "the softmax" if network.cost.name == "cross_entropy" else f"the loss {network.cost.name!r}"
    clock = "" if network.cycle else f" (2D = {network.relaxation_steps} steps)"
    said = [] if network.cost.separable else [f"{loss} couples the readout's neurons (population-local)"]
    return ", ".join([*said, f"the sample clock{clock} is global"])


class _Updates:
    """The updates of many runs, and the first that is not what its factors make it."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._rounding = rounding(subject.network)
        self.counterexample: str | None = None
        self.kept, self.moved, self.worst = 0, 0, 0.0

    def run(self, steps: int, told: str, **options: Any) -> Trace:  # noqa: ANN401
        """Relax one sample, or the batch that is given, and compare the updates with the products of their factors."""
        one: dict[str, Any] = {"inputs": self._subject.inputs[:1], "targets": self._subject.targets[:1]}
        trace = self._subject.relax(steps, **(one | options))
        right, scale = products(trace), products(trace, np.abs)
        for key, found in trace.gradients.items():
            off = np.abs(found - right[key])
            size = np.maximum(scale[key], SMALLEST)
            self.worst = max(self.worst, float((off / size).max(initial=0.0)))
            self._object(
                ~(off <= self._rounding * size),
                lambda at, key=key, found=found: (  # type: ignore[misc]
                    f"after {told} the update of {entry(key, at)} is {found[at]:.17g}, and the product of its factors "
                    f"{right[key][at]:.17g}"
                ),
            )
        return trace

    def compare(self, control: Trace, trace: Trace, change: Perturbation) -> None:
        """Note which updates changed though neither of their factors did."""
        same = _untouched(control, trace)
        for key, found in trace.gradients.items():
            wrong = same[key] & ~(found == control.gradients[key])
            self.kept, self.moved = self.kept + int(same[key].sum()), self.moved + int(wrong.sum())
            self._object(
                wrong,
                lambda at, key=key: f"{change} changed the update of {entry(key, at)}, of which no factor changed",  # type: ignore[misc]
            )

    @staticmethod
    def rank(trace: Trace) -> float:
        """Return the largest second singular value of the updates of one sample, in parts of the first.

        It is told, not judged: updates that are the products of their factors, as `run` has found, are of rank one.
        """
        worst = 0.0
        for found in trace.gradients.values():
            if found.ndim < 2 or min(found.shape) < 2 or not np.isfinite(found).all() or not found.any():
                continue
            first, second = np.linalg.svd(found, compute_uv=False)[:2]
            worst = max(worst, float(second / first))
        return worst

    def presence(self, steps: int, start: State) -> list[str]:
        """Look for every factor that has to arrive in the packets of a relaxation, and say what was found."""
        mapping = mapping_of(self._subject)
        seen = None if mapping is None else packets(self._subject, steps, start)
        if mapping is None or seen is None:
            return []
        spans, needed, lost = covered(way for step in seen for way in step), 0, 0
        for copy, way in _arrivals(mapping):
            if not copy.plastic or way.sender == way.receiver:
                continue
            came = np.zeros(way.stop, bool)
            for first, stop in spans.get((way.sender, way.receiver, way.population, way.kind), ()):
                came[first:stop] = True
            missing = np.flatnonzero(~came[way.start :])
            needed, lost = needed + way.stop - way.start, lost + len(missing)
            if len(missing) and self.counterexample is None:
                factor = f"the {way.kind} of {way.population}[{way.start + missing[0]}]"
                self.counterexample = f"no packet brought {factor} to core {way.receiver}, where {copy.projection} learns from it"
        return [f"packets brought {needed - lost:,} of the {needed:,} factors that cores need from others"]

    def _object(self, wrong: Array, told: Callable[[tuple[int, ...]], str]) -> None:
        if self.counterexample is None and wrong.any():
            self.counterexample = told(tuple(int(i) for i in np.argwhere(wrong)[0]))


def rounding(network: Network) -> float:
    """Return the relative difference that rounding explains, in the network's dtype."""
    return ROUNDING * float(np.finfo(str(np.dtype(network.dtype))).eps)


def products(trace: Trace, of: Callable[[Array], Array] = np.asarray, *, sent: bool = False) -> dict[str, Array]:
    """Return s_i r_j of each plastic weight and s_i of each bias, means over the batch, by the keys of the trace's gradients.

    They are those of the last step of a trace that holds every step: r of its start (earlier, along a projection with a delay),
    and s of its end, which the forward copy reads, or (`sent`) of its start, which is what arrives at the W^T copy. `of` is
    applied to the factors before.
    """
    found = {}
    for key, (s, r) in _factors(trace, -2 if sent else -1).items():
        if r is None:
            found[key] = of(s).mean(axis=0)
        elif trace.network.projection(key).one_to_one:
            found[key] = (of(s) * of(r)).mean(axis=0)
        else:
            found[key] = np.einsum("bi,bj->ij", of(s), of(r)) / len(s)
    return {key: np.asarray(value) for key, value in trace.restore(found).items()}


def _factors(trace: Trace, row: int = -1) -> dict[str, tuple[Array, Array | None]]:
    """Return for each plastic parameter of the network that ran what meets at its synapses: (batch, rows), (batch, columns)."""
    network = trace.network
    found: dict[str, tuple[Array, Array | None]] = {
        f"{p.name}.bias": (trace.sensitivities[p.name][row], None) for p in network.dynamic if p.bias is not None
    }
    for p in network.projections:
        if p.plastic:
            sent = max(0, trace.steps - 1 - trace.delays.get(p.name, 0))
            clamped = p.source == network.input
            r = trace.inputs if clamped else network.activations[p.source].rate(trace.potentials[p.source][sent])
            found[p.name] = (trace.sensitivities[p.target][row][:, p.rows], r[:, p.columns])
    return found


def _untouched(control: Trace, trace: Trace) -> dict[str, Array]:
    """Return for each parameter, entry by entry, whether both of its factors have the same bits in two runs."""
    before, found = _factors(control), {}
    for key, (s, r) in _factors(trace).items():
        old_s, old_r = before[key]
        found[key] = (s == old_s).all(axis=0)
        if r is not None and old_r is not None:
            same = (r == old_r).all(axis=0)
            diagonal = trace.network.projection(key).one_to_one
            found[key] = found[key] & same if diagonal else found[key][:, None] & same
    return {key: np.asarray(value) for key, value in trace.restore(found).items()}


def _changes(subject: Subject, runs: int) -> Iterator[Perturbation]:
    """Yield at most `runs` changes: an input and a target, then of each half of every population as many as there is room for."""
    network = subject.running
    room = max(1, (runs - 2) // (2 * len(network.dynamic)))
    ends = every(network, (INPUT, TARGET) if _takes_another_target(subject) else (INPUT,), most=1, seed=subject.seed)
    states = every(network, STATES, most=room, seed=subject.seed)
    drawn = np.random.default_rng([subject.seed, 7]).permutation(len(states))[: max(0, runs - len(ends))]
    yield from ends[:runs]
    yield from (states[i] for i in sorted(drawn))


def _takes_another_target(subject: Subject) -> bool:
    try:
        moved(subject.network.cost, subject.targets[0], 0, 1.0)
    except OptionError:  # a single class, of probability 1
        return False
    return True


def _changed(subject: Subject, start: State, change: Perturbation) -> dict[str, Any]:
    """Return what `relax` takes, with one variable changed."""
    (neuron,) = change.index
    if change.kind == INPUT:
        inputs = subject.inputs[:1].copy()
        inputs[0, neuron] += change.amount
        return {"inputs": inputs, "initial": start}
    if change.kind == TARGET:
        return {"targets": moved(subject.network.cost, subject.targets[0], neuron, change.amount)[None], "initial": start}
    values = dict(start.potentials if change.kind == POTENTIAL else start.sensitivities)
    values[change.name] = values[change.name].copy()
    values[change.name][0, neuron] += change.amount
    pair = (values, start.sensitivities) if change.kind == POTENTIAL else (start.potentials, values)
    return {"initial": State(*pair)}


def _lengths(network: Network) -> list[int]:
    """Return the lengths of runs after which updates are looked at, the last of them 2D."""
    if network.cycle:
        return [2, CYCLIC_STEPS]
    return [network.relaxation_steps - 1, network.relaxation_steps]


def entry(key: str, index: tuple[int, ...]) -> str:
    """Return the name of one entry of a parameter."""
    return f"{key}[{', '.join(map(str, index))}]"


# What an update costs


def _arrivals(mapping: Placed) -> Iterator[tuple[Copy, Delivery]]:
    """Yield what every copy of the weights needs on every core that holds a part of it, each neuron once a core."""
    blocks, slices = mapping.synapses, mapping.slices
    for i, copy in enumerate(blocks.copies):
        own, where = slice(int(blocks.bounds[i]), int(blocks.bounds[i + 1])), slices.of(copy.source)
        parts = np.stack([slices.core[blocks.slice[own]], blocks.column_start[own], blocks.column_stop[own]])
        for core, low, high in np.unique(parts, axis=1).T:
            starts, stops = np.maximum(slices.start[where], low), np.minimum(slices.stop[where], high)
            for sender, start, stop in zip(slices.core[where], starts, stops, strict=True):
                if start < stop:
                    yield copy, Delivery(int(sender), int(core), copy.source, copy.kind, int(start), int(stop))


def costs(network: Network, mapping: Placed | None = None, bits: int | None = None) -> Any:  # noqa: ANN401  (a pandas DataFrame)
    """Return what one update by one sample takes: a row for each plastic parameter and each copy of it.

    Columns: parameter; copy ("forward", "W^T" or "bias"); held_by, the population whose cores hold it; local and arrives, the
    factor that is there and the one that has to come; messages, one of each neuron that is read; and with a mapping packets (a
    message times a core it goes to), hops_mean and hops_max, the links that a packet crosses (else NaN). `bytes` are those of the
    packets, or without a mapping of the messages, of `bits` each (None: of the network's dtype). Where the mapping divided a
    fan-in, parameters are those on the chip. Raises MissingExtraError, MappingError, and OptionError (bits).
    """
    tables.need_pandas()
    width = np.dtype(network.dtype).itemsize * 8 if bits is None else bits
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
        raise OptionError("bits", f"{bits!r} is no width of a message", "use an integer of at least 1")
    if mapping is not None:
        mapping.check(network)
        network = mapping.network
    travelled = {} if mapping is None else _travelled(mapping)
    parts: list[dict[str, Any]] = []
    for p in network.projections:
        if not p.plastic:
            continue
        rows, columns = p.rows.stop - p.rows.start, p.columns.stop - p.columns.start
        copies = [("forward", RATE, p.target, f"s of {p.target}", f"r of {p.source}", columns)]
        if p.source != network.input:
            copies.append(("W^T", SENSITIVITY, p.source, f"r of {p.source}", f"s of {p.target}", rows))
        for copy, kind, holder, local, arrives, messages in copies:
            parts.append(_row(p.name, copy, holder, local, arrives, messages, travelled.get((p.name, kind)), width))
    none = None if mapping is None else np.zeros((2, 0))
    for population in network.dynamic:
        if population.bias is not None:
            name = population.name
            parts.append(_row(f"{name}.bias", "bias", name, f"s of {name}", "nothing", 0, none, width))
    return tables.frame(_COLUMNS, parts)


def sentence(table: Any, chip: str = "a chip") -> str:  # noqa: ANN401
    """Return what a table of `costs` says in words; `chip` names the one that its mapping is of."""
    arriving = table[table["messages"] > 0]
    if arriving.empty:
        return "An update reads nothing that has to come: only biases learn."
    dear, total = arriving.loc[arriving["bytes"].idxmax()], arriving[["messages", "bytes", "packets"]].sum()
    copies = counted(len(arriving), "copy", "copies")
    said = (
        f"One update of all parameters by one sample reads {counted(round(total['messages']), 'message')} of"
        f" {total['bytes']:,.0f} bytes in {copies} of weights, most of them ({dear['bytes']:,.0f} bytes) in the {dear['copy']}"
        f" copy of {dear['parameter']}; the other factor is in the core."
    )
    if arriving["packets"].isna().any():
        return said
    hops, most = (arriving["packets"] * arriving["hops_mean"]).sum(), arriving["hops_max"].max()
    sent = f"{counted(round(total['packets']), 'packet')} over {counted(round(hops), 'hop')}"
    return f"{said} Mapped onto {chip}, that is {sent}, {most:g} at most."


def _row(
    parameter: str, copy: str, holder: str, local: str, arrives: str, messages: int, travelled: Array | None, width: int
) -> dict[str, Any]:
    """Return a row of `costs`, given (packets, hops of each) of every way that they take."""
    carried, mean, most = float("nan"), float("nan"), float("nan")
    if travelled is not None:
        carried = float(travelled[0].sum())
        mean = float((travelled[0] * travelled[1]).sum() / carried) if carried else 0.0
        most = float(travelled[1].max(initial=0.0))
    sent = float(messages) if travelled is None else carried
    values = (parameter, copy, holder, local, arrives, messages, sent * width / 8, carried, mean, most)
    return dict(zip(_COLUMNS, values, strict=True))


def _travelled(mapping: Placed) -> dict[tuple[str, str], Array]:
    """Return by projection and kind the packets of every way that one update takes, and the links they cross: (2, ways)."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    x, y = mapping.chip.x, mapping.chip.y
    for copy, way in _arrivals(mapping):
        hops = abs(int(x[way.sender]) - int(x[way.receiver])) + abs(int(y[way.sender]) - int(y[way.receiver]))
        found[copy.projection, copy.kind].append((way.stop - way.start, hops))
    return {key: np.array(ways).T for key, ways in found.items()}
