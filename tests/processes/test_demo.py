"""The main job, run as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(sys.executable).with_name("dyadic-neuro")


def demo(*words, cwd):
    return subprocess.run([PROGRAM, "demo", *words], cwd=cwd, capture_output=True, text=True, timeout=100, check=False)


def test_the_demo_reaches_what_it_promises_and_can_be_run_once_only_without_overwrite(tmp_path):
    done = demo("--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["test_accuracy"] >= 0.965
    assert found["difference_to_sgd"] <= 1e-10
    assert found["difference_of_copies"] <= 1e-12
    assert found["messages_per_sample_free"] == 4 * found["messages_per_sample_wavefront"] == 4 * (64 + 64 + 10)
    for row in found["steps"]:
        assert max(row["errors"][row["due"] :]) < 1e-12
        assert row["errors"][row["due"] - 1] is None or row["errors"][row["due"] - 1] > 1e-6
    figures = [tmp_path / name for name in found["figures"]]
    assert all(path.stat().st_size > 10_000 for path in figures)
    before = figures[0].read_bytes()
    again = demo(cwd=tmp_path)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    assert figures[0].read_bytes() == before


def test_the_demo_takes_other_data(tmp_path):
    rng = np.random.default_rng(0)
    classes = np.arange(200) % 4
    images = rng.integers(0, 256, (200, 5, 5)) // 4 + 40 * classes[:, None, None]
    np.savez(tmp_path / "own.npz", x_train=images[:160], y_train=classes[:160], x_test=images[160:], y_test=classes[160:])
    done = demo("--data", "own.npz", "--epochs", "15", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["test_accuracy"] > 0.9


@pytest.mark.parametrize(("words", "says"), [(["--data", "nothing.npz"], "nothing.npz"), (["--out", "taken"], "name a folder")])
def test_bad_input_is_refused_before_anything_is_written(words, says, tmp_path):
    (tmp_path / "taken").write_text("mine")
    done = demo(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
