"""The data sets: what the loaders return, and that no file, however broken, does anything but load or raise FileError."""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dyadic_neuro.arrays import Array
from dyadic_neuro.datasets import DEFLATE_LIMIT, LAYOUTS, Dataset, digits, from_mnist, from_npz, load
from dyadic_neuro.errors import DataError, FileError, MissingExtraError, OptionError, UnknownNameError

RNG_SEED = 5
IDX = {"train-images": 3, "train-labels": 1, "t10k-images": 3, "t10k-labels": 1}
Pieces = dict[str, Array]


def good() -> dict[str, Any]:
    """Return the arguments of a valid Dataset: six samples of three features, and two to test with, in two classes."""
    inputs = np.arange(18.0).reshape(6, 3)
    return {
        "name": "small",
        "inputs": inputs,
        "targets": np.array([0, 1, 0, 1, 0, 1]),
        "test_inputs": -inputs[:2],
        "test_targets": np.array([1, 0]),
        "classes": 2,
    }


def images(seed: int = RNG_SEED) -> Pieces:
    """Return twelve images of 4x3 bytes to train on and five to test with, with labels, by the names of the IDX files."""
    rng = np.random.default_rng(seed)
    return {
        "train-images": rng.integers(0, 256, (12, 4, 3), dtype=np.uint8),
        "train-labels": rng.integers(0, 10, 12, dtype=np.uint8),
        "t10k-images": rng.integers(0, 256, (5, 4, 3), dtype=np.uint8),
        "t10k-labels": rng.integers(0, 10, 5, dtype=np.uint8),
    }


def idx(array: Array) -> bytes:
    """Encode bytes as IDX: two zeros, 8 for unsigned bytes, the number of dimensions, each length as 4 bytes, the data."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape) + array.tobytes()


def write_idx(folder: Path, pieces: Pieces, mark: str = "-", end: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    for stem, dims in IDX.items():
        data = idx(pieces[stem])
        path = folder / f"{stem}{mark}idx{dims}-ubyte{end}"
        path.write_bytes(gzip.compress(data) if end else data)
    return folder


def saved(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def members(path: Path, **contents: bytes) -> Path:
    """Write a zip file of raw members, to hold what numpy would never write."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(f"{name}.npy", content)
    return path


def npy(array: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def contents(data: Dataset) -> tuple[bytes, ...]:
    return tuple(array.tobytes() for array in (data.inputs, data.targets, data.test_inputs, data.test_targets))


class Bomb:
    """Fails the test when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return pytest.fail, ("something was unpickled",)


# --- Dataset -------------------------------------------------------------------------------------------------------------


def test_dataset_holds_private_read_only_copies() -> None:
    arguments = good()
    data = Dataset(**arguments)
    for name in ("inputs", "targets", "test_inputs", "test_targets"):
        array = getattr(data, name)
        assert array.dtype == (np.float64 if "inputs" in name else np.int64)
        np.testing.assert_array_equal(array, arguments[name])
        assert not np.shares_memory(array, arguments[name])
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert (data.name, data.classes, data.features) == ("small", 2, 3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.classes = 3  # type: ignore[misc]
    assert len(repr(data)) < 100
    assert data != Dataset(**arguments)  # compared by identity: arrays have no single truth value


def test_dataset_takes_lists_floats_and_other_widths() -> None:
    data = Dataset("lists", [[1], [2]], [0.0, 1.0], np.ones((1, 1), np.float16), np.array([1], np.uint8), 2)  # type: ignore[arg-type]
    assert data.inputs.dtype == data.test_inputs.dtype == np.float64
    assert data.targets.tolist() == [0, 1]
    assert data.targets.dtype == data.test_targets.dtype == np.int64


@pytest.mark.parametrize("part", ["", "test_"])
@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("inputs", lambda x: np.where(x == x[1, 2], np.nan, x), "nan at (1, 2)"),
        ("inputs", lambda x: np.where(x == x[0, 1], np.inf, x), "inf at (0, 1)"),
        ("inputs", lambda x: x[:0], "empty"),
        ("inputs", lambda x: x[0], "shape (3,)"),
        ("inputs", lambda x: x[..., None], "3, 1)"),
        ("inputs", lambda x: x.astype(str), "real numbers"),
        ("inputs", lambda x: x.astype(object), "real numbers"),
        ("inputs", lambda x: x + 1j, "real numbers"),
        ("targets", lambda y: y[:-1], "shape"),
        ("targets", lambda y: y[:, None], "shape"),
        ("targets", lambda y: y - 1, "has -1.0 at "),
        ("targets", lambda y: y + 1, "from 0 to 1"),
        ("targets", lambda y: y + 0.5, "not an integer"),
        ("targets", lambda y: y * np.nan, "nan"),
        ("targets", lambda y: y.astype(np.uint64) * np.uint64(2**63), "from 0 to 1"),
    ],
)
def test_dataset_names_the_field_at_fault(part: str, name: str, change: Callable[[Array], Array], says: str) -> None:
    arguments = good()
    arguments[part + name] = change(arguments[part + name])
    with pytest.raises(DataError) as caught:
        Dataset(**arguments)
    assert caught.value.field == part + name
    assert says in caught.value.problem
    assert caught.value.fix


def test_dataset_wants_features_and_the_same_in_both_parts() -> None:
    with pytest.raises(DataError, match=r"inputs: is empty: its shape is \(6, 0\)"):
        Dataset(**{**good(), "inputs": np.ones((6, 0))})
    with pytest.raises(DataError, match=r"test_inputs: has shape \(2, 2\), not \(any, 3\)"):
        Dataset(**{**good(), "test_inputs": np.ones((2, 2))})


@pytest.mark.parametrize("classes", [1, 0, -3, 2.0, "2", None, True])
def test_dataset_wants_two_classes(classes: Any) -> None:
    with pytest.raises(OptionError, match=r"classes: .* at least 2"):
        Dataset(**{**good(), "classes": classes})


# --- digits and the choice -----------------------------------------------------------------------------------------------


def test_digits_are_the_real_ones_split_by_class_and_always_alike() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="the extra `data` is not installed")
    data, again = digits(), load("digits")
    assert (data.name, data.classes, data.features) == ("digits", 10, 64)
    assert data.inputs.shape == (1437, 64)
    assert data.test_inputs.shape == (360, 64)
    assert data.inputs.min() == 0.0
    assert data.inputs.max() == 1.0
    assert contents(data) == contents(again)
    # together the parts are the digits of scikit-learn, each sample once and with its own label
    pixels, labels = datasets.load_digits(return_X_y=True)
    rows = np.vstack([np.c_[data.inputs * 16, data.targets], np.c_[data.test_inputs * 16, data.test_targets]])
    assert sorted(map(tuple, rows)) == sorted(map(tuple, np.c_[pixels, labels]))
    # each class has its share of the test part, to within one sample
    assert np.abs(np.bincount(data.test_targets) - np.bincount(labels) * 360 / 1797).max() < 1


def test_without_sklearn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in ("sklearn.datasets", "sklearn.model_selection"):
        monkeypatch.setitem(sys.modules, module, None)  # which makes their import fail
    whole = saved(tmp_path / "whole.npz", inputs=np.eye(10), targets=np.arange(10) % 2)
    for source in ("digits", whole):
        with pytest.raises(MissingExtraError, match=r"pip install 'dyadic-neuro\[data\]'"):
            load(source)
    parts = saved(tmp_path / "parts.npz", inputs=np.eye(2), targets=[0, 1], test_inputs=np.eye(2), test_targets=[0, 1])
    assert load(parts).features == 2  # data in two parts needs no extra
    assert load(f"mnist:{write_idx(tmp_path, images())}").classes == 10


@pytest.mark.parametrize("source", ["digit", "", "mnist", "mnist:", "data.csv", ".", 3, None, b"digits", np.eye(2)])
def test_an_unknown_source_lists_the_choices(source: Any) -> None:
    with pytest.raises(UnknownNameError) as caught:
        load(source)
    assert all(choice in caught.value.fix for choice in ("digits", ".npz", "mnist:DIR"))


def test_load_dispatches_on_text_and_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "own.npz", **{name: value for name, value in good().items() if "t" in name and name != "name"})
    folder = write_idx(tmp_path / "idx", images())
    assert load(str(path)).name == load(path).name == "own"
    assert load(f"mnist:{folder}").name == "mnist"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load("~/own.npz").features == 3
    assert load("mnist:~/idx").features == 12  # a shell does not expand this one
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").write_bytes(path.read_bytes())
    assert load(Path("digits")).features == 3  # a path object is a file, whatever its name


# --- .npz ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", LAYOUTS)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_with_a_test_part_round_trips(keys: tuple[str, ...], save: Callable[..., None], tmp_path: Path) -> None:
    arguments = good()
    values = [arguments[name] for name in ("inputs", "targets", "test_inputs", "test_targets")]
    save(tmp_path / "own.npz", other=np.array("ignored"), **dict(zip(keys, values, strict=True)))
    data = from_npz(tmp_path / "own.npz")
    for found, value in zip((data.inputs, data.targets, data.test_inputs, data.test_targets), values, strict=True):
        np.testing.assert_array_equal(found, value)
    assert (data.name, data.classes) == ("own", 2)


def test_npz_scales_integers_by_their_largest_and_flattens_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(RNG_SEED)
    train, test = rng.integers(0, 200, (8, 2, 3), dtype=np.uint8), rng.integers(0, 200, (4, 2, 3), dtype=np.uint8)
    test[1, 0, 2] = 250  # the largest of both parts together
    labels = {"y_train": np.arange(8)[:, None] % 3, "y_test": np.arange(4, dtype=np.uint8)[:, None] % 3}  # (n, 1) as Keras has it
    data = from_npz(saved(tmp_path / "a.npz", x_train=train, x_test=test, **labels))
    np.testing.assert_array_equal(data.inputs, train.reshape(8, 6).astype(np.float64) / 250)
    np.testing.assert_array_equal(data.test_inputs, test.reshape(4, 6).astype(np.float64) / 250)
    assert data.targets.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert data.classes == 3


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (np.array([[-4], [2]], np.int8), [[-1.0], [0.5]]),
        (np.array([[-128], [64]], np.int8), [[-1.0], [0.5]]),  # whose magnitude int8 cannot hold
        (np.array([[0], [0]], np.int32), [[0.0], [0.0]]),
        (np.array([[2**64 - 1], [0]], np.uint64), [[1.0], [0.0]]),
        (np.array([[True], [False]]), [[1.0], [0.0]]),
        (np.array([[3.5], [-7]], np.float32), [[3.5], [-7.0]]),  # floats keep their unit
        (np.asfortranarray([[[8, 4], [2, 1]], [[0, 0], [0, 4]]]), [[1, 0.5, 0.25, 0.125], [0, 0, 0, 0.5]]),
    ],
)
def test_npz_scaling(inputs: Array, expected: list[list[float]], tmp_path: Path) -> None:
    data = from_npz(saved(tmp_path / "a.npz", inputs=inputs, targets=[0, 1], test_inputs=inputs, test_targets=[0, 1]))
    assert data.inputs.tolist() == data.test_inputs.tolist() == expected


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_npz_takes_one_hot_targets(dtype: type, tmp_path: Path) -> None:
    labels = np.array([2, 0, 1, 0])
    rows = np.eye(4, dtype=dtype)[labels]
    data = from_npz(saved(tmp_path / "a.npz", inputs=np.eye(4), targets=rows, test_inputs=np.eye(4), test_targets=rows))
    assert data.targets.tolist() == data.test_targets.tolist() == labels.tolist()
    assert data.classes == 4  # the columns, though no sample is of the last class


def test_npz_without_a_test_part_is_split_by_class_and_always_alike(tmp_path: Path) -> None:
    selection = pytest.importorskip("sklearn.model_selection", reason="the extra `data` is not installed")
    targets = np.repeat([0, 1, 2], [50, 30, 20])
    inputs = np.arange(100.0)[:, None]  # each sample is its own number
    path = saved(tmp_path / "a.npz", inputs=inputs, targets=targets)
    data, again = from_npz(path), from_npz(path)
    assert np.bincount(data.targets).tolist() == [40, 24, 16]
    assert np.bincount(data.test_targets).tolist() == [10, 6, 4]
    np.testing.assert_array_equal(np.sort(np.r_[data.inputs, data.test_inputs], axis=0), inputs)
    np.testing.assert_array_equal(data.targets, targets[data.inputs[:, 0].astype(int)])
    np.testing.assert_array_equal(data.test_targets, targets[data.test_inputs[:, 0].astype(int)])
    assert contents(data) == contents(again)
    expected = selection.train_test_split(inputs, test_size=0.2, random_state=0, stratify=targets)
    np.testing.assert_array_equal(data.test_inputs, expected[1])


X, Y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({}, "names of arrays are []"),
        ({"x": X, "y": Y}, "names of arrays are ['x', 'y']"),
        ({"inputs": X}, "['inputs']"),
        ({"inputs": X, "y_train": Y}, "['inputs', 'y_train']"),
        ({"inputs": X, "targets": Y, "test_inputs": X}, "test_inputs"),
        ({"inputs": X, "targets": Y, "x_test": X, "y_test": Y}, "x_test"),  # no test part is dropped in silence
        ({"inputs": X, "targets": Y, "x_train": X, "y_train": Y}, "x_train"),
        ({"inputs": X, "targets": Y - 1}, "targets has -1.0 at 0"),
        ({"inputs": X, "targets": Y + 0.5}, "targets has 0.5 at 0"),
        ({"inputs": X, "targets": Y * 10**6}, "from 0 to 65535"),
        ({"inputs": X, "targets": Y * 0}, "classes is 1"),
        ({"inputs": X, "targets": Y[:-1]}, "inconsistent numbers of samples"),
        ({"inputs": X, "targets": np.arange(10)}, "too few to set a fifth of them aside"),
        ({"inputs": X, "targets": np.eye(10) + np.eye(10)[::-1]}, "not one-hot"),
        ({"inputs": X, "targets": np.eye(10) * 0.5}, "not one-hot"),
        ({"inputs": X, "targets": np.zeros((10, 3))}, "not one-hot"),
        ({"inputs": X, "targets": np.zeros((10, 1, 2))}, "not one-hot"),
        ({"inputs": X * np.nan, "targets": Y}, "inputs is not finite"),
        ({"inputs": X * np.nan, "targets": np.arange(10)}, "inputs is not finite"),
        ({"inputs": X + 1j, "targets": Y}, "inputs holds complex128"),
        ({"inputs": X.astype(str), "targets": Y}, "inputs holds <U"),
        ({"inputs": X, "targets": Y.astype("datetime64[s]")}, "targets holds datetime64"),
        ({"inputs": np.float64(3), "targets": Y}, "zero-dimensional"),
        ({"inputs": X, "targets": np.int64(1)}, "zero-dimensional"),
        ({"inputs": X[:0], "targets": Y[:0]}, "n_samples=0"),
        ({"inputs": X[:0], "targets": Y[:0], "test_inputs": X, "test_targets": Y}, "inputs is empty"),
        ({"inputs": X, "targets": Y, "test_inputs": X[:0], "test_targets": Y[:0]}, "test_inputs is empty"),
        ({"inputs": X, "targets": Y, "test_inputs": X, "test_targets": Y[:4]}, "test_targets has shape (4,), not (10,)"),
        ({"inputs": X, "targets": Y[:4], "test_inputs": X, "test_targets": Y}, "targets has shape (4,), not (10,)"),
        ({"inputs": X, "targets": Y, "test_inputs": X[:, :1], "test_targets": Y}, "must match exactly"),
        ({"inputs": X, "targets": np.eye(10), "test_inputs": X, "test_targets": np.eye(10)[:, :9]}, "must match exactly"),
        ({"inputs": X, "targets": Y, "test_inputs": X.astype(int), "test_targets": Y}, "test_inputs is int64, inputs float64"),
    ],
)
def test_npz_of_wrong_arrays_is_refused(arrays: Pieces, says: str, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra `data` is not installed")
    path = saved(tmp_path / "a.npz", **arrays)
    with pytest.raises(FileError) as caught:
        from_npz(path)
    assert caught.value.field == str(path)
    assert says in caught.value.problem
    assert caught.value.fix


def test_npz_with_an_object_array_is_refused_and_not_unpickled(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception):  # the bomb works
        pickle.loads(pickle.dumps(Bomb()))
    bombs = np.array([Bomb(), Bomb()], dtype=object)
    files = [
        saved(tmp_path / "objects.npz", inputs=bombs, targets=[0, 1]),
        saved(tmp_path / "unused.npz", inputs=np.eye(10), targets=np.arange(10) % 2, unused=bombs),
        members(tmp_path / "member.npz", inputs=pickle.dumps(Bomb()), targets=npy(Y)),
    ]
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(Bomb()))
    for path in (files[0], files[2], tmp_path / "bare.npz"):
        with pytest.raises(FileError, match=path.name):
            from_npz(path)
    pytest.importorskip("sklearn", reason="the extra `data` is not installed")
    assert from_npz(files[1]).features == 10  # what is not asked for is not opened


def test_npz_foreign_files_are_refused(tmp_path: Path) -> None:
    files = {
        "empty": b"",
        "text": b"5.1,3.5,1.4\n",
        "npy": npy(X),
        "truncated": saved(tmp_path / "a.npz", inputs=X, targets=Y).read_bytes()[:-30],
        "zip": members(tmp_path / "b.npz", inputs=b"hello", targets=npy(Y)).read_bytes(),
        "nested": members(tmp_path / "c.npz", inputs=(tmp_path / "a.npz").read_bytes(), targets=npy(Y)).read_bytes(),
        "longer": members(tmp_path / "d.npz", inputs=npy(X) + b"\0", targets=npy(Y)).read_bytes(),
        "shorter": members(tmp_path / "e.npz", inputs=npy(X)[:-1], targets=npy(Y)).read_bytes(),
    }
    for name, content in files.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(FileError, match=f"{name}.npz"):
            from_npz(path)
    for path in (tmp_path / "missing.npz", tmp_path, tmp_path / "nul\0.npz"):
        with pytest.raises(FileError, match=r"cannot be read|does not exist|is no file"):
            from_npz(path)


@pytest.mark.parametrize("shape", ["(10, 9000000000000000)", "(10, 90000000000000000000000)", "(-10, -2)", "(10, 3)"])
def test_npz_whose_header_promises_other_sizes_is_refused(shape: str, tmp_path: Path) -> None:
    old = npy(X)
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    header = text.encode().ljust(len(old) - X.nbytes - 11) + b"\n"
    path = members(tmp_path / "a.npz", inputs=old[:10] + header + X.tobytes(), targets=npy(Y))
    with pytest.raises(FileError, match=r"a\.npz"):
        from_npz(path)


@pytest.mark.filterwarnings("ignore")  # a changed header may spell a type that numpy reads with a warning
def test_npz_with_any_byte_changed_or_missing_loads_the_same_or_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra `data` is not installed")
    path = saved(tmp_path / "a.npz", inputs=X, targets=Y, test_inputs=X, test_targets=Y)
    whole, data = path.read_bytes(), from_npz(path)
    directory = whole.index(b"PK\x01\x02")  # zip keeps no checksum of its directory: a changed length can hide the test part
    for i in range(len(whole)):
        path.write_bytes(whole[:i])
        with pytest.raises(FileError, match=r"a\.npz"):
            from_npz(path)
        for flip in (0x01, 0x11, 0xFF):
            path.write_bytes(whole[:i] + bytes([whole[i] ^ flip]) + whole[i + 1 :])
            try:
                found = from_npz(path)
            except FileError:
                continue
            assert i >= directory or contents(found) == contents(data)


# --- IDX -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_mnist_round_trips(mark: str, end: str, tmp_path: Path) -> None:
    pieces = images()
    data = from_mnist(write_idx(tmp_path, pieces, mark, end))
    np.testing.assert_array_equal(data.inputs, pieces["train-images"].reshape(12, 12).astype(np.float64) / 255)
    np.testing.assert_array_equal(data.test_inputs, pieces["t10k-images"].reshape(5, 12).astype(np.float64) / 255)
    np.testing.assert_array_equal(data.targets, pieces["train-labels"])
    np.testing.assert_array_equal(data.test_targets, pieces["t10k-labels"])
    assert (data.name, data.classes, data.features) == ("mnist", 10, 12)


def test_mnist_is_recognised_by_content_and_mixes_spellings(tmp_path: Path) -> None:
    pieces = images()
    write_idx(tmp_path, pieces)
    (tmp_path / "train-images-idx3-ubyte").rename(tmp_path / "train-images.idx3-ubyte.gz")  # unpacked by a browser
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(gzip.compress(idx(pieces["t10k-labels"])))
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    (tmp_path / "t10k-images-idx3-ubyte").mkdir()  # some archives unpack to a folder of the file's name
    (tmp_path / "t10k-images.idx3-ubyte").write_bytes(idx(pieces["t10k-images"]))
    expected = from_mnist(write_idx(tmp_path / "plain", pieces))
    found = from_mnist(tmp_path)
    assert contents(found) == contents(expected)


@pytest.mark.parametrize("stem", IDX)
def test_mnist_names_a_missing_file(stem: str, tmp_path: Path) -> None:
    write_idx(tmp_path, images())
    (tmp_path / f"{stem}-idx{IDX[stem]}-ubyte").unlink()
    with pytest.raises(FileError, match=rf"none of the files {stem}-idx., *|{stem}\.idx.-ubyte\.gz"):
        from_mnist(tmp_path)
    with pytest.raises(FileError, match="none of the files train-images"):
        from_mnist(tmp_path / "nowhere")


CORRUPT: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "requires a buffer of 16 bytes"),
    "half a header": (lambda b: b[:9], "requires a buffer of 16 bytes"),
    "magic of labels": (lambda b: b[:3] + b"\x01" + b[4:], "are 2049, 144, expected 2051"),
    "magic of floats": (lambda b: b[:2] + b"\x0d" + b[3:], "are 3331, 144, expected 2051"),
    "little endian": (lambda b: b[3::-1] + b[4:], "expected 2051"),
    "one byte short": (lambda b: b[:-1], "143 bytes, expected 144"),
    "one byte long": (lambda b: b + b"\0", "145 bytes or more, expected 144"),
    "no body": (lambda b: b[:16], "expected"),
    "absurd count": (lambda b: b[:4] + b"\xff" * 12 + b[16:], f"{(2**32 - 1) ** 3}, expected 2051, at most"),
    "no samples": (lambda b: b[:4] + bytes(4) + b[8:16], "inputs is empty"),
    "no rows": (lambda b: b[:8] + bytes(4) + b[12:16], "inputs is empty"),
    "fewer samples than labels": (lambda b: b[:4] + struct.pack(">I", 11) + b[8:-12], "targets has shape (12,), not (11,)"),
    "other features than the test part": (lambda b: b[:8] + struct.pack(">2I", 2, 3) + b[16 : 16 + 72], "not (any, 6)"),
}


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("case", CORRUPT)
def test_mnist_corrupt_files_are_refused(case: str, end: str, tmp_path: Path) -> None:
    corrupt, says = CORRUPT[case]
    write_idx(tmp_path, images(), end=end)
    path = tmp_path / f"train-images-idx3-ubyte{end}"
    content = corrupt(idx(images()["train-images"]))
    path.write_bytes(gzip.compress(content) if end else content)
    with pytest.raises(FileError) as caught:
        from_mnist(tmp_path)
    assert says in caught.value.problem
    assert caught.value.field == str(tmp_path if "inputs" in caught.value.problem or "targets" in caught.value.problem else path)


def test_mnist_plain_file_is_measured_before_it_is_read(tmp_path: Path) -> None:
    write_idx(tmp_path, images())
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x0803, 5, 4, 3))
    with pytest.raises(FileError, match="are 2051, 60, expected 2051, at most 16 bytes"):
        from_mnist(tmp_path)


@pytest.mark.parametrize("stem", ["train-labels", "t10k-labels"])
def test_mnist_labels_are_ten_classes(stem: str, tmp_path: Path) -> None:
    pieces = images()
    pieces[stem][3] = 10
    with pytest.raises(FileError, match=r"targets has 10\.0 at 3, not an integer from 0 to 9"):
        from_mnist(write_idx(tmp_path, pieces))


def test_mnist_broken_gzip_is_refused(tmp_path: Path) -> None:
    write_idx(tmp_path, images(), end=".gz")
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i])
        with pytest.raises(FileError, match=r"t10k-images-idx3-ubyte\.gz"):
            from_mnist(tmp_path)
    for i in range(len(whole) - 8, len(whole)):  # checksum and length
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        with pytest.raises(FileError, match="BadGzipFile"):
            from_mnist(tmp_path)
    path.write_bytes(whole + b"junk")
    with pytest.raises(FileError, match="BadGzipFile"):
        from_mnist(tmp_path)


def test_mnist_unpacks_no_more_than_the_header_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    read = gzip.GzipFile.read

    def counted(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        asked.append(-1 if size is None else size)
        return read(self, size)

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    write_idx(tmp_path, images(), end=".gz")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(images()["train-images"]) + bytes(10**7)))  # ten megabytes behind the images
    with pytest.raises(FileError, match="145 bytes or more, expected 144"):
        from_mnist(tmp_path)
    assert asked == [16, 145]
    asked.clear()
    path.write_bytes(gzip.compress(struct.pack(">4I", 0x0803, 60_000, 28, 28) + bytes(100)))  # promises 47 megabytes in 60 bytes
    with pytest.raises(FileError, match="expected 2051, at most"):
        from_mnist(tmp_path)
    assert asked == [16]


def test_the_bound_on_deflate_refuses_no_honest_file(tmp_path: Path) -> None:
    pieces = images()
    pieces["train-images"] = np.zeros((12, 1000, 1000), np.uint8)  # nothing packs better than zeros
    pieces["t10k-images"] = np.ones((5, 1000, 1000), np.uint8)
    assert from_mnist(write_idx(tmp_path, pieces, end=".gz")).features == 10**6
    assert 12 * 10**6 / (tmp_path / "train-images-idx3-ubyte.gz").stat().st_size < DEFLATE_LIMIT


def test_what_never_ends_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "zero.npz").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.npz")
    for name in ("zero.npz", "pipe.npz"):
        with pytest.raises(FileError, match="is no file"):
            from_npz(tmp_path / name)
