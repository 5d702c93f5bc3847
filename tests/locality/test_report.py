"""The whole study, its command and its figures: everything that was measured is there, and what cannot be is said."""

import itertools
import json
from unittest import mock

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import dyadic_neuro as dn
from dyadic_neuro import plotting
from dyadic_neuro.backends import MappedChip
from dyadic_neuro.backends.reference.backend import ReferenceSession
from dyadic_neuro.cli import app
from dyadic_neuro.errors import CapacityError, CycleError, DataError, OptionError, SimulatorError, UnknownNameError
from dyadic_neuro.mappings.mapping import map_network
from dyadic_neuro.studies.locality import PARTS, Perturbation, Subject, examine, measure, report
from dyadic_neuro.studies.locality.textbook import TextbookSession
from dyadic_neuro.testing import problems

CLAIMS = ["samples", "speed", "arrival", "neighbours", "messages", "updates", "copies", "learning", "lock", "recovery"]
LAYERS = ["--layers", "4,5,4,3"]


def invoke(*words):
    return CliRunner().invoke(app, ["locality", *words])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The command with all it does, on the chip, run once."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    return invoke(*LAYERS, "--backend", "chip", "--seed", "1", "--out", str(folder)), folder


def test_the_command_gives_verdicts_words_tables_and_figures(whole):
    done, folder = whole
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    for claim in CLAIMS:
        assert f" {claim} holds " in words
    assert "speed holds broken" in words  # textbook beside it
    assert "the softmax couples" in words
    assert "the sample clock (2D = 6 steps) is global" in words
    for heading in ("updates, on the backend chip", "transport, on the backend chip", "transport, on the backend reference"):
        assert f"\n{heading}\n- " in done.output
    tables = {report.VERDICTS, *(name for part in PARTS for name in report.FILES[part])}
    figures = {"cones.png", "dependencies.png", "traffic.png", "recovery.png"}
    assert {path.name for path in folder.iterdir()} == tables | figures
    assert "nan" not in done.output


def test_tables_are_tidy(whole):
    pandas = pytest.importorskip("pandas")
    read = {path.name: pandas.read_csv(path) for path in whole[1].glob("*.csv")}
    assert set(read["claims.csv"]["name"]) == set(CLAIMS)
    assert set(read["claims.csv"]["backend"]) == {"chip", "textbook"}
    cones = read["cones.csv"]
    assert (cones["as_predicted"] == cones["neurons"]).all()
    assert (cones["first"].fillna(-1) == cones["predicted_first"].fillna(-1)).all()
    sent = read["traffic.csv"].groupby(["schedule", "start"])["messages"].sum()
    assert sent["free", "cold"] == sent["free", "warm"] == 6 * sent["wavefront", "cold"]
    assert (read["updates.csv"]["packets"] >= 0).all()
    for names, backend in (
        ("cones traffic packets growth angles", "chip"),
        ("release early windows alignment spread", "reference"),
    ):
        assert all(set(read[f"{name}.csv"]["backend"]) == {backend} for name in names.split())
    assert (read["recovery.csv"]["steps"] <= read["recovery.csv"]["bound"]).all()


def test_what_is_there_is_not_overwritten_and_nothing_runs(whole):
    _, folder = whole
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = invoke(*LAYERS, "--out", str(folder), "--json")
    assert again.exit_code == 2
    assert json.loads(again.output)["error"]["type"] == "OutputExistsError"
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_json_has_every_claim_and_a_broken_one_ends_with_1(tmp_path):
    pytest.importorskip("nengo")
    done = invoke(
        "--layers", "2,2", "--backend", "nengo-spiking", "--part", "cones", "--out", str(tmp_path), "--steps", "3", "--json"
    )
    assert done.exit_code == 1, done.output
    record = json.loads(done.output)
    verdicts = {claim["name"]: claim["verdict"] for claim in record["claims"]}
    assert verdicts["samples"] == "broken"  # ranges are calibrated on the batch, and so each sample knows of the others
    assert verdicts["speed"] == verdicts["neighbours"] == verdicts["messages"] == "nothing to measure"
    assert record["textbook"]
    assert record["failed"] == {}
    assert len(record["files"]) == 4


def test_a_network_of_a_file_with_data(tmp_path):
    network = dn.Network.dense([64, 6, 10], "tanh", "cross_entropy", seed=0)
    network.save(tmp_path / "net.npz")
    options = ["--data", "digits", "--part", "cones", "--no-contrast", "--schedule", "wavefront", "--at", "4"]
    done = invoke(str(tmp_path / "net.npz"), *options, "--out", str(tmp_path / "out"), "--json")
    assert done.exit_code == 0, done.output
    record = json.loads(done.output)
    assert record["schedule"] == "wavefront"
    assert record["textbook"] == []
    assert {claim["verdict"] for claim in record["claims"]} == {"holds"}


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ([], "network"),
        (["net.npz", *LAYERS], "network"),
        (["absent.npz"], "absent.npz"),
        ([*LAYERS, "--part", "tides"], "part"),
        ([*LAYERS, "--samples", "0"], "samples"),
        ([*LAYERS, "--seed", "-1"], "seed"),
        ([*LAYERS, "--at", "-1"], "at"),
        ([*LAYERS, "--steps", "0"], "steps"),
        ([*LAYERS, "--schedule", "tidal"], "schedule"),
        ([*LAYERS, "--backend", "abacus"], "backend"),
        ([*LAYERS, "--data", "digits"], "network"),
        ([*LAYERS, "--chip", "abacus"], "chip"),
        (["--layers", "64,9,10", "--data", "digits", "--samples", "99999"], "samples"),
    ],
)
def test_bad_options_are_named_before_anything_runs(words, field, tmp_path):
    done = invoke(*words, "--out", str(tmp_path / "out"), "--json")
    assert done.exit_code == 2, done.output
    assert json.loads(done.output)["error"]["field"] == field
    assert not (tmp_path / "out").exists()


def test_a_network_without_hidden_layers_has_less_to_measure():
    found = examine(dn.Network.dense([4, 3], seed=0), progress=False)
    verdicts = {claim.name: claim.verdict for claim in found.claims}
    assert verdicts["copies"] == "nothing to measure"
    assert set(verdicts.values()) == {"holds", "nothing to measure"}
    assert "no W^T copies" in " ".join(found.sentences["transport"]["reference"])


def test_a_cycle_leaves_what_needs_no_depth():
    network, inputs, targets = problems.cyclic()
    found = examine(network, inputs, targets, steps=5, progress=False)
    verdicts = {claim.name: claim.verdict for claim in found.claims}
    assert verdicts["speed"] == verdicts["neighbours"] == verdicts["updates"] == "holds"
    assert verdicts["lock"] == verdicts["recovery"] == "nothing to measure"
    assert found.contrast == ()
    with pytest.raises(CycleError):
        examine(network, inputs, targets, progress=False)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"parts": "cones"}, OptionError),
        ({"parts": 3}, OptionError),
        ({"parts": []}, OptionError),
        ({"parts": [[]]}, UnknownNameError),
        ({"parts": ["tides"]}, UnknownNameError),
        ({"samples": 0}, OptionError),
        ({"seed": -1}, OptionError),
        ({"changes": Perturbation("input", "input", (0,))}, OptionError),
        ({"chip": 3}, OptionError),
        ({"chip": "abacus"}, UnknownNameError),
        ({"data": 3}, DataError),
        ({"data": (np.zeros((4, 3)), np.zeros(4, int))}, DataError),
        ({"data": (np.zeros((4, 2)), np.full(4, 2))}, DataError),
        ({"parts": ["recovery", "cones"], "at": -1}, OptionError),
    ],
)
def test_what_examine_refuses_before_anything_runs(options, error, monkeypatch):
    for session in (ReferenceSession, TextbookSession):
        monkeypatch.setattr(session, "relax", lambda *_: pytest.fail("ran"))
    with pytest.raises(error):
        examine(dn.Network.dense([2, 3, 2], seed=0), **options)


def test_a_part_that_fails_is_told_and_leaves_the_others(monkeypatch, tmp_path):
    refused, crashed = (
        CapacityError("network", "is too large", "shrink it"),
        SimulatorError("chip", "crashed\nTraceback", "restart"),
    )
    monkeypatch.setattr(report, "measure", raised(refused))
    monkeypatch.setattr(report.lock, "early", raised(crashed))
    done = invoke(
        "--layers",
        "3,3,2",
        *["--part", "cones", "--part", "lock", "--part", "traffic", "--part", "updates", "--json", "--out"],
        str(tmp_path),
    )
    assert done.exit_code == 3
    record = json.loads(done.output)
    assert {part: error["type"] for part, error in record["failed"].items()} == {
        "cones": "CapacityError",
        "lock": "SimulatorError",
    }
    assert [claim["name"] for claim in record["claims"]] == ["updates", "copies", "learning", "lock"]
    assert record["sentences"]["cones"]["textbook"] == record["sentences"]["cones"]["reference"]
    assert "too large" in record["sentences"]["cones"]["reference"][0]
    assert record["sentences"]["lock"]["reference"][-1] == "Not examined to the end: chip: crashed."
    assert "had failed" in record["sentences"]["traffic"]["reference"][0]
    assert {path.name for path in tmp_path.iterdir()} == {"claims.csv", "updates.csv", "lock.csv", "release.csv"}
    again = invoke("--layers", "3,3,2", "--part", "cones", "--out", str(tmp_path / "again"))
    assert again.exit_code == 2
    assert "error in cones: network: is too large; shrink it" in again.output


def raised(error):
    def run(*_, **__):
        raise error

    return run


def test_little_data_and_the_chip_of_a_mapping():
    network = dn.Network.dense([2, 3, 2], seed=0)
    data = (np.eye(2), np.arange(2))
    backend = MappedChip(map_network(network, "loihi1"))
    with mock.patch.object(report.traffic, "growth", side_effect=CapacityError("network", "is too large", "shrink it")) as growth:
        found = examine(
            network, *data, data=data, backend=backend, parts=["traffic", "transport"], contrast=False, progress=False
        )
    assert growth.call_args.kwargs["chip"].name == "loihi1"
    assert found.failed == {}
    assert "not measured on loihi1" in found.sentences["traffic"]["chip"][-1]
    assert len(found.tables["alignment.csv"])


def test_a_narrow_terminal_shows_whole_verdicts(monkeypatch, tmp_path):
    monkeypatch.setattr("dyadic_neuro.cli.locality.stdout", Console(width=40))
    done = invoke("--layers", "3,2", *["--part", "cones", "--part", "updates", "--out"], str(tmp_path))
    lines = [line.split() for line in done.output.splitlines()]
    assert ["neighbours", "holds", "broken"] in lines
    assert ["copies", "-", "-"] in lines
    assert "-: nothing to measure" in done.output
    assert max(map(len, done.output.split("written:")[0].splitlines()[2:])) <= 40


def test_a_terminal_is_told_which_part_runs(capsys):
    examine(dn.Network.dense([2, 2], seed=0), parts=["cones", "lock"], progress=True)
    told = capsys.readouterr().err
    assert all(f"examining {part}" in told for part in ("cones", "lock", "textbook backpropagation"))


# Figures


def words(figure):
    return " ".join(text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text")))


@pytest.fixture(scope="module")
def drawn():
    network = dn.Network.dense([3, 4, 4, 2], activation="tanh", seed=0)
    return examine(network, parts=["cones", "traffic", "recovery"], contrast=False, progress=False)


def test_light_cones_show_what_was_measured_and_what_was_foretold(drawn):
    figure = plotting.light_cones(drawn.cones)
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 4
    image = panels[0].images[0].get_array()
    lit = ~np.ma.getmaskarray(np.ma.masked_invalid(image))
    assert lit.shape == (6, 10)  # potentials and sensitivities of three populations, 0 .. 3D steps
    assert [int(row.argmax()) for row in lit] == [1, 2, 3, 4, 3, 2]
    for row, first in enumerate([1, 2, 3, 4, 3, 2]):
        line = panels[0].lines[row]
        assert line.get_xdata()[0] == first - 0.5
        assert line.get_ydata()[0] == row - 0.5
    said = words(figure)
    assert "an input\nis changed" in said
    assert "steps after the change" in said
    assert "foretold by the graph" in said


def test_the_matrix_of_dependencies_shows_every_pair(drawn):
    figure = plotting.dependencies(drawn.cones)
    image = figure.axes[0].images[0].get_array()
    assert image.shape == (20, 3 + 20 + 2)
    assert (image == 2).sum() == sum(int(acts[: 3 + 20 + 2].sum()) for acts in drawn.cones.acts.values())
    assert not (image == 3).any()
    assert "one step later" in words(figure)


def test_a_large_matrix_is_of_populations(monkeypatch, drawn):
    monkeypatch.setattr("dyadic_neuro.plotting.locality._NEURONS", 5)
    figure = plotting.dependencies(drawn.cones)
    assert figure.axes[0].images[0].get_array().shape == (6, 8)


def test_traffic_and_recovery_are_drawn_with_their_limits(drawn):
    figure = plotting.traffic_by_step(drawn.tables["traffic.csv"], "$a$ chain")
    bars = sum(patch.get_height() for patch in figure.axes[0].patches)
    table = drawn.tables["traffic.csv"]
    assert bars == table[(table["schedule"] == "free") & (table["start"] == "cold")]["messages"].sum()
    assert "messages of one sample" in words(figure)
    for warm, cold in (axes.lines for axes in figure.axes):
        assert warm.get_linewidth() > cold.get_linewidth()  # and beneath it: equal counts are both seen
        assert cold.get_linestyle() == "--"
    said = words(plotting.recovery_times(drawn.stability, "a chain"))
    assert "on the reference backend: a chain" in said
    assert "2D = 6 steps" in said
    assert "negative binomial, mean 12" in said
    assert "part of the cases" in said


def test_many_populations_and_long_names_have_room():
    sizes = dict.fromkeys(["input", *(f"a_very_long_name_indeed_{i}" for i in range(30)), "output"], 2)
    populations = [dn.Population(name, size, "tanh" if "long" in name else "identity") for name, size in sizes.items()]
    weights = np.random.default_rng(0).normal(size=(2, 2))
    projections = [dn.Projection(a, b, weights) for a, b in itertools.pairwise(sizes)]
    cones = measure(Subject.of(dn.Network(populations, projections, "squared_error")), steps=2)
    for figure in (plotting.dependencies(cones), plotting.light_cones(cones)):
        figure.canvas.draw()
        axes = figure.axes[0]
        for labels in (axes.get_yticklabels(), axes.get_xticklabels()):
            boxes = [label.get_window_extent() for label in labels]
            assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))
    titles = [axes.title.get_window_extent() for axes in figure.axes[:4]]
    assert not any(a.overlaps(b) for a, b in itertools.pairwise(titles))
    space = figure.axes[0].yaxis.label.get_window_extent()
    assert space.y0 >= 0
    assert space.y1 <= figure.bbox.y1
