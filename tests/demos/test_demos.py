"""Every demo runs as it stands, in an empty folder, and shows what its docstring says."""

import subprocess
import sys
from pathlib import Path

import pytest

DEMOS = Path(__file__).parents[2] / "demos"
SHOWS = {
    "quickstart.py": ["same trajectory: True", "messages per sample:", "test accuracy after 3 epochs"],
    "two_waves.py": [
        "hidden1  gradient     exact from step 16, predicted 16",
        "output   potential    exact from step 8, predicted 8",
    ],
    "discrete_and_continuous.py": [
        "cases settled in exactly the predicted number of steps",
        "written: approach.png imperfections.png settling.png",
    ],
    "bring_a_network.py": [
        "nengo  4 steps, gradients within",
        "test accuracy of the file in ONNX's own evaluator: 0.9",
    ],
    "bits_and_spikes.py": [
        "bit_serial                True ",
        "delta                     True ",
        "saturations, counted: {",
        "in strict mode an error: data: left its range",
        "in 8-bit weights, from first to last: 9",
    ],
    "on_chip.py": ["exact on the cores: True", "per sample on loihi1", "synaptic_operation", "hypothetical"],
    "who_knows_what.py": ["speed       holds", "lock        holds", "textbook: speed is broken", "written: light_cones.png"],
    "own_backend.py": ["exact-at-2D        failed", "trajectory         passed"],
}


def test_every_demo_is_run():
    assert {path.name for path in DEMOS.glob("*.py")} == set(SHOWS)


@pytest.mark.parametrize("name", SHOWS)
def test_demo(name, tmp_path):
    done = subprocess.run([sys.executable, DEMOS / name], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    for text in SHOWS[name]:
        assert text in done.stdout
