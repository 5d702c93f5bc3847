"""The independent check passes what is right, and names every fault that is put into a mapping."""

import ast
import importlib
import inspect
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dyadic_neuro.errors import CapacityError, MappingError
from dyadic_neuro.mappings import verify
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.demand import RESOURCES
from dyadic_neuro.mappings.fan_in import Piece
from dyadic_neuro.mappings.mapping import Departure, Mapping, map_network
from dyadic_neuro.mappings.verify.faults import SHOWN, Law
from dyadic_neuro.mappings.verify.resources import used
from dyadic_neuro.mappings.verify.view import View
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection
from dyadic_neuro.testing.networks import chain, dag

ARRAYS = {
    "slices": ("population", "start", "stop", "core"),
    "synapses": ("copy", "slice", "row_start", "row_stop", "column_start", "column_stop"),
    "routes": ("population", "kind", "start", "stop", "first", "core", "synapses"),
    "links": ("east", "west", "north", "south"),
}


def tiny(chips=(2, 2), tiles=(3, 2), width=2, cores=None, **limits):
    """Return a small system: `tiles` of `width` cores a chip, of which `cores` can be used."""
    chip = Chip.load("loihi1", chips=chips)
    sizes = {"columns": tiles[0], "rows": tiles[1], "cores_per_tile": width, "cores": cores or tiles[0] * tiles[1] * width}
    mesh = replace(chip.mesh, **{name: of(getattr(chip.mesh, name), value) for name, value in sizes.items()})
    return limited(replace(chip, mesh=mesh), **{"state_per_neuron": 2000, **limits})


def of(quantity, value):
    return replace(quantity, value=value, grade="derived")


def limited(chip, **limits):
    found = {name: of(getattr(chip.limits, name), value) for name, value in limits.items()}
    return replace(chip, limits=replace(chip.limits, **found))


CHIPS = {
    "small cores": {"neurons": 6},
    "few axons": {"neurons": 4, "input_axons": 5},
    "shared cores": {"chips": (1, 1), "tiles": (2, 1), "cores": 3, "neurons": 20},
    "little memory": {"chips": (2, 3), "tiles": (2, 2), "cores": 7, "synaptic_memory": 64 * 9, "core_memory": 5000},
    "one core a tile": {"chips": (3, 2), "width": 1, "neurons": 6},
}
OPTIONS = ({}, {"objective": "latency"}, {"pipeline": True}, {"learning": False})


@cache
def mapped(seed, chip="small cores", hidden=3, *, parts=False, option=0):
    net = dag(seed, hidden, parts=parts, loss=("squared_error", "cross_entropy")[seed % 2])
    return map_network(net, tiny(**CHIPS[chip]), **OPTIONS[option])


@pytest.fixture(scope="module")
def mapping():
    """A readout on one core, four populations, cores of slices of up to three dyads."""
    return mapped(3, "one core a tile")


@pytest.fixture(scope="module")
def divided():
    found = map_network(Network.dense([12, 5, 9, 3], seed=1), tiny(neurons=8, input_axons=10))
    assert found.division.divided
    return found


def laws(mapping):
    return {fault.law for fault in verify.faults(mapping)}


def changed(mapping, record, **arrays):
    return replace(mapping, **{record: replace(getattr(mapping, record), **arrays)})


def at(array, index, value):
    new = array.copy()
    new[index] = value
    return new


def without(record, names, index):
    return {name: np.delete(getattr(record, name), index) for name in names}


def doubled(record, names, index):
    return {name: np.insert(getattr(record, name), index, getattr(record, name)[index]) for name in names}


# What is right passes


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("option", range(len(OPTIONS)))
def test_what_the_mapper_makes_has_no_faults(chip, option):
    made, special = 0, 0
    for seed in range(6):
        for parts in (False, True):
            try:
                found = mapped(seed, chip, seed % 5, parts=parts, option=option)
            except CapacityError:
                continue
            assert verify.faults(found) == ()
            found.verify()
            made, special = made + 1, special + (found.division.divided or len(found.slices) > len(found.cores))
    assert made
    if chip in ("few axons", "shared cores"):
        assert special


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_chains_have_no_faults(depth):
    assert verify.faults(map_network(chain(depth, depth), tiny(neurons=4))) == ()


def test_a_network_with_a_cycle_has_no_departures():
    populations = [Population("input", 4), Population("a", 3), Population("b", 5), Population("output", 2)]
    pairs = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")]
    found = map_network(Network.specification(populations, pairs), tiny(neurons=4))
    assert verify.faults(found) == ()
    assert laws(replace(found, departures=(Departure("a", "rate", 2),))) == {Law.WINDOW}
    assert laws(replace(found, pipeline=True)) == {Law.WINDOW}


def test_it_shares_no_code_with_what_makes_mappings():
    names = ["", ".division", ".faults", ".resources", ".view"]
    modules = [importlib.import_module(f"dyadic_neuro.mappings.verify{name}") for name in names]
    found = [n for m in modules for n in ast.parse(inspect.getsource(m)).body if isinstance(n, ast.ImportFrom)]
    ours = {n.module for n in found if n.module.startswith("dyadic_neuro")}
    assert {name for name in ours if not name.startswith("dyadic_neuro.mappings.verify.")} <= {
        "dyadic_neuro.arrays",
        "dyadic_neuro.errors",
    }


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("option", range(len(OPTIONS)))
def test_both_count_the_same(chip, option):
    for seed in range(3):
        try:
            found = mapped(seed, chip, 3, parts=True, option=option)
        except CapacityError:
            continue
        counted = used(View(found))
        assert tuple(counted) == RESOURCES
        for resource, cores in found.utilization.items():
            assert {core: counted[resource][core] for core in cores} == {core: amount for core, (amount, _) in cores.items()}
            assert counted[resource].sum() == sum(amount for amount, _ in cores.values()) or resource == "state_per_neuron"


@settings(deadline=None, max_examples=min(40, settings().max_examples))
@given(st.integers(0, 15), st.sampled_from(["small cores", "shared cores", "one core a tile"]), st.booleans(), st.randoms())
def test_loads_are_those_of_messages_that_walk(seed, chip, parts, random):
    """Wherever the slices lie."""
    found = mapped(2 * seed, chip, seed % 4, parts=parts)
    cores = np.arange(found.chip.cores)
    random.shuffle(cores)
    args = {"objective": "cores", "learning": True, "pipeline": False, "seed": 0}
    found = Mapping.build(found.division, found.chip, found.slices.on(cores[found.slices.core]), **args)
    loads = View(found).loads()
    for direction, load in walked(found).items():
        np.testing.assert_array_equal(loads[direction], load, direction)


def walked(mapping):
    """Return the loads of the links, message by message and hop by hop."""
    chip, slices, routes = mapping.chip, mapping.slices, mapping.routes
    loads = {direction: np.zeros_like(getattr(mapping.links, direction)) for direction in ("east", "west", "north", "south")}
    home = {(s.population, n): s.core for s in slices for n in range(s.start, s.stop)}
    for r in range(len(routes)):
        for n in range(routes.start[r], routes.stop[r]):
            for end in routes.core[routes.first[r] : routes.first[r + 1]]:
                core = home[routes.names[routes.population[r]], n]
                x, y, to_x, to_y = (int(place) for place in (chip.x[core], chip.y[core], chip.x[end], chip.y[end]))
                while x < to_x:
                    loads["east"][y, x] += 1
                    x += 1
                while x > to_x:
                    x -= 1
                    loads["west"][y, x] += 1
                while y < to_y:
                    loads["north"][y, x] += 1
                    y += 1
                while y > to_y:
                    y -= 1
                    loads["south"][y, x] += 1
    return loads


# Slices


def test_check_names_what_is_wrong(mapping):
    wrong = changed(mapping, "slices", **without(mapping.slices, ARRAYS["slices"], 0))
    with pytest.raises(MappingError, match="lies in no slice") as caught:
        wrong.verify()
    assert caught.value.field == "mapping"
    assert verify.check(mapping) is None


def test_many_faults_are_counted(mapping):
    wrong = changed(mapping, "links", **{name: getattr(mapping.links, name) + 1 for name in ARRAYS["links"]})
    with pytest.raises(MappingError, match=r"and [0-9]+ more faults"):
        wrong.verify()
    count = len(mapping.slices)
    many = verify.faults(changed(mapping, "slices", core=np.full(count, -1)))
    assert len(many) == SHOWN + 1
    assert f"and {count - SHOWN - 1} more like this" in str(many[-1])


@pytest.mark.parametrize("index", range(4))
def test_a_slice_twice_or_missing(mapping, index):
    s = mapping.slices
    assert laws(changed(mapping, "slices", **doubled(s, ARRAYS["slices"], index))) == {Law.ONE_SLICE}
    assert laws(changed(mapping, "slices", **without(s, ARRAYS["slices"], index))) == {Law.EVERY_NEURON}


def test_a_neuron_in_two_slices_or_none(mapping):
    s = mapping.slices
    i = int(np.flatnonzero((s.start > 0) & (s.sizes > 1))[0])
    assert laws(changed(mapping, "slices", start=at(s.start, i, s.start[i] - 1))) == {Law.ONE_SLICE}
    assert laws(changed(mapping, "slices", start=at(s.start, i, s.start[i] + 1))) == {Law.EVERY_NEURON}


def test_slices_out_of_order_or_range(mapping):
    s = mapping.slices
    order = np.arange(len(s))[::-1]
    assert laws(changed(mapping, "slices", **{n: getattr(s, n)[order] for n in ARRAYS["slices"]})) == {Law.FORM}
    assert laws(changed(mapping, "slices", stop=at(s.stop, -1, s.stop[-1] + 1))) == {Law.FORM}
    assert laws(changed(mapping, "slices", names=s.names[:-1])) == {Law.FORM}
    assert laws(changed(mapping, "slices", core=s.core[:-1])) == {Law.FORM}
    assert laws(changed(mapping, "slices", core=s.core.astype(float))) == {Law.FORM}


@pytest.mark.parametrize("core", [-1, 36, 2**40])
def test_a_core_that_does_not_exist(mapping, core):
    assert mapping.chip.cores == 36
    assert laws(changed(mapping, "slices", core=at(mapping.slices.core, 1, core))) == {Law.CORE_EXISTS}
    assert laws(changed(mapping, "routes", core=at(mapping.routes.core, 1, core))) == {Law.CORE_EXISTS}


def test_a_readout_torn_apart(mapping):
    s = mapping.slices
    i = int(np.flatnonzero(s.population == s.names.index("output"))[0])
    assert s.sizes[i] > 1
    assert not mapping.network.cost.separable
    parts = doubled(s, ARRAYS["slices"], i)
    parts["stop"][i] = parts["start"][i + 1] = s.start[i] + 1
    parts["core"][i] = next(core for core in range(36) if core not in s.core)
    assert laws(changed(mapping, "slices", **parts)) == {Law.READOUT_WHOLE}


# Synapses


def test_a_block_missing_or_twice(mapping):
    s = mapping.synapses
    for i in range(len(s)):
        assert laws(changed(mapping, "synapses", **without(s, ARRAYS["synapses"], i))) == {Law.EVERY_SYNAPSE}
        assert laws(changed(mapping, "synapses", **doubled(s, ARRAYS["synapses"], i))) == {Law.ONE_SYNAPSE}


def test_a_block_shifted_cut_or_elsewhere(mapping):
    s = mapping.synapses
    shifted = {name: at(getattr(s, name), 0, getattr(s, name)[0] + 1) for name in ("row_start", "row_stop")}
    assert laws(changed(mapping, "synapses", **shifted)) == {Law.SYNAPSE_PLACE}
    shifted = {name: at(getattr(s, name), 0, getattr(s, name)[0] + 1) for name in ("column_start", "column_stop")}
    assert laws(changed(mapping, "synapses", **shifted)) == {Law.SYNAPSE_PLACE}
    assert laws(changed(mapping, "synapses", column_stop=at(s.column_stop, 0, s.column_stop[0] - 1))) == {Law.EVERY_SYNAPSE}
    for other in set(range(len(mapping.slices))) - {int(s.slice[0])}:
        assert Law.SYNAPSE_PLACE in laws(changed(mapping, "synapses", slice=at(s.slice, 0, other)))


def test_a_diagonal_askew():
    weights = [Projection("input", "a", np.ones(4)), Projection("a", "output", np.ones(3), corner=(1, 0), shape=(4, 4))]
    found = map_network(Network([Population(name, 4) for name in ("input", "a", "output")], weights), tiny())
    assert verify.faults(found) == ()
    s = found.synapses
    wide = [i for i in range(len(s)) if s.copies[s.copy[i]].one_to_one and s.row_stop[i] - s.row_start[i] > 1]
    assert wide
    for i in wide:
        cut = {"row_stop": at(s.row_stop, i, s.row_stop[i] - 1), "column_start": at(s.column_start, i, s.column_start[i] + 1)}
        assert laws(changed(found, "synapses", **cut)) == {Law.SYNAPSE_PLACE}


def test_other_copies_than_the_networks(mapping):
    s = mapping.synapses
    other = replace(s.copies[0], plastic=not s.copies[0].plastic)
    assert laws(changed(mapping, "synapses", copies=(other, *s.copies[1:]))) == {Law.COPIES}
    assert laws(changed(mapping, "synapses", copies=s.copies[:-1])) == {Law.COPIES}
    assert laws(changed(mapping, "synapses", copies=(*s.copies, s.copies[0]))) == {Law.COPIES}


def test_synapses_of_another_form(mapping):
    s = mapping.synapses
    order = np.arange(len(s))[::-1]
    assert laws(changed(mapping, "synapses", **{n: getattr(s, n)[order] for n in ARRAYS["synapses"]})) == {Law.FORM}
    assert laws(changed(mapping, "synapses", slice=at(s.slice, 0, len(mapping.slices)))) == {Law.FORM}


# Routes


def test_a_route_without_a_destination_or_with_one_too_many(mapping):
    r = mapping.routes
    for entry in range(len(r.core)):
        route = int(r.route_of[entry])
        first = r.first - (np.arange(len(r.first)) > route)
        fewer = changed(mapping, "routes", first=first, core=np.delete(r.core, entry), synapses=np.delete(r.synapses, entry))
        assert laws(fewer) == ({Law.EVERY_MESSAGE} if r.fan_out[route] > 1 else {Law.FORM})
    idle = next(core for core in range(36) if core not in mapping.slices.core)
    more = {"first": r.first + (np.arange(len(r.first)) > 0), "core": np.insert(r.core, 0, idle)}
    assert laws(changed(mapping, "routes", synapses=np.insert(r.synapses, 0, 1), **more)) == {Law.NO_WASTE}


def test_a_route_doubled(mapping):
    r = mapping.routes
    stop = int(r.first[1])
    heads = doubled(r, ("population", "kind", "start", "stop"), 0)
    first = np.insert(r.first + stop, 0, 0)
    core, synapses = np.concatenate([r.core[:stop], r.core]), np.concatenate([r.synapses[:stop], r.synapses])
    assert laws(changed(mapping, "routes", first=first, core=core, synapses=synapses, **heads)) == {Law.ONE_MESSAGE}


def test_a_route_missing(mapping):
    r = mapping.routes
    stop = int(r.first[1])
    heads = without(r, ("population", "kind", "start", "stop"), 0)
    parts = {"first": r.first[1:] - stop, "core": r.core[stop:], "synapses": r.synapses[stop:]}
    assert laws(changed(mapping, "routes", **heads, **parts)) == {Law.EVERY_MESSAGE}


def test_a_route_of_other_neurons_or_synapses(mapping):
    r = mapping.routes
    for i in range(len(r)):
        assert laws(changed(mapping, "routes", stop=at(r.stop, i, r.stop[i] - 1))) == {Law.EVERY_MESSAGE}
        assert laws(changed(mapping, "routes", stop=at(r.stop, i, r.stop[i] + 1))) == {Law.FORM}
    assert laws(changed(mapping, "routes", synapses=at(r.synapses, 0, r.synapses[0] + 1))) == {Law.SYNAPSES_MET}
    assert laws(changed(mapping, "routes", names=r.names[:-1])) == {Law.FORM}


def test_the_order_of_routes_does_not_matter(mapping):
    r = mapping.routes
    order = np.arange(len(r))[::-1]
    entries = np.concatenate([np.arange(r.first[i], r.first[i + 1]) for i in order])
    heads = {name: getattr(r, name)[order] for name in ("population", "kind", "start", "stop")}
    first = np.concatenate([[0], np.cumsum(r.fan_out[order])])
    found = changed(mapping, "routes", first=first, core=r.core[entries], synapses=r.synapses[entries], **heads)
    assert verify.faults(found) == ()


# Links


@pytest.mark.parametrize("direction", ARRAYS["links"])
def test_a_load_changed_zeroed_or_moved(mapping, direction):
    load = getattr(mapping.links, direction)
    assert load.any()
    busy = tuple(np.argwhere(load)[0])
    for wrong in (at(load, busy, load[busy] + 1), at(load, busy, 0), np.roll(load, 1), np.zeros_like(load)):
        assert laws(changed(mapping, "links", **{direction: wrong})) == {Law.LINK_LOAD, Law.FLOW}
    assert laws(changed(mapping, "links", **{direction: load[:-1]})) == {Law.FORM}
    assert laws(changed(mapping, "links", **{direction: load.astype(float)})) == {Law.FORM}


def test_a_detour_keeps_the_flow_and_is_found(mapping):
    """A message that goes round a square of tiles: everything that enters a tile leaves it."""
    links = mapping.links
    ring = {"east": (0, 0), "north": (0, 1), "west": (1, 0), "south": (0, 0)}
    found = changed(mapping, "links", **{n: at(getattr(links, n), i, getattr(links, n)[i] + 1) for n, i in ring.items()})
    assert laws(found) == {Law.LINK_LOAD}


# Limits


@pytest.mark.parametrize("resource", RESOURCES)
@pytest.mark.parametrize("option", range(len(OPTIONS)))
def test_a_limit_exceeded_by_one(resource, option):
    found = mapped(3, "shared cores", option=option)
    most = max(amount for amount, _ in found.utilization[resource].values())
    assert verify.faults(replace(found, chip=limited(found.chip, **{resource: most}))) == ()
    wrong = verify.faults(replace(found, chip=limited(found.chip, **{resource: most - 1})))
    assert {fault.law for fault in wrong} == {Law.LIMIT}
    assert all(resource in fault.problem for fault in wrong)


def test_a_limit_that_is_not_published_is_not_checked(mapping):
    unknown = {name: replace(getattr(mapping.chip.limits, name), value=None, grade="unknown") for name in RESOURCES}
    assert verify.faults(replace(mapping, chip=replace(mapping.chip, limits=replace(mapping.chip.limits, **unknown)))) == ()


# Departures


def test_a_departure_missing_or_twice(mapping):
    for d in mapping.departures:
        rest = tuple(other for other in mapping.departures if other is not d)
        assert laws(replace(mapping, departures=rest)) == {Law.EVERY_DEPARTURE}
        assert laws(replace(mapping, departures=(*mapping.departures, d))) == {Law.ONE_DEPARTURE}


def test_a_departure_too_early_or_too_late():
    found = map_network(chain(1, 4), tiny(neurons=4))
    for d in found.departures:
        rest = tuple(other for other in found.departures if other is not d)
        early, late = (laws(replace(found, departures=(*rest, replace(d, step=d.step + by)))) for by in (-1, 1))
        assert Law.AFTER_UPDATE in early
        assert early <= {Law.AFTER_UPDATE, Law.WINDOW}
        assert Law.BEFORE_USE in late
        assert late <= {Law.BEFORE_USE, Law.WINDOW}


def test_a_departure_that_nobody_waits_for_may_be_later():
    populations = [Population(name, 3) for name in ("input", "short", "a", "b", "output")]
    pairs = [("input", "short"), ("short", "output"), ("input", "a"), ("a", "b"), ("b", "output")]
    found = map_network(Network.specification(populations, pairs), tiny(neurons=4))
    rest = tuple(d for d in found.departures if (d.population, d.kind) != ("short", "rate"))
    steps = {step: laws(replace(found, departures=(*rest, Departure("short", "rate", step)))) for step in (1, 2, 3, 4)}
    assert steps == {1: {Law.AFTER_UPDATE}, 2: set(), 3: set(), 4: {Law.BEFORE_USE}}


@pytest.mark.parametrize("signal", [("nobody", "rate"), ("output", "spike"), ("input", "sensitivity")])
def test_a_departure_of_nothing(mapping, signal):
    assert laws(replace(mapping, departures=(*mapping.departures, Departure(*signal, 2)))) == {Law.KNOWN_SIGNAL}


def test_a_departure_of_what_no_one_takes_is_harmless(mapping):
    depth = mapping.network.depth
    assert verify.faults(replace(mapping, departures=(*mapping.departures, Departure("output", "rate", depth + 1)))) == ()


# Division


def test_a_piece_missing_overlapping_or_elsewhere(divided):
    division = divided.division
    for name, piece in division.pieces.items():
        rest = {key: value for key, value in division.pieces.items() if key != name}
        assert Law.EVERY_WEIGHT in laws(replace(divided, division=replace(division, pieces=rest)))
        back = Piece(piece.original, piece.row, piece.column - 1)
        found = laws(replace(divided, division=replace(division, pieces=rest | {name: back})))
        assert found & {Law.ONE_PIECE, Law.EVERY_WEIGHT} or piece.column == 0
        assert Law.SAME_SUM in found
    assert laws(replace(divided, division=replace(division, pieces=division.pieces | {"x->y": Piece("x->y", 0, 0)}))) == {
        Law.SAME_SUM
    }


def test_a_divided_network_that_computes_something_else(divided):
    net, pieces = divided.division.network, divided.division.pieces
    old = {p.name for p in divided.division.original.populations}
    added = next(p for p in net.populations if p.name not in old)
    diagonal = next(p for p in net.projections if p.name not in pieces)
    block = next(p for p in net.projections if p.name in pieces)

    def swapped(parts, part, **fields):
        return [replace(p, **fields) if p is part else p for p in parts]

    wrong = [
        {"populations": swapped(net.populations, added, activation="tanh")},
        {"populations": swapped(net.populations, added, bias=0.0)},
        {"populations": swapped(net.populations, net.populations[1], bias=None)},
        {"projections": swapped(net.projections, diagonal, plastic=True)},
        {"projections": swapped(net.projections, block, plastic=False)},
        {"loss": "binary_cross_entropy"},
    ]
    for fields in wrong:
        other = replace(net, **fields)
        assert Law.SAME_SUM in laws(replace(divided, division=replace(divided.division, network=other)))


# Anything


@settings(deadline=None, max_examples=4 * settings().max_examples)
@given(st.data())
def test_no_entry_can_be_changed(data):
    """One core a tile, and whole matrices: then even an input's slice cannot move unseen."""
    found = mapped(2 * data.draw(st.integers(0, 5)), "one core a tile", data.draw(st.integers(1, 3)))
    record = data.draw(st.sampled_from(sorted(ARRAYS)))
    name = data.draw(st.sampled_from(ARRAYS[record]))
    array = getattr(getattr(found, record), name)
    assume(array.size)
    index = data.draw(st.integers(0, array.size - 1))
    old = int(array.flat[index])
    near = st.integers(-3, 3).map(lambda by: old + by)
    value = data.draw(st.one_of(near, st.integers(-2, 40), st.sampled_from([-(2**62), 2**40, 2**62])))
    assume(value != old)
    new = array.copy()
    new.flat[index] = value
    assert verify.faults(changed(found, record, **{name: new}))


def test_every_entry_counts():
    """One more and one less, everywhere."""
    found = mapped(4, "one core a tile", 2)
    for record, names in ARRAYS.items():
        for name in names:
            array = getattr(getattr(found, record), name)
            for index in np.ndindex(array.shape):
                for by in (-1, 1):
                    assert verify.faults(changed(found, record, **{name: at(array, index, array[index] + by)})), (
                        record,
                        name,
                        index,
                    )
