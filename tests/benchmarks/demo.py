"""The main job as a user starts it."""

import sys
import tempfile
import time
from pathlib import Path
from subprocess import run

from tests.benchmarks.measure import Row


def rows():
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        run([Path(sys.executable).with_name("dyadic-neuro"), "demo", "--out", folder], check=True, capture_output=True)
        seconds = time.perf_counter() - began
    return [
        Row(
            "dyadic-neuro demo: seconds", seconds, 60.0, "s", "installed already; 20 epochs on Lava, figures, comparison with SGD"
        )
    ]
