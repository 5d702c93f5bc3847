"""The project's own files: written whole or not at all, and read without executing or believing anything."""

import json
import os
import pickle
import stat
import zipfile

import numpy as np
import pytest

from dyadic_neuro.errors import FileError, OutputExistsError
from dyadic_neuro.interchange import npz
from dyadic_neuro.network import Network

ARRAYS = {"a->b": np.arange(6.0).reshape(2, 3), "a.bias": np.arange(3, dtype="float32")}
RECORD = {"numbers": [1, 2.5, None, True], "text": "ä"}


class Bomb:
    """Fails the test when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("something was unpickled",)


@pytest.fixture
def path(tmp_path):
    npz.write(tmp_path / "a.npz", "thing", RECORD, ARRAYS, overwrite=False)
    return tmp_path / "a.npz"


def contents(record, arrays):
    return json.dumps(record, sort_keys=True), {
        name: (values.dtype.str, values.shape, values.tobytes()) for name, values in arrays.items()
    }


def test_what_is_written_comes_back(path):
    record, arrays = npz.read(path, "thing")
    assert record == RECORD | {"format": "dyadic_neuro", "kind": "thing"}
    assert contents({}, arrays) == contents({}, ARRAYS)
    assert [p.name for p in path.parent.iterdir()] == ["a.npz"]


def test_a_truncated_file_is_refused(path, refuses):
    whole = path.read_bytes()
    for length in range(0, len(whole), 50):
        path.write_bytes(whole[:length])
        with refuses(FileError, str(path), "truncated" if length else ""):
            npz.read(path, "thing")


@pytest.mark.filterwarnings("ignore")  # a changed header may spell a type that numpy reads with a warning
@pytest.mark.parametrize("flip", [0x01, 0x20, 0xFF])
def test_a_file_with_a_changed_byte_loads_the_same_or_is_refused(path, flip):
    whole, right = path.read_bytes(), contents(*npz.read(path, "thing"))
    directory = whole.index(b"PK\x01\x02")  # zip keeps no checksum of its directory: a changed name there is a missing array
    for i in range(0, len(whole), 3):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ flip]) + whole[i + 1 :])
        try:
            found = npz.read(path, "thing")
        except FileError:
            continue
        assert i >= directory or contents(*found) == right


@pytest.mark.parametrize("shape", ["(2, 9000000000000000)", "(2, 90000000000000000000000)", "(-2, -3)", "(2, 4)"])
def test_a_header_that_promises_another_size_is_refused(path, shape, refuses):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    old = members["a->b.npy"]
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    members["a->b.npy"] = old[:10] + header.ljust(len(old) - 48 - 11) + b"\n" + old[-48:]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with refuses(FileError, str(path), "cannot be read as a thing"):
        npz.read(path, "thing")


def test_foreign_files_are_refused(tmp_path, refuses):
    np.save(tmp_path / "array.npy", np.arange(3))
    np.savez(tmp_path / "arrays.npz", inputs=np.arange(3))
    np.savez(tmp_path / "text.npz", __record__=np.array("no JSON"))
    np.savez(tmp_path / "number.npz", __record__=np.array("5"))
    np.savez(tmp_path / "list.npz", __record__=np.array("[]"))
    np.savez(tmp_path / "others.npz", __record__=np.array('{"format": "others", "kind": "thing"}'))
    np.savez(tmp_path / "bytes.npz", __record__=np.arange(3))
    np.savez(tmp_path / "objects.npz", __record__=np.array([Bomb()], object))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "words").write_text("hello")
    (tmp_path / "pickle").write_bytes(pickle.dumps(Bomb()))
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("__record__.npy", b"hello")
    (tmp_path / "folder").mkdir()
    for file in [*tmp_path.iterdir(), tmp_path / "nul\0"]:
        with refuses(FileError, str(file)):
            npz.read(file, "thing")


def test_a_missing_file_says_so(tmp_path, refuses):
    with refuses(FileError, str(tmp_path / "b.npz"), "does not exist"):
        npz.read(tmp_path / "b.npz", "thing")
    with refuses(FileError, str(tmp_path / "none" / "b.npz"), "does not exist"):
        Network.load(tmp_path / "none" / "b.npz")


def test_a_file_of_another_kind_names_both_kinds(path, refuses):
    with refuses(FileError, str(path), "'thing'", "'network'"):
        Network.load(path)


def test_an_object_array_beside_the_record_is_refused_and_not_unpickled(path, refuses):
    text = json.dumps({"format": "dyadic_neuro", "kind": "thing"})
    np.savez(path, __record__=np.array(text), weights=np.array([Bomb(), Bomb()], object))
    with refuses(FileError, str(path), "cannot be read"):
        npz.read(path, "thing")


# --- writing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("where", ["savez", "fsync"])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(path, monkeypatch, error, where):
    def fail(file, **arrays):
        if where == "savez":
            file.write(b"half a fi")
        raise error

    monkeypatch.setattr(*((np, "savez") if where == "savez" else (os, "fsync")), fail)
    for name in ("a.npz", "new.npz"):
        with pytest.raises(type(error)):
            npz.write(path.with_name(name), "thing", {}, {}, overwrite=True)
    monkeypatch.undo()
    assert [p.name for p in path.parent.iterdir()] == ["a.npz"]
    assert contents(*npz.read(path, "thing"))[1] == contents({}, ARRAYS)[1]


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_permissions_follow_the_umask(tmp_path, mask):
    old = os.umask(mask)
    try:
        npz.write(tmp_path / "a.npz", "thing", {}, {}, overwrite=False)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.npz").stat().st_mode) == 0o666 & ~mask


def test_an_existing_file_a_folder_and_a_missing_folder_are_refused(path, refuses):
    before = path.read_bytes()
    with refuses(OutputExistsError, str(path), "--overwrite"):
        npz.write(path, "thing", {}, {}, overwrite=False)
    for place, says in ((path.parent, "is a folder"), (path.parent / "none" / "a.npz", "folder does not exist")):
        for overwrite in (False, True):
            with refuses(FileError, str(place), says):
                npz.write(place, "thing", {}, {}, overwrite=overwrite)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["a.npz"]


def test_a_path_may_be_text_and_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    npz.write("a.npz", "thing", RECORD, ARRAYS, overwrite=False)
    assert contents({}, npz.read("a.npz", "thing")[1]) == contents({}, ARRAYS)
