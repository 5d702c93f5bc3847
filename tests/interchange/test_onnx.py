"""ONNX: what is written comes back and runs elsewhere, what exporters write becomes the same network, the rest is named."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyadic_neuro import activations
from dyadic_neuro.errors import CycleError, DataError, NetworkError, OutputExistsError
from dyadic_neuro.interchange import onnx as format_of
from dyadic_neuro.interchange.onnx_file import Tensors
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.strategies import SEEDS
from tests.interchange import damage
from tests.interchange.forward import potentials, run_onnx
from tests.interchange.models import ACCEPTED, EXTRA, GEMM, REFUSED, REFUSED_EXTRA, WEIGHTS, saved

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
LAWS = settings(max_examples=15, deadline=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("onnx")


@pytest.fixture
def foreign(tmp_path):
    damage.foreign_onnx(tmp_path / "foreign.onnx")
    return tmp_path / "foreign.onnx"


def draw(seed, dtype, parts):
    loss = ["squared_error", "cross_entropy", "binary_cross_entropy"][seed % 3]
    return networks.dag(seed, seed % 6, dtype=dtype, parts=parts, loss=loss)


def agrees(path, network, size=4):
    inputs = np.random.default_rng(1).normal(size=(3, size)).astype("f4")
    np.testing.assert_allclose(run_onnx(onnx.load(path), inputs), potentials(network, inputs), rtol=0, atol=1e-6)


@LAWS
@given(SEEDS, st.sampled_from(["float64", "float32"]), st.booleans())
def test_a_network_comes_back_to_the_last_bit(folder, same, seed, dtype, parts):
    network = draw(seed, dtype, parts)
    network.to_onnx(folder / "a.onnx", overwrite=True)
    same(Network.from_onnx(folder / "a.onnx"), network)


@LAWS
@given(SEEDS, st.sampled_from(["float64", "float32"]), st.booleans())
def test_what_is_written_runs_elsewhere_with_the_same_outputs(folder, seed, dtype, parts):
    network = draw(seed, dtype, parts)
    network.to_onnx(folder / "b.onnx", overwrite=True)
    model = onnx.load(folder / "b.onnx")
    onnx.checker.check_model(model, full_check=True)
    inputs, _ = networks.batch(network, 0, 3)
    found = run_onnx(model, inputs)
    assert found.dtype == inputs.dtype
    np.testing.assert_allclose(found, potentials(network, inputs), rtol=0, atol=1e-6)
    assert "learning rule" in {one.key: one.value for one in model.metadata_props}["not_held"]


@LAWS
@given(SEEDS, st.booleans())
def test_a_network_without_its_record_is_the_same_function(folder, seed, parts):
    network = draw(seed, "float64", parts)
    network.to_onnx(folder / "c.onnx", overwrite=True)
    model = onnx.load(folder / "c.onnx")
    del model.metadata_props[:]
    onnx.save(model, folder / "c.onnx")
    found = Network.from_onnx(folder / "c.onnx")
    inputs, _ = networks.batch(network, 0, 3)
    np.testing.assert_allclose(potentials(found, inputs), potentials(network, inputs), rtol=0, atol=1e-12)
    found.to_onnx(folder / "d.onnx", like=folder / "c.onnx", overwrite=True)
    assert onnx.load(folder / "d.onnx") == model


def test_a_file_of_an_exporter(foreign):
    network = Network.from_onnx(foreign, loss="cross_entropy")
    assert [(p.name, p.size, p.phi.name) for p in network.populations] == [
        ("input", 4, "identity"),
        ("hidden1", 6, "relu"),
        ("hidden2", 6, "tanh"),
        ("output", 3, "identity"),
    ]
    inputs = np.random.default_rng(0).normal(size=(5, 4)).astype("f4")
    u = potentials(network, inputs)
    softmax = np.exp(u) / np.exp(u).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(run_onnx(onnx.load(foreign), inputs.reshape(5, 2, 2)), softmax, atol=1e-6)


def test_a_softmax_needs_the_loss_that_holds_it(foreign, refuses):
    with refuses(NetworkError, "softmax", "cross_entropy"):
        Network.from_onnx(foreign)


def test_trained_weights_go_back_into_the_file_they_came_from(foreign, tmp_path):
    network = Network.from_onnx(foreign, loss="cross_entropy")
    trained = network.with_parameters({key: network.parameters[key] * 2 for key in network.parameters})
    trained.to_onnx(tmp_path / "trained.onnx", like=foreign)
    before, after = onnx.load(foreign), onnx.load(tmp_path / "trained.onnx")
    assert after.graph.node[:2] == before.graph.node[:2]
    assert after.doc_string == before.doc_string
    inputs = np.random.default_rng(0).normal(size=(5, 4)).astype("f4")
    u = potentials(trained, inputs)
    np.testing.assert_allclose(
        run_onnx(after, inputs.reshape(5, 2, 2)), np.exp(u) / np.exp(u).sum(axis=1, keepdims=True), atol=1e-5
    )
    network.to_onnx(tmp_path / "same.onnx", like=foreign)
    again = Network.from_onnx(tmp_path / "same.onnx", loss="cross_entropy")
    assert all(again.parameters[key].tobytes() == network.parameters[key].tobytes() for key in network.parameters)


def test_another_network_is_not_written_into_a_file(foreign, tmp_path, refuses):
    with refuses(NetworkError, "rate functions"):
        Network.dense([4, 6, 6, 3], activation="relu", loss="cross_entropy").to_onnx(tmp_path / "a.onnx", like=foreign)
    assert not (tmp_path / "a.onnx").exists()


OPERATORS = {"LeakyRelu": {"alpha": 0.01}, "Gelu": {"approximate": "tanh"}}


@pytest.mark.parametrize("operator", sorted(format_of.RATES))
def test_every_rate_function(tmp_path, operator):
    ends = {"low": np.float32(-1), "high": np.float32(1)} if operator == "Clip" else {}
    rate = (operator, ["a", *ends], "h", OPERATORS.get(operator, {}))
    path = saved(tmp_path / "a.onnx", ("Gemm", ["x", "w", "b"], "a"), rate, ("MatMul", ["h", "v"], "y"), **ends)
    network = Network.from_onnx(path)
    assert network.population("hidden1").phi.name == format_of.RATES[operator]
    agrees(path, network)


def test_the_slope_is_that_of_our_leaky_relu():
    assert format_of.LEAK == activations.LEAK


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_mlps_are_made_of(tmp_path, case):
    path = saved(tmp_path / "a.onnx", *ACCEPTED[case], **EXTRA)
    network = Network.from_onnx(path)
    agrees(path, network)
    network.to_onnx(tmp_path / "b.onnx", like=path)
    assert onnx.load(tmp_path / "b.onnx") == onnx.load(path)
    rng, shapes = np.random.default_rng(2), {key: network.parameters[key].shape for key in network.plastic}
    if case == "bias of one number":
        shapes["output.bias"] = ()
    learned = {key: np.broadcast_to(rng.normal(size=n), network.parameters[key].shape) for key, n in shapes.items()}
    network = network.with_parameters(learned)
    network.to_onnx(tmp_path / "c.onnx", like=path)
    agrees(tmp_path / "c.onnx", network)


def test_a_weight_learns_once_however_many_take_what_it_makes(tmp_path):
    network = Network.from_onnx(saved(tmp_path / "a.onnx", *ACCEPTED["pre-activation twice"], **EXTRA))
    assert sum(network.parameters[key].size for key in network.plastic) == sum(WEIGHTS[one].size for one in "wbv")
    assert [p.phi.name for p in network.populations] == ["identity", "identity", "tanh", "identity", "identity"]
    assert not Network.from_onnx(saved(tmp_path / "b.onnx", *ACCEPTED["number at the input"], **EXTRA)).projections[0].plastic


def test_a_sigmoid_at_the_end_is_part_of_the_loss_or_copied(tmp_path):
    path = saved(tmp_path / "a.onnx", GEMM, ("Sigmoid", ["a"], "y"))
    assert len(Network.from_onnx(path, loss="binary_cross_entropy").populations) == 2
    assert not Network.from_onnx(path).projection("hidden1->output").plastic


@pytest.mark.parametrize("shape", [None, ("batch", None), ("batch", "features")])
def test_an_input_of_no_said_size_has_that_of_its_matrix(tmp_path, shape):
    assert (
        Network.from_onnx(saved(tmp_path / "a.onnx", ("Gemm", ["x", "w", "b"], "y"), shape=shape)).population("input").size == 4
    )


def test_a_layer_norm_and_a_loop_are_listed_together(tmp_path, refuses):
    nodes = [GEMM, ("LayerNormalization", ["a", "b"], "n"), ("Gelu", ["n"], "g"), ("Cos", ["g"], "y")]
    with refuses(NetworkError, "n_n (LayerNormalization)", "n_y (Cos)"):
        Network.from_onnx(saved(tmp_path / "a.onnx", *nodes))


@pytest.mark.parametrize("says", REFUSED)
def test_what_is_no_network_names_its_node(tmp_path, says, refuses):
    with refuses(NetworkError, says):
        Network.from_onnx(saved(tmp_path / "a.onnx", *REFUSED[says], away=np.array([4, -1]), **REFUSED_EXTRA, **EXTRA))


@pytest.mark.parametrize(
    ("opset", "shape", "axis", "accepted"),
    [
        (17, [0, 3], None, True),
        (17, [0, 1, 3], 2, True),
        (17, [0, 1, 3], 1, False),
        (17, [0, 3, 1], None, False),
        (12, [0, 1, 3], None, True),
        (12, [0, 3, 1], -1, False),
        (12, [0, 3], None, True),
    ],
)
def test_a_softmax_is_over_all_outputs(tmp_path, opset, shape, axis, accepted):
    options = {} if axis is None else {"axis": axis}
    nodes = [GEMM, ("Reshape", ["a", "to"], "r"), ("Softmax", ["r"], "y", options)]
    path = saved(tmp_path / "a.onnx", *nodes, opset=opset, to=np.array(shape))
    if accepted:
        assert Network.from_onnx(path, loss="cross_entropy").population("output").size == 3
    else:
        with pytest.raises(NetworkError, match="over the outputs"):
            Network.from_onnx(path, loss="cross_entropy")


def test_constants_of_every_kind(tmp_path):
    path = saved(tmp_path / "a.onnx", ("Mul", ["x", "k"], "m"), ("Gemm", ["m", "w", "list"], "g"), ("Reshape", ["g", "to"], "y"))
    model = onnx.load(path)
    for name, options in {
        "k": {"value_float": 0.5},
        "list": {"value_floats": [1.0, 2.0, 3.0]},
        "to": {"value_ints": [-1, 3]},
    }.items():
        model.graph.node.insert(0, helper.make_node("Constant", [], [name], name, **options))
    onnx.save(model, path)
    network = Network.from_onnx(path)
    agrees(path, network)
    network = network.with_parameters({"output.bias": [3.0, 2.0, 1.0]})
    network.to_onnx(tmp_path / "b.onnx", like=path)
    agrees(tmp_path / "b.onnx", network)
    assert onnx.load(tmp_path / "b.onnx").graph.node[1].attribute[0].floats[:] == [3.0, 2.0, 1.0]


def test_what_did_not_change_stays_to_the_last_bit_whatever_the_factor(tmp_path):
    path = saved(tmp_path / "a.onnx", ("Gemm", ["x", "w", "b"], "y", {"alpha": 0.3, "beta": 0.7}))
    network = Network.from_onnx(path)
    weights = network.parameters["input->output"].copy()
    weights[0, 0] += 1
    network.with_parameters({"input->output": weights}).to_onnx(tmp_path / "b.onnx", like=path)
    before, after = (Tensors(one, onnx.load(one).graph) for one in (path, tmp_path / "b.onnx"))
    assert after.real("b").tobytes() == before.real("b").tobytes()
    assert np.argwhere(after.real("w") != before.real("w")).tolist() == [[0, 0]]


def test_a_file_like_one_of_ours_tells_this_network(tmp_path, same):
    old = Network.dense([3, 4, 2], loss="squared_error", seed=0)
    old.to_onnx(tmp_path / "a.onnx")
    new = Network.dense([3, 4, 2], loss="cross_entropy", seed=1)
    new.to_onnx(tmp_path / "b.onnx", like=tmp_path / "a.onnx")
    same(Network.from_onnx(tmp_path / "b.onnx"), new)
    own = replace(new, loss=(lambda u, y: ((u - y) ** 2).sum(axis=1) / 2, lambda u, y: u - y))
    with pytest.raises(NetworkError, match="your own"):
        own.to_onnx(tmp_path / "c.onnx", like=tmp_path / "a.onnx")


def test_names_do_not_meet_and_one_to_one_stays_so(tmp_path, same):
    names = ("input", "one", "clip", "output")
    populations = [Population("input", 3), *(Population(one, 3, "hard_tanh", 0.1) for one in names[1:-1])]
    populations.append(Population("output", 3, bias=0.2))
    projections = [Projection(a, b, np.ones(3)) for a, b in pairwise(names)]
    network = Network(populations, projections)
    network.to_onnx(tmp_path / "a.onnx")
    assert max(len(one.dims) for one in onnx.load(tmp_path / "a.onnx").graph.initializer) == 1
    found = run_onnx(onnx.load(tmp_path / "a.onnx"), np.ones((2, 3)))
    np.testing.assert_allclose(found, potentials(network, np.ones((2, 3))))
    same(Network.from_onnx(tmp_path / "a.onnx"), network)


def test_a_cycle_is_named(tmp_path, refuses):
    nodes = [("Add", ["x", "h"], "a"), ("Tanh", ["a"], "h"), ("MatMul", ["h", "w"], "y")]
    with refuses(CycleError, "n_a -> n_h -> n_a"):
        Network.from_onnx(saved(tmp_path / "a.onnx", *nodes))


def test_old_operator_sets_are_refused(tmp_path, refuses):
    with refuses(NetworkError, "operator set 6"):
        Network.from_onnx(saved(tmp_path / "a.onnx", GEMM, ("Tanh", ["a"], "y"), opset=6))


@pytest.mark.parametrize(("kind", "found"), [("f2", "float32"), ("f4", "float32"), ("f8", "float64")])
def test_the_precision_is_the_files(tmp_path, kind, found):
    path = saved(tmp_path / "a.onnx", ("Gemm", ["x", "k"], "y"), k=np.ones((4, 2), kind))
    assert Network.from_onnx(path).dtype == found
    assert Network.from_onnx(path, dtype="float64").dtype == np.float64


def test_bfloat16_is_widened(tmp_path):
    path = saved(tmp_path / "a.onnx", ("Gemm", ["x", "w"], "y"))
    model = onnx.load(path)
    tensor = next(one for one in model.graph.initializer if one.name == "w")
    tensor.data_type = onnx.TensorProto.BFLOAT16
    tensor.raw_data = (WEIGHTS["w"].view("u4") >> 16).astype("<u2").tobytes()
    onnx.save(model, path)
    expected = (WEIGHTS["w"].view("u4") >> 16 << 16).view("f4").T
    np.testing.assert_array_equal(Network.from_onnx(path).parameters["input->output"], expected)


@pytest.mark.parametrize("kind", ["i4", "c8", "?"])
def test_weights_that_are_no_floats_are_refused(tmp_path, kind, refuses):
    with refuses(DataError, "constant k"):
        Network.from_onnx(saved(tmp_path / "a.onnx", ("Gemm", ["x", "k"], "y"), k=np.ones((4, 2), kind)))


def test_what_is_there_stays_and_what_cannot_be_written_is_named(tmp_path, refuses):
    network = Network.dense([3, 2])
    network.to_onnx(tmp_path / "a.onnx")
    with refuses(OutputExistsError, "a.onnx"):
        network.to_onnx(tmp_path / "a.onnx")
    own = Network.dense([3, 4, 2], activation=(np.tanh, lambda u: 1 - np.tanh(u) ** 2))
    with refuses(NetworkError, "tanh", "your own"):
        own.to_onnx(tmp_path / "b.onnx")
    assert [one.name for one in tmp_path.iterdir()] == ["a.onnx"]
