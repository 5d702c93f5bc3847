"""A chip as data: its mesh, its limits and what its events cost, each number with its unit, its source and its grade."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from dyadic_neuro.errors import DataError, DyadicError, FileError, MappingError, OptionError
from dyadic_neuro.fixed_point.format import LIMITS, FixedFormat
from dyadic_neuro.mappings import chip_files
from dyadic_neuro.quantity import Quantity, Section, Text, check_number, number, shown, word

IntArray = NDArray[np.int64]
_MOST_CORES = 2**26  # 16,384 chips of 4096 cores: as far as Loihi's messages can be addressed (Davies et al. 2018)


@dataclass(frozen=True)
class Mesh(Section):
    """Where the cores are. Each chip is a mesh of columns x rows tiles, and the system a grid of chips.

    Numbers run down the columns, as in SANA-FE: on one chip tile = x * rows + y, and core = tile * cores_per_tile + j.
    `cores` is how many of a chip's cores can be used, from the first on.
    """

    columns: Quantity = field(metadata=number("tile", whole=True, least=1, required=True))
    rows: Quantity = field(metadata=number("tile", whole=True, least=1, required=True))
    cores_per_tile: Quantity = field(metadata=number("core", whole=True, least=1, required=True))
    cores: Quantity = field(metadata=number("core", whole=True, least=1, required=True))
    chip_columns: Quantity = field(metadata=number("chip", whole=True, least=1, required=True))
    chip_rows: Quantity = field(metadata=number("chip", whole=True, least=1, required=True))

    def __post_init__(self) -> None:
        super().__post_init__()
        columns, rows, width, cores, chip_columns, chip_rows = (_whole(getattr(self, entry.name)) for entry in fields(self))
        room = columns * rows * width
        if cores > room:
            raise DataError("cores", f"{cores} do not fit on {columns} x {rows} tiles of {width}", f"use at most {room}")
        if room * chip_columns * chip_rows > _MOST_CORES:
            raise DataError("chip_columns", f"the system has more than {_MOST_CORES:,} cores", "describe a smaller one")


@dataclass(frozen=True)
class Limits(Section):
    """What one core has room for. An unknown limit cannot be checked.

    `neurons`; `synaptic_memory`, for synapses; `core_memory`, for synapses and state together; `state_per_neuron`, the
    most that one neuron's state can take; `input_axons`, distinct sources of messages; `output_axons`, pairs of a
    neuron and a core that it sends to.
    """

    neurons: Quantity = field(metadata=number("neuron", whole=True, least=1))
    synaptic_memory: Quantity = field(metadata=number("bit", whole=True, least=1))
    core_memory: Quantity = field(metadata=number("bit", whole=True, least=1))
    state_per_neuron: Quantity = field(metadata=number("bit", whole=True, least=1))
    input_axons: Quantity = field(metadata=number("axon", whole=True, least=1))
    output_axons: Quantity = field(metadata=number("axon", whole=True, least=1))


@dataclass(frozen=True)
class Storage(Section):
    """How synapses lie in memory: in blocks of up to `synapses_per_block`, each with a header, rounded up to words.

    A synapse takes the bits of its weight and `extra_bits` (its delay, tag and index).
    """

    synapses_per_block: Quantity = field(metadata=number("synapse", whole=True, least=1, required=True))
    header_bits: Quantity = field(metadata=number("bit", whole=True, required=True))
    extra_bits: Quantity = field(metadata=number("bit", whole=True, required=True))
    word_bits: Quantity = field(metadata=number("bit", whole=True, least=1, required=True))


@dataclass(frozen=True)
class Widths(Section):
    """Bits of a weight, of one state variable, of the value that a message carries, and of a sum of a synapse's changes.

    `payload` is "binary" where a message says only that it was sent, and "graded" where it carries a signed value.
    """

    weight: Quantity = field(metadata=number("bit", whole=True, least=1, required=True))
    state: Quantity = field(metadata=number("bit", whole=True, least=1))
    message: Quantity = field(metadata=number("bit", whole=True, least=1))
    accumulator: Quantity = field(metadata=number("bit", whole=True, least=1))
    payload: Text = field(metadata=word("binary", "graded"))


@dataclass(frozen=True)
class Energy(Section):
    """Joules per event.

    `neuron_access`: each mapped neuron, each step; `neuron_update`: in addition, if it is updated; `neuron_fire`: in
    addition, if it sends; `synaptic_operation`: each synapse that a message reaches; `message`: each packet sent, that
    is a neuron and a core it sends to; `message_in`: each packet received; `hop_horizontal`, `hop_vertical`: each link
    between tiles that a packet takes; `chip_crossing`: in addition, each border between chips; `learning_update`: each
    plastic synapse updated.
    """

    neuron_access: Quantity = field(metadata=number("J"))
    neuron_update: Quantity = field(metadata=number("J"))
    neuron_fire: Quantity = field(metadata=number("J"))
    synaptic_operation: Quantity = field(metadata=number("J"))
    message: Quantity = field(metadata=number("J"))
    message_in: Quantity = field(metadata=number("J"))
    hop_horizontal: Quantity = field(metadata=number("J"))
    hop_vertical: Quantity = field(metadata=number("J"))
    chip_crossing: Quantity = field(metadata=number("J"))
    learning_update: Quantity = field(metadata=number("J"))


@dataclass(frozen=True)
class Latency(Section):
    """Seconds per event, events as in `Energy`; a core does one after the other.

    `hop_horizontal` and `hop_vertical` are how long one packet travels; `link_message` and `chip_link_message` how long
    a packet keeps a link of the mesh, or between chips, from the next one.
    """

    neuron_access: Quantity = field(metadata=number("s"))
    neuron_update: Quantity = field(metadata=number("s"))
    neuron_fire: Quantity = field(metadata=number("s"))
    synaptic_operation: Quantity = field(metadata=number("s"))
    message: Quantity = field(metadata=number("s"))
    message_in: Quantity = field(metadata=number("s"))
    hop_horizontal: Quantity = field(metadata=number("s"))
    hop_vertical: Quantity = field(metadata=number("s"))
    link_message: Quantity = field(metadata=number("s"))
    chip_link_message: Quantity = field(metadata=number("s"))
    learning_update: Quantity = field(metadata=number("s"))


@dataclass(frozen=True)
class Barrier(Section):
    """Seconds that the end of a step takes, by tiles in use: `entries` of (tiles, seconds), from 1 tile on, rising.

    Between entries the value is that of the lower one ("step") or on the line through both ("linear"); beyond the last
    one it is the last, as a lower bound. Without entries it is unknown.
    """

    interpolation: Text = field(metadata=word("step", "linear"))
    entries: tuple[tuple[int, Quantity], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        tiles = [count for count, _ in self.entries]
        if any(isinstance(count, bool) or not isinstance(count, int) for count in tiles):
            raise DataError("entries", f"tiles {tiles} are not all whole numbers", "count tiles from 1")
        if tiles and (tiles[0] != 1 or tiles != sorted(set(tiles))):
            raise DataError("entries", f"tiles {tiles} do not rise from 1", "sort the table, and begin with 1 tile")
        for _, seconds in self.entries:
            check_number("entries", seconds, number("s", required=True))

    def at(self, tiles: int) -> Quantity:
        """Return the seconds for this many tiles in use. Raises OptionError for fewer than one."""
        if tiles < 1:
            raise OptionError("tiles", f"{tiles} is less than one", "count the tiles that hold neurons")
        if not self.entries:
            return Quantity(None, "s", self.interpolation.source, "unknown")
        below = max(i for i, (count, _) in enumerate(self.entries) if count <= tiles)
        (low, value), beyond = self.entries[below], below == len(self.entries) - 1
        if tiles > low and beyond:
            return replace(value, source=f"{value.source}; known up to {low} tiles only", grade="derived")
        if tiles == low or self.interpolation.value == "step":
            return value
        high, above = self.entries[below + 1]
        seconds = np.interp(tiles, (low, high), (_real(value), _real(above)))
        return Quantity(float(seconds), "s", self.interpolation.source, self.interpolation.grade)


@dataclass(frozen=True)
class Power(Section):
    """Watts of one chip, whatever it does."""

    static: Quantity = field(metadata=number("W"))


@dataclass(frozen=True)
class Placement(Section):
    """What a placement minimises: `crossing_weight` is how many hops one border between chips counts for."""

    crossing_weight: Quantity = field(metadata=number("hop", required=True))


_SECTIONS: dict[str, type[Section]] = {
    "mesh": Mesh,
    "limits": Limits,
    "storage": Storage,
    "widths": Widths,
    "energy": Energy,
    "latency": Latency,
    "barrier": Barrier,
    "power": Power,
    "placement": Placement,
}


@dataclass(frozen=True)
class Chip:
    """A chip, or a system of equal chips, with its limits and costs.

    Cores of the system are numbered chip by chip, chips down the columns of their grid: core = chip * n + local, where n
    is the number of usable cores of a chip, and chip = chip_column * chip_rows + chip_row.
    """

    name: str
    title: str
    note: str
    mesh: Mesh
    limits: Limits
    storage: Storage
    widths: Widths
    energy: Energy
    latency: Latency
    barrier: Barrier
    power: Power
    placement: Placement

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the names of the chips that come with the package."""
        return chip_files.names()

    @classmethod
    def load(cls, name_or_path: str | os.PathLike[str], chips: tuple[int, int] | None = None) -> Chip:
        """Return the chip of this name or TOML file, `chips` = (columns, rows) of them if that is given.

        A file with `based_on` (a name, or a path as seen from that file) takes over whatever it does not say itself.

        Raises UnknownNameError for a name that no chip has; FileError, with the line and the entry, when a file is
        missing or does not describe a chip; OptionError for numbers of chips that make no system.
        """
        path = chip_files.find(name_or_path, Path())
        data, lines = chip_files.read(path, ())

        def blame(where: tuple[str, ...], problem: str, fix: str) -> DyadicError:
            place = next(lines[where[:depth]] for depth in range(len(where), -1, -1) if where[:depth] in lines)
            return FileError(place, f"{'.'.join(where)} {problem}" if where else problem, fix)

        chip = _chip(data | {"name": path.stem}, blame)
        return chip if chips is None else _of_size(chip, chips)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Chip:
        """Return the chip that `record` describes. Raises DataError when it is not what `Chip.record` returns."""

        def blame(where: tuple[str, ...], problem: str, fix: str) -> DyadicError:
            return DataError(".".join(("chip", *where)), problem, fix)

        if not isinstance(record, Mapping):
            raise blame((), f"is a {type(record).__name__}, not a record", "pass what Chip.record() returned")
        return _chip(record, blame)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is worked out again when needed: copies and pickles hold the description only."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def __str__(self) -> str:
        return f"{self.title}: {self.chips:,} x {_whole(self.mesh.cores):,} cores"

    # Where things are

    @property
    def chips(self) -> int:
        """How many chips the system has."""
        return _whole(self.mesh.chip_columns) * _whole(self.mesh.chip_rows)

    @property
    def cores(self) -> int:
        """How many usable cores the system has."""
        return self.chips * _whole(self.mesh.cores)

    @property
    def tiles(self) -> int:
        """How many tiles, each with its router, the system has."""
        return self.chips * _whole(self.mesh.columns) * _whole(self.mesh.rows)

    @cached_property
    def chip_of(self) -> IntArray:
        """The chip of each core, (cores,)."""
        return _fixed(np.repeat(np.arange(self.chips), _whole(self.mesh.cores)))

    @cached_property
    def tile_of(self) -> IntArray:
        """The tile of each core, (cores,); tiles are numbered chip by chip, and down the columns of a chip."""
        return _fixed(self.chip_of * (_whole(self.mesh.columns) * _whole(self.mesh.rows)) + self._local_tile)

    @cached_property
    def x(self) -> IntArray:
        """The column of each core's tile in the whole system, (cores,), from 0 in the west."""
        chip_column = self.chip_of // _whole(self.mesh.chip_rows)
        return _fixed(chip_column * _whole(self.mesh.columns) + self._local_tile // _whole(self.mesh.rows))

    @cached_property
    def y(self) -> IntArray:
        """The row of each core's tile in the whole system, (cores,), from 0 in the south."""
        chip_row = self.chip_of % _whole(self.mesh.chip_rows)
        return _fixed(chip_row * _whole(self.mesh.rows) + self._local_tile % _whole(self.mesh.rows))

    @property
    def _local_tile(self) -> IntArray:
        return np.tile(np.arange(_whole(self.mesh.cores)) // _whole(self.mesh.cores_per_tile), self.chips)

    # What things take

    @overload
    def storage_bits(self, synapses: int) -> int: ...
    @overload
    def storage_bits(self, synapses: IntArray) -> IntArray: ...
    def storage_bits(self, synapses: int | IntArray) -> int | IntArray:
        """Return the bits that one axon's list of this many dense synapses takes on a core; elementwise for an array.

        The format is that of nengo-loihi's Synapse.bits_per_axon (e564f66): n synapses lie in blocks, and a block of k
        takes k * (weight + extra) + header bits, rounded up to words. Raises OptionError for numbers that count nothing.
        """
        counts = np.asarray(synapses)
        if counts.dtype.kind not in "iu" or np.any(counts < 0):
            raise OptionError("synapses", f"{shown(synapses)} are not counts", "give whole numbers, from 0 on")
        each = _whole(self.widths.weight) + _whole(self.storage.extra_bits)
        header, word = _whole(self.storage.header_bits), _whole(self.storage.word_bits)
        most = _whole(self.storage.synapses_per_block)
        full, rest = np.divmod(counts.astype(np.int64), most)
        bits = full * _rounded(most * each + header, word) + np.where(rest > 0, _rounded(rest * each + header, word), 0)
        return int(bits) if np.ndim(synapses) == 0 else np.asarray(bits)

    def barrier_s(self, tiles: int) -> float | None:
        """Return how long the end of a step takes with this many tiles in use, in s, or None if that is unknown.

        Raises OptionError for fewer than one tile.
        """
        return self.barrier.at(tiles).value

    def barrier_is_bound(self, tiles: int) -> bool:
        """Return whether `barrier_s` is only a lower bound: the table ends before this many tiles."""
        return bool(self.barrier.entries) and tiles > self.barrier.entries[-1][0]

    @property
    def graded(self) -> bool:
        """Whether a message carries a signed value."""
        return self.widths.payload.value == "graded"

    @property
    def hypotheses(self) -> tuple[str, ...]:
        """What a network of graded signed messages assumes of this chip against its description."""
        return () if self.graded else (f"graded signed messages are hypothetical on {self.title}: its messages are binary",)

    def fixed_format(self, **changes: Any) -> FixedFormat:  # noqa: ANN401
        """Return the format of integers that this chip holds, with the fields in `changes` in place of the chip's.

        It has the published widths, as far as a FixedFormat goes, and elsewhere those of FixedFormat. Raises OptionError.
        """
        usual, found = FixedFormat(), {}
        for name, quantity in self._widths_of_integers().items():
            spoken = quantity.known and (self.graded or name != "message_bits")  # a spike does not say how wide a value is
            bits = _whole(quantity) if spoken else getattr(usual, name)
            found[name] = int(np.clip(bits, *LIMITS[name]))
        found["message_bits"] = min(found["message_bits"], found["state_bits"])
        return FixedFormat(**{**found, **changes})

    def check_format(self, form: FixedFormat) -> None:
        """Raise MappingError for a format that is wider than what is published of the chip.

        Messages may be as wide as the state where a chip has none with values, and graded ones are hypothetical.
        """
        for name, quantity in self._widths_of_integers().items():
            bits = getattr(form, name)
            if quantity.value is not None and bits > quantity.value:
                problem = f"of the format is {bits}, and {self.title} ({self.name}) has {quantity.amount}"
                raise MappingError(name, problem, "use chip.fixed_format()")

    def _widths_of_integers(self) -> dict[str, Quantity]:
        w = self.widths
        return {"weight_bits": w.weight, "message_bits": w.message if self.graded else w.state, "state_bits": w.state}

    # The description itself

    def entries(self) -> dict[str, Quantity | Text]:
        """Return everything by "section.entry", section by section; the rows of the barrier's table by "barrier.<tiles>"."""
        found: dict[str, Quantity | Text] = {}
        for name in _SECTIONS:
            section = getattr(self, name)
            found |= {f"{name}.{entry.name}": getattr(section, entry.name) for entry in fields(section) if entry.metadata}
            if name == "barrier":
                found |= {f"barrier.{tiles}": seconds for tiles, seconds in self.barrier.entries}
        return found

    def quantities(self) -> dict[str, Quantity]:
        """Return those of the `entries` that are numbers."""
        return {key: entry for key, entry in self.entries().items() if isinstance(entry, Quantity)}

    def record(self) -> dict[str, Any]:
        """Return the description as dicts, lists, strings and numbers, which JSON can hold and `from_record` reads."""
        record: dict[str, Any] = {"name": self.name, "title": self.title, "note": self.note}
        for name in _SECTIONS:
            section = getattr(self, name)
            record[name] = {e.name: dict(vars(getattr(section, e.name))) for e in fields(section) if e.metadata}
        record["barrier"]["entries"] = [{"tiles": tiles, **vars(seconds)} for tiles, seconds in self.barrier.entries]
        return record

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything the description says."""
        return hashlib.sha256(json.dumps(self.record(), sort_keys=True).encode()).hexdigest()[:16]


def _of_size(chip: Chip, chips: tuple[int, int]) -> Chip:
    if not isinstance(chips, (tuple, list)) or len(chips) != 2:
        raise OptionError("chips", f"{chips!r} is not a size", "give (columns, rows)")
    try:
        counts = [int(count) if isinstance(count, np.integer) else count for count in chips]
        columns, rows = (Quantity(count, "chip", "chosen by the caller", "derived") for count in counts)
        return replace(chip, mesh=replace(chip.mesh, chip_columns=columns, chip_rows=rows))
    except DataError as error:
        raise OptionError("chips", f"{chips!r}: {error.problem}", "give (columns, rows), each at least 1") from None


# From records to chips. `blame` turns a place in the record, like ("mesh", "rows"), a problem and its fix into an error.

Blame = Callable[[tuple[str, ...], str, str], DyadicError]


def _chip(record: Mapping[str, Any], blame: Blame) -> Chip:
    for key in record:
        if key not in (*_SECTIONS, "name", "title", "note"):
            raise blame((str(key),), "is no part of a chip", f"use {', '.join(_SECTIONS)}, title, note or based_on")
    words = {"note": "", **{key: record[key] for key in ("name", "title", "note") if key in record}}
    for key in ("name", "title", "note"):
        if not isinstance(words.get(key), str) or (key != "note" and not words[key].strip()):
            raise blame((key,), f"is {shown(words.get(key))}", "write a line of text")
    return Chip(**words, **{name: _section(name, cls, record, blame) for name, cls in _SECTIONS.items()})


def _section(name: str, cls: type[Section], record: Mapping[str, Any], blame: Blame) -> Any:  # noqa: ANN401
    entries = record.get(name)
    if not isinstance(entries, Mapping):
        problem = "is missing" if entries is None else f"is {shown(entries)}, not a section"
        raise blame((name,), problem, f"add [{name}] with {', '.join(e.name for e in fields(cls))}")
    rules = {entry.name: entry.metadata for entry in fields(cls)}
    for key in entries:
        if key not in rules:
            raise blame((name, str(key)), "is no entry of this section", f"use {', '.join(rules)}")
    content: dict[str, Any] = {}
    for key, rule in rules.items():
        if key not in entries:
            raise blame((name, key), "is missing", "add it; what nobody knows has the grade 'unknown' and no value")
        if key == "entries":
            content[key] = _table((name, key), entries[key], blame)
        else:
            content[key] = _entry((name, key), entries[key], Quantity if "unit" in rule else Text, blame)
    try:
        return cls(**content)
    except DataError as error:
        raise blame((name, error.field), error.problem, error.fix) from None


def _entry(where: tuple[str, ...], entry: object, kind: type[Quantity | Text], blame: Blame) -> Any:  # noqa: ANN401
    form = [part.name for part in fields(kind)]
    if not isinstance(entry, Mapping):
        raise blame(where, f"is {shown(entry)}, not {{ {', '.join(form)} }}", "say also where it comes from")
    for key in entry:
        if key not in form:
            raise blame(where, f"has {key!r}, which no such entry has", f"use {', '.join(form)}")
    for key in form[1:]:
        if key not in entry:
            raise blame(where, f"has no {key}", f"each entry has {', '.join(form)}, and only an unknown one no value")
    try:
        return kind(**{"value": None, **entry})
    except DataError as error:
        raise blame(where, f"({error.field}) {error.problem}", error.fix) from None


def _table(where: tuple[str, ...], entries: object, blame: Blame) -> tuple[tuple[int, Quantity], ...]:
    if not isinstance(entries, list):
        raise blame(where, f"is {shown(entries)}, not a list", "write [ { tiles, value, unit, source, grade }, ... ]")
    table = []
    for index, entry in enumerate(entries):
        place = (*where, str(index))
        if not isinstance(entry, Mapping) or "tiles" not in entry:
            raise blame(place, "does not say for how many tiles it holds", "write { tiles, value, unit, source, grade }")
        rest = {key: value for key, value in entry.items() if key != "tiles"}
        table.append((entry["tiles"], _entry(place, rest, Quantity, blame)))
    return tuple(table)


def _whole(quantity: Quantity) -> int:
    return int(_real(quantity))


def _real(quantity: Quantity) -> float:
    if quantity.value is None:
        raise DataError("quantity", f"is unknown ({quantity.source})", "use a chip that has it")
    return quantity.value


def _rounded(bits: Any, word: int) -> Any:  # noqa: ANN401
    return -(-bits // word) * word


def _fixed(array: IntArray) -> IntArray:
    array.flags.writeable = False
    return array
