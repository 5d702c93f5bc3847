"""The search for a Python: the first thing a newcomer meets."""

import os
import shutil
import subprocess
import sys

import pytest

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
THIS = os.path.join(sys.base_prefix, "bin", f"python{HERE}")


def find(root, *arguments, path, **env):
    program = str(root / "scripts/find-python")
    env = {"PATH": str(path), "HOME": str(path)} | {key: str(value) for key, value in env.items()}
    return subprocess.run([program, *arguments], cwd=path, env=env, capture_output=True, text=True, check=False)


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def says_it_in_one_line(text):
    (line,) = text.splitlines()
    return all(way in line for way in ("was not found", "pyenv install", "uv python install", "PYTHON="))


def test_without_any_it_says_so_in_one_line_with_ways_to_get_one(root, tmp_path):
    done = find(root, path=tmp_path)
    assert done.returncode != 0
    assert done.stdout == ""
    assert says_it_in_one_line(done.stderr)


@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_without_any_adds_only_its_own_line(root, tmp_path, target):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy2(root / name, tmp_path / name)
    shutil.copytree(root / "scripts", tmp_path / "scripts")
    (tmp_path / "empty").mkdir()
    env = {"PATH": str(tmp_path / "empty"), "HOME": str(tmp_path)}
    done = subprocess.run([shutil.which("make"), target], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    ours, make = done.stderr.splitlines()
    assert says_it_in_one_line(ours)
    assert make.startswith("make")


def test_every_place_is_looked_at(root, tmp_path):
    start = f'exec "{sys.executable}" "$@"'
    assert find(root, HERE, path=tmp_path, PYTHON=program(tmp_path / "my/python", start)).stdout.strip() == THIS
    assert find(root, HERE, path=program(tmp_path / "named" / f"python{HERE}", start).parent).stdout.strip() == THIS
    assert find(root, HERE, path=program(tmp_path / "plain/python3", start).parent).stdout.strip() == THIS
    program(tmp_path / f"pyenv/versions/{HERE}.99/bin/python", start)
    assert find(root, HERE, path=tmp_path, PYENV_ROOT=tmp_path / "pyenv").stdout.strip() == THIS
    uv = program(tmp_path / "uv/uv", f'[ "$*" = "python find {HERE}" ] && echo "{sys.executable}"')
    assert find(root, HERE, path=uv.parent).stdout.strip() == THIS


def test_a_name_that_does_not_start_or_lies_about_its_version_is_passed_over(root, tmp_path):
    program(tmp_path / f"python{HERE}", f"echo 'pyenv: python{HERE}: command not found' >&2; exit 127")
    program(tmp_path / "python9.9", f'exec "{sys.executable}" "$@"')
    assert find(root, "9.9", path=tmp_path, PYTHON=sys.executable).returncode != 0
    assert find(root, HERE, path=tmp_path, PYTHON=sys.executable).stdout.strip() == THIS
    program(tmp_path / "python3", f'exec "{sys.executable}" "$@"')
    assert find(root, HERE, path=tmp_path).stdout.strip() == THIS


def test_what_is_found_is_not_inside_a_virtual_environment(root, tmp_path):
    found = find(root, HERE, path=tmp_path, PYTHON=sys.executable).stdout.strip()
    code = "import sys; print(sys.prefix == sys.base_prefix, *sys.version_info[:2], sep='.')"
    assert subprocess.run([found, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == f"True.{HERE}"
