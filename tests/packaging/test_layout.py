"""What has to be true of the tree, because nothing else would notice."""

import ast
import os
import re

import pytest

LINKED = ("processes", "mappings")


def python_files(*folders):
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    assert files, f"no Python files in {folders}: this test looks in the wrong place"
    return files


def test_packages_are_the_folders_that_hold_python(root, settings):
    found = set()
    for folder, _, files in os.walk(root / "dyadic_neuro", followlinks=True):
        if any(name.endswith(".py") for name in files):
            assert "__init__.py" in files, f"{folder} lacks an __init__.py"
            found.add(os.path.relpath(folder, root).replace(os.sep, "."))
    assert sorted(settings["tool"]["setuptools"]["packages"]) == sorted(found)


@pytest.mark.parametrize("name", LINKED)
def test_links_are_relative_and_lead_to_the_folder_at_the_top(root, settings, name):
    link = root / "dyadic_neuro" / name
    assert os.readlink(link) == f"../{name}"
    assert link.resolve() == root / name
    assert settings["tool"]["setuptools"]["package-dir"][f"dyadic_neuro.{name}"] == name


def test_only_the_processes_and_their_backend_import_lava(root):
    """Import-linter keeps this for statements; this also finds imports by name."""
    lava = re.compile(r"""^\s*(import|from)\s+lava\b|(import_module|__import__|find_spec)\(\s*f?["']lava\b""", re.MULTILINE)
    library = python_files(root / "dyadic_neuro", root / "mappings", root / "processes")
    importers = {str(path.relative_to(root)) for path in library if lava.search(path.read_text()) and path.resolve() == path}
    strangers = {name for name in importers if not name.startswith("processes/")} - {"dyadic_neuro/backends/lava.py"}
    assert not strangers
    assert any(name.startswith("processes/") for name in importers), "nothing imports lava: this test looks for the wrong words"


def test_no_process_is_defined_outside_of_processes(root):
    """Lava executes every file of the folder in which it finds a Process."""
    process = re.compile(r"(AbstractProcess|ProcessModel)$")
    for path in python_files(root / "tests") + sorted((root / "demos").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            bases = [ast.unparse(base) for base in node.bases] if isinstance(node, ast.ClassDef) else []
            assert not any(process.search(base) for base in bases), f"{path}:{node.lineno} defines a Process"


def test_constraints_hold_names_and_versions_only(root):
    pin = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][0-9A-Za-z.]*(; python_version (<|>=) "3\.\d+")?')
    lines = [line for line in (root / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert lines
    assert [line for line in lines if not pin.fullmatch(line)] == []


def test_every_declared_requirement_has_a_constraint(root, settings):
    def name(requirement):
        return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", requirement)[0]).lower()

    project = settings["project"]
    wanted = {name(line) for lines in [project["dependencies"], *project["optional-dependencies"].values()] for line in lines}
    pinned = {name(line) for line in (root / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")}
    assert wanted - pinned == {name(project["name"])}  # extras may be made of extras


@pytest.mark.parametrize("name", [".ci/run", "scripts/find-python"])
def test_scripts_can_be_executed(root, name):
    assert os.access(root / name, os.X_OK)
