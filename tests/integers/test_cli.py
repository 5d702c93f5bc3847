"""`dyadic-neuro codings` and `precision`: tables as text, Markdown and JSON, files, and what is refused before any work."""

import csv
import importlib.util
import json
from functools import partial

import numpy as np
import pytest
from typer.testing import CliRunner

import dyadic_neuro as dn
from dyadic_neuro import cli
from dyadic_neuro.errors import OptionError
from dyadic_neuro.studies.coded import CODINGS
from dyadic_neuro.studies.precision import NOTE, sweep_widths

CODED = ("codings", "--layers", "3,4,2", "--samples", 2)
WIDTHS = ("precision", "--layers", "3,4,2", "--samples", 4)
TABLES = pytest.mark.skipif(importlib.util.find_spec("pandas") is None, reason="the extra `study`")


@pytest.fixture
def small(tmp_path):
    """A data set of two classes in the plane, as a file."""
    rng = np.random.default_rng(0)
    classes = np.arange(60) % 2
    inputs = rng.normal(size=(60, 3)) + 2.0 * classes[:, None]
    path = tmp_path / "small.npz"
    np.savez(path, inputs=inputs[:40], targets=classes[:40], test_inputs=inputs[40:], test_targets=classes[40:])
    return str(path)


@pytest.fixture
def few_widths(monkeypatch):
    """Make the sweeps short; return how many widths there are."""
    widths = {"weight_bits": (4, 8), "message_bits": (16,), "state_bits": (24,)}
    monkeypatch.setattr(cli.precision, "sweep_widths", partial(sweep_widths, **widths))
    return 4


def run(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def record(*words):
    done = run(*words, "--json")
    return done.exit_code, json.loads(done.stdout)


def rows_of(markdown):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if line.startswith("|")]


def test_a_row_for_each_coding_says_what_is_exact_and_what_it_takes(small):
    done = run(*CODED, "--data", small, "--epochs", 1, "--markdown")
    assert done.exit_code == 0, done.output
    headings, _, *rows = rows_of(done.stdout)
    assert [row[0] for row in rows] == list(CODINGS)
    table = {row[0]: dict(zip(headings, row, strict=True)) for row in rows}
    assert [name for name, row in table.items() if row["exact"] == "yes"] == ["graded", "delta, threshold 0", "bit_serial"]
    assert table["bit_serial"]["micro-steps"] == "64"
    assert all(
        row["energy"].endswith("J")
        and row["static"].endswith("J")
        and row["time"].endswith("s")
        and row["test accuracy"].endswith("%")
        for row in table.values()
    )
    assert "Taken for granted of graded" in done.stdout
    assert "static: what of the energy is static power" in done.stdout
    assert "after 1 epochs with that coding" in done.stdout


def test_the_same_is_told_on_a_terminal_and_as_json(small):
    text = run(*CODED, "--data", small, "--epochs", 0, "--chip", "loihi2")
    assert text.exit_code == 0, text.output
    assert "at least" in text.stdout
    assert "left out of the energy: " in text.stdout
    assert "not trained" in text.stdout
    code, found = record(*CODED, "--data", small, "--epochs", 0, "--schedule", "wavefront")
    assert code == 0
    assert (found["schedule"], found["chip"], len(found["rows"])) == ("wavefront", "loihi1", len(CODINGS))
    assert found["rows"][0]["accuracy"] is None
    assert 0 < found["rows"][0]["static"]["value"] < found["rows"][0]["energy"]["value"]
    assert found["rows"][0]["messages"] == 3 + 4 + 2
    assert set(found["assumptions"]) & {name for name in found["assumptions"] if name.startswith("graded")}


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("--markdown",), "markdown"),
        (("--samples", 0), "samples"),
        (("--epochs", -1), "epochs"),
        (("--learning-rate", -1), "learning_rate"),
        (("--batch-size", 0), "batch_size"),
        (("--chip", "abacus"), "chip"),
        (("--schedule", "never"), "schedule"),
        (("--data", "nowhere.npz"), "nowhere.npz"),
    ],
)
def test_bad_options_of_codings_are_named(small, words, field):
    code, found = record(*CODED, "--data", small, "--epochs", 0, *words)
    assert code == 2
    assert found["error"]["field"] == field


@pytest.mark.parametrize(("command", "job"), [("codings", "compare_codings"), ("precision", "sweep_widths")])
def test_an_interrupt_exits_with_130(small, monkeypatch, tmp_path, command, job):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    if command == "precision":
        pytest.importorskip("pandas")
    monkeypatch.setattr(getattr(cli, command), job, interrupt)
    out = ("--out", tmp_path / "out") if command == "precision" else ()
    done = run(command, "--data", small, "--samples", 4, *out)
    assert done.exit_code == 130
    assert "interrupted" in done.stderr


@TABLES
def test_precision_writes_every_parameter_and_tells_the_worst(small, tmp_path):
    out = tmp_path / "out"
    done = run(*WIDTHS, "--data", small, "--out", out, "--epochs", 1)
    assert done.exit_code == 0, done.output
    assert "weights: " in done.stdout
    assert "after 1 epochs" in done.stdout
    assert NOTE in done.stdout
    with (out / "precision.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 2 * (13 + 21 + 25)
    again = run(*WIDTHS, "--data", small, "--out", out)
    assert again.exit_code == 2  # nothing is overwritten


@TABLES
def test_precision_as_markdown_is_the_worst_parameter_of_each_width(small, tmp_path, few_widths):
    done = run(*WIDTHS, "--data", small, "--out", tmp_path, "--markdown")
    assert done.exit_code == 0, done.output
    with (tmp_path / "precision.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["sweep"], row["weight_bits"]) == ("weights", "4")]
    worst = [min(float(row["cosine"]) for row in rows if row["calibrated"] == known) for known in ("True", "False")]
    table = rows_of(done.stdout)[2:]
    assert NOTE in done.stdout
    assert len(table) == few_widths
    assert [table[0][i] for i in (0, 1, 2, 5)] == ["weights", "4", *(f"{cosine:.6f}" for cosine in worst)]


@TABLES
@pytest.mark.usefixtures("few_widths")
def test_precision_as_json_has_the_rows_the_findings_and_the_files(small, tmp_path):
    code, found = record(*WIDTHS, "--data", small, "--out", tmp_path / "out")
    assert code == 0
    assert len(found["findings"]) == 4
    assert found["note"] == NOTE
    assert {row["sweep"] for row in found["rows"]} == {"weights", "messages", "states"}
    drawn = importlib.util.find_spec("matplotlib") is not None
    assert [path.rsplit("/", 1)[-1] for path in found["files"]] == ["precision.csv", *(["precision.png"] if drawn else [])]


@TABLES
@pytest.mark.parametrize(
    ("words", "field"), [(("--samples", 41), "samples"), (("--epochs", -1), "epochs"), (("--markdown",), "markdown")]
)
def test_bad_options_of_precision_are_named_and_write_nothing(small, tmp_path, words, field):
    code, found = record(*WIDTHS, "--data", small, "--out", tmp_path / "out", *words)
    assert code == 2
    assert found["error"]["field"] == field
    assert not (tmp_path / "out").exists()


def test_a_file_of_integers_says_how_it_becomes_one_of_floats(tmp_path):
    net = dn.Network.dense([2, 2], seed=0)
    dn.quantize(net, None, np.ones((1, 2))).save(tmp_path / "fixed.npz")
    code, found = record("codings", "--network", tmp_path / "fixed.npz", "--data", "digits", "--epochs", 0)
    assert code == 2
    assert found["error"]["field"] == str(tmp_path / "fixed.npz")
    assert "FixedNetwork.load(path).real().save(...)" in found["error"]["fix"]


def test_the_study_of_step_sizes_refuses_integers_before_it_looks_at_data(refuses):
    fixed = dn.quantize(dn.Network.dense([2, 2], loss="cross_entropy", seed=0), None, np.ones((1, 2)))
    for data in ((np.ones((1, 2)), np.array([1])), "nothing"):
        with refuses(OptionError, "network", "network.real()"):
            dn.compare(fixed, data, executor="none", sweeps="none")
