"""`dyadic-neuro compare`: tables, figures and answers in one folder, resumed after an interrupt, and nothing for bad input."""

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import dyadic_neuro as dn
from dyadic_neuro import cli, comparing
from dyadic_neuro.cli import compare
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection
from dyadic_neuro.studies.journal import Journal
from dyadic_neuro.studies.timestep import comparison

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("matplotlib", "pandas", "sklearn")), reason="the extra `study`"
)
ALL = {"curves.csv", "summary.csv", "sweeps.csv", "approach.png", "settling.png", "imperfections.png"}
QUICK = ("--backend", "reference", "--jobs", 1, "--alpha", 1, "--alpha", 0.5)


@pytest.fixture
def small(tmp_path):
    """A data set of two classes in the plane, as a file."""
    rng = np.random.default_rng(0)
    classes = np.arange(60) % 2
    inputs = rng.normal(size=(60, 3)) + 2.0 * classes[:, None]
    path = tmp_path / "small.npz"
    np.savez(path, inputs=inputs[:40], targets=classes[:40], test_inputs=inputs[40:], test_targets=classes[40:])
    return str(path)


def run(*words):
    return CliRunner().invoke(cli.app, ["compare", *(str(word) for word in words)])


def record(*words):
    done = run(*words, "--json")
    return done.exit_code, json.loads(done.stdout)


def files(folder):
    return {path.name for path in folder.iterdir()}


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_one_network_without_sweeps(small, tmp_path):
    out = tmp_path / "out"
    code, found = record(*QUICK, "--data", small, "--layers", "3,4,2", "--samples", 8, "--sweep", "none", "--out", out)
    assert code == 0
    assert files(out) == {"curves.csv", "summary.csv", "approach.png"}
    assert found["files"] == [str(out / name) for name in ("curves.csv", "summary.csv", "approach.png")]
    assert [(row["alpha"], row["tolerance"]) for row in found["summary"]] == [
        (a, t) for a in (1, 0.5) for t in (1e-2, 1e-4, 1e-8)
    ]
    assert {row["steps"] for row in found["summary"] if row["alpha"] == 1} == {4}
    assert any("unit steps" in sentence for sentence in found["answers"])
    assert found["skipped"] == []


def test_the_table_shows_steps_beside_the_law(small, tmp_path):
    done = run(*QUICK, "--data", small, "--layers", "3,4,2", "--sweep", "none", "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert "4 (4)" in done.stdout
    assert "reference" in done.stdout
    assert "On reference, unit steps" in " ".join(done.stdout.split())
    assert "approach.png" in done.stdout


def test_a_sweep_draws_its_figure_and_leaves_no_journal(small, tmp_path):
    words = (*QUICK, "--data", small, "--layers", "3,4,2", "--out", tmp_path / "out")
    assert run(*words, "--sweep", "mismatch", "--sweep", "noise").exit_code == 0
    assert files(tmp_path / "out") == ALL - {"settling.png"}
    assert {row["sweep"] for row in rows(tmp_path / "out" / "sweeps.csv")} == {"mismatch", "noise"}


def test_processes_measure_what_one_does(small, tmp_path):
    words = (*QUICK, "--data", small, "--layers", "3,4,2", "--sweep", "noise")
    for jobs in (1, 2):
        assert run(*words, "--jobs", jobs, "--out", tmp_path / str(jobs)).exit_code == 0
    one, two = ([{**row, "seconds": ""} for row in rows(tmp_path / jobs / "sweeps.csv")] for jobs in "12")
    assert one == two


def test_full_sweeps_every_step_size_at_every_depth():
    grid = {(point.alpha, point.depth) for point in compare._points(["alpha"], full=True)}
    assert len(grid) == 7 * 6
    assert {depth for _, depth in grid} == {1, 2, 4, 8, 16, 32}
    assert {point.sweep for point in compare._points(None, full=False)} == set(compare.sweeps.SWEEPS)


@pytest.mark.parametrize("given", [(), ("--journal", "kept.jsonl")])
def test_an_interrupted_run_says_how_to_go_on_and_does(given, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = (*QUICK, "--data", small, "--layers", "3,4,2", "--sweep", "noise", "--out", "out", *given)
    measured, note = [], Journal.note

    def interrupt(journal, key, outcome):
        if len(measured) == 5:
            raise KeyboardInterrupt
        measured.append(key)
        note(journal, key, outcome)

    monkeypatch.setattr(Journal, "note", interrupt)
    done = run(*words)
    journal = tmp_path / (given[1] if given else "out/journal.jsonl")
    assert done.exit_code == 130
    assert "the same command goes on from there" in " ".join(done.stderr.split())
    assert len(journal.read_text().splitlines()) == 1 + 5
    assert files(tmp_path / "out") <= {"journal.jsonl"}

    again = []
    monkeypatch.setattr(Journal, "note", lambda journal, key, outcome: (again.append(key), note(journal, key, outcome)))
    assert run(*words).exit_code == 0
    assert not set(again) & set(measured)
    assert journal.exists() == bool(given)
    whole = run(*QUICK, "--data", small, "--layers", "3,4,2", "--sweep", "noise", "--out", "whole")
    assert whole.exit_code == 0
    resumed, uninterrupted = (
        [{**row, "seconds": ""} for row in rows(tmp_path / name / "sweeps.csv")] for name in ("out", "whole")
    )
    assert resumed == uninterrupted


def test_an_interrupt_from_the_keyboard_ends_processes_and_keeps_the_journal(tmp_path):
    command = [sys.executable, "-m", "dyadic_neuro.cli", "compare", "--full", "--sweep", "alpha", "--jobs", "2", "--out", "out"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    journal = tmp_path / "out" / "journal.jsonl"
    while not (journal.exists() and len(journal.read_bytes().splitlines()) > 3) and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the processes that sweep as well
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "the same command goes on from there" in " ".join(said.split())
    assert len(journal.read_bytes().splitlines()) > 3


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_processes_end_with_the_one_that_started_them(how, tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys, time\n"
        "from dyadic_neuro.cli.compare import _workers\n"
        "if __name__ == '__main__':\n"
        "    with _workers(2) as executor:\n"
        "        executor.submit(os.getpid).result()\n"
        "        executor.submit(time.sleep, 300)\n"
        "        print(*executor._processes, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    workers = [int(word) for word in process.stdout.readline().split()]
    assert len(workers) == 2
    process.send_signal(how)
    rest, _ = process.communicate(timeout=60)  # which ends when nobody is left who could write
    assert process.returncode == -how
    assert not rest


def test_a_journal_of_other_points_is_kept_unless_it_may_go(small, tmp_path):
    words = (*QUICK, "--data", small, "--layers", "3,4,2", "--out", tmp_path / "out", "--journal", tmp_path / "kept.jsonl")
    assert run(*words, "--sweep", "noise").exit_code == 0
    kept = (tmp_path / "kept.jsonl").read_bytes()
    code, found = record(*words, "--sweep", "mismatch", "--out", tmp_path / "other")
    assert (code, found["error"]["type"]) == (2, "CheckpointError")
    assert (tmp_path / "kept.jsonl").read_bytes() == kept
    assert run(*words, "--sweep", "mismatch", "--overwrite").exit_code == 0


def test_what_a_backend_cannot_run_is_told_and_an_error_if_it_is_all(small, tmp_path, monkeypatch):
    why, planned = dn.errors.OptionError("alpha", "is too large", "use less"), comparing.planned
    words = (*QUICK, "--data", small, "--layers", "3,4,2", "--sweep", "none")

    def plan(**other):
        monkeypatch.setattr(
            comparing,
            "planned",
            lambda *given, **options: replace(planned(*given, **options), skipped={("slow", 1.5): why}, **other),
        )

    plan()
    assert record(*words, "--out", tmp_path / "some")[1]["skipped"] == [{"backend": "slow", "alpha": 1.5, "reason": str(why)}]
    plan(tasks=())
    code, said = record(*words, "--out", tmp_path / "none")
    assert (code, said["error"]["problem"]) == (2, "is too large")


def test_what_was_not_reached_is_null_in_json(small, tmp_path, monkeypatch):
    planned = comparing.planned
    monkeypatch.setattr(comparing, "planned", lambda *given, **options: planned(*given, **options, steps=3))
    words = (*QUICK, "--data", small, "--layers", "3,4,2", "--sweep", "none")
    assert {row["steps"] for row in record(*words, "--out", tmp_path / "a")[1]["summary"]} == {None}
    assert "- (4)" in run(*words, "--out", tmp_path / "b").stdout


BAD = {
    "alpha 2": (("--alpha", 2), "(0, 2)"),
    "alpha 0": (("--alpha", 0.5, "--alpha", 0), "(0, 2)"),
    "alpha too small": (("--alpha", 1, "--alpha", 1e-6), "use a larger --alpha"),
    "full without its sweep": (("--full", "--sweep", "noise"), "--sweep alpha"),
    "alpha nan": (("--alpha", "nan"), "(0, 2)"),
    "no such backend": (("--backend", "braian2"), "installed: "),
    "no such sweep": (("--sweep", "width"), "mismatch"),
    "no such data": (("--data", "nowhere.npz"), "nowhere.npz"),
    "no such activation": (("--activation", "tanx"), "tanh"),
    "no such loss": (("--loss", "square"), "squared_error"),
    "layers that do not fit the data": (("--layers", "4,3"), "3 inputs and 2 classes"),
    "two networks": (("--layers", "3,2", "--network", "a.npz"), "give one of them"),
    "too many samples": (("--samples", 41), "1 .. 40"),
    "no samples": (("--samples", 0), "1 .. 40"),
    "no processes": (("--jobs", 0), "less than 1"),
    "a folder that is a file": (("--out", "{small}"), "is a file"),
    "a place that cannot be written": (("--out", "/proc/compare"), "cannot be written"),
    "a journal in no folder": (("--journal", "nowhere/journal.jsonl"), "does not exist"),
    "a foreign journal": (("--journal", "{small}"), "no journal"),
    "a journal that is an output": (("--out", "o", "--journal", "o/sweeps.csv"), "another name"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_named_with_its_fix_before_any_work(what, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparison, "settle", lambda *_, **__: pytest.fail("work was done"))
    monkeypatch.setattr(compare.sweeps, "measure", lambda *_, **__: pytest.fail("work was done"))
    before = (tmp_path / "small.npz").read_bytes()
    words, says = BAD[what]
    words = ("--data", small, "--jobs", 1, "--backend", "reference", *(str(word).format(small=small) for word in words))
    done = run(*words)
    assert done.exit_code == 2, done.output
    assert says in " ".join(done.stderr.split())
    assert set(record(*words)[1]["error"]) == {"type", "field", "problem", "fix"}
    assert (tmp_path / "small.npz").read_bytes() == before


def test_a_network_with_a_cycle_or_without_plasticity_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(compare.sweeps, "measure", lambda *_, **__: pytest.fail("work was done"))
    ends = [Population("input", 64), Population("output", 10)]
    fixed = Network(ends, [Projection("input", "output", np.zeros((10, 64)), plastic=False)], "cross_entropy")
    round_trip = [Projection("input", "a", np.zeros((3, 64))), Projection("a", "b", np.zeros((3, 3)))]
    round_trip += [Projection("b", "a", np.zeros((3, 3))), Projection("b", "output", np.zeros((10, 3)))]
    cyclic = Network([*ends, Population("a", 3), Population("b", 3)], round_trip, "cross_entropy")
    for name, network, error in (("fixed", fixed, "OptionError"), ("cyclic", cyclic, "CycleError")):
        network.save(tmp_path / f"{name}.npz")
        code, found = record("--network", tmp_path / f"{name}.npz", "--out", tmp_path / "out")
        assert (code, found["error"]["type"]) == (2, error)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", sorted(ALL))
def test_an_output_that_is_there_is_not_touched(name, small, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    done = run(*QUICK, "--data", small, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "--overwrite" in done.stderr
    assert files(tmp_path / "out") == {name}
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_help_names_the_sweeps():
    done = run("--help")
    assert done.exit_code == 0
    assert "mismatch" in done.stdout
    assert "--journal" in done.stdout
    assert "are of the one network" in " ".join(done.stdout.split())
