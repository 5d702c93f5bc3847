"""`NengoLoihi`: the spiking circuit in the emulator of NengoLoihi."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from dyadic_neuro.backends.base import version_of
from dyadic_neuro.backends.nengo import nef
from dyadic_neuro.backends.nengo.calibration import check_batch
from dyadic_neuro.backends.nengo.model import INSTALL
from dyadic_neuro.backends.nengo.spiking import Fired, SpikingSession, unsupported
from dyadic_neuro.backends.nengo.stage import Clock, Stage, arrays
from dyadic_neuro.errors import CapacityError, DyadicError, OptionError, SimulatorError
from dyadic_neuro.network import Network

NAME = "nengo-loihi-emulator"
NEURON_TYPES = ("LIF", "SpikingRectifiedLinear", "LoihiLIF", "LoihiSpikingRectifiedLinear")
_DT_S = 0.001  # the step for which NengoLoihi discretises
_DECODING_S = 0.005  # NengoLoihi's relays between ensembles filter too, with a time constant of its own
_RATES_HZ = (100.0, 120.0)  # spikes come at whole steps of 1 ms: above that, rates are too coarse to decode well
_LAST_INTERCEPT = 0.9  # gains grow without limit towards 1, integers do not
_DAMPING = 0.1
_CORES = 128  # of a Loihi 1 (Davies et al. 2018, IEEE Micro 38, 82)
_KNOWN_WARNINGS = (
    # of nengo-loihi 1.1.0, which knows Nengo up to 3.2; what is used here was compared with Nengo's own simulator
    (UserWarning, "This version of `nengo_loihi` has not been tested"),
    # neurons of Nengo start from a random voltage, those of the chip from 0
    (UserWarning, "NengoLoihi does not support initial values"),
    # rounding of small weights to 8 bits, which `cosine` allows for
    (UserWarning, "Lost .* extra bits in weight rounding"),
)


@dataclass(frozen=True)
class NengoLoihi:
    """The spiking circuit in NengoLoihi's emulator of the Loihi chip, on the CPU: no Loihi is involved.

    Neurons, their synapses and the relays that decode run on emulated cores in the chip's integers; the input, the loss, the
    biases and the synapses that read gradients are Nengo nodes, which the host runs. `trace.runs_on` counts the cores.

    - `neurons_per_dimension`, `seed`, `average` (s) and `calibration` are those of `backends.Nengo("spiking")`; `neuron_type` is
      "LIF" (the chip's discretised one), "SpikingRectifiedLinear", NengoLoihi's own "LoihiLIF" or "LoihiSpikingRectifiedLinear".
    - `tau` is the time constant of every hop in seconds; a step is 1 ms. The longer it is, the larger weights have to be.
    - `chips` of 128 cores each are emulated (32, the largest board of Loihi 1): `trace.runs_on` tells how many it takes.
    - `prune` sets weights below that part of their projection's largest to 0, which the chip's exponents cannot hold.

    Each sample starts where the one before ended, the first at rest; another initial state is an OptionError. What the emulated
    chip cannot hold is a CapacityError that names the populations. Weights do not learn. Measured: 4-6-2 tanh networks
    have a cosine of 0.998 and more, and take 3 s, on one chip; 8-16-16-4 with 50 neurons and prune=0.03 has 0.989, and takes
    half a minute, on 14.

    Raises OptionError and UnknownNameError.
    """

    neurons_per_dimension: int = 100
    neuron_type: Any = "LIF"
    seed: int = 0
    tau: float = 0.01
    average: float = 0.2
    calibration: Any = None
    prune: float = 0.0
    chips: int = 32

    name = NAME
    tolerance = 0.1
    cosine = 0.97
    unsupported = unsupported("values are held in the chip's integers and decoded from spikes at whole milliseconds") | {
        "not-before-2D": "the case sets an initial state, and an emulated chip starts at rest"
    }

    def __post_init__(self) -> None:
        nef.check_neurons(self.neurons_per_dimension)
        nef.check_seed(self.seed)
        self.clock  # noqa: B018  (raises)
        if isinstance(self.prune, bool) or not isinstance(self.prune, (int, float)) or not 0 <= self.prune < 1:
            raise OptionError("prune", f"{self.prune!r} is not in [0, 1)", "use for example 0.03")
        if isinstance(self.chips, bool) or not isinstance(self.chips, (int, np.integer)) or self.chips < 1:
            raise OptionError("chips", f"{self.chips!r} is no number of at least 1", "use for example 32")
        nef.check_neuron_type(self.neuron_type, NEURON_TYPES)
        if not isinstance(self.neuron_type, str) and type(self.neuron_type).__name__ not in NEURON_TYPES:
            problem = f"{self.neuron_type!r} is not a neuron of the chip"
            raise OptionError("neuron_type", problem, f"use one of {list(NEURON_TYPES)}")

    @property
    def clock(self) -> Clock:
        """The times of the circuit. Raises OptionError."""
        return Clock(self.tau, _DT_S, self.average)

    @property
    def alpha(self) -> float:
        """1 - exp(-dt / tau)."""
        return self.clock.alpha

    @property
    def dt_over_tau(self) -> float:
        """The time of a step, in units of tau."""
        return self.clock.dt_over_tau

    @property
    def runs_on(self) -> str:
        """What really runs."""
        versions = (version_of("nengo-loihi"), version_of("nengo"))
        return "NengoLoihi {}'s emulator with Nengo {}, on the CPU; no Loihi".format(*versions)

    def missing(self) -> str | None:
        """Return what must be installed: NengoLoihi, and Nengo below it."""
        return None if find_spec("nengo") and find_spec("nengo_loihi") else INSTALL

    def settling_steps(self, network: Network, alpha: float, tolerance: float, *, switched: bool) -> int:  # noqa: ARG002
        """Return the steps of `Clock.settling_steps`, for hops that relays make longer. Raises CycleError."""
        slow = replace(self.clock, tau=self.tau + _DECODING_S)
        return slow.settling_steps(network, slow.alpha, tolerance, switched=switched)

    def open(self, network: Network) -> SpikingSession:
        """Return a session. Raises OptionError and DataError for a calibration that does not fit the network."""
        count = int(self.neurons_per_dimension)
        tuning = nef.Tuning(count, self._neurons(), _LAST_INTERCEPT, _RATES_HZ, _DAMPING, float(self.prune))
        batch = None if self.calibration is None else check_batch(network, self.calibration)
        emulator = partial(Emulator, chips=self.chips)
        return SpikingSession(network, NAME, self.runs_on, tuning, self.clock, int(self.seed), batch, emulator, resets=False)

    def _neurons(self) -> Any:  # noqa: ANN401
        if not str(self.neuron_type).startswith("Loihi"):
            return self.neuron_type
        with _quiet():
            import nengo_loihi
        return getattr(nengo_loihi, self.neuron_type)()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warnings that are known, and numpy's of the NaN that the emulator fills integers with before it sets them."""
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        for category, message in _KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message, category)
        yield


class Emulator:
    """NengoLoihi's emulator of so many chips, holding a stage. Raises CapacityError, OptionError and SimulatorError."""

    spiking = True

    def __init__(self, stage: Stage, clock: Clock, *, chips: int) -> None:
        import nengo

        with stage.model:
            self._probes = {key: [nengo.Probe(e.neurons) for e in ensembles] for key, ensembles in arrays(stage.circuit)}
        with _quiet():
            import nengo_loihi

            try:
                _check_cores(_placed(stage.model), chips)
                self._simulator = nengo_loihi.Simulator(stage.model, dt=clock.dt, seed=stage.model.seed, target="sim")
            except (nengo.exceptions.NengoException, NotImplementedError, AssertionError) as error:
                raise _refusal(error) from error
        blocks = self._simulator.model.blocks
        try:
            _check_cores([str(block.label) for block in blocks], chips)  # some ensembles take several
        except CapacityError:
            self.close()
            raise
        neurons, taken = sum(ensemble.n_neurons for ensemble in stage.model.all_ensembles), -(-len(blocks) // _CORES)
        relays = sum(block.n_neurons for block in blocks) - neurons
        self.note = (
            f"; {len(blocks)} emulated cores (of {taken} chip{'s' if taken > 1 else ''} with {_CORES} each) hold {neurons} "
            f"neurons and {relays} relays, the host runs input, biases, loss and the reading of gradients"
        )
        self.elapsed = 0

    def restart(self) -> None:
        """Do nothing: the emulator goes on from where it is."""

    def run(self, steps: int, *, keep: bool) -> Fired:
        """Run the steps, as `Machine` has it. Raises SimulatorError."""
        import nengo

        try:
            with _quiet():
                self._simulator.run_steps(steps + 1)
        except (nengo.exceptions.NengoException, ArithmeticError) as error:
            fix = "use a calibration with larger values, or fewer neurons_per_dimension"
            raise SimulatorError(NAME, f"the emulated chip failed ({error})", fix) from error
        self.elapsed += steps + 1
        fired = {}
        for key, probes in self._probes.items():
            spikes = np.concatenate([self._simulator.data[probe][-steps - 1 : -1] for probe in probes], axis=1) != 0
            fired[key] = (spikes.sum(axis=1), np.nonzero(spikes)[1].astype(np.int32) if keep else None)
        self._simulator.clear_probes()
        return fired

    def close(self) -> None:
        """Give the simulator back."""
        self._simulator.close()


def _placed(model: Any) -> list[str]:  # noqa: ANN401
    """Return what takes a core: every ensemble, and a relay for each connection that is left of it when nodes are taken out."""
    from nengo_loihi.splitter import Split

    passthrough = Split(model).passthrough
    ensembles = {ensemble: str(ensemble) for ensemble in model.all_ensembles}
    connections = (*(c for c in model.all_connections if c not in passthrough.to_remove), *passthrough.to_add)
    return [*ensembles.values(), *(str(c) for c in connections if c.pre_obj in ensembles)]


def _check_cores(labels: Sequence[str], chips: int) -> None:
    """Raise CapacityError if a core for each of these, by what NengoLoihi calls them, is more than the chips have."""
    if len(labels) > chips * _CORES:
        (most, count), *_ = Counter(name for label in labels for name in _populations(label)[:1]).most_common()
        held = f"the {chips * _CORES} of {chips} chips"
        problem = f"and its relays take {count} of the {len(labels)} emulated cores that the network needs, more than {held}"
        fix = f"make it smaller, or use chips={-(-len(labels) // _CORES)}"
        raise CapacityError(most, problem, fix)


def _populations(text: str) -> list[str]:
    """Return the populations whose ensembles NengoLoihi names in a text, in order."""
    return list(dict.fromkeys(re.findall(r"<Ensemble '([^']+)\.[^'.]*'", text)))


def _refusal(error: Exception) -> DyadicError:
    """Return what NengoLoihi's refusal means to a user: which populations, which limit, which fix."""
    text = str(error) or "a check of the chip's formats failed"
    where = " -> ".join(_populations(text)) or "network"
    if "weight exponent" in text:
        problem = "has weights too small for the chip's exponents at this tau (8 bits times 2^-7 of the threshold at the least)"
        return CapacityError(
            where, f"{problem}: {text}", "use a shorter tau (tau=0.005), prune=0.03, or fewer neurons_per_dimension"
        )
    if "exceeded max" in text:
        fix = "use fewer neurons_per_dimension, or smaller populations"
        return CapacityError(where, f"is over a limit of an emulated core: {text}", fix)
    if "neuron type" in text.lower() or isinstance(error, NotImplementedError):
        return OptionError("neuron_type", f"{where} cannot run on the chip: {text}", f"use one of {list(NEURON_TYPES)}")
    return CapacityError(
        where, f"does not fit the emulated chip: {text}", "use fewer neurons_per_dimension, or a smaller network"
    )
