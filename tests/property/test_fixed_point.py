"""The laws of integers: every step is exact arithmetic rounded once, and at 2D it is integer backpropagation, bit for bit."""

import pickle
from fractions import Fraction
from math import floor

import numpy as np
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from dyadic_neuro import integer_oracle
from dyadic_neuro.errors import NetworkError, OptionError
from dyadic_neuro.fixed_point import FixedFormat, FixedNetwork
from dyadic_neuro.fixed_point.pace import Pace
from dyadic_neuro.fixed_point.rules import SATURATIONS
from dyadic_neuro.quantization import quantize
from dyadic_neuro.testing import networks
from dyadic_neuro.testing.strategies import SEEDS, chains, dags

ROUNDINGS = st.sampled_from(["nearest", "stochastic"])
BATCHES = st.sampled_from([1, 2, 5])
RATES = st.floats(1e-4, 4.0)
FEWER, FEW = settings(max_examples=15), settings(max_examples=40)


@st.composite
def formats(draw):
    message = draw(st.integers(4, 24))
    return FixedFormat(
        weight_bits=draw(st.integers(4, 16)),
        message_bits=message,
        state_bits=draw(st.integers(max(8, message), 32)),
        table_bits=draw(st.integers(4, 8)),
        headroom_bits=draw(st.integers(0, 3)),
        weight_headroom_bits=draw(st.integers(0, 2)),
        rounding=draw(ROUNDINGS),
        seed=draw(st.integers(0, 2**63 - 1)),
    )


@st.composite
def quantized(draw):
    """A float network, its integers, inputs and targets; some data lie beyond what the calibration met."""
    network = draw(st.one_of(chains(4), dags(3), dags(3, parts=True)))
    x, y = networks.batch(network, draw(SEEDS), draw(BATCHES))
    calibration = draw(st.sampled_from([None, x, (x, y)]))
    try:
        fixed = quantize(network, draw(formats()), calibration)
    except NetworkError as error:
        assert "bits" in error.problem  # noqa: PT017
        reject()
    return network, fixed, *fixed.encode(x * draw(st.sampled_from([1.0, 1.0, 20.0])), y)


PROBLEMS = quantized().map(lambda found: found[1:])


def within(rng, scale, shape):
    """Random integers of a scale, small, large and at both limits."""
    bits = rng.integers(0, scale.bits, shape)
    wide = rng.integers(scale.lowest, scale.highest + 1, shape) >> bits
    return np.where(bits == 0, np.where(wide < 0, scale.lowest, scale.highest), wide)


def any_state(network, seed, batch):
    rng = np.random.default_rng(seed)
    scales = network.scales
    u = {p.name: within(rng, scales[p.name].potential, (batch, p.size)) for p in network.dynamic}
    return u, {p.name: within(rng, scales[p.name].sensitivity, (batch, p.size)) for p in network.dynamic}


def extreme(network, seed):
    """The network with weights and biases of any size, many at their limits."""
    rng, values = np.random.default_rng([seed, 1]), {}
    for key, old in network.parameters.items():
        name = key.removesuffix(".bias")
        scale = network.scales[name].potential if name != key else network.projection(key).scale
        values[key] = within(rng, scale, old.shape)
    return network.with_parameters(values)


def sent(network, rules, u, s, x):
    rates = {network.input: x} | {name: rules[name].rate(u[name]) for name in u}
    return rates, {name: rules[name].message(s[name]) for name in s}


def step(network, rules, state, x, y):
    """Every population from the state at t alone, by its own rules."""
    u, s = state
    rates, messages = sent(network, rules, u, s, x)
    new_u, new_s = {}, {}
    for name, own in rules.items():
        arrivals = [(p, rates[p.source]) for p in network.incoming[name]]
        new_u[name] = own.potential(arrivals, network.parameters.get(f"{name}.bias"), u[name])
        returned = [(p.transposed(), messages[p.target]) for p in network.outgoing[name]]
        slope = own.derivative(u[name], rates[name]) if returned else None
        error = network.loss.gradient(u[name], y) if name == network.output else None
        new_s[name] = own.sensitivity(returned, slope, error, s[name])
    return new_u, new_s


def rules_of(network):
    return {p.name: network.rules(p.name) for p in network.dynamic}


def same(found, wanted):
    assert set(found) == set(wanted)
    return all(found[name].dtype == np.int64 and np.array_equal(found[name], wanted[name]) for name in wanted)


@FEW
@given(PROBLEMS, SEEDS)
def test_relaxation_from_any_state_equals_integer_backpropagation_at_2d_and_ever_after(problem, seed):
    network, x, y = problem
    state, rules = any_state(network, seed, len(x)), rules_of(network)
    wanted = integer_oracle.settled(network, x, y, slow=True)
    for t in range(1, network.relaxation_steps + 4):
        state = step(network, rules, state, x, y)
        if t >= network.relaxation_steps:
            assert same(state[0], wanted[0])
            assert same(state[1], wanted[1])
    rates, messages = sent(network, rules, *state, x)
    sums = integer_oracle.backprop(network, x, y, slow=True)
    assert set(sums) == set(network.plastic)
    for key, right in sums.items():
        name = key.removesuffix(".bias")
        p = None if name != key else network.projection(key)
        found = messages[name].sum(axis=0) if p is None else p.sums(messages[p.target], rates[p.source])
        assert np.array_equal(found, right)
        gradient = rules[name].bias_gradient(messages[name]) if p is None else p.outer(messages[p.target], rates[p.source])
        assert np.array_equal(gradient, integer_oracle.backprop_mean(network, x, y)[key])


@FEWER
@given(PROBLEMS, SEEDS)
def test_integer_backpropagation_is_the_same_in_64_bits_and_in_python_integers(problem, seed):
    network, x, y = problem
    network = extreme(network, seed)
    fast, slow = (integer_oracle.settled(network, x, y, slow=slow) for slow in (False, True))
    assert same(fast[0], slow[0])
    assert same(fast[1], slow[1])
    assert np.array_equal(integer_oracle.predict(network, x), slow[0][network.output])
    fast, slow = (integer_oracle.backprop(network, x, y, slow=slow) for slow in (False, True))
    assert all(np.array_equal(fast[key], slow[key]) for key in slow)


# One step, in rational numbers


def values(integers, exponent):
    """Integers as rational numbers."""
    unit = Fraction(2) ** -exponent
    return np.array([int(n) * unit for n in np.ravel(integers)], object).reshape(np.shape(integers))


def written(reals, scale):
    """Rational numbers as integers, rounded once with ties up and limited once, and how many were limited."""
    found = [floor(value * Fraction(2) ** scale.exponent + Fraction(1, 2)) for value in reals.ravel()]
    limited = [min(max(n, -(2 ** (scale.bits - 1))), 2 ** (scale.bits - 1) - 1) for n in found]
    return np.array(limited, np.int64).reshape(reals.shape), sum(a != b for a, b in zip(found, limited, strict=True))


def matrix(p):
    """W (n_target, n_source) in rational numbers."""
    whole, (row, column) = np.full(p.full_shape, Fraction(0), object), p.corner
    for place in np.ndindex(p.weights.shape):
        whole[row + place[0], column + place[-1]] = int(p.weights[place]) * Fraction(2) ** -p.scale.exponent
    return whole


@FEW
@given(PROBLEMS, SEEDS)
def test_a_step_is_exact_arithmetic_rounded_and_limited_once_and_each_limit_counts(problem, seed):
    network, x, y = problem
    network = extreme(network, seed)
    (u, s), rules = any_state(network, seed, len(x)), rules_of(network)
    found = step(network, rules, (u, s), x, y)
    rates, messages = sent(network, rules, u, s, x)
    for name, own in rules.items():
        scales, phi = network.scales[name], network.population(name).fixed
        drive = sum(values(rates[p.source], network.scales[p.source].rate.exponent) @ matrix(p).T for p in network.incoming[name])
        if f"{name}.bias" in network.parameters:
            drive = drive + values(network.parameters[f"{name}.bias"], scales.potential.exponent)
        potential, beyond_u = written(drive, scales.potential)
        if name == network.output:
            error = network.loss.gradient(u[name], y)
            if network.cost.name == "squared_error":  # an integer function by itself
                difference = values(u[name], scales.potential.exponent) - values(y, scales.potential.exponent)
                error = np.array(
                    [floor(d * Fraction(2) ** scales.sensitivity.exponent + Fraction(1, 2)) for d in difference.flat]
                )
                error = error.astype(object).reshape(difference.shape)
            credit = values(error, scales.sensitivity.exponent)
        else:
            returned = sum(
                values(messages[p.target], network.scales[p.target].message.exponent) @ matrix(p) for p in network.outgoing[name]
            )
            credit = returned * values(phi.derivative(u[name], rates[name]), phi.slope)
        sensitivity, beyond_s = written(credit, scales.sensitivity)
        assert np.array_equal(found[0][name], potential)
        assert np.array_equal(found[1][name], sensitivity)
        assert dict(zip(SATURATIONS, own.saturated, strict=True)) == {
            "potential": beyond_u,
            "sensitivity": beyond_s,
            "weight": 0,
            "bias": 0,
        }


@FEWER
@given(PROBLEMS, SEEDS)
def test_what_is_sent_is_of_a_messages_width(problem, seed):
    network, x, _ = problem
    (u, s), rules = any_state(network, seed, 20), rules_of(network)
    rates, messages = sent(network, rules, u, s, x)
    for name in rules:
        scales, bits = network.scales[name], network.format.message_bits
        assert scales.rate.bits == scales.message.bits == bits
        assert scales.rate.holds(rates[name])
        assert scales.message.holds(messages[name])
        upper = values(s[name], scales.sensitivity.exponent)
        assert np.array_equal(messages[name], written(upper, scales.message)[0])


# Synapses


@FEW
@given(PROBLEMS, SEEDS)
def test_products_do_not_depend_on_floats_on_the_order_of_sums_or_on_who_holds_which_rows(problem, seed):
    network = extreme(problem[0], seed)
    rng = np.random.default_rng(seed)
    for whole in network.projections:
        for p in (whole, whole.transposed()):
            signal = within(rng, p.ways.pre, (3, p.full_shape[1]))
            drive = p.forward(signal)
            assert drive.dtype == np.int64
            exponent = p.scale.exponent + p.ways.pre.exponent + p.ways.shift
            assert (values(drive, exponent) == values(signal, p.ways.pre.exponent) @ matrix(p).T).all()
            if p.shape is None:
                assert np.array_equal(drive, p.exact_product(signal))
                order = rng.permutation(p.weights.shape[1])
                assert np.array_equal(drive, p.with_weights(p.weights[:, order]).forward(signal[:, order]))
            cut = int(rng.integers(0, p.full_shape[0] + 1))
            parts = [(p.onto(a, b), b - a) for a, b in ((0, cut), (cut, p.full_shape[0]))]
            found = [np.zeros((3, n), np.int64) if part is None else part.forward(signal) for part, n in parts]
            assert np.array_equal(np.concatenate(found, axis=1), drive)


def synapses(p):
    """The weights of a copy by the numbers of their synapses in the whole network."""
    assert p.cells.shape == p.weights.shape
    return dict(zip(p.cells.ravel().tolist(), p.weights.ravel().tolist(), strict=True))


def shares(p, rng):
    """Two slices of a copy, with the neurons that each ends on; None where there are no synapses."""
    cut = int(rng.integers(0, p.full_shape[0] + 1))
    return [(p.onto(a, b), slice(a, b)) for a, b in ((0, cut), (cut, p.full_shape[0]))]


@FEW
@given(PROBLEMS, SEEDS)
def test_a_synapse_has_one_number_in_every_copy_and_slice_and_no_other_has_it(problem, seed):
    network, rng = problem[0], np.random.default_rng(seed)
    seen = set()
    for p in network.projections:
        numbers = synapses(p)
        assert len(numbers) == p.weights.size
        assert not seen & numbers.keys()
        seen |= numbers.keys()
        back = p.transposed()
        again = back.transposed()
        for part in ("source", "target", "corner", "shape", "ways", "back", "origin", "swapped", "number", "updates"):
            assert getattr(again, part) == getattr(p, part)
        assert np.array_equal(again.weights, p.weights)
        assert np.array_equal(again.cells, p.cells)
        assert synapses(back) == numbers
        for copy in (p, back):
            found = [part for part, _ in shares(copy, rng) if part is not None]
            pairs = [pair for part in found for pair in synapses(part).items()]
            pairs += [pair for part in found for pair in synapses(part.transposed()).items()]
            assert sorted(pairs) == sorted([*numbers.items(), *numbers.items()])
    biases = {(network.population(name).number << 48) + i for name in rules_of(network) for i in range(3)}
    assert not seen & biases


@FEW
@given(PROBLEMS, SEEDS, ROUNDINGS, st.sampled_from([0.0, 0.01]))
def test_all_copies_and_slices_of_weights_learn_alike(problem, seed, rounding, decay):
    network, x, _ = problem
    rng = np.random.default_rng(seed)
    for p in network.projections:
        ways, batch = p.ways, len(x)
        exponent = p.scale.exponent - ways.pre.exponent - ways.post.exponent
        bits = ways.pre.bits + ways.post.bits + batch.bit_length()
        try:  # the largest change is some units of a weight
            pace = Pace.of(2.0 ** (3 - exponent - bits), decay, batch, exponent, bits, rounding, seed)
        except OptionError:
            continue
        back = p.transposed()
        here, there = shares(p, rng), shares(back, rng)
        for _ in range(6):
            post, pre = within(rng, ways.post, (batch, p.full_shape[0])), within(rng, ways.pre, (batch, p.full_shape[1]))
            p, limited = p.learned(post, pre, pace)  # noqa: PLW2901
            back, as_many = back.learned(pre, post, pace)
            assert limited == as_many
            held = []
            for parts, own, other in ((here, post, pre), (there, pre, post)):
                new = [(part if part is None else part.learned(own[:, at], other, pace), at) for part, at in parts]
                assert sum(change[1] for change, _ in new if change is not None) == limited
                parts[:] = [(change if change is None else change[0], at) for change, at in new]
                held.append({cell: w for part, _ in parts if part is not None for cell, w in synapses(part).items()})
            assert synapses(p) == synapses(back) == held[0] == held[1]
            assert p.scale.holds(p.weights)


@FEW
@given(PROBLEMS, RATES, st.sampled_from([0.0, 0.1]))
def test_learning_at_2d_is_integer_descent(problem, learning_rate, decay):
    network, x, y = problem
    rules, now = rules_of(network), network
    try:
        for _ in range(3):
            u, s = integer_oracle.settled(now, x, y)
            rates, messages = sent(now, rules, u, s, x)
            found = {}
            for key in now.plastic:
                name = key.removesuffix(".bias")
                if name != key:
                    found[key] = rules[name].bias(now.parameters[key], messages[name], learning_rate)
                    continue
                p = now.projection(key)
                new = rules[p.target].weights(p, messages[p.target], rates[p.source], learning_rate, decay)
                assert new.updates == p.updates + 1
                found[key] = new.weights
            now = now.with_parameters(found, now.updates + 1)
    except OptionError as error:
        assert error.field in {"learning_rate", "batch_size"}  # noqa: PT017
        reject()
    wanted = integer_oracle.descend(network, x, y, [np.arange(len(x))] * 3, learning_rate, decay)
    assert wanted.updates == now.updates == 3
    assert same(dict(now.parameters), dict(wanted.parameters))


# Quantising


@given(quantized())
def test_real_values_come_back_within_half_a_unit_and_scales_are_the_finest_that_hold(problem):
    network, fixed, _, _ = problem
    form, back = fixed.format, fixed.real()
    for q in network.projections:
        exponent = fixed.exponents.weights[q.name]
        unit, largest = 2.0**-exponent, float(np.abs(q.weights).max()) * 2.0**form.weight_headroom_bits
        limit = 2.0 ** (form.weight_bits - 1) - 1
        assert largest / unit <= limit
        target = fixed.exponents.potentials[q.target]
        needless = exponent + fixed.scales[q.source].rate.exponent >= target + form.message_bits - 2  # below all bits there are
        assert 2 * largest / unit > limit or needless
        assert np.abs(back.parameters[q.name] - q.weights).max() <= unit / 2
        assert np.array_equal(fixed.quantised(q.name, back.parameters[q.name]), fixed.parameters[q.name])
    for p in network.dynamic:
        unit = 2.0 ** -fixed.exponents.potentials[p.name]
        if p.bias is not None:
            assert np.abs(back.parameters[f"{p.name}.bias"] - p.bias).max() <= unit / 2


@FEWER
@given(PROBLEMS)
def test_files_and_pickles_hold_the_same_integers(tmp_path_factory, problem):
    network, x, y = problem
    path = tmp_path_factory.mktemp("fixed") / "network.npz"
    network.with_parameters({}, 7).save(path)
    wanted = integer_oracle.settled(network, x, y)
    for found, updates in ((FixedNetwork.load(path), 7), (pickle.loads(pickle.dumps(network)), 0)):
        assert found.fingerprint == network.fingerprint
        assert (found.format, found.exponents, found.updates) == (network.format, network.exponents, updates)
        assert same(dict(found.parameters), dict(network.parameters))
        assert same(integer_oracle.settled(found, x, y)[1], wanted[1])
