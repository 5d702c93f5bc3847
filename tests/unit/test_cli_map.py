"""`dyadic-neuro map` and `chips`: the numbers are those of the API, bad input costs nothing, outputs are kept."""

import importlib.util
import json

import pytest
from typer.testing import CliRunner

import dyadic_neuro as dn
from dyadic_neuro import cli
from dyadic_neuro.errors import OptionError
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.cost import sample_cost
from dyadic_neuro.mappings.mapping import Mapping, map_network
from dyadic_neuro.quantity import GRADES
from dyadic_neuro.studies import onchip
from dyadic_neuro.studies.onchip import RENNER_2024, report

FIGURES = ("mesh.png", "load.png", "links.png", "schedule.png")
needs_figures = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib draws the figures")
CHIPS = ("loihi1", "loihi1-sanafe", "loihi2", "kapoho-point", "hala-point")


def run(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def text(*words):
    done = run(*words)
    assert done.exit_code == 0, done.output
    return " ".join(done.stdout.split())


def record(*words):
    done = run(*words, "--json")
    return done.exit_code, json.loads(done.stdout)


def specification(*sizes):
    return dn.Network.specification(sizes, loss="cross_entropy")


# Reports against the cost model and the mapping


@pytest.mark.parametrize("schedule", ["free", "wavefront"])
@pytest.mark.parametrize("chip", CHIPS)
def test_a_report_has_the_numbers_of_the_cost_model(chip, schedule):
    mapping = map_network(specification(60, 50, 30, 10), chip, objective="latency")
    found, cost = report(mapping, schedule), sample_cost(mapping, schedule)
    assert found.cost == cost
    assert (found.steps, found.depth, found.cores) == (6, 3, len(mapping.cores))
    assert found.latency_s == pytest.approx(cost.latency_s)
    assert found.samples_per_s == pytest.approx(1 / cost.latency_s)
    assert found.relaxation_s + cost.learning_s == pytest.approx(cost.latency_s)
    for fill in found.memory:
        assert fill.used == max(used for used, _ in mapping.utilization[fill.resource].values())
        assert mapping.utilization[fill.resource][fill.core] == (fill.used, fill.limit)


def test_what_links_carry_and_cores_do_adds_up_to_what_the_steps_count():
    mapping = map_network(specification(200, 150, 10), "loihi1", objective="latency")
    for schedule, repeats in (("wavefront", 1), ("free", 4)):
        found = report(mapping, schedule)
        counts = {part.name: part.count for part in found.cost.components}
        assert found.work.links.hops == (counts["hop_horizontal"], counts["hop_vertical"])
        assert found.work.links.hops == tuple(repeats * hops for hops in mapping.links.hops)
        assert found.busiest_link[0] == repeats * mapping.links.busiest()[0]
        assert found.busiest_link_s == pytest.approx(found.busiest_link[0] / 3.44e9, rel=1e-3)  # Davies et al. 2018
    work = report(mapping, "free").work  # in every step the same cores are the slowest
    busy = report(mapping, "free").busiest_core
    assert busy.busy_s == work.busy_s.max() == pytest.approx(max(busy.sending_s, busy.receiving_s) + busy.learning_s)
    assert work.busy_s.max() <= report(mapping, "free").latency_s
    assert [s for s in mapping.slices if s.core == busy.core] == list(busy.slices)


def test_plastic_synapses_are_one_copy_from_the_input_and_two_of_the_others():
    found = report(map_network(specification(400, 400, 10), "loihi1"))
    assert found.plastic_synapses == 400 * 400 + 2 * 400 * 10
    assert found.plastic_weights == 400 * 400 + 400 * 10
    assert found.synapses_per_weight == pytest.approx(168_000 / 164_000)


def test_a_divided_fan_in_makes_depth_and_not_the_user_s_weights_grow():
    found = report(map_network(specification(9000, 20, 10), "loihi1"))
    assert (found.depth_before, found.depth, found.steps) == (2, 3, 6)
    assert found.plastic_weights == 9000 * 20 + 20 * 10
    printed = text("map", "--layers", "9000,20,10", "--chip", "loihi1", "--objective", "cores")
    assert "depth 3 instead of 2" in printed


def test_a_pipeline_takes_one_step_a_sample_and_memory_for_its_lines():
    mapping = map_network(specification(64, 64, 10), "loihi1", pipeline=True)
    found, sequential = report(mapping, "pipeline"), report(map_network(specification(64, 64, 10), "loihi1"))
    assert found.cost == sample_cost(mapping, "pipeline")
    assert found.steps == 1
    assert found.latency_s == pytest.approx(4 * found.cost.latency_s)
    assert found.samples_per_s > sequential.samples_per_s
    memory, before = ({f.resource: f.used for f in r.memory} for r in (found, sequential))
    assert memory["core_memory"] > before["core_memory"]
    assert memory["state_per_neuron"] > before["state_per_neuron"]


def test_a_pipeline_needs_a_mapping_with_room_for_it(refuses):
    with refuses(OptionError, "schedule", "pipeline"):
        report(map_network(specification(4, 3, 2), "loihi1"), "pipeline")
    with refuses(OptionError, "schedule", "free"):
        report(map_network(specification(4, 3, 2), "loihi1"), "sometimes")


def test_without_learning_nothing_is_learned():
    found = report(map_network(specification(64, 64, 10), "loihi1", learning=False))
    assert found.cost.learning_s == 0
    assert not found.work.learning_s.any()


def test_the_published_record_says_where_each_number_is_from():
    assert RENNER_2024.synapses_per_weight == pytest.approx(3.05, abs=0.005)
    assert RENNER_2024.energy.grade == RENNER_2024.latency.grade == "measured"
    assert "not seen" in RENNER_2024.energy.source
    assert all(quantity.source and quantity.grade != "unknown" for quantity in RENNER_2024.quantities.values())
    assert RENNER_2024.is_of(specification(400, 400, 10))
    assert not RENNER_2024.is_of(specification(400, 400, 400, 10))
    assert not RENNER_2024.is_of(specification(10, 400, 400))
    json.dumps(RENNER_2024.record())


# The command


@pytest.mark.parametrize("chip", CHIPS)
def test_map_prints_and_its_json_is_the_reports_of_the_api(chip):
    code, found = record("map", "--layers", "64,64,10", "--chip", chip)
    assert code == 0
    wanted = [report(map_network(specification(64, 64, 10), chip, objective=o)).record() for o in ("cores", "latency")]
    assert found["reports"] == json.loads(json.dumps(wanted))
    assert found["published"] is None
    printed = text("map", "--layers", "64,64,10", "--chip", chip)
    for first in wanted:
        assert f"{first['cores']:,} of {first['cores_of_chip']:,}" in printed
        assert ("at least" in printed) >= bool(first["unknown_times"])
        assert ("known total" in printed) == bool(first["unknown_energies"])


def test_map_stands_beside_the_measurement_of_the_same_layers_only():
    printed = text("map", "--layers", "400,400,10", "--chip", "loihi1")
    for word in ("model", "measurement", "Renner et al.", "3.05", "1.02", "590 uJ", "1.5 ms", "96", "binary", "signs"):
        assert word in printed
    assert "whether it is total or dynamic energy was not seen" in printed
    assert "hypothetical" in printed
    assert "float emulation" in printed
    assert record("map", "--layers", "400,400,10")[1]["published"] == RENNER_2024.record()
    assert "Renner" not in text("map", "--layers", "400,400,400,10", "--chip", "loihi1")


def test_graded_messages_are_hypothetical_only_where_messages_are_binary():
    assert "hypothetical" in text("map", "--layers", "8,6,4", "--chip", "loihi1")
    assert "hypothetical" not in text("map", "--layers", "8,6,4", "--chip", "loihi2")


def test_long_counts_keep_their_size():
    printed = text("map", "--layers", "3000,3000,10", "--chip", "hala-point", "--objective", "cores")
    assert "36.24 M" in printed  # synaptic operations, in 4 steps


def test_what_is_unknown_is_named():
    code, found = record("map", "--layers", "64,64,10", "--chip", "loihi2", "--objective", "cores")
    assert code == 0
    (only,) = found["reports"]
    assert only["unknown_times"] == ["message", "message_in", "learning_update"]
    assert any(name.startswith("static during") for name in only["unknown_energies"])
    assert "synaptic_operation" in only["unknown_energies"]
    printed = text("map", "--layers", "64,64,10", "--chip", "loihi2")
    assert "learning_update" in printed
    assert "synaptic_operation" in printed


def test_map_takes_schedule_seed_chips_and_a_saved_network(tmp_path):
    path = tmp_path / "net.npz"
    dn.Network.dense([32, 16, 4], loss="cross_entropy").save(path)
    words = ("--network", path, "--chip", "loihi1", "--chips", "2x1", "--seed", 3, "--schedule", "wavefront")
    code, found = record("map", *words, "--objective", "latency")
    assert code == 0
    chip = Chip.load("loihi1", chips=(2, 1))
    mapping = map_network(specification(32, 16, 4), chip, objective="latency", seed=3)
    assert found["reports"] == [json.loads(json.dumps(report(mapping, "wavefront").record()))]


def test_map_shows_a_pipeline_beside_each_objective():
    code, found = record("map", "--layers", "64,64,10", "--chip", "loihi1", "--pipeline")
    assert code == 0
    assert [(r["objective"], r["schedule"], r["steps"]) for r in found["reports"]] == [
        ("cores", "free", 4),
        ("cores", "pipeline", 1),
        ("latency", "free", 4),
        ("latency", "pipeline", 1),
    ]
    assert "1 (of 2D = 4)" in text("map", "--layers", "64,64,10", "--chip", "loihi1", "--pipeline")


@pytest.mark.parametrize("words", [(), ("--pipeline", "--objective", "latency")])
def test_map_saves_a_mapping_that_it_can_show_again(tmp_path, words):
    out = tmp_path / "mapping.json"
    code, found = record("map", "--layers", "64,64,10", "--chip", "loihi1", *words, "--out", out)
    assert code == 0
    assert found["out"] == str(out)
    loaded = Mapping.load(out)
    assert (loaded.objective, loaded.pipeline) == (("latency", True) if words else ("cores", False))
    again = record("map", "--load", out)[1]["reports"]
    assert again[-1] == found["reports"][1 if words else 0]
    assert len(again) == (2 if words else 1)


@needs_figures
def test_map_draws_its_figures(tmp_path):
    folder = tmp_path / "new" / "figures"
    code, found = record("map", "--layers", "64,64,10", "--chip", "loihi1", "--figures", folder)
    assert code == 0
    assert found["figures"] == [str(folder / name) for name in FIGURES]
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in FIGURES)
    assert run("map", "--layers", "64,64,10", "--figures", folder).exit_code == 2
    assert run("map", "--layers", "64,64,10", "--figures", folder, "--overwrite").exit_code == 0


BAD = {
    "no network": ((), "400,400,10"),
    "a network and its loss": (("--network", "net.npz", "--loss", "squared_error"), "leave one out"),
    "a mapping and a seed": (("--load", "m.json", "--seed", "3"), "leave one out"),
    "two networks": (("--layers", "4,3,2", "--network", "net.npz"), "leave one out"),
    "layers that are no numbers": (("--layers", "4,x,2"), "64,32,10"),
    "one layer": (("--layers", "4"), "at least two"),
    "a layer of nothing": (("--layers", "4,0,2"), "hidden1"),
    "no such activation": (("--layers", "4,3,2", "--activation", "tanx"), "tanh"),
    "no such loss": (("--layers", "4,3,2", "--loss", "square"), "squared_error"),
    "no such chip": (("--layers", "4,3,2", "--chip", "loihi3"), "loihi2"),
    "no such chip file": (("--layers", "4,3,2", "--chip", "nowhere.toml"), "does not exist"),
    "a chip file that is none": (("--layers", "4,3,2", "--chip", "{bad}"), "bad.toml:2"),
    "chips in words": (("--layers", "4,3,2", "--chips", "four"), "4x2"),
    "no chips": (("--layers", "4,3,2", "--chips", "0x2"), "at least 1"),
    "no such objective": (("--layers", "4,3,2", "--objective", "beauty"), "latency"),
    "no such schedule": (("--layers", "4,3,2", "--schedule", "never"), "wavefront"),
    "a negative seed": (("--layers", "4,3,2", "--seed", "-1"), "at least 0"),
    "no such network file": (("--network", "nowhere.npz"), "nowhere.npz"),
    "no such mapping": (("--load", "nowhere.json"), "nowhere.json"),
    "a mapping and a chip": (("--load", "m.json", "--chip", "loihi1"), "--chip"),
    "too many neurons": (("--layers", "4,90000,2", "--chip", "loihi1"), "use more chips"),
    "a readout too wide for a core": (("--layers", "4,3,2000", "--chip", "loihi1"), "readout"),
    "a pipeline too deep": (("--layers", "40,40,40,40,40,40,10", "--chip", "loihi1", "--pipeline"), "state_per_neuron"),
    "figures where a file is": (("--layers", "4,3,2", "--figures", "{bad}"), "is a file"),
    "figures where nothing can be": (("--layers", "4,3,2", "--figures", "/proc/figures"), "/proc/figures"),
    "one file for two things": (("--layers", "4,3,2", "--figures", "f", "--out", "f/mesh.png"), "f/mesh.png"),
    "a folder that is not there": (("--layers", "4,3,2", "--out", "nowhere/m.json"), "create"),
}


@pytest.mark.parametrize("what", [pytest.param(w, marks=needs_figures) if "--figures" in BAD[w][0] else w for w in BAD])
def test_bad_input_is_named_with_its_fix_and_exit_code_2(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad = tmp_path / "bad.toml"
    bad.write_text('based_on = "loihi1"\nprice = 3\n')
    (tmp_path / "f").mkdir()
    words, says = BAD[what]
    words = ["map", *(word.format(bad=bad) for word in words)]
    done = run(*words)
    assert done.exit_code == 2, done.output
    assert "".join(says.split()) in "".join(done.stderr.split())  # rich breaks long words
    assert not done.stdout
    code, found = record(*words)
    assert code == 2
    assert set(found["error"]) == {"type", "field", "problem", "fix"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.toml", "f"]
    assert not list((tmp_path / "f").iterdir())


def test_what_does_not_fit_is_a_capacity_error():
    code, found = record("map", "--layers", "4,90000,2", "--chip", "loihi1")
    assert (code, found["error"]["type"]) == (2, "CapacityError")


@needs_figures
def test_outputs_that_are_there_are_not_touched_and_nothing_is_mapped(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("work was done before the outputs were checked")

    monkeypatch.setattr(cli.mapping, "map_network", refuse)
    folder = tmp_path / "figures"
    folder.mkdir()
    for path, words in (
        (tmp_path / "m.json", ("--out", tmp_path / "m.json")),
        (folder / "schedule.png", ("--figures", folder)),
    ):
        path.write_text("mine")
        done = run("map", "--layers", "4,3,2", *words)
        assert done.exit_code == 2
        assert "--overwrite" in done.stderr
        assert path.read_text() == "mine"
    assert [path.name for path in folder.iterdir()] == ["schedule.png"]


def test_every_mapping_is_verified_before_it_is_reported(monkeypatch):
    verified = []
    monkeypatch.setattr(Mapping, "verify", lambda self: verified.append(self.objective))
    assert run("map", "--layers", "8,6,4", "--chip", "loihi1").exit_code == 0
    assert verified == ["cores", "latency"]


# Chips


def test_chips_lists_every_chip_with_how_well_it_is_known():
    code, found = record("chips")
    assert code == 0
    assert tuple(found) == Chip.names()
    for name, fact in found.items():
        chip = Chip.load(name)
        assert (fact["cores"], fact["chips"]) == (chip.cores, chip.chips)
        assert set(fact["grades"]) == set(GRADES)
        assert sum(fact["grades"].values()) == len(chip.quantities())
        assert name in run("chips").stdout


def test_chips_show_prints_every_number_with_its_grade():
    code, found = record("chips", "show", "loihi1")
    assert code == 0
    assert found["fingerprint"] == Chip.load("loihi1").fingerprint
    assert Chip.from_record({k: v for k, v in found.items() if k not in ("fingerprint", "hypotheses")}) == Chip.load("loihi1")
    printed = run("chips", "show", "loihi1").stdout
    for key in Chip.load("loihi1").entries():
        assert key.split(".")[1] in printed
    assert "23.6 pJ" in printed


def test_chips_show_of_no_chip_exits_with_2():
    done = run("chips", "show", "loihi3")
    assert done.exit_code == 2
    assert "loihi2" in done.stderr
    assert record("chips", "show", "loihi3")[1]["error"]["type"] == "UnknownNameError"


@pytest.mark.parametrize("words", [("map",), ("chips",), ("chips", "show")])
def test_every_command_explains_itself(words):
    done = run(*words, "--help")
    assert done.exit_code == 0
    assert "--json" in done.stdout


def test_work_is_that_of_the_report():
    mapping = map_network(specification(30, 20, 10), "loihi1")
    assert (onchip.work(mapping).busy_s == report(mapping).work.busy_s).all()
