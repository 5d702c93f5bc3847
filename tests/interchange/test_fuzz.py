"""Whatever a file holds, reading it ends with a network or an error of ours. DYADIC_FUZZ_CASES is the number of files (500)."""

import os
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dyadic_neuro.errors import DyadicError
from dyadic_neuro.network import Network
from tests.interchange import damage

pytest.importorskip("h5py")
pytest.importorskip("nir")
pytest.importorskip("onnx")

CASES = int(os.environ.get("DYADIC_FUZZ_CASES", "500"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return damage.Files(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.filterwarnings("ignore")  # numpy warns of headers that it has to read twice
@pytest.mark.timeout(60 + CASES)
@pytest.mark.parametrize("kind", damage.FORMATS)
@settings(max_examples=-(-CASES // len(damage.FORMATS)), deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**63))
def test_a_damaged_file_is_read_or_refused(files, kind, seed):
    path = files.folder / f"damaged-{kind}"
    path.write_bytes(damage.spoiled(files.contents[kind], kind, seed))
    before = {one.name for one in files.folder.iterdir()}
    with suppress(DyadicError):
        assert isinstance(damage.read(path, kind), Network)
    assert {one.name for one in files.folder.iterdir()} == before


@pytest.mark.parametrize("kind", damage.FORMATS)
def test_the_files_that_are_damaged_are_sound(files, kind):
    path = files.folder / f"sound-{kind}"
    path.write_bytes(files.contents[kind])
    assert isinstance(damage.read(path, kind), Network)
