"""The subject of the study: its options, and a backend's traces, which are looked at before they are believed."""

from dataclasses import replace

import numpy as np
import pytest

import dyadic_neuro as dn
from dyadic_neuro.backends.reference import Reference
from dyadic_neuro.errors import OptionError
from dyadic_neuro.studies.locality import Subject

NETWORK = dn.Network.dense([5, 4, 3], seed=0)


class Meddling(Reference):
    """Hands out traces that something was done to."""

    name = "meddling"

    def __init__(self, meddle):
        super().__init__()
        self.meddle = meddle

    def open(self, network):
        session = super().open(network)
        relax = session.relax
        session.relax = lambda order: self.meddle(relax(order))
        return session


def with_last(arrays, name, value):
    changed = np.array(arrays[name])
    changed[-1] = value
    return {**arrays, name: changed}


@pytest.mark.parametrize(
    ("meddle", "problem"),
    [
        (lambda _: None, "returned NoneType, no Trace"),
        (lambda t: replace(t, steps=3), "another run, of 3 steps with 2 samples"),
        (lambda t: replace(t, inputs=t.inputs + 1), "another run, of 4 steps with 2 samples"),
        (lambda t: replace(t, potentials={k: v[1:] for k, v in t.potentials.items()}), "4 of 5 states of 'hidden1'"),
        (lambda t: replace(t, potentials={"output": t.potentials["output"]}), "recorded potentials of ['output'], and not"),
        (
            lambda t: replace(t, sensitivities={**t.sensitivities, "x": np.zeros(1)}),
            "sensitivities of ['hidden1', 'output', 'x']",
        ),
        (
            lambda t: replace(t, potentials={k: v[..., :1] for k, v in t.potentials.items()}),
            "of shape (5, 2, 1), and not (5, 2, 4)",
        ),
        (lambda t: replace(t, gradients={}), "recorded gradients of [], and not"),
        (lambda t: replace(t, gradients={k: v.T for k, v in t.gradients.items()}), "of shape (5, 4), and not (4, 5)"),
        (
            lambda t: replace(t, potentials=with_last(t.potentials, "output", np.nan)),
            "the potential of 'output' is not finite at step 4",
        ),
        (
            lambda t: replace(t, gradients=with_last(t.gradients, "output.bias", np.inf)),
            "the gradient of 'output.bias' is not finite",
        ),
    ],
)
def test_a_trace_that_is_not_of_the_run_is_refused(meddle, problem):
    subject = Subject.of(NETWORK, samples=2, backend=Meddling(meddle))
    with pytest.raises(OptionError) as error:
        subject.relax(4)
    assert error.value.field == "backend"
    assert "meddling" in error.value.problem
    assert problem in error.value.problem


def test_a_network_that_overflows_is_told_from_a_backend_that_does():
    chain = dn.Network.dense([3, 3, 3, 3], "identity", "squared_error", seed=0)
    huge = chain.with_parameters({key: 1e150 * values for key, values in chain.parameters.items()})
    for backend in ("reference", "chip"):
        subject = Subject.of(huge, backend=backend)
        for record in ("all", "last"):
            with pytest.raises(OptionError, match=r"overflows: .* is not finite at step [0-9]") as error:
                subject.relax(6, initial=subject.state(1), record=record)
            assert error.value.field == "network"


@pytest.mark.parametrize(
    "options", [{"seed": -1}, {"seed": 1.5}, {"seed": True}, {"samples": 0}, {"samples": 2.0}, {"samples": "2"}]
)
def test_seeds_and_samples_are_integers(options):
    (field,) = options
    with pytest.raises(OptionError, match="is not an integer of at least") as error:
        Subject.of(NETWORK, **options)
    assert error.value.field == field


def test_seeds_and_samples_of_numpy_will_do():
    subject = Subject.of(NETWORK, seed=np.int64(3), samples=np.uint8(2))
    np.testing.assert_array_equal(subject.inputs, Subject.of(NETWORK, seed=3, samples=2).inputs)
    assert type(subject.seed) is int
