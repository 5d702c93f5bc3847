"""How a circuit comes back after faults: clean steps until every state is exact again, beside what the graph foretells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dyadic_neuro.arrays import Array
from dyadic_neuro.dynamics import State, feedback_copies
from dyadic_neuro.errors import OptionError, UnknownNameError
from dyadic_neuro.mappings.mapping import Mapping as Placed
from dyadic_neuro.network import Network
from dyadic_neuro.oracle import backprop, settled
from dyadic_neuro.relaxation import check_data, is_real, relax
from dyadic_neuro.studies.locality.asynchrony import Coins, Readiness
from dyadic_neuro.studies.locality.claim import Claim
from dyadic_neuro.studies.locality.faults import (
    CLEAN,
    KINDS,
    TRANSPORTS,
    Circuit,
    Faults,
    anything,
    check_count,
    cores_of,
    variables,
)
from dyadic_neuro.studies.locality.lock import apart
from dyadic_neuro.studies.locality.perturbation import POTENTIAL, SENSITIVITY, Variable
from dyadic_neuro.studies.locality.subject import Subject
from dyadic_neuro.studies.tables import frame, need_pandas
from dyadic_neuro.trace import Trace, relative_error

STARTS = ("random", "settled")
_LONG = 10  # times 2D: what is wrong then stays wrong
_MODERATE = 1 / 3  # exponent of the largest float, of values whose products a backend can still hold
_CLOSE = {8: 1e-9, 4: 1e-4}  # of the settled state to backpropagation's, by the bytes of a number
RECOVERY = {
    "case": "int64",
    "kind": "object",
    "schedule": "object",
    "transport": "object",
    "last": "int64",
    "steps": "float64",
    "predicted": "int64",
    "bound": "int64",
    "control": "float64",
}
"""Columns of `recover`: `last` is the step of the last fault, 0 if there was none; the rest as its docstring says."""


def lifetimes(network: Network) -> dict[Variable, int]:
    """Return for how many steps something wrong in each variable goes on, by the longest walk from it in the doubled graph.

    Signals go from u_k to u_v along projections, from u_v to s_v, and from s_v to s_k backward. The longest walk from u_v
    climbs to the readout and comes all the way back, height(v) + D steps; that from s_v goes back, depth(v) - 1 steps. One
    step more and all is exact: 2D at most. Raises CycleError.
    """
    ahead = {(POTENTIAL, p.name): network.heights[p.name] + network.depth for p in network.dynamic}
    return ahead | {(SENSITIVITY, p.name): network.depths[p.name] - 1 for p in network.dynamic}


def recover(
    network: Network,
    inputs: ArrayLike,
    targets: ArrayLike,
    faults: Faults,
    *,
    cases: int = 200,
    schedule: str = "free",
    transport: str = "every step",
    clean: int | None = None,
    start: str = "random",
    mapping: Placed | None = None,
    seed: int = 0,
) -> Any:  # noqa: ANN401  (a pandas DataFrame)
    """Run cases with faults, then without, from a "random" or the "settled" state; return a table with a row for each case.

    `steps` are the clean steps after the case's last fault until every state is exact and stays so: bit for bit that of a
    clean relaxation of the same batch, which is within `control` (relative) of backpropagation's. NaN: wrong to the end of
    `clean` steps (None: a few more than it may take). `predicted` follows from the graph and from when faults reached what;
    `bound` from the graph and the time of the last fault: 2D, or under wavefront what is left of its window and a whole one.
    Both suppose transport "every step". Cases take the samples in turn; `mapping` says which neurons stall together.

    Raises DataError, OptionError, CycleError, MissingExtraError (pandas).
    """
    need_pandas()
    if not isinstance(faults, Faults):
        raise OptionError("faults", f"{type(faults).__name__} are none", "use Faults(potentials=0.1)")
    given = _Cases.of(network, inputs, targets, cases)
    window, life = network.relaxation_steps, lifetimes(network)
    clean = (2 if schedule == "wavefront" else 1) * window + 2 if clean is None else check_count("clean", clean, 1)
    if start not in STARTS:
        raise OptionError("start", f"{start!r} is no state", f"use one of {list(STARTS)}")
    initial, own = (given.start(seed), window) if start == "random" else (given.exact, 0)
    circuit = Circuit(network, given.inputs, given.targets, initial, schedule=schedule, transport=transport)
    plan = faults.strikes(network, cases, cores_of(network, mapping))
    last, wrong, due = np.zeros(cases, np.int64), np.where(circuit.differs(given.exact), 0, -1), np.full(cases, own)
    over = faults.steps + (faults.longest_delay if faults.delayed else 0)
    end = over + clean
    for t in range(1, end + 1):
        before = circuit.state
        for variable, rows in circuit.step(next(plan, CLEAN)).items():
            last[rows] = t
            due[rows] = np.maximum(due[rows], t + life[variable] + 1)
        wrong[differs := circuit.differs(given.exact)] = t
        if schedule == "free" and t > over and not circuit.differs(before).any():  # and never again will anything change
            wrong[differs] = end
            break
    bound = np.full(cases, window) if schedule == "free" else (window - last % window) % window + window
    found = {
        "case": np.arange(cases),
        "kind": "several" if len(faults.kinds) > 1 else (faults.kinds or (f"{start} state",))[0],
        "schedule": schedule,
        "transport": transport,
        "last": last,
        "steps": np.where(wrong == end, np.nan, np.maximum(wrong + 1 - last, 0)),
        "predicted": due - last if schedule == "free" else bound,
        "bound": bound,
        "control": given.distance,
    }
    return frame(RECOVERY, [found])


def summary(table: Any) -> Any:  # noqa: ANN401
    """Return a row for each kind of fault, schedule and transport of a table of `recover`.

    `min`, `median` and `max` are of `steps`, as far as they are known; `late` counts cases that were exact later than
    `predicted`, or not at all, and `lasting` the latter.
    """
    rows = table.assign(late=~(table["steps"] <= table["predicted"]), lasting=table["steps"].isna())
    groups = rows.groupby(["kind", "schedule", "transport"], sort=False)
    steps = groups["steps"].agg(["min", "median", "max"])
    counts = groups.agg(cases=("case", "size"), bound=("bound", "max"), late=("late", "sum"), lasting=("lasting", "sum"))
    return counts[["cases"]].join(steps).join(counts[["bound", "late", "lasting"]]).reset_index()


def lasting(
    network: Network,
    inputs: ArrayLike,
    targets: ArrayLike,
    *,
    kinds: Sequence[str] = ("lost", "delayed", "garbled", "duplicated"),
    rate: float = 0.1,
    cases: int = 200,
    seed: int = 0,
) -> Any:  # noqa: ANN401
    """Return the part of cases that faults leave wrong, by kind and transport, after 2D and after ten times 2D clean steps.

    Faults of a kind strike with probability `rate` in the first 2D steps from a random state: where only changes are sent,
    all messages of these steps are such. Raises as `recover`, and UnknownNameError (kinds).
    """
    window, parts = network.relaxation_steps, []
    for kind in kinds:
        if kind not in KINDS:
            raise UnknownNameError("kinds", f"no fault is called {kind!r}", f"use some of {list(KINDS)}")
        faults = Faults(steps=window, seed=seed, **dict[str, Any]({kind: rate}))
        for transport in TRANSPORTS:
            run = recover(network, inputs, targets, faults, cases=cases, transport=transport, clean=_LONG * window + 1, seed=seed)
            for clean in (window, _LONG * window):
                wrong = float((~(run["steps"] <= clean)).mean())
                parts.append({"kind": kind, "rate": rate, "transport": transport, "cases": cases, "clean": clean, "wrong": wrong})
    columns = {"kind": "object", "rate": "float64", "transport": "object", "cases": "int64", "clean": "int64", "wrong": "float64"}
    return frame(columns, parts)


def asynchronous(
    network: Network, inputs: ArrayLike, targets: ArrayLike, coins: Coins, *, cases: int = 200, seed: int = 0
) -> Any:  # noqa: ANN401
    """Run cases from random states, updates by coins, and return a table: for each case the steps until it is exact for good.

    `predicted` is what the case's coins alone foretell (`asynchrony.Readiness`): never less, and generically the same. NaN
    in `steps`: not exact when it should have been. Raises as `recover`.
    """
    need_pandas()
    given = _Cases.of(network, inputs, targets, cases)
    circuit, ready = Circuit(network, given.inputs, given.targets, given.start(seed)), Readiness(network, cases)
    wrong, unready = np.zeros(cases, np.int64), np.zeros(cases, np.int64)
    for awake in coins.flips(network, cases):
        circuit.step(awake=awake)
        ready.step(awake)
        wrong[circuit.differs(given.exact)] = circuit.steps
        unready[~ready.all] = circuit.steps
        if ready.all.all():
            break
    found = {
        "case": np.arange(cases),
        "per": coins.per,
        "probability": coins.probability,
        "steps": np.where(wrong == circuit.steps, np.nan, wrong + 1.0),
        "predicted": unready + 1,
    }
    columns = {"case": "int64", "per": "object", "probability": "float64", "steps": "float64", "predicted": "int64"}
    return frame(columns, [found])


def weights(network: Network, inputs: ArrayLike, targets: ArrayLike, *, amount: float = 0.1, seed: int = 0) -> Any:  # noqa: ANN401
    """Corrupt the weights of both copies alike, or of one, and return the gradient's error and cosine to backpropagation's.

    Every weight gets normal noise of `amount` times the rms of its projection. `steps` is 2D, or ten times as many;
    backpropagation is that of the network whose weights the forward copies have. Without hidden populations there are no W^T
    copies, and "both" is all there is; where nothing is plastic the table is empty. Of a gradient that is 0 there is no cosine,
    and no error relative to it (NaN). Raises DataError, OptionError (amount), CycleError, MissingExtraError (pandas).
    """
    need_pandas()
    if not (is_real(amount) and amount > 0):
        raise OptionError("amount", f"{amount!r} is no amount of noise", "use for example 0.1")
    rng = np.random.default_rng([seed, 11])
    noisy = {
        p.name: p.weights + amount * np.sqrt((p.weights**2).mean()) * rng.normal(size=p.weights.shape)
        for p in network.projections
    }
    corrupted = network.with_parameters(noisy)
    intact, wrong = ({n: c.weights for n, c in feedback_copies(net).items()} for net in (network, corrupted))
    runs: list[tuple[str, Network, Mapping[str, Array]]] = [("both", corrupted, wrong)]
    if intact:
        runs += [("forward", corrupted, intact), ("backward", network, wrong)]
    parts = []
    for copies, ahead, back in runs if network.plastic else ():
        right = backprop(ahead, inputs, targets)
        for steps in (network.relaxation_steps, _LONG * network.relaxation_steps):
            read = relax(ahead, inputs, targets, backward=back, steps=steps, record="last").gradients
            cosine, error = apart(*(np.concatenate([np.ravel(g[key]) for key in right]) for g in (read, right)))
            parts.append({"copies": copies, "amount": amount, "steps": steps, "error": error, "cosine": cosine})
    columns = {"copies": "object", "amount": "float64", "steps": "int64", "error": "float64", "cosine": "float64"}
    return frame(columns, parts)


def claim(subject: Subject, *, cases: int = 64) -> Claim:
    """Return whether the subject forgets corrupted states: from `cases` of them everything is exact after 2D steps.

    Exact is what the same batch comes to from zero in 2D steps, bit for bit or within the backend's tolerance, if that is
    backpropagation's state. Each case has another part of its neurons overwritten, by anything finite. Raises as `relax`.
    """
    check_count("cases", cases, 1)
    network, backend = subject.running, subject.backend
    until = "after 2D steps" if subject.schedule == "free" else "at the end of a whole window of 2D steps"
    said = f"from any corrupted state every state is exact again {until}"
    why = _unclaimed(subject)
    if why is not None:
        return Claim.nothing("recovery", said, why)
    window, rows = network.relaxation_steps, np.arange(cases) % len(subject.inputs)
    x, y = subject.inputs[rows], subject.targets[rows]
    exact = subject.relax(window, inputs=x, targets=y).final
    start, hit = _corrupted(network, exact, subject.seed)
    trace, most = subject.relax(window + 1, inputs=x, targets=y, initial=start), max(backend.tolerance, 0.0)
    distance = _distance(network, x, y, exact)
    if distance > max(most, _CLOSE[np.dtype(network.dtype).itemsize]):
        broken: str | None = f"from zero, states end {distance:.2g} (relative) away from backpropagation's"
    else:
        broken = _first_wrong(trace, exact, most, hit)
    values = sum(2 * p.size for p in network.dynamic)
    found = (
        f"{cases} states with {hit.min()} to {hit.max()} of {values} values overwritten, 2D = {window}, compared"
        f" {f'within {most:g}' if most else 'bit for bit'}"
    )
    return Claim.judged("recovery", said, found, broken)


def _first_wrong(trace: Trace, exact: State, most: float, hit: Array) -> str | None:
    """Return in words the first value of the last two steps that is not what it should be."""
    wanted = variables(exact)
    for t in (trace.steps - 1, trace.steps):
        for (kind, name), values in variables(trace.state(t)).items():
            right = wanted[kind, name]
            with np.errstate(all="ignore"):
                wrong = np.argwhere(~(np.abs(values - right) <= most * max(1.0, float(np.abs(right).max()))))
            if len(wrong):
                case, neuron = (int(i) for i in wrong[0])
                return (
                    f"case {case}, {hit[case]} values overwritten: after {t} steps the {kind} of neuron {neuron} of {name!r} is"
                    f" {values[case, neuron]:.17g}, not {right[case, neuron]:.17g}"
                )
    return None


def _unclaimed(subject: Subject) -> str | None:
    """Return why nothing is claimed of this subject, or None."""
    backend, network = subject.backend, subject.running
    if network.cycle:
        return f"the network has the cycle {' -> '.join(network.cycle)}, so no step from which it is exact"
    if backend.alpha != 1.0:
        return f"dt / tau of {backend.name!r} is {backend.alpha:g}: it comes ever closer, and only unit steps forget"
    if getattr(backend, "cosine", None) is not None:
        return f"{backend.name!r} approximates, so its states are never exact"
    substrate = getattr(backend, "substrate", None)
    if substrate is not None and not substrate.ideal:
        return "the substrate has time constants, delays or noise of its own"
    return None


def _corrupted(network: Network, exact: State, seed: int) -> tuple[State, Array]:
    """Return a state with values overwritten, in each case another part of them, at least one; and how many in each case."""
    rng, held, dtype = np.random.default_rng([seed, 13]), variables(exact), np.dtype(network.dtype)
    cases = len(exact.potentials[network.output])
    part, hit = rng.uniform(0.0, 1.0, (cases, 1)), np.zeros(cases, np.int64)
    for (kind, name), right in held.items():
        mask = rng.random(right.shape) < part
        mask[:, 0] |= (kind, name) == (POTENTIAL, network.output)
        held[kind, name] = np.array(right)
        held[kind, name][mask] = anything(rng, mask, dtype, _MODERATE)
        hit += mask.sum(axis=1)
    return State(*({n: held[kind, n] for n in exact.potentials} for kind in (POTENTIAL, SENSITIVITY))), hit


@dataclass(frozen=True, eq=False)
class _Cases:
    """Rows of data, one for each case, the state in which they settle, and how far that is from backpropagation's."""

    network: Network
    inputs: Array
    targets: Array
    exact: State
    distance: float

    @classmethod
    def of(cls, network: Network, inputs: ArrayLike, targets: ArrayLike, cases: int) -> _Cases:
        """Return so many cases, which take the samples in turn. Raises DataError, OptionError, CycleError."""
        if not isinstance(network, Network):
            raise OptionError("network", f"{type(network).__name__} is not a Network", "build one with Network.dense(...)")
        network.need_weights()
        x, y = check_data(network, inputs, targets)
        rows = np.arange(check_count("cases", cases, 1)) % len(x)
        exact = relax(network, x[rows], y[rows], steps=network.relaxation_steps, record="last").final
        return cls(network, x[rows], y[rows], exact, _distance(network, x[rows], y[rows], exact))

    def start(self, seed: int) -> State:
        """Return a random state. Raises OptionError (seed)."""
        return Subject.of(self.network, self.inputs, self.targets, seed=seed).state(len(self.inputs))


def _distance(network: Network, inputs: Array, targets: Array, state: State) -> float:
    """Return the largest distance of a state from backpropagation's, relative to the largest entry of each of its arrays."""
    right, found = variables(State(*settled(network, inputs, targets))), variables(state)
    return max(relative_error({"": found[v]}, {"": right[v]})[""] for v in right)
