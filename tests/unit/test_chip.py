"""Chips as data: every number has its source, the shipped files say what was published, and a bad file is named by its line."""

import copy
import dataclasses
import json
import pickle
import re

import numpy as np
import pytest

from dyadic_neuro import relax
from dyadic_neuro.backends.chip import MappedChip
from dyadic_neuro.errors import DataError, FileError, MappingError, OptionError, UnknownNameError
from dyadic_neuro.fixed_point import FixedFormat
from dyadic_neuro.mappings import chip as module
from dyadic_neuro.mappings import chip_files
from dyadic_neuro.mappings.chip import Barrier, Chip
from dyadic_neuro.mappings.mapping import map_network
from dyadic_neuro.network import Network
from dyadic_neuro.quantity import GRADES, Quantity, Text
from dyadic_neuro.quantization import quantize

NAMES = ("hala-point", "kapoho-point", "loihi1", "loihi1-sanafe", "loihi2")
KB = 8 * 1024


@pytest.fixture
def user_file(tmp_path):
    """Write a chip of the user's own and return its path."""

    def write(text, name="mine.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def complete():
    """The text of a whole description, to be damaged."""
    return (chip_files.FOLDER / "loihi1.toml").read_text()


def line_of(text, start):
    return next(number for number, line in enumerate(text.splitlines(), start=1) if line.startswith(start))


# What is shipped


def test_the_names_are_those_of_the_files():
    assert Chip.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_source_and_a_grade(name):
    chip = Chip.load(name)
    assert chip.name == name
    assert chip.title
    assert chip.note
    assert len(chip.quantities()) >= 42
    for key, content in chip.entries().items():
        assert content.source.strip(), key
        assert content.grade in GRADES, key
        assert (content.value is None) == (content.grade == "unknown"), key


@pytest.mark.parametrize("name", NAMES)
def test_a_cost_of_zero_says_why(name):
    for key, quantity in Chip.load(name).quantities().items():
        if quantity.value == 0 and quantity.unit in ("J", "s", "W"):
            assert re.match(r"(modelled as none|included in)", quantity.source), key


@pytest.mark.parametrize("name", NAMES)
def test_no_number_is_larger_than_life(name):
    """A unit mistaken by a factor of a thousand shows here."""
    for key, quantity in Chip.load(name).quantities().items():
        if quantity.unit == "J" and quantity.value:
            assert 1e-13 < quantity.value < 1e-9, key
        if quantity.unit == "s" and quantity.value:
            assert 1e-10 < quantity.value < (1e-4 if key.startswith("barrier") else 1e-7), key


def test_loihi_has_the_numbers_of_the_papers_table():
    energy, latency = Chip.load("loihi1").energy, Chip.load("loihi1").latency
    assert energy.synaptic_operation.value == 23.6e-12
    assert energy.neuron_access.value == 52e-12
    assert energy.neuron_access.value + energy.neuron_update.value == pytest.approx(81e-12, rel=1e-12)
    assert (energy.message.value, energy.hop_horizontal.value, energy.hop_vertical.value) == (1.7e-12, 3.0e-12, 4.0e-12)
    assert energy.learning_update.value == 120e-12
    assert latency.neuron_access.value + latency.neuron_update.value == pytest.approx(8.4e-9, rel=1e-12)
    assert latency.link_message.value == pytest.approx(1 / 3.44e9, rel=1e-4)
    assert not energy.chip_crossing.known
    assert not latency.chip_link_message.known


def test_what_sanafe_fits_is_called_fitted_and_what_it_lacks_unknown():
    chip = Chip.load("loihi1-sanafe")
    values = {entry.name: getattr(chip.energy, entry.name).value for entry in dataclasses.fields(chip.energy)}
    assert values == {
        "neuron_access": 51.2e-12,
        "neuron_update": 21.6e-12,
        "neuron_fire": 69.3e-12,
        "synaptic_operation": 35.5e-12,
        "message": 111e-12,
        "message_in": 0.0,
        "hop_horizontal": 3.0e-12,
        "hop_vertical": 4.2e-12,
        "chip_crossing": None,
        "learning_update": None,
    }
    for section in (chip.energy, chip.latency, chip.power):
        assert {getattr(section, entry.name).grade for entry in dataclasses.fields(section)} <= {"fitted", "derived", "unknown"}
    assert not chip.power.static.known
    assert chip.limits.synaptic_memory == Chip.load("loihi1").limits.synaptic_memory  # taken over from the chip itself


def test_loihi_2_has_no_energy_of_an_event():
    chip = Chip.load("loihi2")
    assert {getattr(chip.energy, entry.name).grade for entry in dataclasses.fields(chip.energy)} == {"unknown"}
    assert chip.limits.input_axons.grade == "unknown"
    assert chip.graded
    assert chip.hypotheses == ()


def test_a_binary_chip_says_what_a_graded_network_assumes_of_it():
    assert not Chip.load("loihi1").graded
    (hypothesis,) = Chip.load("loihi1").hypotheses
    assert "graded signed messages are hypothetical" in hypothesis


@pytest.mark.parametrize(
    ("name", "chips", "cores"),
    [("loihi1", 1, 128), ("loihi2", 1, 128), ("kapoho-point", 8, 1024), ("hala-point", 1152, 140_544)],
)
def test_systems_have_the_cores_that_are_known_of_them(name, chips, cores):
    chip = Chip.load(name)
    assert (chip.chips, chip.cores, chip.tiles) == (chips, cores, 32 * chips)


# Integers


@pytest.mark.parametrize(("name", "widths"), [("loihi1", (8, 16, 24)), ("loihi2", (8, 24, 24)), ("hala-point", (8, 24, 24))])
def test_a_format_has_the_widths_that_are_published(name, widths):
    form = Chip.load(name).fixed_format()
    assert (form.weight_bits, form.message_bits, form.state_bits) == widths
    Chip.load(name).check_format(form)
    other = Chip.load(name).fixed_format(weight_bits=4, rounding="stochastic", seed=3)
    assert other == dataclasses.replace(form, weight_bits=4, rounding="stochastic", seed=3)


def with_widths(**bits):
    chip = Chip.load("loihi2")
    widths = {name: dataclasses.replace(getattr(chip.widths, name), value=value) for name, value in bits.items()}
    return dataclasses.replace(chip, widths=dataclasses.replace(chip.widths, **widths))


@pytest.mark.parametrize("weight", [1, 8, 64])
@pytest.mark.parametrize("message", [1, 16, 64])
@pytest.mark.parametrize("state", [1, 12, 64])
def test_a_format_stays_within_what_there_can_be(weight, message, state):
    form = with_widths(weight=weight, message=message, state=state).fixed_format()
    assert form.weight_bits == min(max(weight, 4), 16)
    assert form.state_bits == min(max(state, 8), 32)
    assert form.message_bits == min(max(message, 4), 24, form.state_bits)


def test_an_unknown_width_is_that_of_a_usual_format_and_any_fits():
    chip = Chip.load("loihi2")
    unknown = Quantity(None, "bit", "left open for a test", "unknown")
    chip = dataclasses.replace(chip, widths=dataclasses.replace(chip.widths, state=unknown, message=unknown))
    assert chip.fixed_format() == FixedFormat()
    chip.check_format(FixedFormat(message_bits=24, state_bits=32))


@pytest.mark.parametrize(
    ("name", "changes", "field", "said"),
    [
        ("loihi2", {"weight_bits": 9}, "weight_bits", "is 9, .*8 bit"),
        ("loihi2", {"state_bits": 32}, "state_bits", "is 32, .*24 bit"),
        ("loihi1", {"state_bits": 25}, "state_bits", "is 25, .*24 bit"),
    ],
)
def test_a_format_that_is_wider_than_the_chip_is_refused_before_anything_runs(name, changes, field, said):
    chip = Chip.load(name)
    fixed = quantize(Network.dense([3, 4, 2], seed=0), FixedFormat(**changes))
    mapping = map_network(fixed.real(), chip)
    runs = (
        lambda: chip.check_format(fixed.format),
        lambda: map_network(fixed, chip),
        lambda: mapping.apply(fixed),
        lambda: relax(fixed, [[0.1, 0.2, 0.3]], [1], backend=MappedChip(mapping)),
        lambda: relax(fixed, [[0.1, 0.2, 0.3]], [1], backend=MappedChip(chip=chip)),
    )
    for run in runs:
        with pytest.raises(MappingError, match=f"^{field}: .*{said}.*fixed_format"):
            run()


def test_messages_wider_than_the_chips_are_refused():
    with pytest.raises(MappingError, match=r"^message_bits: .*is 16, .*12 bit"):
        with_widths(message=12).check_format(FixedFormat())


# Storage


def test_784_axons_of_400_synapses_take_273_hundredths_of_a_core():
    chip = Chip.load("loihi1")
    assert chip.limits.synaptic_memory.value == 128 * KB
    assert 784 * chip.storage_bits(400) / (128 * KB) == pytest.approx(2.73, abs=0.005)


@pytest.mark.parametrize(("synapses", "bits"), [(0, 0), (1, 64), (6, 64), (7, 128), (64, 576), (65, 640), (400, 3648)])
def test_storage_is_rounded_up_to_words_block_by_block(synapses, bits):
    found = Chip.load("loihi1").storage_bits(synapses)
    assert (found, type(found)) == (bits, int)


def test_storage_of_an_array_is_that_of_its_elements():
    chip = Chip.load("loihi1")
    counts = np.arange(300).reshape(3, 100)
    found = chip.storage_bits(counts)
    assert found.shape == counts.shape
    assert found.tolist() == [[chip.storage_bits(int(count)) for count in row] for row in counts]


@pytest.mark.parametrize("wrong", [-1, 2.5, np.array([1, -1])])
def test_storage_of_what_is_no_count_is_refused(wrong):
    with pytest.raises(OptionError, match="not counts"):
        Chip.load("loihi1").storage_bits(wrong)


# Geometry


@pytest.mark.parametrize(
    ("name", "chips"), [("loihi1", None), ("loihi1", (3, 2)), ("kapoho-point", None), ("hala-point", (2, 3))]
)
def test_cores_are_numbered_down_the_columns(name, chips):
    chip = Chip.load(name, chips)
    mesh = chip.mesh
    expected = {}
    for chip_column in range(mesh.chip_columns.value):
        for chip_row in range(mesh.chip_rows.value):
            number = chip_column * mesh.chip_rows.value + chip_row
            for x in range(mesh.columns.value):
                for y in range(mesh.rows.value):
                    for j in range(mesh.cores_per_tile.value):
                        tile = x * mesh.rows.value + y
                        local = tile * mesh.cores_per_tile.value + j
                        if local < mesh.cores.value:
                            place = (
                                number,
                                number * 32 + tile,
                                chip_column * mesh.columns.value + x,
                                chip_row * mesh.rows.value + y,
                            )
                            expected[number * mesh.cores.value + local] = place
    assert sorted(expected) == list(range(chip.cores))
    found = zip(chip.chip_of.tolist(), chip.tile_of.tolist(), chip.x.tolist(), chip.y.tolist(), strict=True)
    assert list(found) == [expected[core] for core in range(chip.cores)]


def test_arrays_of_places_are_worked_out_once_and_cannot_be_changed():
    chip = Chip.load("loihi1")
    assert chip.x is chip.x
    with pytest.raises(ValueError, match="read-only"):
        chip.x[0] = 1


def test_a_system_of_another_size_says_who_chose_it():
    chip = Chip.load("loihi2", (np.int64(2), 3))
    assert (chip.chips, chip.cores) == (6, 768)
    assert "caller" in chip.mesh.chip_rows.source
    assert chip.fingerprint != Chip.load("loihi2").fingerprint


@pytest.mark.parametrize("wrong", [(0, 1), (1,), 3, (1, 2.0), (True, 1), (1 << 30, 1), ("2", 1)])
def test_numbers_of_chips_that_make_no_system_are_refused(wrong):
    with pytest.raises(OptionError) as caught:
        Chip.load("loihi2", wrong)
    assert caught.value.field == "chips"


# Barrier


def test_a_line_joins_the_published_ends_and_ends_with_the_table():
    chip = Chip.load("loihi1")
    assert (chip.barrier_s(1), chip.barrier_s(32)) == (113e-9, 465e-9)
    assert chip.barrier_s(16) == pytest.approx(113e-9 + 15 / 31 * (465e-9 - 113e-9), rel=1e-12)
    assert [chip.barrier.at(tiles).grade for tiles in (1, 16, 32, 100, 8192, 24576, 24577)] == [
        *("published", "derived", "published", "derived", "measured", "measured", "derived")
    ]
    assert chip.barrier_s(30_000) == chip.barrier_s(24_576) == 16.2e-6
    assert [chip.barrier_is_bound(tiles) for tiles in (1, 24_576, 24_577)] == [False, False, True]


@pytest.mark.parametrize(
    ("tiles", "seconds"), [(1, 0.6e-6), (2, 1e-6), (3, 1e-6), (4, 1.4e-6), (28, 1.4e-6), (29, 1.8e-6), (32, 1.8e-6)]
)
def test_a_step_table_takes_the_entry_below(tiles, seconds):
    chip = Chip.load("loihi1-sanafe")
    assert chip.barrier_s(tiles) == seconds
    assert not chip.barrier_is_bound(tiles)
    assert chip.barrier_is_bound(33)  # one chip is all that was fitted
    assert (chip.barrier.at(32).grade, chip.barrier.at(33).grade) == ("fitted", "derived")


def test_a_barrier_nobody_knows_is_no_number():
    barrier = Barrier(Text("step", "never measured", "derived"), ())
    assert barrier.at(5) == Quantity(None, "s", "never measured", "unknown")
    chip = dataclasses.replace(Chip.load("loihi1"), barrier=barrier)
    assert chip.barrier_s(5) is None
    assert not chip.barrier_is_bound(5)


def test_no_step_ends_without_a_tile():
    with pytest.raises(OptionError, match="less than one"):
        Chip.load("loihi1").barrier_s(0)


@pytest.mark.parametrize("tiles", [(2, 4), (1, 4, 3), (1, 1), (1, 2.5), (True, 2)])
def test_a_table_that_does_not_rise_from_one_is_refused(tiles):
    with pytest.raises(DataError, match="tiles"):
        Barrier(Text("step", "me", "derived"), tuple((count, Quantity(1e-9, "s", "me", "derived")) for count in tiles))


# Records


@pytest.mark.parametrize("name", NAMES)
def test_a_record_survives_json(name):
    chip = Chip.load(name)
    again = Chip.from_record(json.loads(json.dumps(chip.record())))
    assert again == chip
    assert again.fingerprint == chip.fingerprint


def test_fingerprints_tell_chips_apart():
    assert len({Chip.load(name).fingerprint for name in NAMES}) == len(NAMES)


def test_copies_and_pickles_hold_the_description_only():
    chip = Chip.load("hala-point")
    assert len(chip.x) == chip.cores
    assert pickle.loads(pickle.dumps(chip)) == copy.deepcopy(chip) == chip
    assert len(pickle.dumps(chip)) < 50_000


@pytest.mark.parametrize("damage", [lambda r: r.pop("mesh"), lambda r: r.pop("title"), lambda r: r["energy"].pop("message")])
def test_a_damaged_record_is_refused(damage):
    record = Chip.load("loihi1").record()
    damage(record)
    with pytest.raises(DataError, match=r"chip\.(mesh|title|energy\.message)"):
        Chip.from_record(record)


@pytest.mark.parametrize("record", [[], None, "loihi1"])
def test_what_is_no_record_is_refused(record):
    with pytest.raises(DataError, match="not a record"):
        Chip.from_record(record)


# Files of the user's own


def test_a_file_takes_over_what_it_does_not_say(user_file):
    path = user_file(f'based_on = "loihi1"\ntitle = "Mine"\n[energy]\nmessage = {entry(2e-12)}\n')
    mine, base = Chip.load(path), Chip.load("loihi1")
    assert (mine.name, mine.title) == ("mine", "Mine")
    assert mine.energy.message == Quantity(2e-12, "J", "me", "derived")
    assert dataclasses.replace(mine.energy, message=base.energy.message) == base.energy
    assert (mine.mesh, mine.limits, mine.latency, mine.barrier) == (base.mesh, base.limits, base.latency, base.barrier)


def test_based_on_is_a_path_as_seen_from_the_file(user_file, tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    user_file('based_on = "../middle.toml"\n', "sub/last.toml")
    user_file('based_on = "loihi2"\ntitle = "Middle"\n', "middle.toml")
    monkeypatch.chdir(tmp_path / "sub")
    for path in ("last.toml", "../sub/last.toml", tmp_path / "sub" / "last.toml"):
        assert Chip.load(path).title == "Middle"


def as_tables(chip):
    """The description in TOML's other notation: a table for each entry, keys in quotes or dotted."""
    record = chip.record()
    rows = [f"{key} = {json.dumps(record[key])}" for key in ("title", "note")]
    tables = record["barrier"].pop("entries")
    for section in module._SECTIONS:
        for key, entry in record[section].items():
            rows += [f"[{section}.{key}]", *(f"{k} = {json.dumps(v)}" for k, v in entry.items() if v is not None)]
    for entry in tables:
        rows += ["[[barrier.entries]]", *(f"{k} = {json.dumps(v)}" for k, v in entry.items())]
    return "\r\n".join(rows)


@pytest.mark.parametrize("name", NAMES)
def test_the_other_notation_of_toml_says_the_same(user_file, name):
    chip = Chip.load(name)
    assert Chip.load(user_file("\ufeff" + as_tables(chip), f"{name}.toml")) == chip


def entry(value, unit="J", source="me", grade="derived", **more):
    """An inline table; None leaves a key out."""
    keys = {"value": value, "unit": unit, "source": source, "grade": grade, **more}
    words = {k: v if k == "value" else json.dumps(v) for k, v in keys.items() if v is not None}
    return "{ " + ", ".join(f"{k} = {v}" for k, v in words.items()) + " }"


ENERGY = "chip_crossing = "
ROW = "  { tiles = 32,"


def row(**keys):
    return "  { " + entry(**keys)[2:] + ","


# What stands in a file: the line that is replaced, what by, the problem, and the line that is named if it is another one.
DAMAGES = {
    "unknown section": ("[power]", "[powers]", "powers is no part of a chip", None),
    "unknown entry": ("static =", "statics = 3", "power.statics is no entry", None),
    "missing entry": ("static =", "", "power.static is missing", "[power]"),
    "a number alone": (ENERGY, ENERGY + "3e-12", "energy.chip_crossing is 3e-12, not {", None),
    "a number for a section": ("title =", "power = 3", "not TOML", "[power]"),
    "wrong unit": (ENERGY, ENERGY + entry(3, "pJ"), "energy.chip_crossing is in 'pJ', not in 'J'", None),
    "unit of a wrong type": (ENERGY, ENERGY + entry(3, 5), "energy.chip_crossing .*5 is no unit", None),
    "text for a number": (ENERGY, ENERGY + entry('"3"'), "energy.chip_crossing .*'3' is not a finite number", None),
    "boolean": (ENERGY, ENERGY + entry("true"), "True is not a finite number", None),
    "negative": (ENERGY, ENERGY + entry(-1e-12), "energy.chip_crossing is -1e-12, less than 0", None),
    "nan": (ENERGY, ENERGY + entry("nan"), "energy.chip_crossing .*nan is not a finite number", None),
    "infinite": (ENERGY, ENERGY + entry("inf"), "inf is not a finite number", None),
    "beyond floats": (ENERGY, ENERGY + entry("1" + "0" * 400), "is not a finite number", None),
    "not whole": ("rows =", "rows = " + entry(4.0, "tile"), "mesh.rows is 4.0, not a whole number", None),
    "no cores": ("cores =", "cores = " + entry(0, "core"), "mesh.cores is 0, less than 1", None),
    "cores without room": ("cores =", "cores = " + entry(129, "core"), "mesh.cores 129 do not fit .* at most 128", None),
    "absurd system": ("chip_columns =", "chip_columns = " + entry(10**7, "chip"), "more than 67,108,864 cores", None),
    "absurd limit": ("neurons =", "neurons = " + entry(10**13, "neuron"), "limits.neurons is 10000000000000, more than", None),
    "unknown grade": (ENERGY, ENERGY + entry(3, grade="sure"), "energy.chip_crossing .*'sure' is no grade", None),
    "value of an unknown": (ENERGY, ENERGY + entry(3, grade="unknown"), "has the value 3, but the grade 'unknown'", None),
    "no value": (ENERGY, ENERGY + entry(None), "has no value, but the grade 'derived'", None),
    "no unit": (ENERGY, ENERGY + entry(3, None), "energy.chip_crossing has no unit", None),
    "no source": (ENERGY, ENERGY + entry(3, source=None), "energy.chip_crossing has no source", None),
    "empty source": (ENERGY, ENERGY + entry(3, source=" "), "energy.chip_crossing .*' ' is no source", None),
    "no grade": (ENERGY, ENERGY + entry(3, grade=None), "energy.chip_crossing has no grade", None),
    "one key too many": (ENERGY, ENERGY + entry(3, band=1), "energy.chip_crossing has 'band'", None),
    "required but unknown": ("rows =", "rows = " + entry(None, "tile", grade="unknown"), "nothing works without it", None),
    "no such word": ("payload =", "payload = " + entry('"analog"', None), "widths.payload is 'analog'; use one of", None),
    "word not given": ("payload =", "payload = " + entry(None, None), "widths.payload .*None .* is no choice", None),
    "row without tiles": (ROW, row(value=1e-9, unit="s"), "barrier.entries.1 does not say", None),
    "row of no grade": (ROW, row(value=1e-9, unit="s", tiles=32, grade="x"), "barrier.entries.1 .*'x' is no grade", None),
    "rows out of order": (ROW, row(value=1e-9, unit="s", tiles=1), "barrier.entries .* do not rise from 1", "entries ="),
    "row in another unit": (ROW, row(value=1, unit="us", tiles=32), "barrier.entries is in 'us'", "entries ="),
    "unknown row": (ROW, row(value=None, unit="s", tiles=32, grade="unknown"), "barrier.entries is unknown", "entries ="),
    "title of a wrong type": ("title =", "title = 3", "title is 3", None),
    "a name": ("title =", 'name = "y"', "name is no entry", None),
    "no TOML": ("rows =", "rows = = 3", "is not TOML", None),
    "a key twice": ("rows =", "columns = 3", "is not TOML", None),
    "too deep": ("rows =", "rows = " + "[" * 50_000, "is not TOML", "*"),
    "too long a number": ("rows =", "rows = " + "1" * 5000, "is not TOML", "*"),
    "base of a wrong type": ("title =", "based_on = 3", "based_on is 3", None),
    "unknown base": ("title =", 'based_on = "loihi9"', "based_on: no chip is called 'loihi9'.*'loihi2'", None),
    "missing base": ("title =", 'based_on = "gone.toml"', "based_on: .*gone.toml is not a file", None),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_bad_file_is_named_by_its_line_and_its_entry(user_file, complete, case):
    start, new, problem, named = DAMAGES[case]
    rows = complete.split("\n")
    rows[line_of(complete, start) - 1] = new
    text = "\n".join(rows)
    path = user_file(text)
    with pytest.raises(FileError, match=problem) as caught:
        Chip.load(path)
    field = caught.value.field
    assert field.startswith(f"{path}:") if named == "*" else field == f"{path}:{line_of(text, named or new)}"
    assert caught.value.fix


@pytest.mark.parametrize("name", ["loihi1", "loihi1-sanafe"])
def test_the_line_is_found_in_the_other_notation_too(user_file, name):
    text = as_tables(Chip.load(name)).replace("[limits.neurons]", "[limits.neurons]\r\nband = 3")
    path = user_file(text)
    with pytest.raises(FileError, match=r"limits\.neurons has 'band'") as caught:
        Chip.load(path)
    assert caught.value.field == f"{path}:{line_of(text, '[limits.neurons]')}"


def test_what_stands_in_quotes_and_comments_is_no_entry(user_file):
    text = 'based_on = "loihi1"\nnote = """\n[power]\nstatic = 3\n"""\n# [power]\n# static = 3\n[power]\nstatic = 3\n'
    path = user_file(text)
    with pytest.raises(FileError, match=r"power\.static is 3") as caught:
        Chip.load(path)
    assert caught.value.field == f"{path}:9"


def test_a_bad_entry_is_named_where_it_stands_also_in_a_base(user_file):
    base = user_file('based_on = "loihi1"\n\n[power]\nstatic = 3\n', "base.toml")
    with pytest.raises(FileError, match=r"power\.static is 3") as caught:
        Chip.load(user_file('based_on = "base.toml"\n[mesh]\n', "mine.toml"))
    assert caught.value.field == f"{base}:4"


@pytest.mark.parametrize("names", [("a",), ("a", "b"), ("a", "b", "c")])
def test_files_that_are_based_on_each_other_are_refused(user_file, names):
    for name, base in zip(names, (*names[1:], names[0]), strict=True):
        path = user_file(f'# a circle\nbased_on = "{base}.toml"\n', f"{name}.toml")
    with pytest.raises(FileError, match=r"circle: a\.toml -> .*a\.toml") as caught:
        Chip.load(path.parent / "a.toml")
    assert caught.value.field == f"{path}:2"


@pytest.mark.parametrize("name", ["loihi3", "Loihi1", "no such chip", 3, None, b"loihi1", ("loihi1",)])
def test_an_unknown_name_is_told_the_names_there_are(name):
    with pytest.raises(UnknownNameError, match="loihi1-sanafe") as caught:
        Chip.load(name)
    assert caught.value.field == "chip"


@pytest.mark.parametrize("name", ["gone.toml", "gone/gone", "a\0b.toml"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(FileError, match=r"does not exist|cannot be read"):
        Chip.load(f"{tmp_path}/{name}")


def test_a_folder_is_no_chip(tmp_path):
    with pytest.raises(FileError, match="is a folder"):
        Chip.load(tmp_path)


def test_what_is_no_text_is_no_chip(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b'title = "x"\nnote = "\xff"\n')
    with pytest.raises(FileError, match="UTF-8") as caught:
        Chip.load(path)
    assert caught.value.field == f"{path}:2"


def test_an_empty_file_lacks_everything(user_file):
    path = user_file("")
    with pytest.raises(FileError, match="title is") as caught:
        Chip.load(path)
    assert caught.value.field == f"{path}:1"


# Quantities


@pytest.mark.parametrize(
    ("value", "unit", "amount"),
    [
        (23.6e-12, "J", "23.6 pJ"),
        (0.1044, "W", "104.4 mW"),
        (0.99996e-9, "s", "1 ns"),
        (465e-9, "s", "465 ns"),
        (14.3e-6, "s", "14.3 us"),
        (2.0, "W", "2 W"),
        (0.0, "J", "0 J"),
        (-2e-3, "J", "-2 mJ"),
        (1e-20, "J", "1e-05 fJ"),
        (1_048_576, "bit", "1,048,576 bit"),
        (8.0, "hop", "8 hop"),
    ],
)
def test_amounts_are_read_with_their_prefix(value, unit, amount):
    quantity = Quantity(value, unit, "a book", "published")
    assert quantity.amount == amount
    assert str(quantity) == f"{amount} (published: a book)"
    assert quantity.known


def test_an_unknown_quantity_says_so():
    quantity = Quantity(None, "J", "not published", "unknown")
    assert str(quantity) == "unknown (not published)"
    assert not quantity.known


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"value": None}, "value"),
        ({"grade": "unknown"}, "value"),
        ({"value": float("nan")}, "value"),
        ({"value": True}, "value"),
        ({"value": "3"}, "value"),
        ({"unit": ""}, "unit"),
        ({"source": ""}, "source"),
        ({"source": None}, "source"),
        ({"grade": "certain"}, "grade"),
    ],
)
def test_a_number_without_its_origin_is_refused(changes, field):
    good = {"value": 1.0, "unit": "J", "source": "a book", "grade": "published"}
    with pytest.raises(DataError) as caught:
        Quantity(**(good | changes))
    assert caught.value.field == field
