"""The tree, what it declares, and what is built from it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import tomli

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "dyadic_neuro", "processes", "mappings")
LITTER = shutil.ignore_patterns("__pycache__", "*.pyc", ".*_cache")


class Built(NamedTuple):
    sdist: Path
    wheel: Path


def run(*command, cwd, **env):
    """Run a command that knows nothing of the run of pytest around it, nor of the tree; return what it printed."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "PYTHONPATH"))}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=clean | env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(folder, *, links):
    """Build from a copy of the sources, so that runs side by side do not meet: an sdist, and from that a wheel."""
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=LITTER)
        else:
            shutil.copy2(ROOT / name, folder / name)
    if not links:
        for link in [path for path in (folder / "dyadic_neuro").iterdir() if path.is_symlink()]:
            target = os.readlink(link)
            link.unlink()
            link.write_text(target)  # what git leaves where a file system has no links
    run(sys.executable, "-m", "build", "--no-isolation", cwd=folder)
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return Built(sdist, wheel)


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def settings():
    return tomli.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("built"), links=True)


@pytest.fixture(scope="session")
def built_without_links(tmp_path_factory):
    return build(tmp_path_factory.mktemp("built_without_links"), links=False)


@pytest.fixture(scope="session")
def isolated():
    """Return the function that runs a command away from the tree."""
    return run
