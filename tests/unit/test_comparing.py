"""One call for the study: everything is checked first, then measured, then written, and it goes on after an interrupt."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro import comparing, errors, plotting
from dyadic_neuro.backends.reference import Reference
from dyadic_neuro.studies.timestep import Point, comparison, sweeps
from dyadic_neuro.substrate import Substrate

pytest.importorskip("pandas", reason="the extra `study` is not installed")
NETWORK = dn.Network.dense([2, 3, 1], seed=0)
DATA = (np.array([[1.0, -0.5], [0.3, 0.8]]), np.array([[0.4], [-0.2]]))
POINTS = [Point(sweep="depth", depth=d, width=3, alpha=a) for d in (1, 2) for a in (1.0, 0.5)]


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_everything_is_written_and_returned(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")
    out = tmp_path / "new" / "study"
    found = comparing.compare(NETWORK, DATA, alphas=(1.0, 0.5), sweeps=POINTS, out=out)
    assert names(out) == {"curves.csv", "summary.csv", "sweeps.csv", "approach.png", "settling.png"}
    assert {path.name for path in found.files} == names(out)
    assert found.table.drop(columns="seconds").equals(sweeps.run(POINTS).drop(columns="seconds"))
    assert set(found.comparison.curves["alpha"]) == {1.0, 0.5}
    assert found.answers[0].startswith("On reference, unit steps")
    assert any("fewest steps" in sentence for sentence in found.answers)


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = comparing.compare(NETWORK, DATA, alphas=(1.0,))
    assert found.table is None
    assert found.files == ()
    assert not names(tmp_path)


def test_without_matplotlib_figures_are_left_out_in_so_many_words(tmp_path, monkeypatch):
    monkeypatch.setattr(plotting, "available", lambda: "pip install 'dyadic-neuro[plot]'")
    found = comparing.compare(NETWORK, DATA, alphas=(1.0,), sweeps=POINTS, out=tmp_path)
    assert names(tmp_path) == {"curves.csv", "summary.csv", "sweeps.csv"}
    assert "matplotlib is not installed (pip install" in found.answers[-1]


def test_sweeps_are_names_or_points(monkeypatch):
    monkeypatch.setattr(sweeps, "SWEEPS", {"one": lambda: POINTS[:1], "two": lambda: POINTS[1:2]})
    found = comparing.compare(NETWORK, DATA, alphas=(1.0,), sweeps=["two", POINTS[2], "one"]).table
    assert list(found["depth"].iloc[::3]) == [1, 2, 1]
    assert list(found["alpha"].iloc[::3]) == [0.5, 1.0, 1.0]


def test_an_interrupted_call_goes_on(tmp_path, monkeypatch):
    begun, measure = [], sweeps.measure

    def interrupt(point):
        if len(begun) == 2:
            raise KeyboardInterrupt
        begun.append(point)
        return measure(point)

    call = {"alphas": (1.0,), "sweeps": POINTS, "journal": tmp_path / "journal"}
    monkeypatch.setattr(sweeps, "measure", interrupt)
    with pytest.raises(KeyboardInterrupt):
        comparing.compare(NETWORK, DATA, **call)
    monkeypatch.setattr(sweeps, "measure", lambda point: begun.append(point) or measure(point))
    with ThreadPoolExecutor(1) as executor:
        comparing.compare(NETWORK, DATA, **call, executor=executor, overwrite=True)  # which keeps a journal of the same
    assert begun == POINTS
    with pytest.raises(errors.CheckpointError):
        comparing.compare(NETWORK, DATA, **{**call, "sweeps": POINTS[:1]})
    comparing.compare(NETWORK, DATA, **{**call, "sweeps": POINTS[:1]}, overwrite=True)
    assert begun == [*POINTS, POINTS[0]]


@pytest.mark.parametrize(
    ("error", "field", "options"),
    [
        (errors.OptionError, "sweeps", {"sweeps": "depth"}),
        (errors.OptionError, "sweeps", {"sweeps": 3}),
        (errors.UnknownNameError, "sweeps", {"sweeps": ["width"]}),
        (errors.UnknownNameError, "sweeps", {"sweeps": [4]}),
        (errors.OptionError, "alphas", {"alphas": (2.0,)}),
        (errors.OptionError, "samples", {"samples": 0}),
        (errors.OptionError, "executor", {"executor": 2}),
        (errors.UnknownNameError, "backend", {"backends": ["nothing"]}),
        (errors.FileError, "{folder}/file", {"out": "{folder}/file"}),
        (errors.OutputExistsError, "{folder}/curves.csv", {"out": "{folder}"}),
        (errors.OptionError, "journal", {"out": "{folder}/new", "journal": "{folder}/new/sweeps.csv", "sweeps": POINTS}),
        (errors.FileError, "{folder}/no/journal", {"journal": "{folder}/no/journal", "sweeps": POINTS}),
        (errors.FileError, "{folder}/file", {"journal": "{folder}/file", "sweeps": POINTS}),
        (errors.OptionError, "time constant of hidden1", {"backends": {"fast": Reference(Substrate({"hidden1": 0.1}))}}),
    ],
)
def test_nonsense_is_refused_before_any_work(error, field, options, refuses, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "settle", lambda *_, **__: pytest.fail("work was done"))
    monkeypatch.setattr(sweeps, "measure", lambda *_, **__: pytest.fail("work was done"))
    for name in ("file", "curves.csv"):
        (tmp_path / name).write_text("mine")
    options = {key: value.format(folder=tmp_path) if isinstance(value, str) else value for key, value in options.items()}
    with refuses(error, field.format(folder=tmp_path)):
        comparing.compare(NETWORK, DATA, **{"alphas": (1.0,), **options})
    assert names(tmp_path) == {"file", "curves.csv"}
    assert {path.read_text() for path in tmp_path.iterdir()} == {"mine"}
