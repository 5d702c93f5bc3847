"""Spike files: what a reader of SONATA finds in them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.backends.brian2 import Brian2
from dyadic_neuro.errors import FileError, MissingExtraError, OutputExistsError
from dyadic_neuro.spikes import Spikes
from dyadic_neuro.testing import networks

h5py = pytest.importorskip("h5py", reason="needs pip install 'dyadic-neuro[interchange]'")

BATCH, STEPS = 3, 5
EVENTS = st.lists(st.tuples(st.integers(0, BATCH - 1), st.integers(1, STEPS), st.integers(0, 3)), max_size=30)


def spikes(rows, kind="spike"):
    return Spikes.of([("hidden1", kind, *np.array(rows, int).reshape(-1, 3).T)], batch=BATCH, steps=STEPS, dt_ms=0.5)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Return a file that is written again and again."""
    return tmp_path_factory.mktemp("sonata") / "spikes.h5"


@given(EVENTS)
def test_every_event_is_there_with_its_time_and_node(path, rows):
    spikes(rows).save_sonata(path, overwrite=True)
    wanted = sorted((0.5 * (sample * STEPS + step), neuron) for sample, step, neuron in rows)
    with h5py.File(path) as file:
        if not rows:
            assert not list(file["spikes"])
            return
        group = file["spikes/hidden1"]
        times, nodes = group["timestamps"][()], group["node_ids"][()]
        assert (times.dtype, nodes.dtype) == (np.float64, np.uint64)
        assert np.all(np.diff(times) >= 0)
        assert sorted(zip(times, nodes, strict=True)) == wanted
        back = sorted(zip(group["samples"][()], group["steps"][()], nodes, strict=True))
        assert back == sorted(rows)


def test_the_file_says_what_the_format_wants(path):
    spikes([(0, 1, 2), (2, 5, 0)], "rate").save_sonata(path, overwrite=True)
    with h5py.File(path) as file:
        assert file.attrs["magic"] == 0x0A7A
        assert file.attrs["version"].tolist() == [0, 1]
        assert dict(file.attrs, magic=0, version=0) == {
            "magic": 0,
            "version": 0,
            "samples": BATCH,
            "steps_per_sample": STEPS,
            "dt": 0.5,
            "dt_units": "ms",
        }
        assert list(file["spikes"]) == ["hidden1.rate"]
        group = file["spikes/hidden1.rate"]
        assert group["timestamps"].attrs["units"] == "ms"
        sorting = h5py.check_enum_dtype(group.attrs.get_id("sorting").dtype)
        assert sorting == {"none": 0, "by_id": 1, "by_time": 2}
        assert group.attrs["sorting"] == sorting["by_time"]


def test_nothing_is_overwritten_and_nothing_is_left_half_done(tmp_path, monkeypatch):
    path = tmp_path / "spikes.h5"
    spikes([(0, 1, 2)]).save_sonata(path)
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match="already there"):
        spikes([]).save_sonata(path)
    with pytest.raises(FileError, match="folder does not exist"):
        spikes([]).save_sonata(tmp_path / "no" / "spikes.h5")
    monkeypatch.setattr(h5py.Group, "create_dataset", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        spikes([(0, 1, 2)]).save_sonata(path, overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["spikes.h5"]
    assert path.read_bytes() == before


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("dyadic_neuro.interchange.sonata.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"dyadic-neuro\[interchange\]"):
        spikes([]).save_sonata(tmp_path / "spikes.h5")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings(r"ignore:'\w+' deprecated - use:DeprecationWarning")  # of Brian2's parser
@pytest.mark.parametrize("threshold", [0.0, 1e-2])
@pytest.mark.parametrize("record", ["all", "last"])
def test_an_event_driven_run_fills_it_with_what_its_axons_sent(path, threshold, record):
    backend = Brian2(target="numpy", threshold=threshold)
    if backend.missing():
        pytest.skip(backend.missing())
    network = networks.dag(13, 3, activation="tanh", parts=True)
    x, y = networks.batch(network, 1, 3)
    trace = dn.relax(network, x, y, backend=backend, steps=9, record=record)
    found = trace.spikes
    assert (found.batch, found.steps, found.dt_ms) == (3, 9, 10.0)
    for i, link in enumerate(trace.messages.links):
        if link.local:
            continue
        # a neuron's event is a message on each of its projections that has a synapse for it
        ends = (link.source, link.target) if link.kind == "rate" else (link.target, link.source)
        p = network.projection("->".join(ends))
        part = p.columns if link.kind == "rate" else p.rows
        train = found.train(link.source, link.kind)
        own = (part.start <= train.neurons) & (train.neurons < part.stop)
        counts = np.bincount(train.steps[own] - 1, minlength=9)
        assert trace.messages.counts[:, i].tolist() == (counts.tolist() if record == "all" else [counts.sum()])
    found.save_sonata(path, overwrite=True)
    with h5py.File(path) as file:
        assert sum(len(group["node_ids"]) for group in file["spikes"].values()) == found.total() > 0


def test_a_run_that_is_not_event_driven_has_no_spikes():
    network = dn.Network.dense([2, 3, 2])
    assert dn.relax(network, [[1.0, 2.0]], [[0.0, 1.0]]).spikes is None
