"""What it costs to read a network of ten million parameters: beside the formats' own readers, and in copies of the weights."""

import subprocess
import sys
import tempfile

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
    return Network.from_onnx(path) if path.endswith(".onnx") else Network.from_nir(path)


def copies(path, weights):
    """Return the peak of memory that reading adds to a process, in copies of the weights.

    A child of its own reads the small file first, which imports all there is to import, and tells how its peak (VmHWM, which
    unlike ru_maxrss does not begin with the parent's) grew.
    """
    small = path.replace("large", "small")
    command = [sys.executable, "-m", "tests.benchmarks.interchange", small, path]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0])
    return grown / weights


def _files(folder):
    """Write a large and a small network in each format, and NIR as its own writer packs it; return the names of the large."""
    import nir

    for size, name in (([8, 8, 8], "small"), (SIZES, "large")):
        net = dn.Network.dense(size, dtype="float32", seed=0)
        net.to_onnx(f"{folder}/{name}.onnx")
        net.to_nir(f"{folder}/{name}.nir")
        nir.write(f"{folder}/{name}-packed.nir", nir.read(f"{folder}/{name}.nir"))
    return sum(weights.nbytes for weights in net.parameters.values())


def rows():
    found = []
    with tempfile.TemporaryDirectory() as folder:
        weights = _files(folder)
        for name, reader in (("large.nir", _by_nir), ("large-packed.nir", _by_nir), ("large.onnx", _by_onnx)):
            path = f"{folder}/{name}"
            ours, theirs = medians(lambda path=path: _ours(path), lambda path=path, read=reader: read(path), repeats=REPEATS)
            what = {"large.nir": "NIR", "large-packed.nir": "NIR, packed by nir.write", "large.onnx": "ONNX"}[name]
            by = "onnx.load and to_array" if reader is _by_onnx else "nir.read"
            detail = f"{ours * 1e3:.0f} ms, {theirs * 1e3:.0f} ms by {by}"
            found.append(
                Row(
                    f"import of 10 million parameters from {what}: time / the format's own reader",
                    ours / theirs,
                    1.5,
                    "x",
                    detail,
                )
            )
            peak = copies(path, weights)
            detail = f"growth of VmHWM in a process of its own, weights {weights / 2**20:.0f} MiB"
            found.append(
                Row(f"import of 10 million parameters from {what}: peak of memory / the weights", peak, 3.0, "x", detail)
            )
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
