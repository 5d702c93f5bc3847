"""`dyadic-neuro spiking`: a trend over neurons, as text and as JSON, and what is refused."""

import json

import pytest
from typer.testing import CliRunner

from dyadic_neuro.cli import app

SMALL = ["spiking", "--layers", "2,3,2", "--neurons", "20,60", "--repeats", "1", "--samples", "1"]


def invoke(*words):
    return CliRunner().invoke(app, list(words))


def test_the_trend_is_told_with_its_fit_and_with_what_ran():
    pytest.importorskip("nengo")
    text = invoke(*SMALL)
    assert text.exit_code == 0, text.output
    assert "error = " in text.output
    assert "Nengo" in text.output
    record = json.loads(invoke(*SMALL, "--json").output)
    assert [row["neurons"] for row in record["rows"]] == [20, 60]
    assert f"N^{record['exponent']:.2f}" in text.output
    assert record["deviation"] is None
    assert "nan" not in text.output


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["--neurons", "20"], "neurons"),
        (["--neurons", "20,many"], "neurons"),
        (["--samples", "0"], "samples"),
        (["--repeats", "0"], "repeats"),
        (["--neuron-type", "Izh"], "neuron_type"),
        (["--layers", "4"], "sizes"),
        (["--network", "net.npz"], "network"),
    ],
)
def test_bad_options_are_named(words, field):
    if field == "neuron_type":
        pytest.importorskip("nengo")
    done = invoke(*SMALL, *words, "--json")
    assert done.exit_code == 2
    assert json.loads(done.output)["error"]["field"] == field
