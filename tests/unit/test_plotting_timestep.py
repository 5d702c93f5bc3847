"""Figures of the study of time: every curve of the tables is there, with its law beside it, and axes say what they are."""

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro import plotting
from dyadic_neuro.plotting import timestep as figures
from dyadic_neuro.studies.timestep import compare, sweeps

pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")
pytest.importorskip("pandas", reason="the extra `study` is not installed")
DUE = 6  # 2D of the network below


@pytest.fixture(scope="module")
def comparison():
    network = dn.Network.dense([3, 4, 4, 2], seed=0)
    rng = np.random.default_rng(0)
    data = (rng.normal(size=(4, 3)), rng.normal(size=(4, 2)))
    return compare(network, data, alphas=(1.5, 1.0, 0.5, 0.2), backends={"one": "reference", "$two$": "reference"})


@pytest.fixture(scope="module")
def table():
    points = [
        *sweeps.depth_sweep(depths=(1, 2, 3), alphas=(1.0, 0.5), seeds=(0, 1, 2)),
        *sweeps.alpha_sweep(alphas=(1.5, 1.0, 0.5, 0.2), depths=(2,), seeds=(0, 1, 2)),
        *sweeps.mismatch_sweep(spreads=(0.0, 0.1, 1.0), depths=(2,)),
        *sweeps.noise_sweep(noises=(1e-3, 1e-2), depths=(2,)),
        *sweeps.delay_sweep(delays=(0.0, 2.0), depths=(2, 3)),
    ]
    rows = sweeps.run(points)
    trained = rows.iloc[:4].assign(what="training", sweep="window", window=[1, 4, 8, 8], accuracy=[0.3, 0.9, 0.9, 0.8], depth=2)
    driven = rows.iloc[:4].assign(sweep="threshold", threshold=[0.0, 1e-3, 1e-2, 1e-2], final_error=[1e-16, 1e-4, 0.1, 0.3])
    driven = driven.assign(share=[0.9, 0.5, 0.3, 0.1], alpha=1.0)
    return __import__("pandas").concat([rows, trained, driven])


def words(figure):
    """All text that stands in a figure."""
    from matplotlib.text import Text

    return [found.get_text() for found in figure.findobj(Text) if found.get_text()]


def rendered(figure, tmp_path):
    plotting.save(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def panels(figure):
    return [axes for axes in figure.axes if axes.axison and axes.get_visible()]


def lines(axes, style):
    """The lines of a style with more than two points, without the white dots, whose style of its own is called "--" as well."""
    found = [line for line in axes.lines if line.get_linestyle() == style and len(line.get_xdata()) > 2]
    return [line for line in found if line.get_color() != "white"]


def marks(axes):
    """The marked medians of a panel, by colour and marker."""
    return [line for line in axes.lines if line.get_linestyle() == "None" and line.get_marker() not in ("", "None", "x")]


def test_the_approach_has_a_line_for_each_backend_and_step_size(comparison, tmp_path):
    figure = plotting.approach(comparison.curves, comparison.depth, "a title")
    left, right = figure.axes
    for axes, across in ((left, "time"), (right, "step")):
        for curve, line in zip(
            [rows for _, rows in comparison.curves.groupby(["backend", "alpha"])], lines(axes, "-"), strict=True
        ):
            assert np.array_equal(line.get_xdata(), curve[across])
            assert np.array_equal(line.get_ydata(), np.maximum(curve["error"], 1e-12))
    assert (left.get_xlabel(), right.get_xlabel()) == (r"time / $\tau$  (= steps $\times\ \alpha$)", "steps")
    assert left.get_ylabel() == "relative error of the gradient"
    assert {"a title", "(a)", "(b)", "binomial law", r"$\alpha$ = 0.2", "exact", "one", r"\$two\$"} <= set(words(figure))
    rendered(figure, tmp_path)


def test_the_approach_lays_the_laws_beside_what_was_measured(comparison):
    left, right = plotting.approach(comparison.curves, comparison.depth).axes
    one = comparison.curves[comparison.curves["backend"] == "one"]
    for axes in (left, right):
        for (_, curve), line in zip(one.groupby("alpha"), lines(axes, "--"), strict=True):
            assert np.array_equal(line.get_ydata(), np.maximum(curve["predicted"], 1e-12))
        assert [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2] == [DUE]  # the knife edge
    (limit,) = lines(left, ":")
    finest = one[one["alpha"] == 0.2]
    assert np.array_equal(limit.get_ydata(), np.maximum(finest["poisson"], 1e-12))
    assert lines(right, ":") == []  # continuous time has no steps


def test_one_backend_needs_no_marks(comparison):
    one = comparison.curves[comparison.curves["backend"] == "one"]
    figure = plotting.approach(one, comparison.depth)
    assert {line.get_marker() for line in figure.axes[0].lines} <= {"None", ""}
    assert "one" not in words(figure)


def test_a_comparison_of_unit_steps_alone_can_be_drawn(comparison, tmp_path):
    rendered(plotting.approach(comparison.curves[comparison.curves["alpha"] == 1], comparison.depth), tmp_path)


def test_without_a_mixture_the_legend_has_none(comparison):
    assert "mixture of unit steps" in words(plotting.approach(comparison.curves, comparison.depth))
    assert "mixture of unit steps" not in words(plotting.approach(comparison.curves.assign(mixture=np.nan), comparison.depth))


def test_steps_of_another_order_have_no_law_in_the_figure(comparison, tmp_path):
    figure = plotting.approach(comparison.curves.assign(predicted=np.nan, mixture=np.nan), comparison.depth)
    assert "binomial law" not in words(figure)
    rendered(figure, tmp_path)


def test_costs_are_medians_over_networks_with_bars_over_all(table, tmp_path):
    figure = plotting.settling_costs(table, "a title")
    steps_over_alpha, time_over_alpha, *over_depth = panels(figure)
    ideal = table[table["sweep"].isin(("alpha", "depth"))]
    at_depth = ideal[ideal["depth"] == 2]
    for axes, quantity in ((steps_over_alpha, "steps"), (time_over_alpha, "time")):
        for (_, rows), drawn in zip(at_depth.groupby("tolerance"), marks(axes), strict=True):
            wanted = rows.groupby("alpha")[quantity].median()
            assert np.array_equal(drawn.get_xdata(), wanted.index)
            assert np.array_equal(drawn.get_ydata(), wanted)
        assert axes.get_title() == "depth 2"
        assert "2D = 4" in words(axes)
    low, high = zip(*(bar.get_segments()[0][:, 1] for bar in steps_over_alpha.collections), strict=True)
    assert (min(low), max(high)) <= (at_depth["steps"].max(), at_depth["steps"].max())
    middle = ideal[(ideal["tolerance"] == 1e-4) & ideal["alpha"].isin((1.0, 0.5))]
    for axes, quantity in zip(over_depth, ("steps", "time", "updates"), strict=True):
        for (_, rows), drawn in zip(middle.groupby("alpha"), marks(axes), strict=True):
            assert np.array_equal(drawn.get_ydata(), rows.groupby("depth")[quantity].median())
        assert (axes.get_xlabel(), axes.get_title()) == ("depth D", "to $10^{-4}$")
    assert over_depth[2].get_ylabel() == "neuron updates a sample"
    assert {"a title", "(a)", "(e)", "binomial law", "to $10^{-8}$"} <= set(words(figure))
    rendered(figure, tmp_path)


def test_costs_have_the_law_in_every_panel(table):
    for axes in panels(plotting.settling_costs(table)):
        assert len(lines(axes, "--")) == len(lines(axes, ":")) == len(marks(axes))
    ideal = table[(table["sweep"] == "depth") & (table["tolerance"] == 1e-4) & (table["alpha"] == 0.5)]
    law = lines(panels(plotting.settling_costs(table))[2], "--")[0]
    assert np.array_equal(law.get_ydata(), ideal.groupby("depth")["predicted_steps"].median())


@pytest.mark.parametrize("name", ["depth", "alpha"])
def test_one_of_the_two_sweeps_is_enough(name, table, tmp_path):
    rendered(plotting.settling_costs(table[table["sweep"] == name]), tmp_path)


def test_imperfections_show_each_sweep(table, tmp_path):
    figure = plotting.imperfections(table, "a title")
    error, time, noise, delays, events, share, windows = panels(figure)
    mismatch = table[table["sweep"] == "mismatch"]
    (drawn,) = marks(error)
    assert drawn.get_xdata().tolist() == [0, 10]
    assert drawn.get_ydata()[0] == 1e-12  # exact
    assert drawn.get_ydata()[1] == mismatch[(mismatch["spread"] == 0.1) & (mismatch["alpha"] == 1)]["error_at_2d"].median()
    (unstable,) = [line for line in error.lines if line.get_marker() == "x"]
    assert unstable.get_xdata().tolist() == [100]
    assert len(marks(time)) == 2 * 3
    noisy = table[(table["sweep"] == "noise") & (table["alpha"] == 1)]
    assert np.array_equal(marks(noise)[1].get_ydata(), noisy.groupby("noise")["final_error"].median())
    unit = table[(table["sweep"] == "delay") & (table["alpha"] == 1)]
    drawn = [line for line in marks(delays) if line.get_color() == figures.RED]
    assert sum(len(line.get_xdata()) for line in drawn) == len(unit)
    assert all(np.array_equal(line.get_xdata(), line.get_ydata()) for line in drawn)  # as predicted
    assert marks(events)[0].get_xdata().tolist() == marks(share)[0].get_xdata().tolist() == [0, 1e-3, 1e-2]
    assert marks(events)[0].get_ydata() == pytest.approx([1e-12, 1e-4, 0.2])  # exact: the floor of the axis
    assert marks(share)[0].get_ydata() == pytest.approx([90, 50, 20])
    assert all(axes.get_xlim()[0] < 0 and axes.get_xlim()[1] > 1e-2 for axes in (events, share))
    assert marks(windows)[0].get_ydata() == pytest.approx([30, 90, 85])
    assert "2D = 4" in words(windows)
    titles = [axes.get_title() for axes in panels(figure)]
    assert titles == ["mismatch", "mismatch", "noise", "delays", "events", "events", "digits, 2 seeds"]
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in panels(figure))
    rendered(figure, tmp_path)


@pytest.mark.parametrize(("name", "shown"), [("mismatch", 2), ("noise", 1), ("delay", 1), ("threshold", 2), ("window", 1)])
def test_a_sweep_that_was_not_run_has_no_panel(name, shown, table, tmp_path):
    figure = plotting.imperfections(table[table["sweep"] == name])
    assert len(panels(figure)) == shown
    assert panels(figure)[0].get_title(loc="left") == "(a)"
    rendered(figure, tmp_path)


def test_events_that_were_not_run_have_no_panel(table):
    refused = table.assign(reason=table["reason"].where(table["sweep"] != "threshold", "no Brian2"))
    assert "events" not in [axes.get_title() for axes in panels(plotting.imperfections(refused))]


def test_the_legend_of_imperfections_names_the_step_sizes_that_ran_and_that_mismatch_has_a_bound(table):
    refused = table.assign(reason=table["reason"].where(table["alpha"] != 0.2, "too fast"))
    assert r"$\alpha$ = 0.2" in words(plotting.imperfections(table))
    named = words(plotting.imperfections(refused))
    assert {r"$\alpha$ = 1", "predicted (with mismatch: at most)"} <= set(named)
    assert r"$\alpha$ = 0.2" not in named


def test_a_table_that_was_written_and_read_has_all_its_panels(table):
    read = table.assign(reason=table["reason"].replace("", np.nan))
    assert len(panels(plotting.imperfections(read))) == len(panels(plotting.imperfections(table)))


def test_the_legend_of_costs_names_the_step_sizes_that_are_drawn(table):
    named = words(plotting.settling_costs(table))
    assert {r"$\alpha$ = 1", r"$\alpha$ = 0.5"} <= set(named)
    assert not {r"$\alpha$ = 1.5", r"$\alpha$ = 0.2"} & set(named)


def test_the_law_is_drawn_if_any_backend_has_it(comparison):
    lawless = comparison.curves.assign(predicted=comparison.curves["predicted"].where(comparison.curves["backend"] != "one"))
    for curves in (comparison.curves, lawless):
        law = lines(plotting.approach(curves, comparison.depth).axes[1], "--")
        assert all(np.isfinite(line.get_ydata()).all() for line in law)


def test_a_step_size_has_one_colour_in_all_figures(comparison, table):
    one, other = figures._colors(comparison.curves["alpha"]), figures._colors(table["alpha"])
    assert all(np.array_equal(one[alpha], other[alpha]) for alpha in one)
    assert list(one) == sorted(one, reverse=True)
    assert len({str(color) for color in one.values()}) == len(one)
