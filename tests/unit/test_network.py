"""The description: how a network is built, what is refused, how deep it is, what it learns, and its files."""

import copy
import dataclasses
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyadic_neuro import backprop
from dyadic_neuro.activations import ACTIVATIONS
from dyadic_neuro.errors import CycleError, DataError, FileError, NetworkError, OptionError, OutputExistsError, UnknownNameError
from dyadic_neuro.losses import LOSSES
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection

seeds = st.integers(0, 2**32 - 1)
IN, OUT = Population("input", 2), Population("output", 3, bias=0.5)
A, B = Population("a", 4, "tanh", [1, 2, 3, 4]), Population("b", 1, "relu")


def joined(*edges, **options):
    """Return projections along "a->b", of ones; fixed where an option says so."""
    sizes = {p.name: p.size for p in (IN, OUT, A, B)}
    return [Projection(*edge.split("->"), np.ones([sizes[n] for n in edge.split("->")[::-1]]), **options) for edge in edges]


def small(**changes):
    """Return input -> a -> b -> output with a skip a -> output."""
    arguments = {"populations": [IN, A, B, OUT], "projections": joined("input->a", "a->b", "b->output", "a->output")}
    return Network(**arguments | changes)


# --- chains --------------------------------------------------------------------------------------------------------------


def test_dense_is_a_named_chain():
    net = Network.dense([5, 4, 3, 2], activation="sin", loss="cross_entropy", seed=3)
    assert [(p.name, p.size, p.phi.name) for p in net.populations] == [
        ("input", 5, "identity"),
        ("hidden1", 4, "sin"),
        ("hidden2", 3, "sin"),
        ("output", 2, "identity"),
    ]
    assert {key: values.shape for key, values in net.parameters.items()} == {
        "input->hidden1": (4, 5),
        "hidden1->hidden2": (3, 4),
        "hidden2->output": (2, 3),
        "hidden1.bias": (4,),
        "hidden2.bias": (3,),
        "output.bias": (2,),
    }
    assert net.plastic == tuple(net.parameters)
    assert (net.cost.name, net.input, net.output, net.dtype) == ("cross_entropy", "input", "output", np.float64)
    assert not any(values.any() for key, values in net.parameters.items() if key.endswith(".bias"))
    assert repr(net) == "Network(input 5, hidden1 4 sin, hidden2 3 sin, output 2; 3 projections; cross_entropy; float64; depth 3)"


@pytest.mark.parametrize("length", range(1, 9))
def test_a_chain_is_as_deep_as_it_has_projections_and_relaxes_in_twice_as_many_steps(length):
    net = Network.dense([2] * (length + 1))
    names = [p.name for p in net.populations]
    assert (net.depth, net.relaxation_steps) == (length, 2 * length)
    assert list(net.order) == names
    assert net.depths == {name: i for i, name in enumerate(names)}
    assert net.heights == {name: length - i for i, name in enumerate(names)}


def test_weights_are_drawn_layer_by_layer_with_variance_1_over_sources():
    rng = np.random.default_rng(12)
    for key, shape in (("input->hidden1", (3, 7)), ("hidden1->output", (2, 3))):
        wanted = rng.normal(0, 1, shape) * shape[1] ** -0.5
        np.testing.assert_allclose(Network.dense([7, 3, 2], seed=12).parameters[key], wanted, rtol=1e-14)


def test_a_seed_gives_the_same_bits_and_another_seed_others():
    first, again, other = (Network.dense([4, 3, 2], seed=seed).parameters for seed in (5, np.int64(5), 6))
    assert all(first[key].tobytes() == again[key].tobytes() for key in first)
    assert not any(np.array_equal(first[key], other[key]) for key in first if "->" in key)


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32, np.dtype("float64")])
def test_dtype_belongs_to_the_network(dtype):
    net = Network.dense([2, 3, 1], dtype=dtype)
    assert net.dtype == np.dtype(dtype)
    assert all(values.dtype == dtype for values in net.parameters.values())
    assert all(values.dtype == dtype for values in backprop(net, [[1, 2]], [[0.5]]).values())


@pytest.mark.parametrize("dtype", ["float16", "int64", "complex128", "nonsense", 3])
def test_another_dtype_is_refused(dtype, refuses):
    with refuses(NetworkError, "dtype", "float64", "float32"):
        Network.dense([2, 1], dtype=dtype)


@pytest.mark.parametrize("size", [0, -1, 2.5, 2.0, True, "64", None, float("nan"), [2]])
@pytest.mark.parametrize("place", range(3))
def test_odd_sizes_are_refused(size, place, refuses):
    sizes = [2, 2, 2]
    sizes[place] = size
    with refuses(NetworkError, f"size of {('input', 'hidden1', 'output')[place]}", repr(size), "at least 1"):
        Network.dense(sizes)


@pytest.mark.parametrize("sizes", [[], [3], (), 5, None, "23", b"23", {2, 3}, (n for n in (2, 3))])
def test_what_is_no_list_of_sizes_is_refused(sizes, refuses):
    with refuses(NetworkError, "sizes", "at least two"):
        Network.dense(sizes)


def test_sizes_may_be_numbers_of_numpy():
    net = Network.dense(np.array([2, 3, 1]))
    assert [p.size for p in net.populations] == [2, 3, 1]
    assert all(type(p.size) is int for p in net.populations)


@pytest.mark.parametrize("sizes", [[2**40, 2**40], [2**20, 2**30], [10**30, 2]])
def test_sizes_that_no_memory_holds_are_refused(sizes, refuses):
    with refuses(NetworkError, "sizes", str(max(sizes))):
        Network.dense(sizes)


@pytest.mark.parametrize("seed", [-1, 1.0, True, "0", None])
def test_odd_seeds_are_refused(seed, refuses):
    with refuses(OptionError, "seed", repr(seed), "at least 0"):
        Network.dense([2, 1], seed=seed)


def test_unknown_names_are_refused(refuses):
    with refuses(UnknownNameError, "activation", "swish", *ACTIVATIONS):
        Network.dense([2, 2, 1], activation="swish")
    with refuses(UnknownNameError, "loss", "hinge", *LOSSES):
        Network.dense([2, 1], loss="hinge")
    net = small()
    with refuses(UnknownNameError, "population", "'c'", "input", "output"):
        net.population("c")
    with refuses(UnknownNameError, "projection", "'b->a'", "a->b"):
        net.projection("b->a")


# --- any graph -----------------------------------------------------------------------------------------------------------


def test_populations_and_projections_with_a_skip():
    net = small()
    assert net.population("a").size == 4
    assert net.projection("a->output").weights.shape == (3, 4)
    assert [p.name for p in net.dynamic] == ["a", "b", "output"]
    assert [p.name for p in net.incoming["output"]] == ["b->output", "a->output"]
    assert [p.name for p in net.outgoing["a"]] == ["a->b", "a->output"]
    assert (net.incoming["input"], net.outgoing["output"]) == ((), ())
    assert {name: phi.name for name, phi in net.activations.items()} == {
        "input": "identity",
        "a": "tanh",
        "b": "relu",
        "output": "identity",
    }
    assert (net.depth, net.depths["b"], net.heights["a"]) == (3, 2, 2)
    assert set(net.parameters) == {"input->a", "a->b", "b->output", "a->output", "a.bias", "output.bias"}  # b has no bias
    np.testing.assert_array_equal(net.parameters["a.bias"], [1, 2, 3, 4])
    np.testing.assert_array_equal(net.parameters["output.bias"], [0.5, 0.5, 0.5])


def test_input_and_readout_may_have_any_name():
    net = Network(
        [Population("eye", 2), Population("hand", 1)], [Projection("eye", "hand", np.ones((1, 2)))], input="eye", output="hand"
    )
    assert (net.depth, list(net.order), [p.name for p in net.dynamic]) == (1, ["eye", "hand"], ["hand"])
    assert backprop(net, [[1, 2]], [[0]])["eye->hand"].tolist() == [[3, 6]]


def test_a_network_is_frozen_and_keeps_nothing_of_the_arrays_it_was_given():
    weights, bias = np.ones((3, 2)), np.ones(3)
    net = Network([IN, Population("output", 3, bias=bias)], [Projection("input", "output", weights)])
    assert not np.shares_memory(net.parameters["input->output"], weights)
    weights[:] = bias[:] = np.nan
    assert all((values == 1).all() for values in net.parameters.values())
    for values in [*net.parameters.values(), net.projections[0].transposed().weights]:
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 2
    with pytest.raises(TypeError):
        net.parameters["input->output"] = weights
    for thing, name in ((net, "loss"), (net, "dtype"), (net.populations[1], "bias"), (net.projections[0], "weights")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, name, None)
    assert isinstance(net.populations, tuple)
    assert isinstance(net.projections, tuple)


def longest(edges, start, end):
    """The longest path by trying all of them; None without a path."""
    if start == end:
        return 0
    lengths = [longest(edges, b, end) for a, b in edges if a == start]
    return max((1 + length for length in lengths if length is not None), default=None)


@given(seed=seeds)
def test_depth_height_and_order_of_a_dag_by_trying_all_paths(random_network, seed):
    net = random_network(seed)
    edges = [(p.source, p.target) for p in net.projections]
    assert sorted(net.order) == sorted(p.name for p in net.populations)
    assert all(net.order.index(a) < net.order.index(b) for a, b in edges)
    assert net.depths == {p.name: longest(edges, "input", p.name) for p in net.populations}
    assert net.heights == {p.name: longest(edges, p.name, "output") for p in net.populations}
    assert net.depth == net.depths["output"] == net.heights["input"]
    assert net.relaxation_steps == 2 * net.depth
    assert net.cycle is None


@given(seed=seeds)
def test_depth_and_height_of_a_dag_against_networkx(random_network, seed):
    nx = pytest.importorskip("networkx", reason="comes with Lava; the core alone is judged by all paths, above")
    net = random_network(seed, hidden=12)
    graph = nx.DiGraph([(p.source, p.target) for p in net.projections])
    for name in graph:
        assert net.depths[name] == nx.dag_longest_path_length(graph.subgraph(nx.ancestors(graph, name) | {name}))
        assert net.heights[name] == nx.dag_longest_path_length(graph.subgraph(nx.descendants(graph, name) | {name}))


# --- cycles --------------------------------------------------------------------------------------------------------------


@given(seed=seeds)
def test_a_cycle_is_named_in_the_direction_of_its_edges(random_network, refuses, seed):
    dag = random_network(seed)
    rng = np.random.default_rng(seed)
    source = rng.choice([p.name for p in dag.dynamic])
    above = [
        name
        for name in dag.depths
        if name != "input" and longest([(p.source, p.target) for p in dag.projections], name, source) is not None
    ]
    target = rng.choice(above)
    back = Projection(source, target, np.ones((dag.population(target).size, dag.population(source).size)))
    net = Network(dag.populations, [*dag.projections, back])
    edges = {(p.source, p.target) for p in net.projections}
    assert net.cycle[0] == net.cycle[-1]
    assert len(set(net.cycle)) == len(net.cycle) - 1 >= 1
    assert set(pairwise(net.cycle)) <= edges
    for name in ("depth", "relaxation_steps", "depths", "heights", "order"):
        with refuses(CycleError, "network", " -> ".join(net.cycle), "number of steps"):
            getattr(net, name)
    assert repr(net).endswith("cyclic)")


@pytest.mark.parametrize(
    ("edge", "cycle"),
    [("a->a", {"a"}), ("b->a", {"a", "b"}), ("output->a", {"a", "b", "output"}), ("output->output", {"output"})],
)
def test_cycles_of_one_and_of_many(edge, cycle):
    net = small(projections=joined("input->a", "a->b", "b->output", edge))
    assert set(net.cycle) == cycle
    assert set(net.parameters) >= {edge}


# --- what is refused -----------------------------------------------------------------------------------------------------


def identity(u):
    return 2 * u  # goes by the name of a built-in only


TWICE = identity, lambda u: np.full_like(u, 2)
CHAIN = joined("input->a", "a->output")
WRONG = {
    "two of a name": ({"populations": [IN, A, A, OUT]}, "populations", "two are called 'a'"),
    "no input": ({"populations": [A, OUT]}, "input", "'input'"),
    "no readout": ({"populations": [IN, A]}, "output", "'output'"),
    "another input": ({"input": "eye"}, "input", "'eye'"),
    "another readout": ({"output": "hand"}, "output", "'hand'"),
    "one for both": ({"output": "input"}, "output", "same population"),
    "nothing at all": ({"populations": [], "projections": []}, "input", "no population"),
    "input with a rate": ({"populations": [Population("input", 2, "tanh"), A, OUT]}, "activation of input", "'identity'"),
    "readout with a rate": ({"populations": [IN, A, Population("output", 3, "tanh")]}, "activation of output", "loss holds"),
    "input with another identity": (
        {"populations": [Population("input", 2, TWICE), A, OUT]},
        "activation of input",
        "'identity'",
    ),
    "input with a bias": ({"populations": [Population("input", 2, bias=0.0), A, OUT]}, "bias of input", "clamped"),
    "unknown source": ({"projections": [*CHAIN, Projection("c", "a", np.ones((4, 1)))]}, "projection c->a", "'c'"),
    "unknown target": ({"projections": [*CHAIN, Projection("a", "c", np.ones((1, 4)))]}, "projection a->c", "'c'"),
    "twice": ({"projections": CHAIN + joined("input->a")}, "projection input->a", "twice"),
    "into the input": ({"projections": CHAIN + joined("a->input")}, "projection a->input", "clamped"),
    "dead end": ({"populations": [IN, A, B, OUT], "projections": CHAIN + joined("a->b")}, "populations", "['b'] on no path"),
    "no source": (
        {"populations": [IN, A, B, OUT], "projections": CHAIN + joined("b->output")},
        "populations",
        "['b'] on no path",
    ),
    "island": ({"populations": [IN, A, B, OUT]}, "populations", "['b'] on no path"),
    "island that loops": (
        {"populations": [IN, A, B, OUT], "projections": CHAIN + joined("b->b")},
        "populations",
        "['b'] on no path",
    ),
    "cut": ({"projections": joined("input->a")}, "populations", "on no path from 'input' to 'output'"),
    "no projections": ({"projections": []}, "populations", "on no path"),
    "dtype": ({"dtype": "float16"}, "dtype", "float64"),
    "tuples for populations": ({"populations": [("input", 2), ("output", 3)]}, "populations", "Population"),
    "tuples for projections": ({"projections": [("input", "output", np.ones((3, 2)))]}, "projections", "Projection"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_graph_is_refused_by_name(case, refuses):
    changes, field, says = WRONG[case]
    with refuses(NetworkError, field, says):
        Network(**{"populations": [IN, A, OUT], "projections": CHAIN} | changes)


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a/b", "a->b", None, 1])
def test_names_that_would_spoil_keys_are_refused(name, refuses):
    with refuses(NetworkError, "population name", repr(name)):
        Population(name, 1)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (np.ones((2, 3)), "shape (2, 3), not (3, 2)"),
        (np.ones(6), "shape (6,)"),
        (1.0, "shape ()"),
        ([[1, 2], [3, 4], [5, np.nan]], "nan at (2, 1)"),
        ([[1, -np.inf], [3, 4], [5, 6]], "-inf at (0, 1)"),
        ([["a", "b"]] * 3, "not an array of real numbers"),
        (None, "not an array of real numbers"),
    ],
)
def test_wrong_weights_are_refused(weights, says, refuses):
    with refuses(DataError, "weights of input->output", says):
        Network([IN, OUT], [Projection("input", "output", weights)])


@pytest.mark.parametrize(
    ("bias", "says"),
    [
        ([1, 2], "shape (2,), not (3,)"),
        ([[1, 2, 3]], "shape (1, 3)"),
        ([1, 2, np.inf], "inf at (2,)"),
        (np.nan, "nan"),
        ("a", "real numbers"),
    ],
)
def test_wrong_biases_are_refused(bias, says, refuses):
    with refuses(DataError, "bias of output", says):
        Network([IN, Population("output", 3, bias=bias)], joined("input->output"))


# --- parameters ----------------------------------------------------------------------------------------------------------


def test_with_parameters_replaces_some_and_leaves_the_first_network_alone():
    net = small()
    other = net.with_parameters({"a->b": [[1, 2, 3, 4]], "output.bias": [1, 2, 3]})
    assert other.parameters["a->b"].tolist() == [[1, 2, 3, 4]]
    assert other.parameters["output.bias"].tolist() == [1, 2, 3]
    assert {key for key in net.parameters if not np.array_equal(net.parameters[key], other.parameters[key])} == {
        "a->b",
        "output.bias",
    }
    assert net.parameters["a->b"].tolist() == [[1, 1, 1, 1]]
    assert (other.fingerprint, other.plastic, list(other.parameters)) == (net.fingerprint, net.plastic, list(net.parameters))
    with pytest.raises(ValueError, match="read-only"):
        other.parameters["a->b"][0] = 2


def test_with_parameters_refuses_what_does_not_fit(refuses):
    net = small()
    for key in ("b.bias", "a->a", "nonsense", "input.bias"):
        with refuses(UnknownNameError, "parameters", repr(key), "a.bias"):
            net.with_parameters({key: [1]})
    with refuses(DataError, "weights of a->b", "(1, 3), not (1, 4)"):
        net.with_parameters({"a->b": [[1, 2, 3]]})
    with refuses(DataError, "bias of a", "nan"):
        net.with_parameters({"a.bias": [1, 2, np.nan, 4]})


def test_fixed_projections_are_parameters_that_do_not_learn():
    net = small(projections=[*joined("input->a", "b->output", "a->output"), *joined("a->b", plastic=False)])
    assert "a->b" in net.parameters
    assert set(net.plastic) == set(net.parameters) - {"a->b"}
    assert set(backprop(net, [[1, 2]], [0])) == set(net.plastic)
    assert not net.with_parameters({"a->b": [[2, 2, 2, 2]]}).projection("a->b").plastic
    assert not net.projection("a->b").transposed().plastic


def test_a_projection_sends_forward_backward_and_reads_the_mean_outer_product():
    p = Projection("k", "v", np.array([[1.0, 2, 3], [4, 5, 6]]))
    r, s = np.array([[1.0, 0, -1], [2, 1, 0]]), np.array([[1.0, -1], [0.5, 2]])
    assert p.forward(r).tolist() == [[-2, -2], [4, 13]]
    assert p.backward(s).tolist() == [[-3, -3, -3], [8.5, 11, 13.5]]
    assert p.transposed().forward(s).tolist() == p.backward(s).tolist()
    assert (p.transposed().source, p.transposed().target, p.transposed().weights.shape) == ("v", "k", (3, 2))
    assert p.outer(s, r).tolist() == [[1, 0.25, -0.5], [1.5, 1, 0.5]]
    assert p.outer(s[:1], r[:1]).tolist() == [[1, 0, -1], [-1, 0, 1]]


# --- files ---------------------------------------------------------------------------------------------------------------


def same(first, second):
    assert first.fingerprint == second.fingerprint
    assert (first.input, first.output, first.dtype, first.loss) == (second.input, second.output, second.dtype, second.loss)
    for a, b in zip(first.populations, second.populations, strict=True):
        assert (a.name, a.size, a.activation, a.bias is None) == (b.name, b.size, b.activation, b.bias is None)
    assert [(p.name, p.plastic) for p in first.projections] == [(p.name, p.plastic) for p in second.projections]
    assert list(first.parameters) == list(second.parameters)
    for key, values in first.parameters.items():
        assert values.tobytes() == second.parameters[key].tobytes()
        assert values.dtype == second.parameters[key].dtype
        assert not second.parameters[key].flags.writeable


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_saved_network_comes_back_bit_for_bit(activation, loss, dtype, tmp_path):
    net = Network.dense([3, 4, 2], activation, loss, seed=1, dtype=dtype)
    net.save(tmp_path / "net.npz")
    same(Network.load(tmp_path / "net.npz"), net)


@given(seed=seeds)
def test_a_saved_dag_comes_back_bit_for_bit(random_network, tmp_path_factory, seed):
    path = tmp_path_factory.getbasetemp() / "dag.npz"
    net = random_network(seed, activations=list(ACTIVATIONS), fixed=0.3, dtype="float32" if seed % 2 else "float64")
    net.save(path, overwrite=True)
    same(Network.load(str(path)), net)


def test_cycles_and_other_names_survive_a_file(tmp_path):
    net = Network(
        [Population("eye", 2), Population("höhe", 1, "sin"), Population("hand", 1)],
        [
            Projection("eye", "höhe", np.ones((1, 2))),
            Projection("höhe", "höhe", np.ones((1, 1))),
            Projection("höhe", "hand", np.ones((1, 1))),
        ],
        input="eye",
        output="hand",
    )
    net.save(tmp_path / "any name")  # the name is taken as it is, without .npz put behind it
    assert [path.name for path in tmp_path.iterdir()] == ["any name"]
    same(Network.load(tmp_path / "any name"), net)


def test_a_file_holds_plain_arrays_only(tmp_path):
    small().save(tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz", allow_pickle=False) as file:
        assert all(file[name].dtype.kind in "fU" for name in file.files)


def test_an_existing_file_is_left_alone_unless_asked(tmp_path, refuses):
    path = tmp_path / "net.npz"
    path.write_text("precious")
    with refuses(OutputExistsError, str(path), "already there", "overwrite"):
        small().save(path)
    assert path.read_text() == "precious"
    small().save(path, overwrite=True)
    same(Network.load(path), small())
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]


def test_functions_of_the_user_are_not_saved(tmp_path, refuses):
    def tanh(u):  # of the same name as a built-in
        return np.tanh(u)

    def cost(u, y):
        return ((u - y) ** 2).sum(axis=1)

    for options, name in (
        ({"activation": (tanh, lambda u: 1 - np.tanh(u) ** 2)}, "'tanh'"),
        ({"loss": (cost, lambda u, y: 2 * (u - y))}, "'cost'"),
    ):
        with refuses(NetworkError, "save", name, "with_parameters"):
            Network.dense([2, 2, 2], **options).save(tmp_path / "net.npz")
    assert not list(tmp_path.iterdir())


def test_a_network_that_contradicts_itself_is_no_network(tmp_path, refuses):
    from dyadic_neuro.interchange import npz

    net, path = small(), tmp_path / "net.npz"
    good, arrays = net.record(), dict(net.parameters)
    changes = [
        {"loss": "hinge"},
        {"input": "eye"},
        {"dtype": "float16"},
        {"populations": 5},
        {"populations": [["input", 2]]},
        {"populations": [*good["populations"], ["c", 2, "tanh", True]]},
        {"projections": [["input", "a", True], ["a", "c", True]]},
    ]
    for change in changes:
        npz.write(path, "network", good | change, arrays, overwrite=True)
        with refuses(FileError, str(path), "does not describe a network"):
            Network.load(path)
    for key, values in arrays.items():
        missing = {k: v for k, v in arrays.items() if k != key}
        for wrong in (missing, missing | {key: values[..., :-1]}, missing | {key: values * np.nan}):
            npz.write(path, "network", good, wrong, overwrite=True)
            with refuses(FileError, str(path), "does not describe a network"):
                Network.load(path)
    for key in good:
        npz.write(path, "network", {k: v for k, v in good.items() if k != key}, arrays, overwrite=True)
        with refuses(FileError, str(path), key):
            Network.load(path)


def test_the_fingerprint_tells_structures_apart_and_not_values():
    others = [
        Network.dense([2, 3, 2]),
        Network.dense([2, 4, 2]),
        Network.dense([2, 3, 3, 2]),
        Network.dense([2, 3, 2], activation="relu"),
        Network.dense([2, 3, 2], loss="cross_entropy"),
        Network.dense([2, 3, 2], dtype="float32"),
        small(),
        small(projections=joined("input->a", "a->b", "b->output")),
        small(projections=joined("input->a", "a->b", "b->output", "a->output", plastic=False)),
        small(populations=[IN, A, Population("b", 1, "relu", bias=0.0), OUT]),
    ]
    assert len({net.fingerprint for net in others}) == len(others)
    assert Network.dense([2, 3, 2], seed=1).fingerprint == others[0].fingerprint


def test_the_fingerprint_tells_functions_of_the_user_apart():
    # a checkpoint is compared by it: two lambdas of the same name are two different runs
    first = Network.dense([2, 3, 2], activation=(lambda u: u * u, lambda u: 2 * u))
    second = Network.dense([2, 3, 2], activation=(lambda u: np.exp(u) * 1, lambda u: np.exp(u) * 1))
    builtin = Network.dense([2, 3, 2], activation=(np.tanh, lambda u: 1.5 - np.tanh(u) ** 2 - 0.5))
    assert len({net.fingerprint for net in (first, second)}) == 2
    assert builtin.fingerprint != Network.dense([2, 3, 2], activation="tanh").fingerprint


@pytest.mark.parametrize("travel", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"])
def test_networks_travel_to_other_processes(travel):
    net = Network.dense([2, 3, 2], activation="gelu", loss="cross_entropy", seed=3)
    assert net.depth == 2
    assert net.parameters
    found = travel(net)
    assert found.fingerprint == net.fingerprint
    assert found.activations["hidden1"] is net.activations["hidden1"]
    assert all(np.array_equal(found.parameters[key], net.parameters[key]) for key in net.parameters)
