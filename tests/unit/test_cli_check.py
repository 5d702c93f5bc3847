"""`dyadic-neuro check`: verdicts and exit codes, of one backend and of all beside each other."""

import json
import re
from base64 import b64decode

import numpy as np
import pytest
from typer.testing import CliRunner

from dyadic_neuro import cli, plotting
from dyadic_neuro.cli import agreement_page, agreement_tables
from dyadic_neuro.testing import agreement, conformance, tolerances
from dyadic_neuro.testing.agreement import Agreement, Measure

CHEAP = ("check", "--all", "--only", "reference", "--only", "chip")


def run(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def record(*words):
    done = run(*words, "--json")
    return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def found():
    """One row of each kind: what passed, what failed, what approximates, what is slow, what raised, what is missing."""
    rng = np.random.default_rng(0)

    def made(name, stride=1, **changes):
        steps = 8 * stride + 1
        measures = {quantity: Measure(quantity, "passed", 1e-16, 1e-12) for quantity in agreement.QUANTITIES}
        measures |= {name: Measure(name, *values) for name, values in changes.items()}
        measures["direction"] = measures.get("cosine", Measure("direction", "passed", 1.0, tolerances.DIRECTION.limit))
        measures.pop("cosine", None)
        curves = {curve: 10.0 ** rng.uniform(-16, 0, steps) for curve in agreement.CURVES}
        curves["backpropagation"][0] = np.nan
        return Agreement(name, f"{name} 1.0 <on> the CPU", 1.0 / stride, measures, curves, float(stride), 0.1, 1e-5)

    return [
        made("good"),
        made("wrong", potentials=("failed", 0.25, 1e-12), messages=("failed", 12.0, None, "3 rows of the ledgers differ")),
        made(
            "spiking", stride=70, backpropagation=("unsupported", 0.04, None, "not exact: spikes"), cosine=("passed", 0.99, 0.97)
        ),
        made("$slow$", stride=9),
        Agreement("raising", "something", error="SimulatorError: it broke"),
        Agreement("absent", error="pip install 'dyadic-neuro[absent]'", missing=True),
    ]


@pytest.fixture
def measured(found, monkeypatch):
    monkeypatch.setattr(agreement, "measure_all", lambda *_, **__: iter(found))
    return found


def test_check_passes_the_reference_and_says_so_by_its_exit_code():
    code, result = record("check", "--case", "trajectory", "--case", "ledger")
    assert code == 0
    assert [row["verdict"] for row in result["results"]] == ["passed", "passed"]
    assert "trajectory" in run("check", "--case", "trajectory").stdout


def test_check_exits_with_1_when_a_law_is_broken(monkeypatch):
    broken = conformance.Case("trajectory", "2 is 1", lambda _: conformance.Finding(2.0, 1.0))
    monkeypatch.setattr(conformance, "CASES", (broken,))
    assert run("check").exit_code == 1


def test_all_compares_backends_as_text_as_json_and_as_markdown():
    done = run(*CHEAP)
    assert done.exit_code == 0
    assert "reference: passed" in done.stderr
    for word in ("reference", "chip", "loihi2", "no chip", "limits", "float64 keeps 16 digits"):
        assert word in done.stdout
    code, found = record(*CHEAP)
    assert code == 0
    assert [row["backend"] for row in found["backends"]] == ["reference", "chip"]
    assert {row["verdict"] for row in found["backends"]} == {"passed"}
    assert {limit["name"] for limit in found["tolerances"]} == {limit.name for limit in tolerances.TABLE}
    assert set(found["versions"]) >= {"Python", "numpy", "nengo"}
    lines = run(*CHEAP, "--markdown").stdout.splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| `reference` | passed | NumPy")


def test_a_row_that_failed_is_the_exit_code_and_every_row_is_explained(measured):
    done = run("check", "--all")
    assert done.exit_code == 1
    said = " ".join(done.stdout.split())
    for words in (
        "potentials failed: 0.25, where 1e-12 is the limit",
        "messages failed: 3 rows of the ledgers differ",
        "backpropagation: not exact: spikes",
        "SimulatorError: it broke",
        "pip install 'dyadic-neuro[absent]'",
        "(4e-02)",
        "0.9900",
    ):
        assert words in said
    measured[:] = [one for one in measured if one.verdict != "failed"]
    assert run("check", "--all").exit_code == 0


def test_what_fails_in_any_way_is_never_told_as_passed(found):
    assert [one.verdict for one in found] == ["passed", "failed", "approximate", "passed", "failed", "missing"]
    assert [agreement_tables.cells(one)[1] for one in found] == [one.verdict for one in found]
    assert agreement_tables.cells(found[1])[2] == "2e-01"  # the worst of potentials, sensitivities and gradients


def test_the_page_holds_all_of_it_and_asks_nothing_of_a_network(measured, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")
    path = tmp_path / "page.html"
    assert run("check", "--all", "--page", path).exit_code == 1
    page = path.read_text(encoding="utf-8")
    for word in ("good 1.0 &lt;on&gt; the CPU", "not exact: spikes", "SimulatorError: it broke", *agreement.QUANTITIES):
        assert word in page
    assert all(limit.name in page for limit in tolerances.TABLE)
    assert re.findall(r"https?://|<script|<link", page) == []
    (image,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert b64decode(image).startswith(b"\x89PNG")
    assert agreement_page.page(measured) == page  # nothing in it is of the day


def test_the_figure_has_a_row_a_backend_and_says_what_its_columns_are(found):
    pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")
    figure = plotting.error_maps(found)
    left, right, bar = figure.axes
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names[0] == "good"
    assert names[2] == "spiking\n(a column: 70 steps)"
    assert names[3].startswith(r"\$slow\$")
    assert names[4:] == ["raising\n(failed)", "absent\n(not installed)"]
    image = left.images[0].get_array()
    assert image.shape == (6, agreement.DUE + 2)
    assert np.allclose(image[0], np.log10(found[0].curves["backpropagation"][1:]))
    assert np.isclose(image[2, 0], np.log10(found[2].curves["backpropagation"][70]))
    assert np.ma.getmaskarray(image)[4:].all()
    worst = np.max([found[0].curves[name][1:] for name in ("potentials", "sensitivities", "gradients")], axis=0)
    assert np.allclose(right.images[0].get_array()[0], np.log10(worst))
    assert "log" in bar.get_ylabel()
    assert left.get_xlabel()


BAD = {
    "a page of one backend": (("--page", "a.html"), "give --all too"),
    "some of one backend": (("--only", "chip"), "give --all too"),
    "Markdown of one backend": (("--markdown",), "give --all too"),
    "one backend and all": (("--all", "--backend", "chip"), "--only NAME"),
    "a case and all": (("--all", "--case", "ledger"), "leave one out"),
    "no time": (("--all", "--limit", "0"), "above 0"),
    "no such backend": (("--all", "--only", "braian2"), "reference"),
    "a folder that is not there": (("--all", "--page", "nowhere/a.html"), "create"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_options_are_named_with_their_fix_before_anything_runs(what, monkeypatch):
    monkeypatch.setattr(agreement, "measure", lambda *_: pytest.fail("work began"))
    words, says = BAD[what]
    done = run("check", *words)
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())


def test_a_page_that_is_there_is_not_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(agreement, "measure", lambda *_: pytest.fail("work began"))
    path = tmp_path / "mine.html"
    path.write_text("mine")
    done = run("check", "--all", "--page", path)
    assert done.exit_code == 2
    assert "--overwrite" in done.stderr
    assert path.read_text() == "mine"
