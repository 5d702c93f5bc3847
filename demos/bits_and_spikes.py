"""Integers and spikes: what is left of the gradient in 8-bit weights, and what each way to send a number costs."""

import numpy as np

import dyadic_neuro as dn
from dyadic_neuro.codings import BitSerial, Delta, Graded, Rate

data = dn.datasets.load("digits")
new = dn.Network.dense([64, 64, 10], activation="tanh", loss="cross_entropy", seed=0)
network = dn.train(new, data, epochs=3, batch_size=20, learning_rate=0.5).network
fixed = dn.quantize(network, dn.FixedFormat(weight_bits=8, message_bits=16, state_bits=24), calibration=data.inputs)
print(f"{network}, weights 8 bit, messages 16 bit, states 24 bit")

inputs, targets = data.inputs[:32], data.targets[:32]
floats = dn.backprop(network, inputs, targets)
integers = dn.backprop(fixed, inputs, targets)  # integer backpropagation, sharing no code with what follows
print("coding                    exact   cosine to floats  micro-steps   messages  bits a sample")
codings = {"graded": Graded(), "delta": Delta(0), "delta, threshold 64": Delta(64), "bit_serial": BitSerial(), "rate": Rate(256)}
for name, coding in codings.items():
    trace = dn.relax(fixed, inputs, targets, coding=coding)
    exact = all(np.array_equal(trace.gradients[key], right) for key, right in integers.items())
    pairs = [(trace.gradients[key].ravel(), right.ravel()) for key, right in floats.items()]
    cosine = min(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in pairs)  # of the worst parameter
    sent, bits = trace.messages.total() / len(inputs), trace.messages.bits() / len(inputs)
    print(f"{name:25} {exact!s:6} {cosine:17.6f} {trace.micro_steps:12} {sent:10,.0f} {bits:14,.0f}")

loud = 20 * inputs  # far beyond what the calibration has seen
print("saturations, counted:", dict(dn.relax(fixed, loud, targets).saturations))
strict = dn.quantize(network, dn.FixedFormat(strict=True), calibration=data.inputs)
try:
    dn.relax(strict, loud, targets)
except dn.errors.SaturationError as error:
    print("in strict mode an error:", error)

form = dn.FixedFormat(weight_headroom_bits=1, headroom_bits=3, rounding="stochastic")  # room for what learning does
learned = dn.train(dn.quantize(new, form, data.inputs), data, epochs=8, batch_size=20, learning_rate=0.5, coding="delta")
print(f"test accuracy after 8 epochs in 8-bit weights, from first to last: {learned.history[-1].validation:.1%}")
