"""The description: populations joined by projections, with a loss on the readout. Frozen, no state, no backend."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from dyadic_neuro.activations import ACTIVATIONS, named
from dyadic_neuro.arrays import Array
from dyadic_neuro.errors import DyadicError, FileError, NetworkError, OptionError, UnknownNameError
from dyadic_neuro.graph import Graph
from dyadic_neuro.interchange import nir, npz, onnx, torch_state
from dyadic_neuro.losses import LOSSES, Loss, loss
from dyadic_neuro.population import ActivationSpec, Population
from dyadic_neuro.projection import Projection
from dyadic_neuro.wellformed import check_functions, check_graph, float_type, frozen_population, frozen_projection, no_values

LossSpec = str | Loss | tuple[Callable[[Array, Array], Array], Callable[[Array, Array], Array]]


@dataclass(frozen=True, eq=False)
class Network(Graph):
    """Populations joined by projections (at most one per ordered pair), and a loss on the readout's potentials.

    The `input` population shows the clamped input: it has neither bias nor rate function. The `output` population, the
    readout, applies no rate function: the loss reads its potentials. Every population lies on a path from input to
    readout. Cycles are allowed, but a network that has one has no depth. `weightless` marks a specification: shapes
    without values.

    Raises NetworkError (or DataError for arrays of a wrong shape or with NaN) with the name of what is wrong.
    """

    populations: Sequence[Population]
    projections: Sequence[Projection]
    loss: LossSpec = "squared_error"
    input: str = "input"
    output: str = "output"
    dtype: DTypeLike = "float64"
    weightless: bool = False

    def __post_init__(self) -> None:
        dtype = float_type(self.dtype)
        for field, kind in (("populations", Population), ("projections", Projection)):
            parts = getattr(self, field)
            if not isinstance(parts, Sequence) or not all(isinstance(part, kind) for part in parts):
                raise NetworkError(field, f"are not all of class {kind.__name__}", f"build each with {kind.__name__}(...)")
        check_graph(self.populations, self.projections, self.input, self.output)
        sizes = {population.name: population.size for population in self.populations}
        populations = tuple(frozen_population(population, dtype, weightless=self.weightless) for population in self.populations)
        projections = tuple(frozen_projection(projection, sizes, dtype, self.weightless) for projection in self.projections)
        for field, value in (
            ("populations", populations),
            ("projections", projections),
            ("loss", loss(self.loss, sizes[self.output])),
            ("dtype", dtype),
        ):
            object.__setattr__(self, field, value)
        if dtype != np.float64:
            check_functions(populations, self.cost, sizes[self.output], dtype)

    @classmethod
    def dense(
        cls,
        sizes: Sequence[int],
        activation: ActivationSpec = "tanh",
        loss: LossSpec = "squared_error",
        seed: int = 0,
        dtype: DTypeLike = "float64",
    ) -> Network:
        """Return a chain input -> hidden1 -> ... -> output of populations of these sizes.

        Weights are drawn from a normal distribution of variance 1 / n_source (LeCun et al. 1998, "Efficient BackProp",
        section 4.6) with the given seed, biases are zero.
        """
        if not isinstance(sizes, (Sequence, np.ndarray)) or isinstance(sizes, (str, bytes)) or len(sizes) < 2:
            raise NetworkError("sizes", f"{sizes!r} is not a list of at least two sizes", "give [inputs, hidden ..., outputs]")
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise OptionError("seed", f"{seed!r} is not a seed", "give an integer of at least 0")
        populations = _chain_of(sizes, activation)
        rng = np.random.default_rng(seed)
        try:
            weights = [rng.normal(0.0, a.size**-0.5, (b.size, a.size)) for a, b in pairwise(populations)]
        except (MemoryError, OverflowError, ValueError) as error:
            raise NetworkError(
                "sizes", f"{list(sizes)} need weights that no memory holds ({error})", "use smaller populations"
            ) from None
        projections = [Projection(a.name, b.name, w) for (a, b), w in zip(pairwise(populations), weights, strict=True)]
        return cls(populations, projections, loss, dtype=dtype)

    @classmethod
    def specification(
        cls,
        populations: Sequence[int] | Sequence[Population],
        projections: Sequence[tuple[str, str]] | None = None,
        activation: ActivationSpec = "tanh",
        loss: LossSpec = "squared_error",
        dtype: DTypeLike = "float64",
    ) -> Network:
        """Return a network without weights, of any size: it can be mapped, saved in a mapping, and told apart, but not run.

        `populations` are the sizes of a chain, as for `dense`, or populations; these are joined by `projections`, pairs
        (source, target), or in a chain. `with_parameters` gives it all its weights and biases.
        """
        if not isinstance(populations, (Sequence, np.ndarray)) or isinstance(populations, (str, bytes)) or len(populations) < 2:
            raise NetworkError("populations", f"{populations!r} are not at least two", "give sizes, or a list of Population")
        found = [p for p in populations if isinstance(p, Population)]
        if not found:
            found = _chain_of(cast(Sequence[int], populations), activation)
        names = [p.name for p in found]
        sizes = {p.name: p.size for p in found}
        try:
            pairs = [(str(a), str(b)) for a, b in (pairwise(names) if projections is None else projections)]
        except (TypeError, ValueError):
            raise NetworkError("projections", f"{projections!r} are not pairs", 'give pairs like ("input", "hidden1")') from None
        try:
            weights = [np.broadcast_to(np.nan, (sizes.get(b, 1), sizes.get(a, 1))) for a, b in pairs]
        except (ValueError, OverflowError) as error:
            raise NetworkError("populations", f"{sizes} are too large to count ({error})", "use smaller populations") from None
        synapses = [Projection(a, b, w) for (a, b), w in zip(pairs, weights, strict=True)]
        return cls(found, synapses, loss, dtype=dtype, weightless=True)

    def structure(self) -> Network:
        """Return this network without its weights, a specification of the same fingerprint."""
        return self if self.weightless else replace(self, weightless=True)

    def described(self) -> Network:
        """Return this network."""
        return self

    def bits(self, population: str, kind: str) -> int:  # noqa: ARG002  (one width for all)
        """Return the width of a message: that of a float."""
        return int(np.dtype(self.dtype).itemsize) * 8

    def need_weights(self) -> None:
        """Raise NetworkError if this is a specification."""
        if self.weightless:
            raise NetworkError("network", "is a specification, without weights", "give it all of them: with_parameters({...})")

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is worked out again when needed: copies and pickles hold the description only.

        Of a specification they hold shapes, not the values that it does not have.
        """
        state = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.weightless:
            state["populations"] = tuple(replace(p, bias=None if p.bias is None else 0.0) for p in self.populations)
            state["projections"] = tuple((replace(p, weights=np.zeros(0)), p.weights.shape) for p in self.projections)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up what `__getstate__` returned."""
        if state["weightless"]:
            dtype = np.dtype(state["dtype"])
            state["populations"] = tuple(frozen_population(p, dtype, weightless=True) for p in state["populations"])
            state["projections"] = tuple(replace(p, weights=no_values(n, dtype)) for p, n in state["projections"])
        for name, value in state.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        parts = ", ".join(f"{p.name} {p.size}" + (f" {p.phi.name}" if p.phi.name != "identity" else "") for p in self.populations)
        depth = "cyclic" if self.cycle else f"depth {self.depth}"
        kind = "Specification" if self.weightless else "Network"
        return f"{kind}({parts}; {len(self.projections)} projections; {self.cost.name}; {self.dtype}; {depth})"

    # Parameters

    def with_parameters(self, parameters: Mapping[str, ArrayLike]) -> Network:
        """Return this network with the given parameters in place of its own.

        Raises UnknownNameError for a key that is no parameter, and DataError for a wrong shape or NaN.
        """
        for key in parameters:
            if key not in self.parameters:
                raise UnknownNameError("parameters", f"no parameter is called {key!r}", f"use some of {list(self.parameters)}")
        missing = [key for key in self.parameters if key not in parameters] if self.weightless else []
        if missing:
            raise UnknownNameError("parameters", f"a specification needs all of them, not without {missing}", "add them")
        populations = [replace(p, bias=parameters.get(f"{p.name}.bias", p.bias)) for p in self.populations]
        projections = [p.with_weights(np.asarray(parameters.get(p.name, p.weights))) for p in self.projections]
        return replace(self, populations=populations, projections=projections, weightless=False)

    # Files

    def record(self) -> dict[str, Any]:
        """Return the structure as plain JSON values: everything but the values of weights and biases."""
        return {
            "populations": [[p.name, p.size, p.phi.name, p.bias is not None] for p in self.populations],
            "projections": [[p.source, p.target, p.plastic, *_part(p)] for p in self.projections],
            "loss": self.cost.name,
            "input": self.input,
            "output": self.output,
            "dtype": str(self.dtype),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> Network:
        """Return the network that `record` describes, with the parameters `arrays`, or as a specification without any.

        Raises NetworkError, DataError, UnknownNameError, and KeyError, TypeError or ValueError for what is no record.
        """
        sizes = {name: size for name, size, *_ in record["populations"]}
        values: Mapping[str, Any] = {} if arrays is None else arrays
        populations = [
            Population(name, size, phi, None if not biased else 0.0 if arrays is None else values[f"{name}.bias"])
            for name, size, phi, biased in record["populations"]
        ]
        projections = []
        for source, target, plastic, *part in record["projections"]:
            corner, shape, held = part or ((0, 0), None, (sizes[target], sizes[source]))
            weights = np.broadcast_to(np.nan, held) if arrays is None else values[f"{source}->{target}"]
            whole = None if shape is None else (shape[0], shape[1])
            projections.append(Projection(source, target, weights, bool(plastic), (corner[0], corner[1]), whole))
        named = (record["loss"], record["input"], record["output"], record["dtype"])
        return cls(populations, projections, *named, weightless=arrays is None)

    def check_names(self, field: str) -> None:
        """Raise NetworkError if a function of the user's own keeps the network from being written to a file."""
        for name, known in [(p.phi, ACTIVATIONS) for p in self.populations] + [(self.cost, LOSSES)]:
            if known.get(name.name) is not name:
                raise NetworkError(
                    field,
                    f"{name.name!r} is a function of your own, which a file cannot hold",
                    "save `parameters` and rebuild with `with_parameters`",
                )

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the structure: everything but the values of weights and biases.

        Functions of the user's own are told apart by their values at a few points.
        """
        points = np.concatenate([np.linspace(-2.0, 2.0, 41), np.linspace(-100.0, 100.0, 41)])
        digest = hashlib.sha256(json.dumps(self.record()).encode())
        with np.errstate(all="ignore"):
            for phi in (p.phi for p in self.populations if ACTIVATIONS.get(p.phi.name) is not p.phi):
                digest.update(
                    np.asarray(phi.rate(points)).tobytes() + np.asarray(phi.derivative(points, phi.rate(points))).tobytes()
                )
            if LOSSES.get(self.cost.name) is not self.cost:
                u = np.resize(points, (7, self.population(self.output).size))
                digest.update(np.asarray(self.cost.gradient(u, np.abs(u) / 100.0)).tobytes())
        return digest.hexdigest()[:16]

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the network to an npz file. Raises OutputExistsError, and NetworkError for functions of the user's own."""
        self.need_weights()
        self.check_names("save")
        npz.write(path, "network", self.record(), self.parameters, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Network:
        """Read a network that `save` wrote. Raises FileError when the file is missing, foreign, truncated or corrupt."""
        record, arrays = npz.read(path, "network")
        try:
            return cls.from_record(record, arrays)
        except (KeyError, TypeError, ValueError, LookupError, OverflowError) as error:
            raise FileError(str(path), f"does not describe a network ({error})", "it is corrupt: use another copy") from None

    # Other tools' files. What they cannot hold stands in their metadata, and comes back from there.

    @classmethod
    def from_nir(
        cls,
        path: str | os.PathLike[str],
        *,
        loss: LossSpec | None = None,
        activation: ActivationSpec | Mapping[str, ActivationSpec] | None = None,
        dtype: DTypeLike | None = None,
    ) -> Network:
        """Read a graph of the Neuromorphic Intermediate Representation: matrices and neurons, with skips, without cycles.

        Populations are called input, hidden1 ... in topological order, output. `activation` is the rate function that stands
        for every spiking neuron's node and every noted one, or maps names or types of nodes to rate functions; LI is the
        identity by itself. Neurons have their gain (r, w_in; fixed) and v_leak (a bias) applied before it. What several nodes
        take is a population of its own. `loss` and `activation` default to what `to_nir` noted in the file, the loss to
        squared_error in any other. `dtype` defaults to the file's (float32 for halves, float64 for a mixture).

        Raises FileError, NetworkError, CycleError, DataError, OptionError (it wants `activation`), MissingExtraError.
        """
        return cls._imported(path, *nir.read(path, named(activation)), loss, dtype)

    def to_nir(
        self, path: str | os.PathLike[str], *, like: str | os.PathLike[str] | None = None, overwrite: bool = False
    ) -> None:
        """Write the forward network as a NIR graph: a population is an LI node, its rate function and the rest are metadata.

        `like` names a NIR file that this network was read from: what is written is that file with these weights and biases, in
        its own precision, and metadata that tell this network. Raises OutputExistsError, CycleError, NetworkError for what the
        format or `like` cannot hold.
        """
        self._export("to_nir", path, nir.write, like, overwrite=overwrite)

    @classmethod
    def from_onnx(cls, path: str | os.PathLike[str], *, loss: LossSpec | None = None, dtype: DTypeLike | None = None) -> Network:
        """Read an ONNX model of matrices, biases and elementwise rate functions; names, dtype, loss and errors as in `from_nir`.

        A Softmax at the end is part of the loss "cross_entropy", a Sigmoid there of "binary_cross_entropy". One number that
        multiplies a signal stays fixed; a constant that two nodes would learn is refused.
        """
        return cls._imported(path, *onnx.read(path, getattr(loss, "name", loss)), loss, dtype)

    def to_onnx(
        self, path: str | os.PathLike[str], *, like: str | os.PathLike[str] | None = None, overwrite: bool = False
    ) -> None:
        """Write the forward network, input to potentials of the readout, as an ONNX model; `like` and errors as in `to_nir`."""
        self._export("to_onnx", path, onnx.write, like, overwrite=overwrite)

    @classmethod
    def from_torch_state(
        cls,
        path: str | os.PathLike[str],
        *,
        activation: ActivationSpec | None = None,
        loss: LossSpec | None = None,
        order: Sequence[str] | None = None,
        dtype: DTypeLike | None = None,
    ) -> Network:
        """Read the state dictionary of a chain of linear layers ("0.weight", "fc1.bias" ...) from a .safetensors or .npz file.

        Layers are taken in the natural order of their names, or in `order`, a list of the names before ".weight".
        `activation` is the rate function of every hidden population; it and `loss` default to what `to_torch_state` noted
        (in .safetensors only), in any other file to tanh and squared_error. Errors as in `from_nir`.
        """
        record, arrays = torch_state.read(path, named(activation), order)
        return cls._imported(path, record, arrays, loss, dtype)

    def to_torch_state(
        self,
        path: str | os.PathLike[str],
        *,
        like: str | os.PathLike[str] | None = None,
        order: Sequence[str] | None = None,
        overwrite: bool = False,
    ) -> None:
        """Write the weights and biases of a chain as the state dictionary of a torch.nn.Sequential, .safetensors or .npz.

        `like` names a state dictionary whose names and precision are kept, and `order` its layers. Errors as in `to_nir`.
        """
        self._export("to_torch_state", path, partial(torch_state.write, order=order), like, overwrite=overwrite)

    @classmethod
    def _imported(
        cls,
        path: str | os.PathLike[str],
        record: Mapping[str, Any],
        arrays: Mapping[str, Array],
        loss: LossSpec | None,
        dtype: DTypeLike | None,
    ) -> Network:
        wanted = {"loss": loss, "dtype": dtype}
        try:
            return cls.from_record({**record, **{key: value for key, value in wanted.items() if value is not None}}, arrays)
        except DyadicError:
            raise
        except (KeyError, TypeError, ValueError, LookupError, OverflowError) as error:
            raise FileError(str(path), f"does not describe a network ({error})", "use another copy") from None

    def _export(
        self,
        field: str,
        path: str | os.PathLike[str],
        write: Callable[..., None],
        like: str | os.PathLike[str] | None,
        *,
        overwrite: bool,
    ) -> None:
        self.need_weights()
        self.need_depth()
        check = partial(self.check_names, field)
        write(path, self.record(), self.parameters, like=like, overwrite=overwrite, check=check)


def in_floats(network: Graph) -> Network:
    """Return a network of floats as what it is. Raises OptionError for one of integers, where only floats will do."""
    if not isinstance(network, Network):
        raise OptionError("network", f"{network!r} computes in integers", "use network.real(), which holds the same in floats")
    return network


def _chain_of(sizes: Sequence[int], activation: ActivationSpec) -> list[Population]:
    hidden = [Population(f"hidden{i}", size, activation, bias=0.0) for i, size in enumerate(sizes[1:-1], 1)]
    return [Population("input", sizes[0]), *hidden, Population("output", sizes[-1], bias=0.0)]


def _part(projection: Projection) -> list[Any]:
    """Return what a specification says of a projection that is not a whole matrix."""
    p = projection
    return [] if p.shape is None and not p.one_to_one else [list(p.corner), list(p.full_shape), list(p.weights.shape)]
