"""The study in words: what is said is in the tables, and nothing is said of what was not measured."""

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro import errors
from dyadic_neuro.studies import tables, timestep
from dyadic_neuro.studies.timestep import sweeps
from dyadic_neuro.studies.timestep.points import Point
from dyadic_neuro.studies.timestep.words import answers

pytest.importorskip("pandas", reason="the extra `study` is not installed")


@pytest.fixture(scope="module")
def table():
    return sweeps.run([Point(sweep="alpha", depth=d, width=3, alpha=a, seed=1) for d in (1, 2) for a in (1.0, 0.5, 1.5)])


class TestAnswers:
    def test_say_nothing_without_a_table(self):
        assert answers() == []

    def test_speak_of_what_was_measured_only(self, table):
        said = " ".join(answers(table))
        assert "Unit steps took the fewest steps" in said
        assert "At alpha = 0.5 a circuit must settle" in said
        for absent in ("mismatch", "Noise", "delays", "Learning on the digits"):
            assert absent not in said

    def test_are_those_of_a_table_that_was_written_and_read(self, table, tmp_path):
        import pandas as pd

        path = tmp_path / "sweeps.csv"
        tables.write(tmp_path, {path.name: table})
        assert answers(pd.read_csv(path)) == answers(table)

    def test_take_nothing_else(self, table, refuses):
        for wrong in (3, "sweeps.csv", {}, table[["depth", "steps"]]):
            with refuses(errors.OptionError, "table"):
                answers(wrong)
        with refuses(errors.OptionError, "comparison"):
            answers(table, table)

    def test_hold_the_numbers_of_the_table(self):
        points = [Point(depth=2, width=4, spread=v) for v in (0.0, 0.05)] + [Point(depth=2, width=4, delay=1.0)]
        points += [Point(depth=2, width=4, noise=1e-3), Point(depth=4, spread=0.5)]
        found = sweeps.run(points)
        heading, mismatch, refused, noise, delays = answers(found)
        assert heading.startswith("What follows is of the sweeps")
        row = found[(found["spread"] == 0.05) & (found["tolerance"] == 1e-4)].iloc[0]
        assert f"error of {row['error_at_2d']:.2g} after 2D steps and {row['time'] - 4:+.3g} tau" in mismatch
        assert refused.startswith("Not run (a mismatch of 50 %")
        assert f"{found[found['noise'] > 0]['final_error'].iloc[0]:.2g} with 0.001" in noise
        assert "3 of 3 cases settled in exactly the predicted number of steps" in delays

    def test_tell_what_events_save(self):
        pytest.importorskip("brian2", reason="the extra `brian2` is not installed")
        found = sweeps.run([Point(depth=2, width=4, alpha=0.5, threshold=0.01, backend="brian2-numpy")])
        _, said = answers(found)
        row = found.iloc[0]
        assert f"{row['final_error']:.2g} with {100 * row['share']:.3g} % (0.01)" in said

    def test_call_only_small_steps_close_to_continuous_time(self):
        (said,) = [line for line in answers(sweeps.run([Point(depth=1, width=2, alpha=0.1)])) if "to 0.01" in line]
        assert said.startswith("At alpha = 0.1, close to continuous time,")

    def test_tell_when_weights_may_learn(self):
        pytest.importorskip("sklearn", reason="the extra `data` is not installed")
        found = sweeps.run([Point("training", width=4, depth=2, epochs=1, window=w) for w in (1, 4, 5)])
        _, said = answers(found)
        early, due, late = (100 * value for value in found["accuracy"])
        assert f"too early {early:.1f} % (1); at 2D = 4 {due:.1f} % (4); later {late:.1f} % (5)" in said

    def test_tell_of_overshooting_and_of_comparisons(self):
        (lost,) = [line for line in answers(sweeps.run([Point(depth=16, width=4, alpha=1.5)])) if "alpha = 1.5" in line]
        assert "does not settle" in lost

        class Slow(dn.backends.Reference):
            alpha = 0.5

        network = dn.Network.dense([2, 3, 1])
        data = (np.array([[1.0, -0.5]]), np.array([[0.4]]))
        compared, skipped = answers(
            comparison=timestep.compare(network, data, alphas=(1.0, 0.5), backends={"reference": "reference", "slow": Slow()})
        )
        assert "in 4 steps, 32 neuron updates and 24 messages a sample. The other step size, alpha = 0.5, takes" in compared
        assert compared.count("alpha = 0.5") == 1
        assert skipped.startswith("slow did not run alpha = 1:")

    def test_tell_of_three_step_sizes_and_of_overshooting_in_a_comparison(self, table):
        network = dn.Network.dense([2, *[4] * 11, 1], seed=0)
        data = (np.array([[1.0, -0.5]]), np.array([[0.4]]))
        found = timestep.compare(network, data, alphas=(1.0, 0.8, 0.5, 1.5))
        compared, lost = answers(found)
        assert "The best other step size, alpha = 0.8" in compared
        assert "; alpha = 0.5 takes" in compared
        assert lost.startswith("On reference, alpha = 1.5 does not settle to 1e-08: its transient enlarges rounding to")
        assert answers(found, table) == answers(table, found) == [compared, lost, *answers(table)]
