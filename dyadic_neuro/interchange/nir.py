"""NIR, the Neuromorphic Intermediate Representation (Pedersen et al. 2024, Nature Communications 15, 8122), read and written."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np

from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import DataError, DyadicError, FileError, NetworkError, OptionError, UnknownNameError
from dyadic_neuro.interchange import graph, hdf5, records
from dyadic_neuro.interchange.graph import Link, Reading, Reduction, Signal, Slot
from dyadic_neuro.interchange.limits import MOST_EDGES, most_bytes, size_of
from dyadic_neuro.interchange.outputs import writing

NEURONS = {"I": "r", "IF": "r", "LIF": "r", "CubaLIF": "r", "Threshold": "threshold"}
"""Nodes that stand for a rate function of the user's choice, and the parameter that tells their number."""
_LEAKY = ("LI", "CubaLI")
_LEAKING = (*_LEAKY, "LIF", "CubaLIF")
_OTHERS = ("Input", "Output", "Affine", "Linear", "Scale", "Flatten", "NIRGraph")
_VERSION = "1.0.8"


def read(path: str | os.PathLike[str], activation: object = None) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the record and the parameters of the network in a file.

    `activation` stands for every spiking neuron's node and every rate function noted, or maps names or types of nodes to rate
    functions. A file that `write` made, and that still has its nodes and edges, needs none. Neurons are static: their gain r (and
    w_in) scales what they get, and v_leak is a bias.
    """
    root = _root(path, hdf5.read(path))
    reading = _ours(root, activation) or _reading(path, root, activation)
    return reading.record, reading.arrays


def write(
    path: str | os.PathLike[str],
    record: Mapping[str, Any],
    parameters: Mapping[str, Array],
    *,
    like: str | os.PathLike[str] | None,
    overwrite: bool,
    check: Callable[[], None],
) -> None:
    """Write a network: each population an LI node with its rate function in the metadata, each projection a matrix or a Scale.

    With `like`, write that file with these parameters. `check` refuses what metadata cannot hold, where some are written.
    """
    if like is None:
        check()
    tree = _tree(record, parameters) if like is None else _updated(like, record, parameters, check)
    with writing(path, overwrite=overwrite) as file:
        hdf5.write(file, tree)


def _root(path: str | os.PathLike[str], tree: hdf5.Tree) -> hdf5.Tree:
    root = tree.get("node")
    if not isinstance(root, dict) or str(root.get("type")) != "NIRGraph":
        raise FileError(str(path), "is not a NIR graph", "name a file that nir.write made")
    return root


def _reading(path: str | os.PathLike[str], root: hdf5.Tree, activation: object) -> Reading:
    try:
        return _reduced(*_flat(root, "", ()), activation, most_bytes(size_of(path)))
    except DyadicError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise FileError(
            str(path), f"is a NIR graph with a part missing or of a wrong kind ({error})", "use another copy"
        ) from None


# --- graphs of any tool ---------------------------------------------------------------------------------------------------

_Nodes = dict[str, tuple[tuple[str, ...], hdf5.Tree]]
_Edges = list[tuple[str, str]]


def _flat(tree: hdf5.Tree, prefix: str, place: tuple[str, ...]) -> tuple[_Nodes, _Edges]:
    """Return the nodes, with their places in the file, and the edges of a graph and of the graphs in it."""
    if len(tree["edges"]) > MOST_EDGES:
        raise NetworkError("edges", f"are {len(tree['edges'])}, more than {MOST_EDGES}", "use a smaller graph")
    nodes: _Nodes = {}
    edges: _Edges = []
    ends: dict[str, tuple[str, str]] = {}
    for name, node in tree["nodes"].items():
        if node["type"] != "NIRGraph":
            nodes[prefix + name] = ((*place, "nodes", name), node)
            continue
        inner, joined = _flat(node, f"{prefix}{name}.", (*place, "nodes", name))
        doors = [[key for key, (_, one) in inner.items() if one["type"] == kind] for kind in ("Input", "Output")]
        if len(doors[0]) != 1 or len(doors[1]) != 1:
            raise NetworkError(f"node {prefix}{name}", "has not one input and one output", "flatten the graph in it")
        ends[prefix + name] = doors[0][0], doors[1][0]
        for (door,) in doors:  # inside, they are wires
            inner[door] = (inner[door][0], {**inner[door][1], "type": "wire"})
        nodes.update(inner)
        edges += joined
    seen = set(edges)
    for source, target in tree["edges"]:
        pair = ends.get(prefix + source, (prefix + source,) * 2)[1], ends.get(prefix + target, (prefix + target,) * 2)[0]
        missing = [name for name in pair if name not in nodes]
        if missing or pair in seen:
            problem = f"names no node {missing}" if missing else "stands there twice"
            raise NetworkError(f"edge {source} -> {target}", problem, "check the file")
        seen.add(pair)
        edges.append(pair)
    return nodes, edges


def _reduced(nodes: _Nodes, edges: _Edges, activation: object, most: int) -> Reading:
    kinds = {name: str(node["type"]) for name, (_, node) in nodes.items()}
    foreign = {name: kind for name, kind in kinds.items() if kind not in (*_OTHERS, *_LEAKY, *NEURONS, "wire")}
    if foreign:
        problem = f"that no population or projection can be: {graph.listed(f'{name} ({kind})' for name, kind in foreign.items())}"
        raise NetworkError("nodes", problem, f"use {[*_OTHERS, *_LEAKY, *NEURONS]}")
    for kind in ("Input", "Output"):
        found = [name for name in kinds if kinds[name] == kind]
        if len(found) != 1:
            raise NetworkError("nodes", f"of type {kind}: {found[:20]}", "join them: a network has one input and one readout")
    neurons = {name: kind for name, kind in kinds.items() if kind in (*_LEAKY, *NEURONS)}
    rates = _rates(neurons, {name: _noted(nodes[name][1]) for name in neurons}, activation)
    order = graph.ordered(nodes, edges)
    sources: dict[str, list[str]] = {name: [] for name in order}
    for source, target in edges:
        sources[target].append(source)
    order.sort(key=lambda name: kinds[name] != "Input")  # stable: the reduction wants the input first, and the output last
    order.sort(key=lambda name: kinds[name] == "Output")
    takers = Counter(source for source, _ in edges)
    reduction = Reduction()
    signals: dict[str, Signal] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for name in order:
        place, node = nodes[name]
        if kinds[name] == "Input":
            shapes[name] = tuple(int(n) for n in np.ravel(node["shape"]))
            signals[name] = reduction.input(name, math.prod(shapes[name]))
            continue
        if not sources[name]:
            raise NetworkError(f"node {name}", "gets no signal", "connect or remove it")
        if len({shapes[one] for one in sources[name]}) > 1:
            raise NetworkError(f"node {name}", f"gets shapes {[shapes[one] for one in sources[name]]}", "check the file")
        x, shape = reduction.add(name, [signals[one] for one in sources[name]]), shapes[sources[name][0]]
        if kinds[name] == "Output":
            return reduction.output(x, most)
        x, shapes[name] = _signal(reduction, name, node, place, x, shape, rates.get(name))
        signals[name] = reduction.shared(x) if takers[name] > 1 else x
    raise NetworkError("nodes", "have no output", "add an Output node")


def _signal(
    reduction: Reduction, name: str, node: hdf5.Tree, place: tuple[str, ...], x: Signal, shape: tuple[int, ...], phi: object
) -> tuple[Signal, tuple[int, ...]]:
    """Return the signal and the shape that a node makes of its input."""
    kind = node["type"]

    def slot(field: str, *, flat: bool = False) -> Slot:
        values = node[field]
        if not isinstance(values, (np.ndarray, np.generic)):
            raise DataError(f"{field} of {name}", "is no array", "check the file")
        old = np.asarray(values)
        array = graph.real(f"{field} of {name}", old)
        return Slot((*place, field), array.ravel() if flat else array, lambda new: np.reshape(new, old.shape))

    if kind == "wire":
        return x, shape
    if kind == "Flatten":
        first, last = (int(node[end]) % max(len(shape), 1) for end in ("start_dim", "end_dim"))
        return x, (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])
    if kind in ("Affine", "Linear"):
        weights, bias = slot("weight"), slot("bias") if kind == "Affine" else None
        if weights.values.ndim != 2:
            raise NetworkError(f"node {name}", f"has weights of shape {weights.values.shape}", "use matrices (n_out, n_in)")
        return reduction.affine(name, _vector(name, x, shape), weights, bias), (len(weights.values),)
    if kind == "Scale":
        _same_shape(name, np.shape(node["scale"]), shape)
        return reduction.affine(name, x, slot("scale", flat=True)), shape
    _same_shape(name, np.shape(node[NEURONS.get(kind, "r")]), shape)
    gains = [slot(field, flat=True) for field in ("r", "w_in") if field in node]
    for gain in (one for one in gains if one.values.size not in (1, x.size) or not (one.values == 1).all()):
        x = reduction.affine(name, x, gain, plastic=False)
    if kind in _LEAKING and (leak := slot("v_leak", flat=True)).values.any():
        x = reduction.affine(name, x, None, leak)
    return reduction.rate(name, x, phi), shape


def _vector(name: str, x: Signal, shape: tuple[int, ...]) -> Signal:
    if sum(n != 1 for n in shape) > 1:
        raise NetworkError(f"node {name}", f"gets an array of shape {shape}, not a vector", "put a Flatten node before it")
    return x


def _same_shape(name: str, own: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if [n for n in own if n != 1] != [n for n in shape if n != 1]:
        raise NetworkError(f"node {name}", f"has shape {own} and gets {shape}", "check the file")


def _noted(node: hdf5.Tree) -> object:
    """Return the rate function that the metadata of a node name, or None."""
    metadata = node.get("metadata")
    return metadata.get("phi") if isinstance(metadata, dict) else None


def _rates(kinds: Mapping[str, str], noted: Mapping[str, object], activation: object) -> dict[str, Any]:
    """Return the rate function of each neurons' node: chosen by its name, its type, or for all; otherwise the one noted.

    What leaks without spikes is an identity unless something else is noted or chosen by name or type.
    """
    chosen = activation if isinstance(activation, Mapping) else {}
    names = {*kinds, *kinds.values()}
    for key in chosen:
        if key not in names:
            raise UnknownNameError("activation", f"no node or type is called {key!r}", f"use some of {sorted(names)}")
    found, missing = {}, []
    for name, kind in kinds.items():
        linear = kind in _LEAKY and noted[name] in (None, "identity")
        every = None if activation is chosen or linear else activation
        choices = [chosen.get(name), chosen.get(kind), every, noted[name], "identity" if linear else None]
        found[name] = next((choice for choice in choices if choice is not None), None)
        if found[name] is None:
            missing.append(f"{name} ({kind})")
    if missing:
        problem = f"is wanted for {', '.join(missing)}: neurons that spike have no rate function in the file"
        raise OptionError("activation", problem, 'pass activation="tanh", or a mapping like {"LIF": "relu"}')
    return found


# --- graphs of our own ----------------------------------------------------------------------------------------------------


def _layout(record: Mapping[str, Any], links: Iterable[Link]) -> tuple[dict[str, str], list[tuple[str, str]], dict[str, str]]:
    """Return the types of the nodes, the edges, and the nodes that hold the biases: v_leak of LI, where no matrix comes in."""
    types, edges = {}, []
    for name, *_ in record["populations"]:
        types[name] = "Input" if name == record["input"] else "Output" if name == record["output"] else "LI"
    leaks = {name: name if types[name] == "LI" else f"{name}.potential" for name in graph.apart(record, links)}
    for name, holder in leaks.items():
        types[holder] = "LI"
        edges += [] if holder == name else [(holder, name)]
    for link in links:
        types[link.key] = "Affine" if link.biased else "Linear" if len(link.shape) == 2 else "Scale"
        edges += [(link.source, link.key), (link.key, leaks.get(link.target, link.target))]
    return types, edges, leaks


def _tree(record: Mapping[str, Any], parameters: Mapping[str, Array]) -> hdf5.Tree:
    links = graph.to_write(record)
    types, edges, leaks = _layout(record, links)
    nodes: hdf5.Tree = {name: {"type": kind} for name, kind in types.items()}
    sizes = {name: size for name, size, *_ in record["populations"]}
    sizes |= {holder: sizes[name] for name, holder in leaks.items()}
    for name in (one for one in types if one in sizes):
        one, zero = (np.full(sizes[name], value, record["dtype"]) for value in (1, 0))
        nodes[name] |= {"tau": one, "r": one, "v_leak": zero} if types[name] == "LI" else {"shape": np.array([sizes[name]])}
    for name, _, phi, _ in (one for one in record["populations"] if types[one[0]] == "LI"):
        nodes[name]["metadata"] = {"phi": phi}
    for name, holder in leaks.items():
        nodes[holder]["v_leak"] = parameters[f"{name}.bias"]
    for link in links:
        nodes[link.key][_field(link)] = link.spread(parameters[link.key])
        if link.biased:
            nodes[link.key]["bias"] = parameters[f"{link.target}.bias"]
    metadata = {records.MARK: records.noted(record), "not_held": records.NOT_HELD}
    joined = [list(edge) for edge in edges]
    return {"version": _VERSION, "node": {"type": "NIRGraph", "nodes": nodes, "edges": joined, "metadata": metadata}}


def _field(link: Link) -> str:
    return "weight" if len(link.shape) == 2 else "scale"


def _ours(root: hdf5.Tree, activation: object = None) -> Reading | None:
    """Return what `write` wrote, or None if the graph is not, or no longer, the one that its metadata describe."""
    metadata = root.get("metadata")
    record = records.record_of(metadata.get(records.MARK)) if isinstance(metadata, dict) else None
    if record is None:
        return None
    try:
        reading = _described(root, record)
        noted = {name: phi for name, _, phi, _ in record["populations"]}
        hidden = {name: "LI" for name in noted if name not in (record["input"], record["output"])}
    except records.BROKEN:
        return None
    if reading is None or activation is None:
        return reading
    rates = noted | _rates(hidden, noted, activation)
    populations = [[name, size, rates[name], biased] for name, size, _, biased in record["populations"]]
    return replace(reading, record={**record, "populations": populations})


def _described(root: hdf5.Tree, record: dict[str, Any]) -> Reading | None:
    """Return the parameters of the network of `record`, or None if the graph is of another. Raises what damage raises."""
    nodes, links = root["nodes"], graph.links(record)
    types, edges, leaks = _layout(record, links)
    reading = Reading(record, {}, {}, {name: name for name, *_ in record["populations"]})
    sizes = {name: size for name, size, *_ in record["populations"]}
    sizes |= {holder: sizes[name] for name, holder in leaks.items()}
    if {name: node["type"] for name, node in nodes.items()} != types or sorted(map(tuple, root["edges"])) != sorted(edges):
        return None
    for name, size in sizes.items():
        node = nodes[name]
        if types[name] != "LI" and np.ravel(node["shape"]).tolist() != [size]:
            return None
        if types[name] == "LI" and (np.shape(node["r"]) != (size,) or not (node["r"] == 1).all()):
            return None
        if types[name] == "LI" and name not in leaks.values() and np.any(node["v_leak"]):
            return None
    holders = {name: (holder, "v_leak") for name, holder in leaks.items()}
    for link in links:
        held = link.gathered(graph.real(f"weights of {link.key}", nodes[link.key][_field(link)]))
        if held is None:
            return None
        reading.arrays[link.key] = held
        reading.slots[link.key] = [Slot(("nodes", link.key, _field(link)), held, link.spread)]
        if link.biased:
            holders[link.target] = (link.key, "bias")
    for name, (node, field) in holders.items():
        bias = graph.real(f"bias of {name}", nodes[node][field])
        reading.arrays[f"{name}.bias"] = bias
        reading.slots[f"{name}.bias"] = [Slot(("nodes", node, field), bias, lambda new: new)]
    return reading


def _updated(
    like: str | os.PathLike[str], record: Mapping[str, Any], parameters: Mapping[str, Array], check: Callable[[], None]
) -> hdf5.Tree:
    """Return the tree of the file `like` with these parameters. Raises NetworkError if it is of another network."""
    tree = hdf5.read(like)
    root = _root(like, tree)
    # what spikes last may have been chosen to be the readout itself, by calling it an identity
    readings = [one for one in (_ours(root), _reading(like, root, "-"), _reading(like, root, "identity")) if one]
    reading = next((one for one in readings if records.alike(one.record, record)), readings[0])
    places = graph.replacements(reading, record, parameters, str(like))
    for place, array in places.items():
        branch = root
        *path, field = cast(tuple[str, ...], place)
        for name in path:
            branch = branch[name]
        branch[field] = graph.narrowed(f"{field} of {path[-1]}", array, np.asarray(branch[field]).dtype)
    nodes, phis = _flat(root, "", ())[0], {name: phi for name, _, phi, _ in record["populations"]}
    known = [(nodes[node][1], phis[name]) for name, node in reading.nodes.items() if node in nodes]
    noted = [(node["metadata"], phi) for node, phi in known if _noted(node) is not None]
    metadata = root.get("metadata")
    marked = isinstance(metadata, dict) and records.MARK in metadata
    if marked or noted:
        check()
    for entry, phi in noted:
        entry["phi"] = phi
    if marked:
        cast(hdf5.Tree, metadata)[records.MARK] = records.noted({**record, "dtype": reading.record["dtype"]})
    return tree
