"""Labelled data to train on: the digits of scikit-learn, an .npz of the user, MNIST's IDX files, or random. No downloads."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from dyadic_neuro.arrays import Array, checked, frozen
from dyadic_neuro.errors import DataError, FileError, MissingExtraError, OptionError, UnknownNameError
from dyadic_neuro.interchange.limits import most_bytes, size_of
from dyadic_neuro.network import Network

LAYOUTS = (("inputs", "targets", "test_inputs", "test_targets"), ("x_train", "y_train", "x_test", "y_test"))
MOST_CLASSES = 65_536  # a larger label in a file is taken for a mistake, not for a readout of that many units
DEFLATE_LIMIT = 1032  # bytes that one byte of deflate can hold at most (zlib technical details, "Maximum Compression Factor")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Data to train on and to test with, the latter of any length; the arrays are private, read-only copies.

    `inputs` are (n, features) float64, in the unit of the data, `targets` (n,) int64, labels from 0 to `classes` - 1.
    Raises DataError, naming the field, for a wrong shape, an empty part, NaN or infinity, lengths that differ, and labels that
    are no integers or out of range; OptionError for fewer than two classes.
    """

    name: str
    inputs: Array = field(repr=False)
    targets: Array = field(repr=False)
    test_inputs: Array = field(repr=False)
    test_targets: Array = field(repr=False)
    classes: int

    def __post_init__(self) -> None:
        if not isinstance(self.classes, int) or self.classes < 2:
            raise OptionError("classes", f"is {self.classes!r}, not an integer of at least 2", "give two classes or more")
        features: int | None = None
        for part in ("", "test_"):
            inputs = checked(f"{part}inputs", getattr(self, f"{part}inputs"), np.dtype(np.float64), (None, features))
            features = inputs.shape[1]
            if inputs.size == 0:
                raise DataError(f"{part}inputs", f"is empty: its shape is {inputs.shape}", "give at least 1 sample of 1 feature")
            labels = _labels(f"{part}targets", getattr(self, f"{part}targets"), self.classes, len(inputs))
            object.__setattr__(self, f"{part}inputs", frozen(inputs))
            object.__setattr__(self, f"{part}targets", frozen(labels))

    @property
    def features(self) -> int:
        """The number of values in one sample."""
        return int(self.inputs.shape[1])


def random_batch(network: Network, samples: int, seed: int) -> tuple[Array, Array]:
    """Return normal inputs (samples, n_input), and targets (samples, n_output) that the loss accepts: one-hot, or in [0, 1)."""
    rng, dtype = np.random.default_rng([seed, samples, 2]), np.dtype(network.dtype)
    inputs = rng.normal(size=(samples, network.population(network.input).size)).astype(dtype)
    outputs = network.population(network.output).size
    if network.cost.name == "cross_entropy":
        return inputs, np.eye(outputs, dtype=dtype)[rng.integers(outputs, size=samples)]
    return inputs, rng.uniform(0.0, 1.0, (samples, outputs)).astype(dtype)


def load(source: str | os.PathLike[str]) -> Dataset:
    """Return the data set that `source` names: "digits", the path of an .npz file, or "mnist:DIR".

    Raises UnknownNameError, with these choices, for other text, and what `digits`, `from_npz` and `from_mnist` raise.
    """
    text = source if isinstance(source, str) else ""
    if text == "digits":
        return digits()
    if text.startswith("mnist:") and text != "mnist:":
        return from_mnist(text[len("mnist:") :])
    if text.endswith(".npz") or isinstance(source, os.PathLike):
        return from_npz(source)
    raise UnknownNameError("data", f"{source!r} is no data set", "choose 'digits', a path ending in .npz, or 'mnist:DIR'")


def digits() -> Dataset:
    """Return the 1,797 handwritten digits of 8x8 pixels that ship with scikit-learn, 1,437 to train on and 360 to test with.

    Inputs are (n, 64), pixels / 16, so from 0 to 1; ten classes. The split is stratified, with seed 0.
    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998). Raises MissingExtraError.
    """
    with _reading("digits", "reinstall scikit-learn"):
        from sklearn.datasets import load_digits

        inputs, targets = load_digits(return_X_y=True)
        return Dataset("digits", *_split(inputs / 16.0, targets), classes=10)


def from_npz(path: str | os.PathLike[str]) -> Dataset:
    """Return the data set in an .npz file; nothing in it is unpickled or executed.

    The arrays are `inputs` and `targets`, with or without `test_inputs` and `test_targets`, or Keras's `x_train`, `y_train`,
    `x_test`, `y_test`. Inputs are (n, ...), flattened to (n, features); integers are divided by the largest magnitude they take
    in both parts together, floats and booleans taken as they are. Targets are labels, (n,) or (n, 1), the largest of which tells
    the number of classes, or one-hot rows (n, classes). No test part: split 80/20, stratified, seed 0, by scikit-learn.
    Raises FileError, naming the file and what was found; MissingExtraError where a split is wanted without scikit-learn.
    """
    where = os.path.expanduser(os.fsdecode(path))
    size_of(where)
    with _reading(where, "write numbers, with numpy.savez(path, inputs=..., targets=..., test_inputs=..., test_targets=...)"):
        names, arrays = _read_npz(where)
        integers = {array.dtype.kind in "iu" for array in arrays[::2]}
        if len(integers) > 1:
            raise DataError(names[2], f"is {arrays[2].dtype}, {names[0]} {arrays[0].dtype}", "use integers or floats in both")
        inputs = np.concatenate(arrays[::2]).astype(np.float64)
        inputs = checked(names[0], inputs.reshape(len(inputs), math.prod(inputs.shape[1:])), inputs.dtype, (None, None))
        inputs /= (np.abs(inputs).max(initial=0.0) or 1.0) if True in integers else 1.0
        labels, classes = _classes(names[1], np.concatenate(arrays[1::2]))
        n, m = len(arrays[0]), len(arrays[1])
        x, y, test_x, test_y = _split(inputs, labels) if len(names) == 2 else (inputs[:n], labels[:m], inputs[n:], labels[m:])
        return Dataset(os.path.splitext(os.path.basename(where))[0], x, y, test_x, test_y, classes)


def from_mnist(folder: str | os.PathLike[str]) -> Dataset:
    """Return the data set in the four IDX files of `folder`: MNIST, Fashion-MNIST or Kuzushiji-MNIST, of ten classes.

    The files are train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, also with
    a dot before idx, and each plain or as .gz. Inputs are (n, rows * columns), pixels / 255, so from 0 to 1.
    Format: Y. LeCun et al., The MNIST database of handwritten digits (1998). Raises FileError with what was expected and found.
    """
    where = os.path.expanduser(os.fsdecode(folder))
    stems = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    x, y, test_x, test_y = (_read_idx(where, stem, dims=int(stem[-1])) for stem in stems)
    with _reading(where, "put the four IDX files of MNIST there, whole and unchanged"):
        return Dataset("mnist", x / 255.0, y[:, 0], test_x / 255.0, test_y[:, 0], classes=10)


@contextmanager
def _reading(where: str, fix: str) -> Iterator[None]:
    """Turn whatever is wrong with the file or folder `where` into a FileError that names it."""
    try:
        yield
    except ImportError as error:
        raise MissingExtraError("scikit-learn", f"cannot be imported ({error})", "pip install 'dyadic-neuro[data]'") from error
    except (DataError, OptionError) as error:
        raise FileError(where, f"{error.field} {error.problem}", error.fix) from error
    except FileNotFoundError as error:
        raise FileError(where, "does not exist", "check the name") from error
    except Exception as error:  # zipfile, gzip and numpy raise a dozen kinds on corrupt files, MemoryError too
        raise FileError(where, f"cannot be read or split ({type(error).__name__}: {error})", fix) from error


def _labels(name: str, values: object, classes: int, samples: int | None) -> Array:
    """Return `values`, (samples,), as int64 labels below `classes`, or raise DataError."""
    numbers = checked(name, values, np.dtype(np.float64), (samples,))
    for i in np.flatnonzero((numbers != np.rint(numbers)) | (numbers < 0) | (numbers >= classes))[:1]:
        raise DataError(name, f"has {numbers[i]} at {i}, not an integer from 0 to {classes - 1}", "number the classes from 0")
    return numbers.astype(np.int64)


def _classes(name: str, array: Array) -> tuple[Array, int]:
    """Return the labels (n,) from labels (n,) or (n, 1) or one-hot rows, and the number of classes."""
    if array.shape[1:] in ((), (1,)):
        labels = _labels(name, array.reshape(-1), MOST_CLASSES, None)
        return labels, int(labels.max(initial=0)) + 1
    if array.ndim != 2 or not np.isin(array, (0, 1)).all() or (np.count_nonzero(array, axis=1) != 1).any():
        raise DataError(name, f"of shape {array.shape} is not one-hot", "give labels (n,), or rows with a single 1 among zeros")
    return array.argmax(axis=1), array.shape[1]


def _split(inputs: Array, targets: Array) -> tuple[Array, Array, Array, Array]:
    """Return inputs, targets, test inputs and test targets: 80/20, each class in proportion, seed 0."""
    from sklearn.model_selection import train_test_split

    counts = np.unique(targets, return_counts=True)[1]
    if counts.min(initial=2) < 2 or math.ceil(len(targets) / 5) < len(counts):
        problem = f"{len(targets)} samples of {len(counts)} classes are too few to set a fifth of them aside"
        raise DataError("test part", f"is missing, and {problem}", "add test_inputs and test_targets")
    x, test_x, y, test_y = train_test_split(inputs, targets, test_size=0.2, random_state=0, stratify=targets)
    return x, y, test_x, test_y


def _read_npz(where: str) -> tuple[tuple[str, ...], list[Array]]:
    """Return the names and the arrays of a data set, two or four of each, in the order of LAYOUTS."""
    with zipfile.ZipFile(where) as archive:
        held = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        known = sorted(name for name in held if name in sum(LAYOUTS, ()))
        names = next((one[: len(known)] for one in LAYOUTS if known in (sorted(one), sorted(one[:2]))), ())
        if not names:
            fix = f"name them as in {LAYOUTS[0]} or {LAYOUTS[1]}, with or without the last two"
            raise DataError("names of arrays", f"are {held[:9]}, which do not make one data set", fix)
        packed, unpacked = os.path.getsize(where), sum(archive.getinfo(f"{name}.npy").file_size for name in names)
        if unpacked > most_bytes(packed):
            fix = "save it unpacked, with numpy.savez"
            raise DataError("size", f"would grow from {packed} to {unpacked} bytes, {most_bytes(packed)} are the most", fix)
        arrays = []
        for name in names:
            with archive.open(f"{name}.npy") as stream:
                arrays.append(np.load(stream, allow_pickle=False))
                more = " and more bytes" if stream.read(1) else ""  # read to the end, so that zipfile compares the checksum
            if more or arrays[-1].dtype.kind not in "biuf":
                raise DataError(name, f"holds {arrays[-1].dtype}{more}, not just real numbers", "save it as an array of numbers")
        return names, arrays


def _read_idx(folder: str, stem: str, dims: int) -> Array:
    """Return the bytes of one IDX file as rows, (n, bytes of a row); reads one byte more than its header promises at most."""
    names = [name + end for end in ("-ubyte", "-ubyte.gz") for name in (stem, stem.replace("-idx", ".idx"))]
    where = next((path for name in names if os.path.isfile(path := os.path.join(folder, name))), None)
    if where is None:
        raise FileError(folder, f"has none of the files {', '.join(names)}", "put the four IDX files of MNIST there")
    with _reading(where, fix := "replace it by the whole, unchanged file"), open(where, "rb") as raw:
        packed = raw.peek(2)[:2] == b"\x1f\x8b"  # by content: browsers unpack .gz and keep the name
        stream = gzip.GzipFile(fileobj=raw) if packed else raw
        magic, n, *shape = struct.unpack(f">{1 + dims}I", stream.read(4 + 4 * dims))
        promised, most = n * math.prod(shape), os.path.getsize(where) * (DEFLATE_LIMIT if packed else 1)
        if magic != 0x0800 + dims or promised > most:
            raise DataError("magic number, size", f"are {magic}, {promised}, expected {0x0800 + dims}, at most {most} bytes", fix)
        data = stream.read(promised + 1)
        if len(data) != promised:
            raise DataError("body", f"is {len(data)} bytes{' or more' * (len(data) > promised)}, expected {promised}", fix)
        return np.frombuffer(data, np.uint8).reshape(n, math.prod(shape))
