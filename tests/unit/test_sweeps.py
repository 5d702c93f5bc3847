"""Sweeps: what a point measures, executors, and journals that survive interrupts."""

import json
import math
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from multiprocessing import get_context
from threading import Event

import numpy as np
import pytest

from dyadic_neuro import errors
from dyadic_neuro.studies import parallel, tables
from dyadic_neuro.studies.journal import Journal, key_of
from dyadic_neuro.studies.timestep import sweeps
from dyadic_neuro.studies.timestep.points import COLUMNS, Point, measure
from dyadic_neuro.studies.timestep.words import answers

pytest.importorskip("pandas", reason="the extra `study` is not installed")
POINTS = [Point(sweep="alpha", depth=d, width=3, alpha=a, seed=1) for d in (1, 2) for a in (1.0, 0.5, 1.5)]


def same(a, b):
    """Whether two tables are equal bit for bit, but for the time they took."""
    return a.drop(columns="seconds").equals(b.drop(columns="seconds"))


@pytest.fixture(scope="module")
def table():
    return sweeps.run(POINTS)


class TestPoint:
    def test_has_a_row_for_each_tolerance(self):
        rows = measure(Point(depth=2, width=3, tolerances=(1e-8, 1e-2)))
        assert [set(row) for row in rows] == [set(COLUMNS)] * 2
        assert [row["tolerance"] for row in rows] == [1e-2, 1e-8]
        for row in rows:
            assert (row["steps"], row["predicted_steps"], row["mixture_steps"]) == (4, 4, 4)
            assert row["time"] == 4.0
            assert row["error_at_2d"] < 1e-12
            assert row["updates"] == 2 * 2 * 3 * 4
            assert row["messages"] == 3 * 3 * 4  # rates from two populations, sensitivities from one
        json.dumps(rows, allow_nan=False)

    def test_with_mismatch_is_not_exact_at_2d_but_in_the_end(self):
        row = measure(Point(depth=3, width=4, spread=0.05))[-1]
        assert 1e-4 < row["error_at_2d"] < 1
        assert row["final_error"] < 1e-8
        assert 6 < row["steps"] <= row["predicted_steps"]
        assert row["mixture_steps"] is None

    def test_with_noise_has_a_floor_in_proportion(self):
        low, high = (measure(Point(depth=2, width=4, alpha=0.5, noise=noise))[-1] for noise in (1e-4, 1e-3))
        assert low["steps"] is None
        assert high["final_error"] / low["final_error"] == pytest.approx(10, rel=0.05)

    @pytest.mark.parametrize(("delay", "steps"), [(1.0, 8 + 2 * 3), (2.0, 8 + 2 * 2 * 3)])
    def test_with_delays_is_exact_in_the_predicted_steps(self, delay, steps):
        for row in measure(Point(depth=4, width=3, delay=delay)):
            assert row["steps"] == row["predicted_steps"] == steps

    def test_that_cannot_run_says_why(self):
        (row,) = measure(Point(depth=4, spread=0.5))
        assert "time constant" in row["reason"]
        assert row["steps"] is row["accuracy"] is None

    def test_of_training_depends_on_its_window(self):
        pytest.importorskip("sklearn", reason="the extra `data` is not installed")
        settings = {"what": "training", "depth": 2, "width": 8, "epochs": 1}
        ((early,), (due,), (late,), (usual,)) = (measure(Point(window=w, **settings)) for w in (1, 4, 6, None))
        assert early["accuracy"] < 0.5 < due["accuracy"] == late["accuracy"] == usual["accuracy"]
        assert due["messages"] == 4 * (64 + 8 + 10) * 1420 / 1437  # the last partial batch is dropped
        assert due["tolerance"] is None

    def test_of_training_in_small_steps_takes_longer_windows(self):
        pytest.importorskip("sklearn", reason="the extra `data` is not installed")
        settings = {"what": "training", "depth": 2, "width": 8, "epochs": 1}
        unit, early, late = (measure(Point(alpha=a, window=w, **settings))[0] for a, w in ((1.0, 4), (0.5, 4), (0.5, 40)))
        assert early["time"] == 2.0
        assert early["loss"] > 1.2 * unit["loss"]
        assert late["loss"] == pytest.approx(unit["loss"], rel=1e-4)
        (refused,) = measure(Point(alpha=0.5, backend="chip", **settings))
        assert "'chip' has no time constants" in refused["reason"]

    def test_of_other_simulators_has_their_circuits(self):
        pytest.importorskip("brian2", reason="the extra `brian2` is not installed")
        for settings in ({"spread": 0.1, "alpha": 0.7}, {"delay": 2.0}):
            one, other = (measure(Point(depth=2, width=3, backend=name, **settings)) for name in ("reference", "brian2-numpy"))
            assert [row["reason"] for row in other] == [""] * 3
            assert [row["steps"] for row in other] == [row["steps"] for row in one]
            assert [row["messages"] for row in other] == [row["messages"] for row in one]

    def test_of_training_on_other_simulators_takes_their_steps(self):
        pytest.importorskip("brian2", reason="the extra `brian2` is not installed")
        pytest.importorskip("sklearn", reason="the extra `data` is not installed")
        settings = {"what": "training", "depth": 1, "width": 4, "epochs": 1, "alpha": 0.5, "window": 12}
        (one,), (other,) = (measure(Point(backend=name, **settings)) for name in ("reference", "brian2-numpy"))
        assert other["accuracy"] == pytest.approx(one["accuracy"], abs=0.03)

    def test_with_a_threshold_counts_events(self):
        pytest.importorskip("brian2", reason="the extra `brian2` is not installed")
        settings = {"depth": 2, "width": 4, "alpha": 0.5, "backend": "brian2-numpy", "tolerances": (1e-2, 1e-6)}
        (all_changes,), (few,) = (measure(Point(threshold=threshold, **settings)) for threshold in (0.0, 0.01))
        assert all_changes["final_error"] < 1e-6
        assert 1e-6 < few["final_error"] < 0.3
        assert 0 < few["share"] < all_changes["share"] < 1
        assert few["messages"] < all_changes["messages"]
        assert few["tolerance"] is few["steps"] is None

    def test_whose_simulator_is_not_installed_says_so(self, monkeypatch):
        monkeypatch.setattr("dyadic_neuro.backends.brian2.backend.find_spec", lambda _: None)
        found = sweeps.run(sweeps.threshold_sweep(thresholds=(0.0,), alphas=(1.0,)))
        assert found["reason"].str.contains("dyadic-neuro[brian2]", regex=False).all()
        _, said = answers(found)
        assert said.startswith("Not run (2 event-driven circuits): backend: 'brian2-numpy' cannot run")
        with pytest.raises(errors.MissingExtraError):
            sweeps.run([Point(backend="brian2-numpy")])

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("threshold", -1.0),
            ("threshold", math.nan),
            ("threshold", 0.1),
            ("what", "sleeping"),
            ("depth", 0),
            ("width", 1.5),
            ("batch", True),
            ("alpha", 2.0),
            ("alpha", math.nan),
            ("spread", -0.1),
            ("noise", math.inf),
            ("delay", "1"),
            ("window", 4),
            ("epochs", 0),
            ("seed", -1),
            ("backend", None),
            ("tolerances", ()),
            ("tolerances", (2.0,)),
        ],
    )
    def test_refuses_nonsense(self, field, value, refuses):
        with refuses(errors.OptionError, field):
            Point(**{field: value})

    def test_takes_numbers_and_arrays_of_numpy(self):
        point = Point(depth=np.int64(2), seed=np.uint8(3), alpha=np.float64(0.5), tolerances=np.array([1e-4, 1e-2]))
        assert point == Point(depth=2, seed=3, alpha=0.5, tolerances=(1e-2, 1e-4))
        assert key_of(asdict(point)) == key_of(asdict(Point(depth=2, seed=3, alpha=0.5, tolerances=(1e-2, 1e-4))))
        assert Point(what="training", window=np.int32(4)).window == 4
        json.dumps(asdict(point))


class TestSweeps:
    def test_are_points_of_their_name(self):
        for name, sweep in sweeps.SWEEPS.items():
            points = sweep()
            assert points
            assert {point.sweep for point in points} == {name}
            assert len(set(points)) == len(points)
        assert {point.depth for point in sweeps.depth_sweep()} == {1, 2, 4, 8, 16, 32}
        assert {0.01, 0.05, 0.1} <= {point.spread for point in sweeps.mismatch_sweep()}

    def test_give_a_tidy_table_in_order(self, table):
        assert list(table.columns) == list(COLUMNS)
        assert {name: str(dtype) for name, dtype in table.dtypes.items()} == dict(COLUMNS)
        assert list(table["alpha"]) == [point.alpha for point in POINTS for _ in range(3)]
        assert (table["reason"] == "").all()

    def test_do_not_depend_on_the_executor(self, table):
        with ThreadPoolExecutor(2) as threads:
            assert same(sweeps.run(POINTS, executor=threads), table)
        with ProcessPoolExecutor(2, get_context("spawn")) as processes:
            assert same(sweeps.run(POINTS, executor=processes), table)

    def test_count_a_point_once(self, table):
        assert same(sweeps.run([*POINTS, *POINTS]), table)

    def test_refuse_nonsense_before_they_work(self, refuses, monkeypatch, tmp_path):
        monkeypatch.setattr(sweeps, "measure", None)
        for points in ([], ["depth"], 3):
            with refuses(errors.OptionError, "points"):
                sweeps.run(points)
        with refuses(errors.OptionError, "executor"):
            sweeps.run(POINTS, executor="processes", journal=tmp_path / "journal")
        assert not (tmp_path / "journal").exists()
        with refuses(errors.UnknownNameError, "backend"):
            sweeps.run([Point(backend="nothing")])
        with refuses(errors.FileError, str(tmp_path / "no" / "journal")):
            sweeps.run(POINTS, journal=tmp_path / "no" / "journal")
        monkeypatch.setattr(tables, "find_spec", lambda _: None)
        with refuses(errors.MissingExtraError, "pandas"):
            sweeps.run(POINTS)

    def test_show_how_far_they_are(self, capsys):
        sweeps.run(POINTS[:2], progress=True)
        shown = capsys.readouterr()
        assert "sweeping" in shown.err
        assert "2/2" in shown.err
        assert not shown.out

    def test_say_that_a_worker_died(self, monkeypatch):
        class Broken(ThreadPoolExecutor):
            def submit(self, *_):
                raise BrokenProcessPool("gone")

        with pytest.raises(errors.SimulatorError, match="gone"), Broken() as executor:
            sweeps.run(POINTS, executor=executor)

    def test_leave_out_what_has_not_begun_when_one_fails(self):
        begun, ended = [], Event()

        def fail(task):
            begun.append(task)
            if task == 0:
                raise KeyboardInterrupt
            ended.wait(60)  # so that the worker cannot be through with all of them before the first one's failure is heard of

        with ThreadPoolExecutor(1) as executor:
            with pytest.raises(KeyboardInterrupt):
                list(parallel.outcomes(fail, range(500), executor))
            ended.set()
        assert begun in ([0], [0, 1])


class TestJournal:
    @pytest.fixture
    def interrupted(self, tmp_path, monkeypatch):
        """A journal of a run that was interrupted in its fourth point."""
        path, done = tmp_path / "journal", []

        def count(point):
            if len(done) == 3:
                raise KeyboardInterrupt
            done.append(point)
            return measure(point)

        monkeypatch.setattr(sweeps, "measure", count)
        with pytest.raises(KeyboardInterrupt):
            sweeps.run(POINTS, journal=path)
        monkeypatch.setattr(sweeps, "measure", measure)
        return path

    @pytest.fixture
    def counted(self, monkeypatch):
        """The points that are measured from here on."""
        begun = []
        monkeypatch.setattr(sweeps, "measure", lambda point: begun.append(point) or measure(point))
        return begun

    def test_lets_an_interrupted_run_go_on(self, interrupted, counted, table):
        assert len(interrupted.read_bytes().splitlines()) == 1 + 3
        assert same(sweeps.run(POINTS, journal=interrupted), table)
        assert counted == POINTS[3:]
        again = sweeps.run(POINTS, journal=interrupted)
        assert again.equals(sweeps.run(POINTS, journal=interrupted))  # all is read: the seconds too
        assert len(counted) == 3

    def test_grows_with_the_sweep(self, interrupted, counted):
        more = [Point(depth=1, width=2), *POINTS]
        assert len(sweeps.run(more, journal=interrupted)) == 3 * 7
        assert len(counted) == 4

    @pytest.mark.parametrize("kept", [0.3, 0.99])
    def test_writes_over_a_line_that_was_cut_off(self, interrupted, counted, table, kept):
        whole = interrupted.read_bytes()
        last = whole.rstrip(b"\n").rfind(b"\n") + 1
        interrupted.write_bytes(whole[: last + int(kept * (len(whole) - last))])
        assert same(sweeps.run(POINTS, journal=interrupted), table)
        assert counted == POINTS[2:]
        assert len(interrupted.read_bytes().splitlines()) == 1 + 6

    @pytest.mark.parametrize("start", [b"", b'{"format": "dyad'])
    def test_may_be_empty_or_cut_off_in_its_first_line(self, tmp_path, start, table):
        (tmp_path / "journal").write_bytes(start)
        assert same(sweeps.run(POINTS, journal=tmp_path / "journal"), table)

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            (b"dear diary", errors.FileError),
            (b"dear diary\n", errors.FileError),
            (b"\x00\xff\xfe\n\n", errors.FileError),
            (b"[]\n", errors.FileError),
            (b'{"format": "dyadic_neuro journal", "version": 0}\n', errors.CheckpointError),
        ],
    )
    def test_leaves_foreign_files_as_they_are(self, tmp_path, text, error, monkeypatch):
        path = tmp_path / "journal"
        path.write_bytes(text)
        monkeypatch.setattr(sweeps, "measure", None)
        with pytest.raises(error) as caught:
            sweeps.run(POINTS, journal=path)
        assert type(caught.value) is error
        assert caught.value.field == str(path)
        assert path.read_bytes() == text

    def test_leaves_damaged_ones_and_those_of_other_points(self, interrupted, refuses):
        whole = interrupted.read_bytes()
        with refuses(errors.CheckpointError, str(interrupted), "another run"):
            sweeps.run(POINTS[:1], journal=interrupted)
        lines = whole.splitlines(keepends=True)
        for wrong in (b"x\n", b"{}\n", b'{"key": 3, "outcome": []}\n'):
            interrupted.write_bytes(lines[0] + wrong + lines[1])
            with refuses(errors.FileError, str(interrupted), "line 2"):
                sweeps.run(POINTS, journal=interrupted)
            assert interrupted.read_bytes() == lines[0] + wrong + lines[1]

    def test_begins_anew_when_told(self, interrupted, counted):
        sweeps.run(POINTS[:2], journal=interrupted, overwrite=True)
        assert counted == POINTS[:2]
        assert len(interrupted.read_bytes().splitlines()) == 1 + 2

    def test_keeps_what_an_executor_finished(self, tmp_path, monkeypatch, table):
        def fail_late(point):
            if point == POINTS[4]:
                raise errors.SimulatorError("simulator", "fell over", "try again")
            return measure(point)

        monkeypatch.setattr(sweeps, "measure", fail_late)
        with ThreadPoolExecutor(1) as executor, pytest.raises(errors.SimulatorError):
            sweeps.run(POINTS, journal=tmp_path / "journal", executor=executor)
        keys = {key_of(asdict(point)) for point in POINTS}
        with Journal(tmp_path / "journal", keys, version=2) as journal:
            assert 1 <= len(journal.done) <= 5
        monkeypatch.setattr(sweeps, "measure", measure)
        assert same(sweeps.run(POINTS, journal=tmp_path / "journal"), table)
