"""What it costs to read a network of ten million parameters: beside the formats' own readers, and in copies of the weights."""

import subprocess
import sys
import tempfile
from itertools import pairwise

import numpy as np

import dyadic_neuro as dn
from dyadic_neuro.network import Network
from tests.benchmarks.measure import Row, medians

SIZES = [2048, 2048, 2048, 1024]  # 10.5 million weights
REPEATS = 7


def _by_nir(path):
    import nir

    return nir.read(path)


def _by_onnx(path):
    """Return every tensor in the file: the package has one function for the file and one for a tensor."""
    import onnx

    return [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]


def _ours(path):
    return Network.from_onnx(path) if path.endswith(".onnx") else Network.from_nir(path, activation="tanh")


def copies(path, weights):
    """Return the peak of memory that reading adds to a process, in copies of the weights.

    A child of its own reads the small file first, which imports all there is to import, and tells how its peak (VmHWM, which
    unlike ru_maxrss does not begin with the parent's) grew.
    """
    small = path.replace("large", "small")
    command = [sys.executable, "-m", "tests.benchmarks.interchange", small, path]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0])
    return grown / weights


def _affine(sizes):
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(n, m)).astype("f4"), np.zeros(n, "f4")) for m, n in pairwise(sizes)]


def _nir_of_another_tool(path, sizes):
    """Write a chain of spiking neurons, as nir.write packs it."""
    import nir

    nodes = []
    for weights, bias in _affine(sizes):
        one = np.ones_like(bias)
        nodes += [nir.Affine(weights, bias), nir.LIF(tau=one, r=one, v_leak=0 * one, v_threshold=one, v_reset=0 * one)]
    nir.write(path, nir.NIRGraph.from_list(*nodes[:-1]))


def _onnx_of_another_tool(path, sizes, *, gemm):
    """Write a chain as exporters do: Gemm with transB, or MatMul, whose matrices stand the other way round, and Add."""
    import onnx
    from onnx import helper, numpy_helper

    nodes, tensors, last = [], {}, "x"
    for i, (weights, bias) in enumerate(_affine(sizes)):
        tensors |= {f"w{i}": weights if gemm else weights.T.copy(), f"b{i}": bias}
        if gemm:
            nodes.append(helper.make_node("Gemm", [last, f"w{i}", f"b{i}"], [f"u{i}"], transB=1))
        else:
            nodes += [
                helper.make_node("MatMul", [last, f"w{i}"], [f"m{i}"]),
                helper.make_node("Add", [f"m{i}", f"b{i}"], [f"u{i}"]),
            ]
        nodes.append(helper.make_node("Tanh", [f"u{i}"], [last := f"h{i}"]))
    ends = [helper.make_tensor_value_info(name, 1, ["batch", n]) for name, n in (("x", sizes[0]), (f"u{i}", sizes[-1]))]
    made = [numpy_helper.from_array(values, name) for name, values in tensors.items()]
    onnx.save(helper.make_model(helper.make_graph(nodes[:-1], "chain", ends[:1], ends[1:], made)), path)


def _files(folder):
    """Write a large and a small network in each way; return the bytes of the large one's parameters."""
    for size, name in (([8, 8, 8], "small"), (SIZES, "large")):
        net = dn.Network.dense(size, dtype="float32", seed=0)
        net.to_onnx(f"{folder}/{name}.onnx")
        net.to_nir(f"{folder}/{name}.nir")
        _nir_of_another_tool(f"{folder}/{name}-foreign.nir", size)
        _onnx_of_another_tool(f"{folder}/{name}-gemm.onnx", size, gemm=True)
        _onnx_of_another_tool(f"{folder}/{name}-matmul.onnx", size, gemm=False)
    return sum(weights.nbytes for weights in net.parameters.values())


FILES = {
    "large.nir": "NIR",
    "large-foreign.nir": "NIR by nir.write",
    "large.onnx": "ONNX",
    "large-gemm.onnx": "ONNX of Gemm with transB",
    "large-matmul.onnx": "ONNX of MatMul and Add",
}


def rows():
    found = []
    with tempfile.TemporaryDirectory() as folder:
        weights = _files(folder)
        for name, what in FILES.items():
            path, reader = f"{folder}/{name}", _by_nir if name.endswith(".nir") else _by_onnx
            ours, theirs = medians(lambda path=path: _ours(path), lambda path=path, read=reader: read(path), repeats=REPEATS)
            by = "onnx.load and to_array" if reader is _by_onnx else "nir.read"
            detail = f"{ours * 1e3:.0f} ms, {theirs * 1e3:.0f} ms by {by}"
            of = f"import of 10 million parameters from {what}"
            found.append(Row(f"{of}: time / the format's own reader", ours / theirs, 1.5, "x", detail))
            detail = f"growth of VmHWM in a process of its own, weights {weights / 2**20:.0f} MiB"
            found.append(Row(f"{of}: peak of memory / the weights", copies(path, weights), 3.0, "x", detail))
    return found


def _peak():
    with open("/proc/self/status") as file:
        status = dict(line.split(":", 1) for line in file)
    return int(status["VmHWM"].split()[0]) * 1024


def main(small, large):
    _ours(small)
    before = _peak()
    net = _ours(large)
    print(_peak() - before, net.dtype)


if __name__ == "__main__":
    main(*sys.argv[1:3])
