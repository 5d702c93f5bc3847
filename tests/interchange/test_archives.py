"""Files of arrays made to do harm: what is packed does not grow, and what is listed is not believed."""

import json
import struct
import zipfile

import numpy as np
import pytest

from dyadic_neuro.errors import FileError, NetworkError
from dyadic_neuro.interchange import npz, torch_state
from dyadic_neuro.network import Network

HUGE = 2**40


# --- zip ------------------------------------------------------------------------------------------------------------------


def npy(shape, data=b"", kind="<f4"):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize("read", [Network.load, Network.from_torch_state])
def test_a_bomb_in_an_npz_does_not_grow(tmp_path, read, refuses):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("0.weight.npy", "w") as file:
        file.write(npy((1, 2**25)))
        for _ in range(128):
            file.write(bytes(2**20))
    assert path.stat().st_size < 2**18
    with refuses(FileError, "would grow to 134"):
        read(path)


@pytest.mark.parametrize("shape", [(1, HUGE), (-1, -8), (2**62, 2**62), (3, 3), ("'x'", 2)])
def test_an_npz_whose_header_lies(tmp_path, shape, refuses):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("0.weight.npy", npy(shape, bytes(32)))
    with refuses(FileError, "cannot be read"):
        Network.from_torch_state(path)


@pytest.mark.parametrize("read", [Network.load, Network.from_torch_state])
def test_an_npz_that_lists_too_much(tmp_path, read, refuses):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for i in range(40):
            archive.writestr(f"{i}" + 60_000 * "x" + ".weight.npy", b"")
    with refuses(FileError, "a list of arrays of 2"):
        read(tmp_path / "a.npz")


def test_an_npz_with_a_record_without_end(tmp_path, monkeypatch, refuses):
    Network.dense([2, 2]).save(tmp_path / "a.npz")
    monkeypatch.setattr(npz, "MOST_RECORD", 100)
    with refuses(FileError, "more than 100 characters"):
        Network.load(tmp_path / "a.npz")


def test_a_state_dictionary_without_end(tmp_path, monkeypatch, refuses):
    np.savez(tmp_path / "a.npz", **{f"{i}.weight": np.ones((1, 1)) for i in range(3)})
    monkeypatch.setattr(torch_state, "MOST_POPULATIONS", 3)
    with refuses(NetworkError, "holds 3 layers"):
        Network.from_torch_state(tmp_path / "a.npz")


@pytest.mark.parametrize("way", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_an_npz_whose_contents_are_damaged(tmp_path, way, refuses):
    content = npy((2, 2), bytes(16)) if way else npy("(2, 2", bytes(16))  # a header with an open bracket, or packed noise
    with zipfile.ZipFile(tmp_path / "a.npz", "w", way) as archive:
        archive.writestr("0.weight.npy", content)
    if way:
        file = bytearray((tmp_path / "a.npz").read_bytes())
        start = 30 + len("0.weight.npy") + (9 if way == zipfile.ZIP_LZMA else 0)  # after the local header, and LZMA's own
        file[start : start + 8] = b"\xff" * 8
        (tmp_path / "a.npz").write_bytes(file)
    with refuses(FileError, "cannot be read"):
        Network.from_torch_state(tmp_path / "a.npz")


def test_a_name_that_leaves_the_folder_is_only_a_name(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **{"../../evil.weight": np.ones((2, 2))})
    assert Network.from_torch_state(path).depth == 1
    assert [one.name for one in tmp_path.iterdir()] == ["a.npz"]


# --- safetensors ----------------------------------------------------------------------------------------------------------

HEADERS = {
    "deep": b"[" * 100_000,
    "list": b"[]",
    "number": b"5",
    "no entry": b'{"0.weight": 3}',
    "overlap": b'{"0.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},'
    b'"1.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}',
    "hole": b'{"0.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[4,8]}}',
    "beyond": b'{"0.weight":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}',
    "negative": b'{"0.weight":{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}}',
    "bool": b'{"0.weight":{"dtype":"F32","shape":[true,1],"data_offsets":[0,4]}}',
    "fraction": b'{"0.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4.0]}}',
    "dtype": b'{"0.weight":{"dtype":"F8_E4M3","shape":[2,2],"data_offsets":[0,4]}}',
    "too little": b'{"0.weight":{"dtype":"F32","shape":[3,3],"data_offsets":[0,4]}}',
    "infinite": b'{"0.weight":{"dtype":"F32","shape":[Infinity],"data_offsets":[0,4]}}',
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_safetensors_header_that_lies(tmp_path, name, refuses):
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(HEADERS[name]).to_bytes(8, "little") + HEADERS[name] + bytes(8))
    with refuses(FileError, "F8_E4M3" if name == "dtype" else "cannot be read as safetensors"):
        Network.from_torch_state(path)


@pytest.mark.parametrize("length", [0, 2**24 + 1, 2**63])
def test_a_safetensors_length_that_lies(tmp_path, length, refuses):
    (tmp_path / "a.safetensors").write_bytes(length.to_bytes(8, "little") + bytes(16))
    with refuses(FileError, "cannot be read as safetensors"):
        Network.from_torch_state(tmp_path / "a.safetensors")


def test_a_safetensors_file_of_too_many_tensors(tmp_path, refuses):
    header = json.dumps({f"{i}.weight": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(10_001)}).encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with refuses(FileError, "10001 tensors"):
        Network.from_torch_state(tmp_path / "a.safetensors")
