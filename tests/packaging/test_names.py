"""What the installed package offers by name."""

import importlib.metadata
import inspect
import sys

import pytest

import dyadic_neuro


def test_every_public_name_resolves_and_says_what_it_is():
    names = dyadic_neuro.__all__
    assert len(names) == len(set(names))
    for name in names:
        value = getattr(dyadic_neuro, name)
        if callable(value) or inspect.ismodule(value):
            assert inspect.getdoc(value), f"dyadic_neuro.{name} has no docstring"
    assert set(names) <= set(dir(dyadic_neuro))


USE = """
network = dyadic_neuro.Network.dense([2, 3, 2], activation="tanh", loss="squared_error", seed=0)
assert dyadic_neuro.relax(network, [[0.0, 1.0]], [[1.0, 0.0]]).steps == network.relaxation_steps
"""


@pytest.mark.parametrize("use", ["", USE], ids=["import", "relax"])
def test_importing_and_relaxing_need_numpy_and_nothing_heavier(isolated, tmp_path, use):
    # Modules without a spec come from no file: Cython's runtime, inside numpy, makes such.
    program = f"""
import sys
before = set(sys.modules)
import dyadic_neuro
{use}
after = {{name.partition(".")[0] for name in set(sys.modules) - before if getattr(sys.modules[name], "__spec__", None)}}
print(*(after - sys.stdlib_module_names))
"""
    loaded = set(isolated(sys.executable, "-c", program, cwd=tmp_path).split())
    assert "dyadic_neuro" in loaded
    assert loaded <= {"dyadic_neuro", "numpy"}


def test_declared_entry_points_are_installed_and_load(settings):
    for group, declared in [
        ("console_scripts", settings["project"]["scripts"]),
        *settings["project"]["entry-points"].items(),
    ]:
        installed = {point.name: point for point in importlib.metadata.entry_points(group=group)}
        for name, target in declared.items():
            assert installed[name].value == target
            assert callable(installed[name].load())
