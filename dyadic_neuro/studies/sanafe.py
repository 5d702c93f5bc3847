"""An exchange with SANA-FE 2.2.9: a mapped network written as its files, run by it in another process, and its totals.

SANA-FE (J. Boyle et al., IEEE TCAD 44(8), 2025, doi 10.1109/TCAD.2025.3537971) is a program of others under the GPL-3. It is
used from outside, as it is: nothing of it is copied here or imported by this process. The files are in its documented formats:

    arch.yaml        the machine
    net.yaml         the neurons, their synapses (all of weight 0, since counting is all they are for), each neuron's core
    sends.*.txt      only where every neuron is updated in every step: which of them send, a line a neuron and step
    simulation.json  the number of steps

By hand, in that folder, which the names of the sends are relative to:

    arch = sanafe.load_arch("arch.yaml")
    chip = sanafe.SpikingChip(arch)
    chip.load(sanafe.load_net("net.yaml", arch))
    chip.sim(steps, timing_model="simple")
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import groupby, pairwise
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dyadic_neuro.arrays import Array, checked
from dyadic_neuro.errors import (
    DataError,
    FileError,
    MissingExtraError,
    NetworkError,
    OptionError,
    OutputExistsError,
    SimulatorError,
    SimulatorTimeoutError,
    UnknownNameError,
)

UNIT = 1024  # neurons that one dendrite or soma unit of SANA-FE has room for; a core may have several units
_ABSENT = 77  # exit status of the child: sanafe cannot be imported

# Runs in the child, whose folder is that of the files. What SANA-FE prints goes to stderr, so that stdout is the answer alone.
_CHILD = f"""
import json, os, sys, time
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
try:
    import sanafe
    from importlib.metadata import version
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit({_ABSENT})
steps, threads = int(sys.argv[1]), int(sys.argv[2])
arch = sanafe.load_arch("arch.yaml")
chip = sanafe.SpikingChip(arch)
chip.load(sanafe.load_net("net.yaml", arch))
start = time.perf_counter()
result = chip.sim(steps, timing_model="simple", processing_threads=threads, perf_trace=True)
result["seconds"] = time.perf_counter() - start
result["hops"] = sum(result.pop("perf_trace")["hops"])
result["version"] = version("sanafe")
json.dump(result, answer)
answer.close()
"""


@dataclass(frozen=True)
class Group:
    """A slice of one population: `size` neurons on one core.

    `core` is numbered over the whole machine: tile * cores_per_tile + place in the tile, with tile = x * rows + y.
    """

    name: str
    core: int
    size: int


@dataclass(frozen=True)
class Edge:
    """A synapse from every neuron in `source_span` to every one in `target_span`, or to its opposite number if `one_to_one`.

    The spans are [first, last) within the groups. Two edges may give a pair of neurons two synapses.
    """

    source: str
    target: str
    source_span: tuple[int, int]
    target_span: tuple[int, int]
    one_to_one: bool = False


@dataclass(frozen=True)
class Machine:
    """One chip: a mesh of `columns` x `rows` tiles, the energy [J] and time [s] of each event, and its barrier.

    `access` is paid for every mapped neuron in every step, `update` on top for one that changes, `spike` on top for one that
    sends; `synapse` for every synaptic event; `message_out` and `message_in` for every message, one for each sending neuron
    and core it reaches. `sync` are (n, seconds): the barrier of a step from n mapped tiles on, the first for n = 1.
    Raises OptionError, naming the field.
    """

    columns: int
    rows: int
    cores_per_tile: int
    access_j: float
    update_j: float
    spike_j: float
    synapse_j: float
    message_out_j: float
    message_in_j: float
    hop_x_j: float
    hop_y_j: float
    access_s: float
    update_s: float
    spike_s: float
    synapse_s: float
    message_out_s: float
    message_in_s: float
    hop_x_s: float
    hop_y_s: float
    sync: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        for name in ("columns", "rows", "cores_per_tile"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise OptionError(name, f"is {value!r}, not an integer of at least 1", "give one or more")
        for name in (field.name for field in fields(self) if field.name.endswith(("_j", "_s"))):
            _cost(name, getattr(self, name))
        tiles = [n for n, _ in self.sync]
        if tiles[:1] != [1] or tiles != sorted(set(tiles)):
            raise OptionError("sync", f"has the tiles {tiles}, which do not start at 1 and increase", "give a first entry for 1")
        for n, seconds in self.sync:
            _cost(f"sync of {n}", seconds)


@dataclass(frozen=True)
class Totals:
    """What SANA-FE reports of a run of `steps` steps.

    `messages` counts those within a core too, `synaptic_events` every synapse that a message reaches, `updated` and `fired`
    neurons x steps, `hops` tiles that messages moved by. `energy_j` has "synapse", "dendrite", "soma", "network" and "total"
    [J]. `time_s` is the machine's own time, `seconds` what the simulation of the steps took here, without reading the files.
    """

    steps: int
    synaptic_events: int
    messages: int
    hops: int
    fired: int
    updated: int
    energy_j: Mapping[str, float]
    time_s: float
    seconds: float
    version: str


def write(
    folder: str | os.PathLike[str],
    machine: Machine,
    groups: Sequence[Group],
    edges: Iterable[Edge],
    sent: Array,
    *,
    updates: Literal["sent", "all"] = "sent",
    overwrite: bool = False,
) -> None:
    """Write the files of SANA-FE for a run in which exactly the neurons in `sent` (steps, neurons) bool send, into `folder`.

    The neurons are in the order of `groups`. With `updates` "sent" a neuron is updated when it sends, and only then; with "all"
    in every step, as graded populations are. "all" has SANA-FE read a line for each neuron and step.
    Raises OptionError, NetworkError or UnknownNameError for a description that is wrong, DataError for a wrong `sent`,
    OutputExistsError where files of a run are already and `overwrite` is not set, FileError for what cannot be written.
    """
    edges = list(edges)
    if updates not in ("sent", "all"):
        raise OptionError("updates", f"is {updates!r}", "choose 'sent' or 'all'")
    _check(machine, groups, edges)
    if np.asarray(sent).dtype != np.bool_:
        raise DataError("sent", f"is of {np.asarray(sent).dtype}, not bool", "say of each neuron whether it sends: values != 0")
    sent = checked("sent", sent, np.dtype(np.bool_), (None, sum(group.size for group in groups)))
    if len(sent) == 0:
        raise DataError("sent", "has no step", "give a row for each step, at least one")
    layout = _Layout(groups, edges, sent, free=updates == "sent")
    path = Path(folder)
    record = json.dumps({"steps": len(sent), "updates": updates, "timing_model": "simple"}) + "\n"
    try:
        path.mkdir(parents=True, exist_ok=True)
        old = sorted({path / name for name in ("arch.yaml", "net.yaml", "simulation.json")} & set(path.iterdir()))
        if old and not overwrite:
            raise OutputExistsError(str(old[0]), "is already there", "choose another folder, or pass overwrite=True")
        for stale in [*old, *path.glob("sends.*.txt")]:
            stale.unlink()
        _save(path / "arch.yaml", _architecture(machine, layout))
        _save(path / "net.yaml", _network(machine, groups, edges, layout))
        for name, rows in layout.streams():
            _save(path / name, rows)
        _save(path / "simulation.json", [record])
    except OSError as error:
        if isinstance(error, OutputExistsError):
            raise
        raise FileError(str(path), f"cannot be written ({error})", "name a folder of yours") from error


def run(
    folder: str | os.PathLike[str],
    *,
    threads: int | None = None,
    timeout: float | None = 600.0,
    python: str | os.PathLike[str] = sys.executable,
) -> Totals:
    """Return the totals of the run that `write` put in `folder`, simulated by SANA-FE in a process of its own.

    `threads` None is SANA-FE's default, which from Python is a single one; it takes no more than there are processors. `timeout`
    is in seconds, None for no limit. `python` is an interpreter with sanafe. Raises OptionError, FileError, MissingExtraError,
    SimulatorError with what SANA-FE printed last, SimulatorTimeoutError.
    """
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise OptionError("threads", f"is {threads!r}, not an integer of at least 1", "give one or more, or None")
    steps = _steps(Path(folder))
    program = shutil.which(os.fspath(python))
    if program is None:
        raise OptionError("python", f"{os.fspath(python)!r} cannot be started", "name a Python interpreter")
    command = [os.path.abspath(program), "-c", _CHILD, str(steps), str(threads or 0)]  # absolute: the child runs in `folder`
    try:
        done = subprocess.run(  # noqa: S603  (the interpreter of the caller's choice, and a program that stands above)
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        fix = "give it longer (timeout=), fewer steps, or a smaller network"
        raise SimulatorTimeoutError("sanafe", f"did not finish {steps} steps within {timeout} s", fix) from None
    except OSError as error:
        raise OptionError("python", f"{program} cannot be started ({error})", "name a Python interpreter") from error
    last = "\n".join(done.stderr.decode(errors="replace").splitlines()[-20:])
    if done.returncode == _ABSENT:
        raise MissingExtraError("sanafe", f"cannot be imported ({last})", "pip install 'dyadic-neuro[sanafe]'")
    if done.returncode != 0:
        fix = "write the files again; they were tried with sanafe 2.2.9"
        raise SimulatorError("sanafe", f"failed with exit status {done.returncode}:\n{last}\n", fix)
    return _totals(json.loads(done.stdout))


def _totals(result: Mapping[str, Any]) -> Totals:
    return Totals(
        steps=result["timesteps_executed"],
        synaptic_events=result["spikes"],  # what SANA-FE calls spikes are synaptic events, and packets are messages
        messages=result["packets_sent"],
        hops=result["hops"],
        fired=result["neurons_fired"],
        updated=result["neurons_updated"],
        energy_j=dict(result["energy"]),
        time_s=result["sim_time"],
        seconds=result["seconds"],
        version=result["version"],
    )


def _steps(folder: Path) -> int:
    path = folder / "simulation.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["steps"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise FileError(str(path), f"cannot be read ({error})", "write the run first") from None


# ------------------------------------------------------------------------------------------------------------------- checks


def _cost(name: str, value: object) -> None:
    if not isinstance(value, Real) or not math.isfinite(value) or value < 0:
        raise OptionError(name, f"is {value!r}, not a finite number of at least 0", "give it in joules or seconds")


def _check(machine: Machine, groups: Sequence[Group], edges: Sequence[Edge]) -> None:
    cores = machine.columns * machine.rows * machine.cores_per_tile
    sizes: dict[str, int] = {}
    for group in groups:
        if group.name in sizes:
            raise NetworkError(f"group {group.name}", "is there twice", "give each group its own name")
        if not isinstance(group.size, Integral) or group.size < 1:
            raise NetworkError(f"group {group.name}", f"has size {group.size!r}", "leave out empty groups")
        if not isinstance(group.core, Integral) or not 0 <= group.core < cores:
            raise NetworkError(f"group {group.name}", f"is on core {group.core!r}", f"use 0 to {cores - 1}, or a larger machine")
        sizes[group.name] = group.size
    if not sizes:
        raise NetworkError("groups", "are none", "give at least one")
    for edge in edges:
        name = f"edge {edge.source} -> {edge.target}"
        for end, (first, last) in ((edge.source, edge.source_span), (edge.target, edge.target_span)):
            if end not in sizes:
                raise UnknownNameError(name, f"no group is called {end!r}", f"there are {', '.join(list(sizes)[:8])} ...")
            if not 0 <= first < last <= sizes[end]:
                raise NetworkError(name, f"has the span [{first}, {last}) in {end}", f"stay within [0, {sizes[end]})")
        lengths = [last - first for first, last in (edge.source_span, edge.target_span)]
        if edge.one_to_one and lengths[0] != lengths[1]:
            raise NetworkError(name, f"pairs {lengths[0]} neurons with {lengths[1]}", "give spans of one length")


# -------------------------------------------------------------------------------------------------------------------- files


class _Layout:
    """Where SANA-FE will have each neuron: in which piece of its group, on which core and unit.

    A dense edge of SANA-FE joins whole groups, so groups are cut where the span of a dense edge ends. `free` is whether each
    neuron has an input unit of its own, updated only when it sends; else LIF units, updated always, take what to send from
    their noise streams, a line a neuron and step in the order in which the neurons are mapped to the core: 1 exceeds the
    threshold 0, after which the potential is 0 again.
    """

    def __init__(self, groups: Sequence[Group], edges: Sequence[Edge], sent: Array, *, free: bool) -> None:
        self.free = free
        self.sent = sent
        self.labels = {g.name: f"g{i}_{re.sub('[^A-Za-z0-9]+', '_', g.name)}" for i, g in enumerate(groups)}
        cuts = {group.name: {0, group.size} for group in groups}
        for edge in edges:
            if not edge.one_to_one:
                cuts[edge.source].update(edge.source_span)
                cuts[edge.target].update(edge.target_span)
        self.cuts = {name: sorted(places) for name, places in cuts.items()}
        columns = np.split(np.arange(sent.shape[1]), np.cumsum([group.size for group in groups])[:-1])
        self.columns = dict(zip((group.name for group in groups), columns, strict=True))
        on_core: dict[int, list[Array]] = {}
        self.places: dict[str, int] = {}  # the place of a group's first neuron among the neurons of its core
        for group in groups:
            members = on_core.setdefault(group.core, [])
            self.places[group.name] = sum(map(len, members))
            members.append(self.columns[group.name])
        self.cores = {core: np.concatenate(members) for core, members in on_core.items()}

    def piece(self, name: str, first: int) -> str:
        """Return the label of the piece of group `name` that starts at `first`."""
        return self.labels[name] if len(self.cuts[name]) == 2 else f"{self.labels[name]}_from_{first}"

    def pieces(self, name: str, span: tuple[int, int]) -> list[tuple[str, int]]:
        """Return the labels and sizes of the pieces that `span` is made of."""
        bounds = pairwise(self.cuts[name])
        return [(self.piece(name, first), last - first) for first, last in bounds if span[0] <= first < span[1]]

    def address(self, name: str, index: int) -> str:
        """Return what SANA-FE calls the neuron `index` of group `name`."""
        first = self.cuts[name][bisect_right(self.cuts[name], index) - 1]
        return f"{self.piece(name, first)}.{index - first}"

    def streams(self) -> Iterator[tuple[str, Iterable[str]]]:
        """Give the name and the lines of each file of what to send: 1 or 0 for each neuron of a unit, step by step."""
        if not self.free:
            for core, members in sorted(self.cores.items()):
                for unit in range(0, len(members), UNIT):
                    rows = self.sent[:, members[unit : unit + UNIT]]
                    yield _stream(core, unit // UNIT), ("".join("1\n" if one else "0\n" for one in row) for row in rows)


def _stream(core: int, unit: int) -> str:
    return f"sends.{core}.{unit}.txt"


def _save(path: Path, parts: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(parts)


def _architecture(machine: Machine, layout: _Layout) -> Iterator[str]:
    sync = ", ".join(f"{n}: {float(seconds)!r}" for n, seconds in machine.sync)
    yield "architecture:\n  name: machine\n  attributes:\n    topology: mesh\n"
    yield f"    width: {machine.columns}\n    height: {machine.rows}\n    link_buffer_size: 16\n"
    yield f"    sync_model: table\n    latency_sync: {{{sync}}}\n  tile:\n"
    hops = "".join(
        f"        energy_{way}_hop: {float(energy)!r}\n        latency_{way}_hop: {float(latency)!r}\n"
        for way, energy, latency in (
            ("north", machine.hop_y_j, machine.hop_y_s),
            ("south", machine.hop_y_j, machine.hop_y_s),
            ("east", machine.hop_x_j, machine.hop_x_s),
            ("west", machine.hop_x_j, machine.hop_x_s),
        )
    )
    empty = tuple(_core(machine, layout, -1) for _ in range(machine.cores_per_tile))
    used = {core // machine.cores_per_tile for core in layout.cores}
    tiles = machine.columns * machine.rows

    def cores(tile: int) -> tuple[str, ...]:
        first = tile * machine.cores_per_tile
        return tuple(_core(machine, layout, first + place) for place in range(machine.cores_per_tile)) if tile in used else empty

    for inside, first, last in _runs(cores(tile) for tile in range(tiles)):
        yield f"    - name: tile[{first}..{last}]\n      attributes:\n{hops}      core:\n"
        for text, low, high in _runs(inside):
            yield f"        - name: core[{low}..{high}]\n{text}"


def _runs(values: Iterable[Any]) -> Iterator[tuple[Any, int, int]]:
    """Give each run of equal values, with the first and the last place of it."""
    place = 0
    for value, run_of in groupby(values):
        length = sum(1 for _ in run_of)
        yield value, place, place + length - 1
        place += length


def _core(machine: Machine, layout: _Layout, core: int) -> str:
    """Return the text of a core: a dendrite unit for each 1024 neurons, and as many soma units as its neurons need."""
    neurons = len(layout.cores.get(core, ()))
    units = max(1, -(-neurons // UNIT))
    costs = "".join(
        f"                energy_{key}: {float(energy)!r}\n                latency_{key}: {float(latency)!r}\n"
        for key, energy, latency in (
            ("access_neuron", machine.access_j, machine.access_s),
            ("update_neuron", machine.update_j, machine.update_s),
            ("spike_out", machine.spike_j, machine.spike_s),
        )
    )
    if layout.free or not neurons:
        soma = _unit(f"soma[0..{max(1, neurons) - 1}]", "input", costs)
    else:
        soma = "".join(
            _unit(f"soma[{unit}]", "leaky_integrate_fire", f"{costs}                noise: {_stream(core, unit)}\n")
            for unit in range(units)
        )
    nothing = "                energy_update: 0.0\n                latency_update: 0.0\n"
    synapse = f"                energy_process_spike: {float(machine.synapse_j)!r}\n"
    synapse += f"                latency_process_spike: {float(machine.synapse_s)!r}\n"
    incoming = f"                energy_message_in: {float(machine.message_in_j)!r}\n"
    incoming += f"                latency_message_in: {float(machine.message_in_s)!r}\n"
    outgoing = f"                energy_message_out: {float(machine.message_out_j)!r}\n"
    outgoing += f"                latency_message_out: {float(machine.message_out_s)!r}\n"
    return (
        "          attributes:\n            buffer_position: soma\n            buffer_inside_unit: false\n"
        f"            max_neurons_supported: {units * UNIT}\n"
        f"          axon_in:\n{_unit('axon_in', None, incoming)}"
        f"          synapse:\n{_unit('synapse', 'current_based', synapse)}"
        f"          dendrite:\n{_unit(f'dendrite[0..{units - 1}]', 'accumulator', nothing)}"
        f"          soma:\n{soma}"
        f"          axon_out:\n{_unit('axon_out', None, outgoing)}"
    )


def _unit(name: str, model: str | None, attributes: str) -> str:
    kind = f"                model: {model}\n" if model else ""
    return f"            - name: {name}\n              attributes:\n{kind}{attributes}"


def _network(machine: Machine, groups: Sequence[Group], edges: Sequence[Edge], layout: _Layout) -> Iterator[str]:
    yield "network:\n  name: network\n  groups:\n"
    for group in groups:
        for first, last in pairwise(layout.cuts[group.name]):
            yield f"    - name: {layout.piece(group.name, first)}\n      attributes: []\n      neurons:\n"
            if layout.free:
                yield from _neurons(layout.sent[:, layout.columns[group.name][first:last]])
            else:
                yield f"        - 0..{last - first - 1}: [soma: {{threshold: 0.0, force_update: true}}]\n"
    yield "  edges:\n" if edges else "  edges: []\n"
    for edge in edges:
        if edge.one_to_one:
            for source, target in zip(range(*edge.source_span), range(*edge.target_span), strict=True):
                yield f"    - {layout.address(edge.source, source)} -> {layout.address(edge.target, target)}: [weight: 0]\n"
        else:
            for source_piece, sources in layout.pieces(edge.source, edge.source_span):
                for target_piece, targets in layout.pieces(edge.target, edge.target_span):
                    # without weights sanafe 2.2.9 ends in std::out_of_range at the first message
                    yield f"    - {source_piece} -> {target_piece}: [type: dense, weight: [{'0,' * (sources * targets - 1)}0]]\n"
    yield "mappings:\n"
    for group in groups:
        tile, place = divmod(group.core, machine.cores_per_tile)
        for index in range(group.size):
            nth = layout.places[group.name] + index
            soma = nth if layout.free else nth // UNIT
            units = f'dendrite: "dendrite[{nth // UNIT}]", soma: "soma[{soma}]"'
            yield f"  - {layout.address(group.name, index)}: [core: {tile}.{place}, {units}]\n"


def _neurons(sent: Array) -> Iterator[str]:
    """Give the lines of neurons on input units: the steps in which each sends, or that it does in all of them."""
    for index, steps in enumerate(sent.T):
        spikes = "rate: 1.0" if steps.all() else f"spikes: [{', '.join('1' if one else '0' for one in steps)}]"
        yield f"        - {index}: [soma: {{{spikes}}}]\n"
