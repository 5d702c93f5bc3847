"""Runs as labelled arrays: nothing is lost on the way to a file and back, and the names say what is what."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.errors import FileError, MissingExtraError, OutputExistsError
from dyadic_neuro.interchange import netcdf
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.strategies import SEEDS, chains, dags

xarray = pytest.importorskip("xarray", reason="needs pip install 'dyadic-neuro[interchange]'")
netcdf4 = pytest.importorskip("netCDF4", reason="needs pip install 'dyadic-neuro[interchange]'")

NETWORKS = st.one_of(chains(3), dags(3, parts=True))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Return a file that is written again and again."""
    return tmp_path_factory.mktemp("netcdf") / "run.nc"


def label(name):
    return name.replace("->", "_to_").replace(".", "_")


@settings(max_examples=25)
@given(NETWORKS, SEEDS, st.sampled_from(["all", "last"]), st.sampled_from([1.0, 0.5]))
def test_a_file_holds_the_bits_of_the_run(path, network, seed, record, alpha):
    x, y = networks.batch(network, seed, 2)
    trace = dn.relax(network, x, y, steps=7, record=record, alpha=alpha)
    trace.save(path, overwrite=True)
    with xarray.open_dataset(path) as run, xarray.open_dataset(path, group="messages") as ledger:
        assert run.identical(trace.to_xarray())
        assert ledger.identical(trace.messages.to_xarray())
        states = {f"potential_{name}": u for name, u in trace.potentials.items()}
        states |= {f"sensitivity_{name}": s for name, s in trace.sensitivities.items()}
        gradients = {f"gradient_{label(key)}": g for key, g in trace.gradients.items()}
        wanted = {"inputs": trace.inputs, "targets": trace.targets, **states, **gradients}
        assert set(run.data_vars) == set(wanted)
        for name, values in wanted.items():
            assert run[name].dtype == values.dtype
            assert np.array_equal(run[name].values, values)
        assert all(run[name].dims == ("step", "sample", f"neuron_{name.split('_', 1)[1]}") for name in states)
        assert run["step"].values.tolist() == (list(range(8)) if record == "all" else [7])
        assert np.array_equal(run["time"], run["step"] * alpha)
        assert all(array.attrs["units"] and array.attrs["long_name"] for array in run.variables.values())
        assert int(ledger["messages"].where(~ledger["local"]).sum()) == trace.messages.total()


def test_netcdf4_alone_reads_the_same(path):
    network = networks.dag(13, 3, activation="tanh", parts=True)
    x, y = networks.batch(network, 1, 3)
    trace = dn.relax(network, x, y)
    trace.save(path, overwrite=True)
    with netcdf4.Dataset(path) as file:
        for key, values in trace.gradients.items():
            found = file[f"gradient_{label(key)}"]
            assert np.array_equal(np.asarray(found[:]), values)
            assert found.parameter == key
        assert file["time"].units == "tau"
        assert file["step"].units == "1"
        assert list(file.groups) == ["messages"]
        counts = file["messages"]["messages"]
        assert counts.dimensions == ("step", "link")
        assert np.array_equal(np.asarray(counts[:]), trace.messages.counts)
        assert list(file["messages"]["source"][:]) == [link.source for link in trace.messages.links]


def test_the_attributes_tell_the_network_and_what_ran(path):
    network = networks.dag(13, 3, activation="tanh", parts=True)
    trace = dn.relax(network, *networks.batch(network, 1, 3))
    trace.save(path, overwrite=True)
    with xarray.open_dataset(path) as run:
        attrs = run.attrs
    assert (attrs["backend"], attrs["schedule"], attrs["alpha"], attrs["steps"]) == ("reference", "free", 1.0, trace.steps)
    assert (attrs["loss"], attrs["final_loss"]) == ("squared_error", trace.loss)
    assert attrs["dyadic_neuro_version"]
    found = dn.Network.from_record(json.loads(attrs["network"]))
    assert found.fingerprint == network.fingerprint == attrs["network_fingerprint"]


def test_a_part_of_a_matrix_says_which_neurons_it_joins():
    populations = [dn.Population("input", 3), dn.Population("h", 4, "tanh"), dn.Population("output", 2)]
    block = dn.Projection("input", "h", np.ones((2, 1)), corner=(1, 2), shape=(4, 3))
    network = dn.Network(populations, [block, dn.Projection("h", "output", np.ones((2, 4)))])
    run = dn.relax(network, [[1.0, 2.0, 3.0]], [[0.0, 1.0]]).to_xarray()
    part = run["gradient_input_to_h"]
    assert part.dims == ("gradient_input_to_h_target", "gradient_input_to_h_source")
    assert [part[dim].values.tolist() for dim in part.dims] == [[1, 2], [2]]
    assert run["gradient_h_to_output"].dims == ("neuron_output", "neuron_h")


def test_a_ledger_of_totals_has_no_steps():
    network = dn.Network.dense([2, 3, 2])
    trace = dn.relax(network, [[1.0, 2.0]], [[0.0, 1.0]], record="last")
    ledger = trace.messages.to_xarray()
    assert ledger["messages"].dims == ("link",)
    assert ledger["bits"].attrs["units"] == "bit"
    assert int(ledger["messages"].where(~ledger["local"]).sum()) == trace.messages.total()


def test_a_run_on_a_chip_that_divides_a_fan_in_can_be_saved(path):
    chip = dn.Chip.load("loihi1")
    network = dn.Network.dense([5000, 3, 2], seed=1)
    trace = dn.relax(network, np.ones((1, 5000)), [[0.0, 1.0]], backend=dn.backends.MappedChip(dn.map_network(network, chip)))
    assert trace.network is not network
    trace.save(path, overwrite=True)
    with xarray.open_dataset(path) as run:
        assert np.array_equal(run["gradient_input_to_hidden1"], trace.gradients["input->hidden1"])


def test_a_state_that_is_not_finite_is_kept_as_it_is(path):
    trace = dn.relax(dn.Network.dense([2, 3, 2], "relu"), [[1.0, 2.0]], [[0.0, 1.0]])
    rows = trace.potentials["hidden1"].copy()
    rows[0] = [[np.nan, np.inf, -np.inf]]
    trace.potentials["hidden1"] = rows
    trace.save(path, overwrite=True)
    with netcdf4.Dataset(path) as file:
        assert not np.ma.is_masked(file["potential_hidden1"][:])
        assert np.array_equal(file["potential_hidden1"][:], rows, equal_nan=True)


@given(st.lists(st.text(min_size=1), unique=True))
def test_names_are_legal_and_no_two_the_same(words):
    found = netcdf.names(words)
    assert list(found) == words
    assert len(set(found.values())) == len(words)
    assert all(name.replace("_", "a").isalnum() for name in found.values())


def test_names_that_are_alike_stay_apart():
    assert netcdf.names(["a->b", "a_to_b", "a+b", "a-b"]) == {
        "a->b": "a_to_b",
        "a_to_b": "a_to_b_2",
        "a+b": "a_b",
        "a-b": "a_b_2",
    }


def test_nothing_is_overwritten_and_nothing_is_left_half_done(tmp_path, monkeypatch):
    trace = dn.relax(dn.Network.dense([2, 3, 2]), [[1.0, 2.0]], [[0.0, 1.0]])
    path = tmp_path / "run.nc"
    trace.save(path)
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match="already there"):
        trace.save(path)
    with pytest.raises(FileError, match="folder does not exist"):
        trace.save(tmp_path / "no" / "run.nc")
    monkeypatch.setattr(dn.MessageLedger, "to_xarray", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trace.save(path, overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["run.nc"]
    assert path.read_bytes() == before


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    trace = dn.relax(dn.Network.dense([2, 3, 2]), [[1.0, 2.0]], [[0.0, 1.0]])
    monkeypatch.setattr(netcdf, "find_spec", lambda _: None)
    for call in (trace.to_xarray, trace.messages.to_xarray, lambda: trace.save(tmp_path / "run.nc")):
        with pytest.raises(MissingExtraError, match=r"dyadic-neuro\[interchange\]"):
            call()
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named_together(monkeypatch):
    monkeypatch.setattr(netcdf, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="xarray and netCDF4 are absent"):
        netcdf.need("xarray", "netCDF4")
