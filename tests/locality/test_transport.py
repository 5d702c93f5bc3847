"""Wrong copies of W^T: what they cost, what learning makes of them, and the law that their difference follows."""

from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dyadic_neuro as dn
from dyadic_neuro.backends import MappedChip, Reference
from dyadic_neuro.datasets import digits
from dyadic_neuro.errors import CycleError, DataError, OptionError, UnknownNameError
from dyadic_neuro.studies.locality import transport
from dyadic_neuro.studies.locality.transport import alignment, angles, answers, wrong_copies
from dyadic_neuro.testing import networks, problems
from dyadic_neuro.testing.strategies import SEEDS, chains, dags

NET = dn.Network.dense([4, 6, 5, 3], activation="tanh", loss="cross_entropy", seed=1)
X, Y = networks.batch(NET, 3, 24)
NAMES = ("exact", "noise", "sign", "random")
TABLES = pytest.mark.skipif(find_spec("pandas") is None, reason="the extra `study` is not installed")
SMALL = {"epochs": 2, "batch_size": 4, "learning_rate": 0.1}


# --- the copies ----------------------------------------------------------------------------------------------------------


def test_copies_are_of_their_kind():
    w = NET.parameters["hidden2->output"].T
    made = {kind: wrong_copies(NET, kind, 7, 0.5)["hidden2->output"] for kind in NAMES}
    size = np.sqrt(np.mean(w**2))
    assert np.array_equal(made["exact"], w)
    assert np.array_equal(np.sign(made["sign"]), np.sign(w))
    np.testing.assert_allclose(np.abs(made["sign"]), np.abs(w).mean(), rtol=1e-12)
    np.testing.assert_allclose(made["noise"] - w, 0.5 * made["random"], rtol=0, atol=1e-12)
    assert 0.5 < made["random"].std() / size < 1.5
    assert np.array_equal(made["random"], wrong_copies(NET, "random", 7)["hidden2->output"])
    assert not np.array_equal(made["random"], wrong_copies(NET, "random", 8)["hidden2->output"])


@given(dags(parts=True), SEEDS)
def test_every_copy_that_learns_has_one_and_no_other(network, seed):
    wanted = {p.name: p.transposed().weights.shape for p in network.projections if p.plastic and p.source != network.input}
    for kind in NAMES:
        assert {name: copy.shape for name, copy in wrong_copies(network, kind, seed).items()} == wanted


# --- angles --------------------------------------------------------------------------------------------------------------


@TABLES
@pytest.mark.parametrize("backend", ["reference", "chip"])
@settings(max_examples=20)
@given(st.one_of(chains(5, networks.SMOOTH), dags(4, networks.SMOOTH, parts=True)), SEEDS)
def test_exact_copies_point_where_backpropagation_does(backend, network, seed):
    if not wrong_copies(network, "exact", 0):
        return
    table = angles(network, kinds=["exact"], backend=backend, samples=3, seed=seed % 1000).dropna()
    assert (table["cosine"] - 1).abs().max() <= 1e-12
    assert table["angle"].max() <= 1e-4


@TABLES
def test_angles_grow_with_the_noise_below_the_readout_only():
    table = angles(NET, X, Y)
    whole = table[table["parameter"] == "all"].set_index(["kind", "amount"])["cosine"]
    assert whole["exact", 0.0] > whole["noise", 0.01] > whole["noise", 0.1] > whole["random", 0.0]
    own = table[table["parameter"].isin(["hidden2->output", "output.bias"])]  # of s that needs no copy
    assert own["cosine"].min() > 1 - 1e-12
    assert dict(zip(table["parameter"], table["layer"], strict=True)) == {
        "input->hidden1": 1,
        "hidden1.bias": 1,
        "hidden1->hidden2": 2,
        "hidden2.bias": 2,
        "hidden2->output": 3,
        "output.bias": 3,
        "all": 0,
    }


@TABLES
def test_the_angle_is_that_of_the_gradients_that_relax_reads():
    row = angles(NET, X, Y, kinds=[("noise", 0.3)], seed=5).set_index("parameter").loc["input->hidden1"]
    copies = wrong_copies(NET, "noise", 5, 0.3)
    one = dn.relax(NET, X, Y, backward=copies).gradients["input->hidden1"].ravel()
    other = dn.backprop(NET, X, Y)["input->hidden1"].ravel()
    assert row["cosine"] == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other), abs=1e-12)
    assert np.cos(np.radians(row["angle"])) == pytest.approx(row["cosine"], abs=1e-12)


@TABLES
@pytest.mark.parametrize("zeros", ["every weight", "the readout's"])
def test_weights_of_0_have_copies_without_a_direction(zeros):
    keys = [key for key in NET.parameters if zeros == "every weight" or key.startswith("hidden2->")]
    net = NET.with_parameters({key: 0 * NET.parameters[key] for key in keys})
    measured = angles(net, X, Y, kinds=["exact", "random"])
    assert measured.set_index(["kind", "parameter"])["angle"].isna()["exact", "input->hidden1"]
    table = alignment(net, (X, Y), kinds=["exact", "random"], decays=(0.0,), epochs=1)
    if zeros == "every weight":
        assert table["distance"].isna().iloc[0]
    said = "\n".join(answers(measured, table))
    assert "nan" not in said
    assert "exact 0 but for rounding" in said
    nothing = angles(net.with_parameters({key: 0 * v for key, v in net.parameters.items()}), X * 0, 0 * Y + 1 / 3, kinds=["sign"])
    assert "sign has no direction." in answers(nothing)[0]


# --- learning ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [Reference(), MappedChip(), MappedChip(fast=True)], ids=["reference", "chip", "fast chip"])
@settings(max_examples=12)
@given(
    network=st.one_of(chains(4, ("tanh", "sin")), dags(4, ("tanh", "sin"), parts=True)),
    seed=SEEDS,
    decay=st.sampled_from([0.0, 0.3, 4.0]),
    batch=st.sampled_from([1, 3]),
)
def test_copies_differ_by_what_is_left_of_their_first_difference(backend, network, seed, decay, batch):
    copies = wrong_copies(network, "random", seed)
    x, y = networks.batch(network, seed, 6)
    options = {"epochs": 2, "batch_size": batch, "learning_rate": 0.02, "weight_decay": decay}
    result = dn.train(network, (x, y), backend=backend, backward=copies, **options)
    left = (1 - 0.02 * decay) ** (2 * 6 // batch)
    for name, copy in copies.items():
        first = copy - network.projection(name).weights.T
        np.testing.assert_allclose(result.copies[name].backward - result.copies[name].forward.T, left * first, rtol=0, atol=1e-10)


@TABLES
@pytest.mark.parametrize("backend", ["reference", "chip"])
def test_the_table_is_what_successive_epochs_leave(backend):
    table = alignment(NET, (X, Y), kinds=["exact", "random"], decays=(0.0, 0.5), backend=backend, **SMALL)
    assert len(table) == 2 * 2 * 3
    assert (table["updates"] == 6 * table["epoch"]).all()
    assert ((table["gap"] - table["law"]).abs() <= 1e-10).all()
    last = table[(table["kind"] == "random") & (table["decay"] == 0.5)].iloc[-1]
    net, copies = NET, wrong_copies(NET, "random", 0)
    for seed in (0, 1):
        options = SMALL | {"epochs": 1, "weight_decay": 0.5, "seed": seed}
        result = dn.train(net, (X, Y), backward=copies, **options)
        net, copies = result.network, {name: result.copies[name].backward for name in copies}
    assert last["loss"] == pytest.approx(dn.mean_loss(net, X, Y), abs=1e-12)
    assert last["accuracy"] == dn.accuracy(net, X, Y.argmax(axis=1))
    gap = np.sqrt(sum(((copy - net.parameters[name].T) ** 2).sum() for name, copy in copies.items()))
    assert last["gap"] == pytest.approx(gap, rel=1e-12)
    assert np.isnan(last["test_accuracy"])


@TABLES
def test_under_wavefront_learning_is_the_same():
    tables = [alignment(NET, (X, Y), kinds=["random"], decays=(0.5,), schedule=kind, **SMALL) for kind in ("free", "wavefront")]
    assert tables[0].equals(tables[1])


@TABLES
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_law_is_held_to_the_rounding_of_the_network(dtype):
    net = dn.Network.dense([4, 6, 3], activation="tanh", loss="squared_error", dtype=dtype, seed=1)
    data = networks.batch(net, 2, 12)
    table = alignment(net, data, kinds=["exact", "random"], decays=(0.0, 1.0), **SMALL)
    assert table["accuracy"].isna().all()  # targets that are no classes
    assert "after 8 of 8 epochs" in answers(aligned=table)[-1]
    table["gap"] += 2 * table["rounding"]
    assert "after 0 of 8 epochs" in answers(aligned=table)[-1]


@TABLES
def test_decay_aligns_copies_on_the_digits_and_learning_survives():
    pytest.importorskip("sklearn", reason="the extra `data` is not installed")
    net = dn.Network.dense([64, 16, 16, 10], activation="tanh", loss="cross_entropy", seed=0)
    table = alignment(net, digits(), kinds=["exact", "random"], decays=(0.0, 0.02), epochs=4)
    for decay in (0.0, 0.02):
        run = table[(table["kind"] == "random") & (table["decay"] == decay)]
        start, end = run.iloc[0], run.iloc[-1]
        assert end["cosine"] > start["cosine"]
        assert end["copies"] > start["copies"]
        assert end["test_accuracy"] > 0.8 > start["test_accuracy"]
    assert (run["gap"].diff().dropna() < 0).all()
    said = "\n".join(answers(angles(net, *networks.batch(net, 1, 8)), table))
    for words in (
        "noise (10 %)",
        "no weight decay",
        "a weight decay of 0.02",
        "% of test data right",
        "of the gain of exact copies",
    ):
        assert words in said
    assert f"-> {end['angle']:.3g} degrees" in said


@TABLES
def test_a_run_that_diverges_is_told():
    net = dn.Network.dense([2, 8, 8, 1], activation="identity", loss="squared_error", seed=0)
    data = networks.batch(net, 1, 40)
    options = {"epochs": 3, "batch_size": 1, "learning_rate": 5.0}
    table = alignment(net, data, kinds=["random"], decays=(0.0,), **options)
    assert np.isnan(table.iloc[-1]["loss"])
    assert (table["kind"] == "random").all()
    assert [said.split(": ")[-1] for said in answers(aligned=table)] == ["random diverged in epoch 1."]


# --- what is refused -----------------------------------------------------------------------------------------------------

LOOP = problems.cyclic()[0]
FLAT = dn.Network.dense([4, 3], loss="cross_entropy", seed=0)


class Never(Reference):
    """A backend that no bad order reaches."""

    def open(self, network):
        pytest.fail("work began")


@TABLES
@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"network": "net.npz"}, OptionError, "network"),
        ({"network": FLAT}, OptionError, "network"),
        ({"kinds": ["best"]}, UnknownNameError, "kind"),
        ({"kinds": [["noise"]]}, OptionError, "kinds"),
        ({"kinds": []}, OptionError, "kinds"),
        ({"kinds": [("noise", -1.0)]}, OptionError, "amount"),
        ({"seed": -1}, OptionError, "seed"),
        ({"data": X}, DataError, "data"),
        ({"decays": (0.0, 10.0)}, OptionError, "weight_decay"),
        ({"batch_size": 25}, OptionError, "batch_size"),
        ({"samples": 0}, OptionError, "samples"),
    ],
)
def test_bad_orders_are_refused_before_anything_runs(changes, error, field):
    with pytest.raises(error) as caught:
        alignment(**{"network": NET, "data": (X, Y), "backend": Never(), **SMALL, **changes})
    assert caught.value.field == field


@TABLES
def test_angles_and_words_refuse_what_they_cannot_use():
    with pytest.raises(CycleError):
        angles(LOOP, backend=Never())
    with pytest.raises(OptionError, match="nothing to measure"):
        angles(FLAT, backend=Never())
    for field in ("angled", "aligned"):
        with pytest.raises(OptionError) as caught:
            answers(**{field: "a table"})
        assert caught.value.field == field
    assert answers() == []
    assert transport.KINDS[0] == ("exact", 0.0)
