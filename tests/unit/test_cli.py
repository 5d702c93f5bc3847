"""The command line: what it prints, its exit codes, and that bad input neither starts work nor costs a file."""

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import dyadic_neuro as dn
from dyadic_neuro import cli


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
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def record(*words):
    done = run(*words, "--json")
    return done.exit_code, json.loads(done.stdout)


def test_backends_lists_the_simulators_and_what_they_need():
    code, states = record("backends")
    assert code == 0
    assert states["reference"] == {"ready": True, "missing": None}
    assert set(states) >= {"reference", "lava"}
    assert all((state["missing"] is None) == state["ready"] for state in states.values())
    assert "reference" in run("backends").stdout


def test_relax_shows_exactness_at_2d_and_not_before(small):
    code, found = record("relax", "--data", small, "--layers", "3,5,4,2", "--samples", 8)
    assert code == 0
    assert found["steps"] == 6
    for row in found["rows"]:
        assert max(row["errors"][row["due"] :]) < 1e-12
        assert row["errors"][row["due"] - 1] is None or row["errors"][row["due"] - 1] > 1e-9
    assert "hidden1" in run("relax", "--data", small, "--samples", 8).stdout


def test_relax_counts_messages_by_schedule(small):
    words = ("relax", "--data", small, "--layers", "3,5,2", "--samples", 4)
    assert record(*words)[1]["messages_per_sample"] == 4 * (3 + 5 + 2)  # every step: x, r and s
    assert record(*words, "--schedule", "wavefront")[1]["messages_per_sample"] == 3 + 5 + 2  # once


def test_train_learns_saves_and_loads_again(small, tmp_path):
    out = tmp_path / "net.npz"
    code, found = record("train", "--data", small, "--epochs", 3, "--batch-size", 4, "--out", out)
    assert code == 0
    assert [line["epoch"] for line in found["history"]] == [1, 2, 3]
    assert found["history"][-1]["validation"] > 0.8
    assert dn.Network.load(out).population("hidden1").size == 64
    assert record("relax", "--data", small, "--network", out, "--samples", 4)[0] == 0


def test_train_goes_on_from_a_checkpoint_to_the_same_bits(small, tmp_path):
    words = ("train", "--data", small, "--batch-size", 4, "--layers", "3,4,2")
    run(*words, "--epochs", 4, "--out", tmp_path / "whole.npz")
    run(*words, "--epochs", 2, "--checkpoint", tmp_path / "run.npz")
    run(*words, "--epochs", 4, "--checkpoint", tmp_path / "run.npz", "--out", tmp_path / "resumed.npz")
    whole, resumed = dn.Network.load(tmp_path / "whole.npz"), dn.Network.load(tmp_path / "resumed.npz")
    assert all(np.array_equal(whole.parameters[key], resumed.parameters[key]) for key in whole.parameters)


BAD = {
    "no such data": (("relax", "--data", "nowhere"), "data"),
    "no such file": (("relax", "--data", "nowhere.npz"), "nowhere.npz"),
    "no such backend": (("relax", "--backend", "braian2"), "installed: "),
    "no such activation": (("relax", "--activation", "tanx", "--data", "{small}"), "tanh"),
    "no such loss": (("relax", "--loss", "square", "--data", "{small}"), "squared_error"),
    "layers that do not fit the data": (("relax", "--layers", "4,3", "--data", "{small}"), "3 inputs and 2 classes"),
    "layers that are no numbers": (("relax", "--layers", "3,x,2", "--data", "{small}"), "64,32,10"),
    "alpha 2": (("relax", "--alpha", "2", "--data", "{small}", "--samples", "4"), "(0, 2)"),
    "steps 0": (("relax", "--steps", "0", "--data", "{small}", "--samples", "4"), "at least 1"),
    "too many samples": (("relax", "--samples", "41", "--data", "{small}"), "1 .. 40"),
    "no such case": (("check", "--case", "speed"), "trajectory"),
    "a batch larger than the data": (("train", "--batch-size", "41", "--data", "{small}"), "40 samples"),
    "a decay that takes all": (("train", "--weight-decay", "2", "--data", "{small}"), "less than 1 / learning_rate"),
    "a foreign network": (("relax", "--network", "{small}", "--data", "{small}"), "not a file of dyadic_neuro"),
    "two networks": (("relax", "--network", "a.npz", "--layers", "3,2", "--data", "{small}"), "give one of them"),
    "one file for two things": (("train", "--data", "{small}", "--out", "a.npz", "--checkpoint", "a.npz"), "different files"),
    "a place that cannot be written": (("train", "--data", "{small}", "--out", "/proc/net.npz"), "cannot be written"),
    "a folder that is not there": (("train", "--data", "{small}", "--out", "nowhere/net.npz"), "create"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_named_with_its_fix_and_exit_code_2(what, small):
    words, says = BAD[what]
    words = [word.format(small=small) for word in words]
    done = run(*words)
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())
    code, found = record(*words)
    assert code == 2
    assert set(found["error"]) == {"type", "field", "problem", "fix"}


@pytest.mark.parametrize("words", [("train", "--out"), ("relax", "--figure")])
def test_an_output_that_is_there_is_not_touched(words, small, tmp_path):
    path = tmp_path / "precious.npz"
    path.write_text("mine")
    done = run(words[0], "--data", small, words[1], path)
    assert done.exit_code == 2
    assert "--overwrite" in done.stderr
    assert path.read_text() == "mine"


def test_a_simulator_that_fails_has_an_exit_code_of_its_own(small, monkeypatch):
    def fail(*_, **__):
        raise dn.errors.SimulatorError("lava", "a process ended", "look at it")

    monkeypatch.setattr(cli, "relax_network", fail)
    assert run("relax", "--data", small, "--samples", 4).exit_code == 3


def test_an_interrupt_says_so_and_exits_with_130(small, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "train_network", interrupt)
    done = run("train", "--data", small)
    assert done.exit_code == 130
    assert "interrupted" in done.stderr


@pytest.mark.parametrize("command", ["demo", "relax", "train", "check", "backends"])
def test_every_command_explains_itself(command):
    done = run(command, "--help")
    assert done.exit_code == 0
    assert "--json" in done.stdout


def test_a_message_that_quotes_a_file_steers_no_terminal(tmp_path):
    name = "evil\x1b[31m\x07.npz"
    done = run("relax", "--network", str(tmp_path / name))
    assert done.exit_code == 2
    assert not {"\x1b", "\x07"} & set(done.output + done.stderr)


def test_an_output_that_is_full_is_told():
    program = [sys.executable, "-m", "dyadic_neuro.cli", "backends", "--json"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "error output:" in done.stderr
    assert "Traceback" not in done.stderr
