"""What is built holds the whole package, and works away from the tree."""

import os
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.builds, pytest.mark.timeout(600)]  # the second half runs the tests of the core again

CORE = ("unit", "property", "reference")


def wheel_files(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def tree_files(root):
    """Return every file of the package, data too, except caches."""
    return {
        os.path.relpath(os.path.join(folder, name), root)
        for folder, _, names in os.walk(root / "dyadic_neuro", followlinks=True)
        for name in names
        if "__pycache__" not in folder
    }


def test_wheel_holds_every_file_of_the_package_and_nothing_else(root, built):
    assert wheel_files(built.wheel) == tree_files(root)


def test_wheel_is_the_same_from_a_checkout_without_links(built, built_without_links):
    assert wheel_files(built_without_links.wheel) == wheel_files(built.wheel)


def test_sdist_holds_every_module_once_where_the_tree_has_it(root, built):
    with tarfile.open(built.sdist) as archive:
        names = [member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()]
    modules = sorted(name for name in names if name.endswith(".py") and name != "setup.py")
    folders = [root / "dyadic_neuro", root / "processes", root / "mappings"]
    real = {path.resolve() for folder in folders for path in folder.rglob("*.py")}
    assert modules == sorted(str(path.relative_to(root)) for path in real)
    assert {"LICENSE", "README.md", "pyproject.toml"} <= set(names)


@pytest.fixture(params=["lava", "core"])
def elsewhere(request, root, built, isolated, tmp_path):
    """Return the Python of a fresh environment that holds the wheel, and borrows only its dependencies.

    They come from the environment that runs the tests, or from .venv-core: no Lava, a newer Python, a newer numpy.
    Paths named in a .pth are searched, but their own .pth files are not read, so the editable install there stays unknown.
    """
    donor = Path(sys.prefix) if request.param == "lava" else root / ".venv-core"
    if request.param == "core" and not (donor / ".test").exists():
        pytest.skip("there is no .venv-core: `make test` makes it if scripts/find-python finds the newer Python")
    home = tmp_path / "environment"
    isolated(donor / "bin/python", "-m", "venv", "--without-pip", home, cwd=tmp_path)
    (borrowed,), (packages,) = donor.glob("lib/python3*/site-packages"), home.glob("lib/python3*/site-packages")
    (packages / "dependencies.pth").write_text(f"{borrowed}\n")
    pip = [donor / "bin/python", "-m", "pip", "--disable-pip-version-check", "--python", home / "bin/python"]
    isolated(*pip, "install", "--no-deps", "--no-index", built.wheel, cwd=tmp_path)
    python = home / "bin/python"

    where = isolated(python, "-c", "import dyadic_neuro.processes as p; print(*p.__path__)", cwd=tmp_path).strip()
    assert Path(where) == packages / "dyadic_neuro/processes"
    if request.param == "core":
        facts = "import importlib.util, numpy; print(numpy.__version__[:2], importlib.util.find_spec('lava'))"
        assert isolated(python, "-c", facts, cwd=tmp_path).split() == ["2.", "None"]
    return python


def test_core_tests_pass_on_the_installed_wheel(elsewhere, root, isolated, tmp_path, request):
    away = tmp_path / "away"
    for name in CORE:
        shutil.copytree(root / "tests" / name, away / "tests" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "tests/__init__.py", "tests/conftest.py"):
        shutil.copy2(root / name, away / name)
    assert isolated(elsewhere.parent / "dyadic-neuro", "--help", cwd=away)
    facts = "import dyadic_neuro as dn; print(dn.relax(dn.Network.dense([2, 3, 2]), [[1, 2]], [0], backend='lava').steps)"
    folders = [f"tests/{name}" for name in CORE]
    if "lava" in request.node.name:
        assert isolated(elsewhere, "-c", facts, cwd=away).strip() == "4"
        folders = ["tests/unit/test_cli.py", "tests/unit/test_relaxation.py"]  # in this environment the tree was tested
    report = isolated(elsewhere, "-m", "pytest", "-q", *folders, cwd=away, DYADIC_HYPOTHESIS_PROFILE="fast")
    assert " passed" in report.splitlines()[-1]
