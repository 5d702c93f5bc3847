"""Figures of mappings: every core and link of the mapping is there, and says what it is."""

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro import plotting
from dyadic_neuro.errors import CycleError, OptionError
from dyadic_neuro.mappings.chip import Chip
from dyadic_neuro.mappings.mapping import map_network
from dyadic_neuro.plotting.layout import population_of_cores
from dyadic_neuro.population import Population
from dyadic_neuro.studies.onchip import report, work

pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")

ONE_CORE = """
based_on = "loihi1"
title = "One core"
[mesh]
columns = { value = 1, unit = "tile", source = "a test", grade = "derived" }
rows = { value = 1, unit = "tile", source = "a test", grade = "derived" }
cores_per_tile = { value = 1, unit = "core", source = "a test", grade = "derived" }
cores = { value = 1, unit = "core", source = "a test", grade = "derived" }
"""


def mapped(*sizes, chip="loihi1", **options):
    return map_network(dn.Network.specification(sizes, loss="cross_entropy"), chip, **options)


def painted(figure, layer):
    """The values of an image of the figure's first axes, as it was drawn: nothing is NaN."""
    return np.ma.filled(figure.axes[0].images[layer].get_array().astype(float), np.nan)


def words(figure):
    """All text that stands in a figure."""
    from matplotlib.text import Text

    return [found.get_text() for found in figure.findobj(Text) if found.get_text()]


def rendered(figure, tmp_path):
    path = tmp_path / "figure.png"
    plotting.save(figure, path, overwrite=True)
    assert path.read_bytes().startswith(b"\x89PNG")
    return figure


@pytest.mark.parametrize("objective", ["cores", "latency"])
@pytest.mark.parametrize("chip", ["loihi1", "loihi2", "hala-point"])
def test_the_mesh_colours_every_core_by_its_population(chip, objective):
    mapping = mapped(400, 300, 10, chip=chip, objective=objective)
    figure = plotting.mesh(mapping)
    free, held = painted(figure, 0), painted(figure, 1)
    wanted = [len(mapping.slices.cores[population_of_cores(mapping) == i]) for i in range(3)]
    assert [int((held == i).sum()) for i in range(3)] == wanted
    assert int(np.isfinite(held).sum()) == len(mapping.cores)
    assert int(np.isfinite(free).sum()) % (mapping.chip.cores // mapping.chip.chips) == 0  # whole chips
    for name, count in zip(("input", "hidden1", "output"), wanted, strict=True):
        assert f"{name}: {count} core{'s' if count > 1 else ''}" in words(figure)
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("column of tiles", "row of tiles")


def test_cores_lie_in_their_tiles():
    mapping = mapped(400, 400, 10, objective="latency")
    held, chip = painted(plotting.mesh(mapping), 1), mapping.chip
    for core, population in zip(mapping.cores, population_of_cores(mapping), strict=True):
        tile = held[2 * chip.y[core] : 2 * chip.y[core] + 2, 2 * chip.x[core] : 2 * chip.x[core] + 2]
        assert tile.ravel()[core % 4] == population


def test_the_load_is_the_share_of_the_time_of_a_sample():
    mapping = mapped(400, 400, 10, objective="latency")
    for schedule in ("free", "wavefront"):
        figure = plotting.mesh(mapping, "load", schedule=schedule)
        busy = painted(figure, 1)
        found = report(mapping, schedule)
        shares = 100 * found.work.busy_s / found.latency_s
        assert np.sort(busy[np.isfinite(busy)]) == pytest.approx(np.sort(shares))
        assert shares.max() <= 100
        assert figure.axes[1].get_ylabel() == "busy, % of the time\nof a sample"
        assert schedule in figure.get_suptitle()
    assert "as far as known" in plotting.mesh(mapped(64, 32, 10, chip="loihi2"), "load").axes[1].get_ylabel()


def test_cores_are_coloured_by_what_there_is(refuses):
    with refuses(OptionError, "color", "population", "load"):
        plotting.mesh(mapped(4, 3, 2), "heat")


def test_chips_that_hold_nothing_are_left_out():
    figure = plotting.mesh(mapped(400, 300, 10, chip="hala-point"))
    assert "1 of 1,152 chips shown" in figure.get_suptitle()
    assert np.diff(figure.axes[0].get_xlim()) == 8
    several = plotting.mesh(mapped(*[1000] * 25, 10, chip=Chip.load("loihi1", chips=(2, 2))))
    assert "shown" not in several.get_suptitle()
    assert np.diff(several.axes[0].get_xlim()) == 16


def test_many_populations_get_a_colour_bar_in_the_order_of_the_signal():
    figure = plotting.mesh(mapped(*[16] * 30, 10, chip="loihi1"))
    ticks = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert (ticks[0], ticks[-1]) == ("input", "output")
    assert len(np.unique(painted(figure, 1)[np.isfinite(painted(figure, 1))])) == 31


def test_links_are_drawn_with_their_messages():
    from matplotlib.quiver import Quiver

    mapping = mapped(400, 400, 10, objective="latency")
    for schedule in ("free", "wavefront"):
        figure = plotting.link_loads(mapping, schedule=schedule)
        loads = work(mapping, schedule).links.flat()
        silent, busy = figure.findobj(Quiver)
        assert silent.N + busy.N == len(loads) == 2 * (7 * 4 + 8 * 3)
        assert sorted(busy.get_array().tolist()) == sorted(loads[loads > 0].tolist())
        assert figure.axes[1].get_ylabel() == "messages per sample\nover a link"
        assert f"{loads.max():,}" in figure.get_suptitle()
        assert {"tile in use", "free tile"} <= set(words(figure))


def test_arrows_lead_from_tile_to_tile():
    from matplotlib.quiver import Quiver

    mapping = mapped(64, 64, 10, objective="latency")
    _, busy = plotting.link_loads(mapping, schedule="wavefront").findobj(Quiver)
    links = work(mapping, "wavefront").links
    for (x, y), dx, dy, load in zip(busy.XY, busy.U, busy.V, busy.get_array(), strict=True):
        column, row = round(float(x - dx / 3)), round(float(y - dy / 3))
        part = {(1, 0): "east", (-1, 0): "west", (0, 1): "north", (0, -1): "south"}[round(dx / 0.6), round(dy / 0.6)]
        assert getattr(links, part)[row - (part == "south"), column - (part == "west")] == load


def test_links_of_large_systems_are_an_image_of_the_busiest_one_of_each_tile():
    mapping = mapped(*[2000] * 46, 10, chip=Chip.load("loihi2", chips=(5, 5)))
    figure = plotting.link_loads(mapping)
    image = painted(figure, 0)
    assert image.shape == (20, 40)
    assert np.nanmax(image) == report(mapping).busiest_link[0]
    assert figure.axes[1].get_ylabel() == "messages per sample\nover a tile's busiest link"


def test_without_messages_between_tiles_there_is_no_colour_bar():
    figure = plotting.link_loads(mapped(8, 6, 4))
    assert len(figure.axes) == 1
    assert "no message leaves its tile" in figure.get_suptitle()


def test_the_timetable_of_a_wavefront_is_its_schedule():
    figure = plotting.timetable(mapped(400, 400, 10), "wavefront")
    idle, pale_blue, blue, pale_orange, orange, green = range(6)
    assert painted(figure, 0).tolist() == [
        [blue, idle, idle, idle, idle],  # the input is shown and sent
        [idle] * 5,
        [blue, pale_blue, idle, idle, green],  # hidden, on two cores: u(1), sent in step 2
        [idle, idle, idle, orange, green],
        [blue, pale_blue, idle, idle, green],
        [idle, idle, idle, orange, green],
        [idle, blue, idle, idle, green],  # readout: u(2), s(3), sent in step 4
        [idle, idle, orange, pale_orange, green],
    ]
    (sends,) = [line for line in figure.axes[0].lines if line.get_marker() == ">"]
    assert sorted(np.floor(sends.get_xdata() + 0.5).tolist()) == [1, 2, 2, 4]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert [label.split(": ")[1] for label in labels] == ["input", "hidden1", "hidden1", "output"]
    assert {"updates potentials", "sends rates only", "learns", "sends messages"} <= set(words(figure))
    steps = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert [step.split("\n")[0] for step in steps] == ["1", "2", "3", "4", "learning"]
    assert figure.axes[0].get_xlabel() == "step"


def test_the_timetable_of_the_free_schedule_has_all_populations_in_every_step():
    mapping = mapped(400, 400, 10, objective="latency")
    figure = plotting.timetable(mapping)
    cells = painted(figure, 0)
    assert cells.shape == (6, 5)
    assert (cells[[0, 2, 4], :4] == 2).all()
    assert (cells[[3, 5], :4] == 4).all()
    counts = [int((population_of_cores(mapping) == i).sum()) for i in range(3)]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"input: {counts[0]} cores", f"hidden1: {counts[1]} cores", "output: 1 core"]


def test_a_mapping_without_learning_has_no_phase_of_it():
    figure = plotting.timetable(mapped(8, 6, 4, learning=False))
    assert not (painted(figure, 0) == 5).any()
    assert "learns" not in words(figure)


def test_the_timetable_of_a_pipeline_is_one_step():
    figure = plotting.timetable(mapped(8, 6, 4, pipeline=True), "pipeline")
    assert painted(figure, 0).shape[1] == 2
    assert "a new sample every step" in figure.get_suptitle()


def test_cores_with_several_populations_are_shown_as_such(tmp_path):
    path = tmp_path / "one.toml"
    path.write_text(ONE_CORE)
    mapping = mapped(4, 3, 2, chip=path)
    assert "several: 1 core" in words(plotting.mesh(mapping))
    assert "0: input + hidden1 + output" in words(plotting.timetable(mapping))


def test_a_cycle_can_be_laid_out_but_has_no_timetable():
    populations = [Population("input", 4), Population("a", 3, "tanh"), Population("b", 3, "tanh"), Population("output", 2)]
    pairs = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")]
    mapping = map_network(dn.Network.specification(populations, pairs), "loihi1")
    assert "a: 1 core" in words(plotting.mesh(mapping))
    for draw in (plotting.timetable, plotting.link_loads, lambda m: plotting.mesh(m, "load")):
        with pytest.raises(CycleError):
            draw(mapping)


DRAWN = {
    "one core": ((4, 3, 2), ONE_CORE, {}),
    "deep": ((16,) * 60 + (4,), "loihi1", {}),
    "deeper than rows and steps have room for": ((4,) * 120 + (4,), "loihi1", {}),
    "several chips": ((500, 600, 10), "kapoho-point", {"objective": "latency"}),
    "divided": ((9000, 30, 10), "loihi1", {}),
    "thousands of cores": ((3000, 3000, 3000, 10), "hala-point", {"objective": "latency"}),
}


@pytest.mark.parametrize("what", DRAWN)
def test_every_figure_of_every_kind_of_mapping_can_be_drawn(what, tmp_path):
    sizes, chip, options = DRAWN[what]
    if chip == ONE_CORE:
        chip = tmp_path / "one.toml"
        chip.write_text(ONE_CORE)
    mapping = mapped(*sizes, chip=chip, **options)
    for schedule in ("free", "wavefront"):
        rendered(plotting.mesh(mapping, "load", schedule=schedule), tmp_path)
        rendered(plotting.link_loads(mapping, schedule=schedule), tmp_path)
        rendered(plotting.timetable(mapping, schedule), tmp_path)
    rendered(plotting.mesh(mapping), tmp_path)
