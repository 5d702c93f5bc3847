"""One process a core: the same states, gradients, learning and ledger as the reference, whatever the mapping."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro import messages
from dyadic_neuro.backends import Lava, Reference
from dyadic_neuro.backends.base import Learning
from dyadic_neuro.dynamics import feedback_copies
from dyadic_neuro.errors import CapacityError, MappingError, OptionError
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.fan_in import Division
from dyadic_neuro.mappings.mapping import Mapping, map_network
from dyadic_neuro.mappings.slices import Slices
from dyadic_neuro.schedule import Schedule
from dyadic_neuro.testing import chips, conformance, networks
from dyadic_neuro.testing.strategies import SEEDS, chains, dags

EXACT = 1e-12
CHIP = Chip.load("loihi1")


def scattered(network, seed=0, cores=4):
    """A mapping by hand: slices of random sizes on random cores, so that cores share everything there is."""
    rng = np.random.default_rng(seed)
    counts = [int(rng.integers(1, min(p.size, 4) + 1)) for p in network.populations]
    names = [p.name for p in network.populations]
    if not network.cost.separable:
        counts[names.index(network.output)] = 1
    slices = Slices.cut(names, [p.size for p in network.populations], counts)
    return by_hand(network, slices.on(rng.integers(cores, size=len(slices))))


def by_hand(network, slices):
    division = Division.none(network)
    return Mapping.build(division, CHIP, slices, objective="cores", learning=True, pipeline=False, seed=0)


def fitted(network, seed, objective="latency"):
    """A mapping onto a random small chip, of at most a dozen cores; what does not fit is passed over."""
    try:
        mapping = map_network(network, chips.chip(seed), objective=objective, seed=seed)
    except CapacityError:
        assume(False)  # noqa: FBT003
        raise
    assume(len(mapping.cores) <= 12)
    return mapping


def narrow(axons=12):
    """A chip whose cores have so few axons that a fan-in of 30 has to be divided."""

    def limit(old, value):
        return replace(old, value=value)

    limits = replace(CHIP.limits, input_axons=limit(CHIP.limits.input_axons, axons), neurons=limit(CHIP.limits.neurons, 64))
    return replace(CHIP, name="narrow", limits=limits)


class EachMapped:
    """A backend that maps every network that it is given, for the suite."""

    name, alpha, tolerance, unsupported, fixed_point = Lava.name, Lava.alpha, Lava.tolerance, Lava.unsupported, Lava.fixed_point

    def missing(self):
        return Lava().missing()

    def deployed(self, network):
        return Lava(mapping=scattered(network.described())).deployed(network)

    def open(self, network):
        return Lava(mapping=scattered(network.described())).open(network)


def assert_close(found, wanted, tolerance=EXACT):
    assert set(found) == set(wanted)
    for key, right in wanted.items():
        assert found[key].shape == right.shape, key
        assert found[key].dtype == right.dtype, key
        assert np.abs(found[key] - right).max() <= tolerance * max(1.0, float(np.abs(right).max())), key


def assert_same_run(mapping, network, seed, schedule, batch, *, record="all", **more):
    """Hold a relaxation to the reference's of the network on the chip: states, gradients, every row of the ledger."""
    running = mapping.apply(network)
    x, y = networks.batch(network, seed, batch)
    start = networks.state(running, seed, batch)
    options = {"schedule": schedule, "initial": start, "record": record, **more}
    found = dn.relax(network, x, y, backend=Lava(mapping=mapping), **options)
    wanted = dn.relax(running, x, y, **options)
    assert found.backend == "lava"
    assert found.steps == wanted.steps
    assert_close(found.potentials, wanted.potentials)
    assert_close(found.sensitivities, wanted.sensitivities)
    assert_close(found.gradients, mapping.restore(wanted.gradients))
    assert found.messages.links == wanted.messages.links
    assert found.messages.by_step == wanted.messages.by_step
    assert np.array_equal(found.messages.counts, wanted.messages.counts)
    return found


# The suite


@pytest.mark.parametrize("case", [case.name for case in conformance.CASES])
def test_mapped_networks_keep_the_law(case):
    (result,) = conformance.check(EachMapped(), only=[case])
    assert result.verdict == "passed", result


# Random networks and mappings


@settings(deadline=None, max_examples=8)
@given(st.one_of(chains(4), dags(3, parts=True)), SEEDS, st.sampled_from(["free", "wavefront"]), st.sampled_from([1, 5]))
def test_cores_of_any_mapping_follow_the_reference(network, seed, schedule, batch):
    assert_same_run(scattered(network, seed), network, seed, schedule, batch)


@settings(deadline=None, max_examples=8)
@given(st.one_of(chains(3), dags(2, parts=True)), SEEDS, st.sampled_from(["free", "wavefront"]), st.sampled_from([1, 5]))
def test_cores_of_small_chips_follow_the_reference(network, seed, schedule, batch):
    """Packed on few cores, spread over many, and now and then with a divided fan-in."""
    mapping = fitted(network, seed, "latency" if seed % 2 else "cores")
    found = assert_same_run(mapping, network, seed, schedule, batch, record="last")
    if found.steps == 2 * mapping.network.depth:
        x, y = networks.batch(network, seed, batch)
        assert_close(found.gradients, dn.backprop(network, x, y))


@settings(deadline=None, max_examples=6)
@given(st.one_of(chains(3), dags(3, parts=True)), SEEDS, st.sampled_from(["free", "wavefront"]), st.sampled_from([1, 5]))
def test_cores_learn_what_the_reference_learns(network, seed, schedule, batch):
    x, y = networks.batch(network, seed, 10)
    decay = float(seed % 3)
    options = {"epochs": 2, "batch_size": batch, "learning_rate": 0.05, "weight_decay": decay, "schedule": schedule}
    assert_same_learning(scattered(network, seed), network, (x, y), options)


def assert_same_learning(mapping, network, data, options):
    wanted = dn.train(network, data, **options)
    found = dn.train(network, data, backend=Lava(mapping=mapping), **options)
    assert_close(found.network.parameters, wanted.network.parameters)
    for key, copies in wanted.copies.items():
        assert (found.copies[key].backward is None) == (copies.backward is None)
        if copies.backward is not None:
            assert np.abs(found.copies[key].backward - copies.backward).max() <= EXACT * max(1.0, np.abs(copies.backward).max())
    for mine, theirs in zip(found.history, wanted.history, strict=True):
        assert abs(mine.loss - theirs.loss) <= EXACT * max(1.0, abs(theirs.loss))
        assert mine.accuracy == theirs.accuracy
        if not mapping.division.divided:
            assert mine.messages == theirs.messages


@pytest.mark.parametrize("schedule", ["free", "wavefront"])
@pytest.mark.parametrize("batch", [1, 5])
def test_a_divided_fan_in(schedule, batch):
    """Partial sums and relays run as populations of their own; keys, gradients and weights are those of the user's network.

    Each schedule and each size of a batch learns once with the transposes and once with copies that are none.
    """
    network = dn.Network.dense([26, 17, 3], "tanh", "cross_entropy", seed=3)
    mapping = map_network(network, narrow())
    assert mapping.division.divided
    found = assert_same_run(mapping, network, 3, schedule, batch)
    assert set(found.potentials) > {"hidden1", "output"}
    x, y = networks.batch(network, 3, batch)
    assert_close(found.gradients, dn.backprop(network, x, y))
    others = {"hidden1->output": np.random.default_rng(3).normal(size=(17, 3))}
    backward = others if (schedule == "free") == (batch == 5) else None
    options = {"epochs": 1, "batch_size": batch, "learning_rate": 0.1, "schedule": schedule, "backward": backward}
    assert_same_learning(mapping, network, networks.batch(network, 3, 10), options | {"weight_decay": 0.5})


def test_a_separable_loss_on_several_cores_and_several_epochs():
    network = networks.chain(5, 2, activation="tanh", loss="binary_cross_entropy")
    sizes = [p.size for p in network.populations]
    slices = Slices.cut([p.name for p in network.populations], sizes, sizes)  # a core a neuron
    mapping = by_hand(network, slices)
    assert_same_run(mapping, network, 5, "free", 5)
    assert sizes[-1] > 1
    options = {"epochs": 3, "batch_size": 4, "learning_rate": 0.1}
    assert_same_learning(mapping, network, networks.batch(network, 5, 12), options)
    # one by one, as a session hands them out, with the messages of each
    x, y = networks.batch(network, 5, 6)
    order = np.arange(6).reshape(1, 3, 2).repeat(2, axis=0)
    timing, copies = Schedule.of(network, "wavefront"), feedback_copies(network)
    lesson = Learning(x, y, order, 0.1, timing, copies, 1.0, network.relaxation_steps)
    with Lava(mapping=mapping).open(network) as session, Reference().open(network) as other:
        told, said = [], []
        for found, wanted in zip(session.learn(lesson, told.append), other.learn(lesson, said.append), strict=True):
            assert_close(found.parameters, wanted.parameters)
            assert np.array_equal(found.messages.counts, wanted.messages.counts)
            assert found.correct == wanted.correct
        assert np.abs(np.array(told) - said).max() <= EXACT


def test_nothing_but_the_routes_of_the_mapping_is_connected():
    """Messages of neurons that no synapse listens to are counted, as everywhere, but go nowhere."""
    rng = np.random.default_rng(4)
    populations = [dn.Population("input", 6), dn.Population("a", 6, "tanh", 0.1), dn.Population("output", 4, bias=0.0)]
    projections = [
        dn.Projection("input", "a", rng.normal(size=(3, 2)), corner=(1, 2), shape=(6, 6)),
        dn.Projection("a", "output", rng.normal(size=4), corner=(0, 2), shape=(4, 6)),
    ]
    network = dn.Network(populations, projections)
    for seed in range(3):
        found = assert_same_run(scattered(network, seed), network, seed, "free", 2)
        wanted = messages.expected(
            network, Schedule.of(network, "free"), found.steps, 2, by_step=True, window=found.steps, learning=False
        )
        assert list(found.messages) == list(wanted)
    from dyadic_neuro.backends.lava_plans import ways

    sends, keeps, receives = ways(scattered(network, 1))
    leaving = {way for ways in sends.values() for way in ways}
    assert leaving == {way for ways in receives.values() for way in ways}
    rates = [way for ways in (*sends.values(), *keeps.values()) for way in ways if way.population == "input"]
    assert {i for way in rates for i in range(way.start, way.stop)} == {2, 3}


# One process a core, and what may not be run


def test_a_run_costs_what_it_costs_on_the_chip():
    network = networks.chain(3, 3, activation="tanh")
    mapping = map_network(network, "loihi1", objective="latency")
    x, y = networks.batch(network, 0, 2)
    on_lava = dn.relax(network, x, y, backend=Lava(mapping=mapping), schedule="wavefront")
    on_chip = dn.relax(network, x, y, backend=dn.backends.MappedChip(mapping), schedule="wavefront")
    assert replace(on_lava).cost == on_lava.cost == on_chip.cost
    assert dn.relax(network, x, y, backend=Lava()).cost is None


def test_a_mapping_without_room_for_learning_does_not_learn():
    network = networks.chain(1, 2)
    backend = Lava(mapping=map_network(network, "loihi1", learning=False))
    with pytest.raises(OptionError, match="learning=True"):
        dn.train(network, networks.batch(network, 0, 2), backend=backend)


def test_one_process_a_core(play):
    """However many slices there are on it."""
    play("""
        from dyadic_neuro.mappings.mapping import Mapping, map_network
        from dyadic_neuro.mappings.slices import Slices

        network = chain(tanh(), width=6)
        m = map_network(network, "loihi1")
        slices = Slices.cut([p.name for p in network.populations], [6, 6, 6], [2, 4, 1]).on(np.array([3, 9, 9, 9, 3, 40, 127]))
        m = Mapping.build(m.division, m.chip, slices, objective="cores", learning=True, pipeline=False, seed=0)
        with Lava(mapping=m, timeout=10.0).open(network) as session:
            order = prepare(network, *data(width=6), steps=10**7, record="last")
            thread = threading.Thread(target=lambda: failure(lambda: session.relax(order)))
            thread.start()
            wait_for(lambda: session.pids)
            wait_for(lambda: len(session._guard._names) == 5)
            names = session._guard._names
            assert set(names.values()) == {"recorder", "core 3", "core 9", "core 40", "core 127"}, names
            assert set(names) <= set(session.pids)
            assert len(session.pids) == 4 + 3, "with the recorder, Lava's service and its manager of memory"
            session.close()
            thread.join(20)
    """)


def test_a_mapping_of_another_network_is_refused_before_anything_starts(monkeypatch):
    monkeypatch.setattr("subprocess.Popen", None)
    network, other = networks.chain(1, 2), networks.chain(2, 2)
    backend = Lava(mapping=scattered(other))
    x, y = networks.batch(network, 1, 2)
    for action in (
        lambda: dn.relax(network, x, y, backend=backend),
        lambda: dn.train(network, (x, y), backend=backend),
        lambda: backend.open(network),
    ):
        with pytest.raises(MappingError, match="structure"):
            action()
    with pytest.raises(OptionError, match="map_network"):
        Lava(mapping="loihi1")


def test_a_readout_that_its_loss_couples_may_not_be_parted(monkeypatch):
    monkeypatch.setattr("subprocess.Popen", None)
    network = networks.chain(3, 1, loss="cross_entropy")
    sizes = [p.size for p in network.populations]
    mapping = by_hand(network, Slices.cut([p.name for p in network.populations], sizes, sizes))
    with pytest.raises(MappingError, match=r"cross_entropy.*couples"):
        Lava(mapping=mapping).open(network)


def test_more_channels_than_the_system_has_files_are_refused_before_anything_starts(monkeypatch):
    monkeypatch.setattr("subprocess.Popen", None)
    monkeypatch.setattr("resource.getrlimit", lambda _: (20, 20))
    network = networks.chain(4, 3)
    with pytest.raises(OptionError, match="open files"):
        dn.relax(network, *networks.batch(network, 1, 2), backend=Lava(mapping=scattered(network.described())))


def test_many_channels_need_no_permission_from_the_user(play):
    """Some 1400 open files, where 256 are allowed unless one asks for more, as 1024 often are."""
    play("""
        import resource
        from dyadic_neuro.mappings.mapping import Mapping, map_network
        from dyadic_neuro.mappings.slices import Slices

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        network = chain(tanh(), width=18)
        mapping = map_network(network, "loihi1")
        names = [population.name for population in network.populations]
        slices = Slices.cut(names, [18, 18, 18], [18, 18, 1])
        mapping = Mapping.build(mapping.division, mapping.chip, slices, objective="cores", learning=True, pipeline=False, seed=0)
        found = dn.relax(network, *data(width=18), backend=Lava(mapping=mapping))
        assert same(found, dn.relax(network, *data(width=18)))
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (256, hard)
    """)


# What goes wrong in a core


def test_a_core_that_fails_is_named_and_nothing_stays_behind(play):
    """In phi, in phi' and in the loss, while it relaxes and while it learns; or when it is built; or without a word."""
    play("""
        from dyadic_neuro.mappings.mapping import map_network

        def cores(mapping, population):
            return [slice.core for slice in mapping.slices if slice.population == population]

        for network, population in (
            (chain(tanh(), tanh(boom, at=5)), "hidden2"),
            (chain((Spoilt(np.tanh), Spoilt(slope, boom, at=4)), tanh()), "hidden1"),
            (chain(tanh(), loss=(half_square, Spoilt(difference, boom, at=4))), "output"),
        ):
            mapping = map_network(network, "loihi1", objective="latency")
            error = failure(lambda: dn.relax(network, *data(), backend=Lava(mapping=mapping)))
            assert type(error) is SimulatorError, error
            named = [f"process 'core {core}' failed in step 4" in str(error) for core in cores(mapping, population)]
            assert any(named), error
            for words in ("Traceback (most recent", "in boom", "ZeroDivisionError: boom"):
                assert words in str(error), error

        network = chain(tanh(boom, at=30))
        mapping = map_network(network, "loihi1")
        (core,) = cores(mapping, "hidden1")
        error = failure(lambda: dn.train(network, data(12), backend=Lava(mapping=mapping), epochs=3, batch_size=2))
        assert type(error) is SimulatorError and f"process 'core {core}' failed in step" in str(error), error

        network = chain(loss=(Spoilt(half_square), difference))
        network.cost.value.home, network.cost.value.at, network.cost.value.deed = 0, 3, boom  # which the program itself works out
        error = failure(lambda: dn.train(network, data(12), backend=Lava(mapping=map_network(network, "loihi1")), batch_size=2))
        assert type(error) is ZeroDivisionError and not children(), error

        network = chain(tanh(boom, at=1))
        error = failure(lambda: dn.relax(network, *data(), backend=Lava(mapping=mapping)))
        assert type(error) is SimulatorError and f"process 'core {core}' failed when it was built" in str(error), error

        network = chain(tanh(vanish, at=5))
        error = failure(lambda: dn.relax(network, *data(), backend=Lava(mapping=mapping)))
        assert type(error) is SimulatorError, error
        assert f"'core {core}'" in str(error) and "ended, exit code 7" in str(error), error
    """)


def test_a_core_that_sleeps_ends_the_run_after_the_timeout(play):
    play("""
        from dyadic_neuro.mappings.mapping import map_network

        network = chain(tanh(), tanh(sleep_for_ever, at=4))
        mapping = map_network(network, "loihi1")
        (core,) = [slice.core for slice in mapping.slices if slice.population == "hidden2"]
        error = failure(lambda: dn.relax(network, *data(), backend=Lava(mapping=mapping, timeout=5.0)))
        assert type(error) is SimulatorTimeoutError, error
        stack = str(error).split(f"process 'core {core}' in step 3 is at")[1].split("process '")[0]
        assert "in sleep_for_ever" in stack, error
    """)


@pytest.mark.parametrize("place", ["phi", "phi'", "loss"])
def test_what_has_a_wrong_shape_or_type_is_refused_where_it_is_made(play, place):
    """Also on one core, where it crosses no port."""
    play(
        """
        from dyadic_neuro.mappings.mapping import Mapping, map_network

        def wide(u, *_):
            return np.zeros((len(u), 7), u.dtype)

        def single(u, *_):
            return np.zeros(u.shape, "float32")

        place = sys.argv[1]
        for deed in wide, single:
            activation = (Spoilt(np.tanh, deed if place == "phi" else None), Spoilt(slope, deed if place == "phi'" else None))
            network = chain(activation, loss=(half_square, Spoilt(difference, deed if place == "loss" else None)))
            m = map_network(network, "loihi1")
            slices = m.slices.on(np.zeros(len(m.slices), int))
            m = Mapping.build(m.division, m.chip, slices, objective="cores", learning=True, pipeline=False, seed=0)
            error = failure(lambda: dn.relax(network, *data(), steps=8, backend=Lava(mapping=m, timeout=10.0)))
            assert type(error) is SimulatorError, error
            assert f"process 'core 0' failed in step {2 if place == 'phi' else 3}" in str(error), error
            assert "TypeError: a message of" in str(error), error
    """,
        place,
    )
