"""NIR: what is written comes back and opens elsewhere, what other tools write becomes the same network, the rest is named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyadic_neuro.activations import ACTIVATIONS
from dyadic_neuro.errors import CycleError, NetworkError, OptionError, OutputExistsError, UnknownNameError
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.strategies import SEEDS
from tests.interchange import damage
from tests.interchange.forward import potentials, static

h5py = pytest.importorskip("h5py")
nir = pytest.importorskip("nir")
LAWS = settings(max_examples=15, deadline=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("nir")


@pytest.fixture
def foreign(tmp_path):
    damage.foreign_nir(tmp_path / "foreign.nir")
    return tmp_path / "foreign.nir"


def draw(seed, dtype, parts):
    loss = ["squared_error", "cross_entropy", "binary_cross_entropy"][seed % 3]
    return networks.dag(seed, seed % 6, dtype=dtype, parts=parts, loss=loss)


def chain(*nodes):
    return nir.NIRGraph.from_list(*nodes)


def affine(m, n, dtype="f4"):
    rng = np.random.default_rng([m, n])
    return nir.Affine(rng.normal(size=(n, m)).astype(dtype), rng.normal(size=n).astype(dtype))


def neurons(kind, n):
    count = {"LIF": 4, "IF": 2, "LI": 3, "CubaLIF": 5, "CubaLI": 4, "I": 1, "Threshold": 1}[kind]
    values = [np.ones(n, "f4") for _ in range(count)]
    leak = {"LIF": 2, "LI": 2, "CubaLIF": 3, "CubaLI": 3}.get(kind)
    if leak is not None:
        values[leak] = np.zeros(n, "f4")
    return getattr(nir, kind)(*values)


def written(path, graph):
    nir.write(path, graph)
    return path


@LAWS
@given(SEEDS, st.sampled_from(["float64", "float32"]), st.booleans())
def test_a_network_comes_back_to_the_last_bit(folder, same, seed, dtype, parts):
    network = draw(seed, dtype, parts)
    network.to_nir(folder / "a.nir", overwrite=True)
    same(Network.from_nir(folder / "a.nir"), network)


@LAWS
@given(SEEDS, st.sampled_from(["float64", "float32"]), st.booleans())
def test_what_is_written_opens_in_nir_with_the_same_outputs(folder, seed, dtype, parts):
    network = draw(seed, dtype, parts)
    network.to_nir(folder / "b.nir", overwrite=True)
    graph = nir.read(folder / "b.nir")
    inputs, _ = networks.batch(network, 0, 3)
    found = static(graph, inputs, lambda _, node, u: ACTIVATIONS[node.metadata.get("phi", "identity")].rate(u + node.v_leak))
    np.testing.assert_allclose(found, potentials(network, inputs), rtol=0, atol=1e-6)
    assert "learning rule" in graph.metadata["not_held"]


@LAWS
@given(SEEDS, st.booleans())
def test_a_network_without_its_record_is_the_same_function(folder, seed, parts):
    network = draw(seed, "float64", parts)
    network.to_nir(folder / "c.nir", overwrite=True)
    graph = nir.read(folder / "c.nir")
    graph.metadata = {}
    nir.write(folder / "c.nir", graph)
    found = Network.from_nir(folder / "c.nir")
    inputs, _ = networks.batch(network, 0, 3)
    np.testing.assert_allclose(potentials(found, inputs), potentials(network, inputs), rtol=0, atol=1e-12)
    found.to_nir(folder / "d.nir", like=folder / "c.nir", overwrite=True)
    again = Network.from_nir(folder / "d.nir")
    assert all(again.parameters[key].tobytes() == found.parameters[key].tobytes() for key in found.parameters)


def test_a_file_of_another_tool(foreign, same):
    network = Network.from_nir(foreign, activation="tanh")
    assert [(p.name, p.size, p.phi.name) for p in network.populations] == [
        ("input", 4, "identity"),
        ("hidden1", 5, "tanh"),
        ("hidden2", 5, "tanh"),
        ("hidden3", 5, "identity"),  # the sum before fc2
        ("hidden4", 3, "identity"),  # what LI then scales by its resistance
        ("output", 3, "identity"),
    ]
    assert network.dtype == np.float32
    assert not network.projection("hidden4->output").plastic
    inputs = np.random.default_rng(0).normal(size=(4, 4)).astype("f4")

    def rate(name, node, u):
        return node.r * u + node.v_leak if name == "li" else np.tanh(u)

    np.testing.assert_allclose(potentials(network, inputs), static(nir.read(foreign), inputs, rate), atol=1e-6)


def test_trained_weights_go_back_into_the_file_they_came_from(foreign, tmp_path):
    network = Network.from_nir(foreign, activation={"LIF": "relu"})
    trained = network.with_parameters({key: network.parameters[key] * 2 for key in network.plastic})
    trained.to_nir(tmp_path / "trained.nir", like=foreign)
    before, after = nir.read(foreign), nir.read(tmp_path / "trained.nir")
    assert after.edges == before.edges
    assert after.metadata["version"] == 3
    np.testing.assert_array_equal(after.nodes["lif1"].tau, before.nodes["lif1"].tau)
    np.testing.assert_array_equal(after.nodes["sub"].nodes["linear"].weight, 2 * before.nodes["sub"].nodes["linear"].weight)
    np.testing.assert_array_equal(after.nodes["gain"].scale, 2 * before.nodes["gain"].scale)
    np.testing.assert_array_equal(after.nodes["li"].r, before.nodes["li"].r)
    network.to_nir(tmp_path / "same.nir", like=foreign)
    again = Network.from_nir(tmp_path / "same.nir", activation={"LIF": "relu"})
    assert all(again.parameters[key].tobytes() == network.parameters[key].tobytes() for key in network.parameters)


def test_another_network_is_not_written_into_a_file(foreign, tmp_path, refuses):
    with refuses(NetworkError, "another network"):
        Network.dense([4, 5, 3]).to_nir(tmp_path / "a.nir", like=foreign)
    assert not (tmp_path / "a.nir").exists()


def test_a_residual_block_is_read_as_one_matrix_and_written_back(tmp_path):
    nodes = {"in": nir.Input(np.array([4])), "lif": neurons("LIF", 4), "fc": affine(4, 4), "lif2": neurons("LIF", 4)}
    nodes |= {"last": affine(4, 2), "out": nir.Output(np.array([2]))}
    edges = [("in", "lif"), ("lif", "fc"), ("fc", "lif2"), ("lif", "lif2"), ("lif2", "last"), ("last", "out")]
    path = written(tmp_path / "a.nir", nir.NIRGraph(nodes, edges))
    network = Network.from_nir(path, activation="relu")
    np.testing.assert_array_equal(network.parameters["hidden1->hidden2"], nodes["fc"].weight + np.eye(4, dtype="f4"))
    changed = network.parameters["hidden1->hidden2"] + np.float32(1)
    network.with_parameters({"hidden1->hidden2": changed}).to_nir(tmp_path / "b.nir", like=path)
    np.testing.assert_allclose(nir.read(tmp_path / "b.nir").nodes["fc"].weight, nodes["fc"].weight + 1, rtol=1e-6)


@pytest.mark.parametrize("kind", ["LIF", "IF", "CubaLIF", "I", "Threshold"])
def test_neurons_that_spike_want_a_rate_function(tmp_path, refuses, kind):
    path = written(tmp_path / "a.nir", chain(affine(3, 4), neurons(kind, 4), affine(4, 2)))
    with refuses(OptionError, f"{kind.lower()} ({kind})", "activation="):
        Network.from_nir(path)
    with refuses(UnknownNameError, "nobody", kind):
        Network.from_nir(path, activation={"nobody": "tanh"})
    for choice in ("sigmoid", {kind: "sigmoid"}, {kind.lower(): "sigmoid", kind: "relu"}):
        assert Network.from_nir(path, activation=choice).population("hidden1").phi.name == "sigmoid"


def test_gain_and_leak_of_neurons_that_spike_are_honoured(tmp_path):
    rng = np.random.default_rng(0)

    def some(n):
        return rng.uniform(0.5, 2.0, n).astype("f4")

    lif = nir.LIF(*(some(4) for _ in range(5)))
    cuba = nir.CubaLIF(some(5), some(5), r=some(5), v_leak=some(5), v_threshold=some(5), w_in=some(5))
    path = written(
        tmp_path / "a.nir", chain(affine(3, 4), lif, affine(4, 5), cuba, affine(5, 4), nir.IF(some(4), some(4)), affine(4, 2))
    )

    def rate(_, node, u):
        return np.tanh(getattr(node, "v_leak", 0) + node.r * getattr(node, "w_in", 1) * u)

    inputs, network = rng.normal(size=(5, 3)).astype("f4"), Network.from_nir(path, activation="tanh")
    np.testing.assert_allclose(potentials(network, inputs), static(nir.read(path), inputs, rate), atol=1e-5)
    changed = {key: network.parameters[key] + 1 for key in network.plastic}
    network.with_parameters(changed).to_nir(tmp_path / "b.nir", like=path)
    found = static(nir.read(tmp_path / "b.nir"), inputs, rate)
    np.testing.assert_allclose(potentials(network.with_parameters(changed), inputs), found, atol=1e-4)
    np.testing.assert_array_equal(nir.read(tmp_path / "b.nir").nodes["lif"].r, lif.r)


def test_a_weight_learns_once_however_many_nodes_take_what_it_makes(tmp_path):
    nodes = {"in": nir.Input(np.array([3])), "fc": affine(3, 4), "a": neurons("LIF", 4), "b": neurons("IF", 4)}
    nodes |= {"last": affine(4, 2), "out": nir.Output(np.array([2]))}
    edges = [("in", "fc"), ("fc", "a"), ("fc", "b"), ("a", "last"), ("b", "last"), ("last", "out")]
    network = Network.from_nir(written(tmp_path / "a.nir", nir.NIRGraph(nodes, edges)), activation={"LIF": "tanh", "IF": "relu"})
    assert sum(network.parameters[key].size for key in network.plastic) == 3 * 4 + 4 + 4 * 2 + 2
    assert not network.projection("hidden1->hidden2").plastic


def test_options_override_only_themselves(tmp_path):
    network = Network.dense([3, 4, 5, 2], activation="tanh", loss="cross_entropy", dtype="float32")
    network.to_nir(tmp_path / "a.nir")

    def read(**options):
        found = Network.from_nir(tmp_path / "a.nir", **options)
        return [p.phi.name for p in found.populations[1:-1]], found.cost.name, found.dtype.name

    assert read() == (["tanh", "tanh"], "cross_entropy", "float32")
    assert read(activation="relu") == (["relu", "relu"], "cross_entropy", "float32")
    assert read(activation={"hidden2": "sin"}) == (["tanh", "sin"], "cross_entropy", "float32")
    assert read(activation={"LI": "sin"}, loss="squared_error") == (["sin", "sin"], "squared_error", "float32")
    for wrong in ("nonsense", {"LI": "nonsense"}, {"nobody": "tanh"}):
        with pytest.raises(UnknownNameError, match=r"nonsense|nobody"):
            read(activation=wrong)
    Network.dense([3, 2]).to_nir(tmp_path / "b.nir")
    with pytest.raises(UnknownNameError, match="nonsense"):
        Network.from_nir(tmp_path / "b.nir", activation="nonsense")


def test_a_file_like_one_of_ours_tells_this_network(tmp_path, same):
    Network.dense([3, 4, 2], activation="relu", seed=0).to_nir(tmp_path / "a.nir")
    new = Network.dense([3, 4, 2], activation="tanh", loss="cross_entropy", seed=1)
    new.to_nir(tmp_path / "b.nir", like=tmp_path / "a.nir")
    same(Network.from_nir(tmp_path / "b.nir"), new)
    assert nir.read(tmp_path / "b.nir").nodes["hidden1"].metadata["phi"] == "tanh"


def test_one_to_one_stays_so_under_a_bias(tmp_path, same):
    populations = [Population("input", 3), Population("h", 3, "tanh", 0.5), Population("output", 3, bias=0.1)]
    network = Network(populations, [Projection("input", "h", np.full(3, 2.0)), Projection("h", "output", np.full(3, 3.0))])
    network.to_nir(tmp_path / "a.nir")
    graph = nir.read(tmp_path / "a.nir")
    assert {type(node).__name__ for node in graph.nodes.values()} == {"Input", "Output", "LI", "Scale"}
    inputs = np.random.default_rng(0).normal(size=(4, 3))

    def rate(_, node, u):
        return ACTIVATIONS[node.metadata.get("phi", "identity")].rate(node.v_leak + node.r * u)

    np.testing.assert_allclose(static(graph, inputs, rate), potentials(network, inputs), atol=1e-12)
    same(Network.from_nir(tmp_path / "a.nir"), network)
    changed = network.with_parameters({key: one + 1 for key, one in network.parameters.items()})
    changed.to_nir(tmp_path / "b.nir", like=tmp_path / "a.nir")
    same(Network.from_nir(tmp_path / "b.nir"), changed)


@pytest.mark.parametrize("kind", ["LI", "CubaLI"])
def test_a_leaky_integrator_at_the_end_is_the_readout(tmp_path, kind):
    network = Network.from_nir(
        written(tmp_path / "a.nir", chain(affine(3, 4), neurons("LIF", 4), affine(4, 2), neurons(kind, 2))), activation="tanh"
    )
    assert [p.name for p in network.projections] == ["input->hidden1", "hidden1->output"]


def test_neurons_at_the_end_are_copied_onto_the_readout_one_to_one(tmp_path):
    path = written(tmp_path / "a.nir", chain(affine(3, 4), neurons("LIF", 4)))
    network = Network.from_nir(path, activation="tanh")
    copy = network.projection("hidden1->output")
    assert copy.one_to_one
    assert not copy.plastic
    assert (copy.weights == 1).all()
    readout = Network.from_nir(path, activation={"lif": "identity"})
    assert [p.name for p in readout.populations] == ["input", "output"]
    readout.to_nir(tmp_path / "b.nir", like=path)


def test_an_image_is_flattened(tmp_path):
    graph = chain(nir.Input(np.array([2, 3, 4])), nir.Flatten(np.array([2, 3, 4]), 0), affine(24, 2))
    assert Network.from_nir(written(tmp_path / "a.nir", graph)).population("input").size == 24


def test_consecutive_matrices_have_an_identity_between(tmp_path):
    network = Network.from_nir(written(tmp_path / "a.nir", chain(affine(3, 4), affine(4, 5), affine(5, 2))))
    assert [p.phi.name for p in network.populations] == ["identity"] * 4
    assert network.depth == 3


def test_everything_that_is_no_network_is_listed(tmp_path, refuses):
    conv = nir.Conv2d((4, 4), np.ones((1, 1, 3, 3)), 1, 1, 1, 1, np.zeros(1))
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    path = tmp_path / "a.nir"
    nir.write(
        path,
        nir.NIRGraph(
            {"i": nir.Input(np.array([1, 4, 4])), "c": conv, "p": pool, "o": nir.Output(np.array([1, 2, 2]))},
            [("i", "c"), ("c", "p"), ("p", "o")],
        ),
    )
    with refuses(NetworkError, "c (Conv2d)", "p (SumPool2d)"):
        Network.from_nir(path)


def test_a_recurrent_graph_names_its_cycle(tmp_path, refuses):
    nodes = {"i": nir.Input(np.array([3])), "w": affine(3, 3), "li": neurons("LI", 3), "o": nir.Output(np.array([3]))}
    path = written(tmp_path / "a.nir", nir.NIRGraph(nodes, [("i", "w"), ("w", "li"), ("li", "w"), ("li", "o")]))
    with refuses(CycleError, "w -> li -> w"):
        Network.from_nir(path)


def test_a_node_that_leads_nowhere_is_named(tmp_path, refuses):
    nodes = {"i": nir.Input(np.array([3])), "w": affine(3, 2), "lost": affine(3, 4), "o": nir.Output(np.array([2]))}
    path = written(tmp_path / "a.nir", nir.NIRGraph(nodes, [("i", "w"), ("w", "o"), ("i", "lost")], type_check=False))
    with refuses(NetworkError, "lost", "nowhere"):
        Network.from_nir(path)


@pytest.mark.parametrize(("kinds", "found"), [("f4", "float32"), ("f8", "float64"), ("f2", "float32"), ("f4 f8", "float64")])
def test_the_precision_is_the_files_or_the_one_asked_for(tmp_path, kinds, found):
    first, *rest = kinds.split()
    path = written(tmp_path / "a.nir", chain(affine(3, 4, first), affine(4, 2, *rest or [first])))
    assert Network.from_nir(path).dtype == found
    assert Network.from_nir(path, dtype="float64").dtype == np.float64


def test_the_loss_is_the_readers_or_the_one_noted(tmp_path):
    Network.dense([3, 4, 2], loss="cross_entropy").to_nir(tmp_path / "a.nir")
    assert Network.from_nir(tmp_path / "a.nir").cost.name == "cross_entropy"
    assert Network.from_nir(tmp_path / "a.nir", loss="squared_error").cost.name == "squared_error"


def test_metadata_that_no_longer_fit_are_not_believed(tmp_path):
    network = Network.dense([3, 4, 4, 2], activation="relu", seed=0)
    network.to_nir(tmp_path / "a.nir")
    with h5py.File(tmp_path / "a.nir", "r+") as file:
        file["node/nodes/hidden1/v_leak"][...] = 1.0
    found, inputs = Network.from_nir(tmp_path / "a.nir"), np.ones((1, 3))
    shifted = network.with_parameters({"hidden1.bias": np.ones(4)})
    np.testing.assert_allclose(potentials(found, inputs), potentials(shifted, inputs), atol=1e-12)


def test_what_is_there_stays_and_what_cannot_be_written_is_named(tmp_path, refuses):
    network = Network.dense([3, 2])
    network.to_nir(tmp_path / "a.nir")
    with refuses(OutputExistsError, "a.nir"):
        network.to_nir(tmp_path / "a.nir")
    own = Network.dense([3, 4, 2], activation=(np.tanh, lambda u: 1 - np.tanh(u) ** 2))
    with refuses(NetworkError, "tanh", "your own"):
        own.to_nir(tmp_path / "b.nir")
    with refuses(NetworkError, "specification"):
        network.structure().to_nir(tmp_path / "b.nir")
    assert [one.name for one in tmp_path.iterdir()] == ["a.nir"]
