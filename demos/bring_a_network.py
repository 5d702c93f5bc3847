"""A network from another tool: read, deployed on three simulators, trained in Nengo, and written back into its own file."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import dyadic_neuro as dn

# Stands for a file of yours: what an exporter of a deep-learning tool writes for Linear(64, 16), Tanh, Linear(16, 10).
rng = np.random.default_rng(0)
weights = {"fc1.weight": rng.normal(0, 1 / 8, (16, 64)), "fc1.bias": np.zeros(16)}
weights |= {"fc2.weight": rng.normal(0, 1 / 4, (10, 16)), "fc2.bias": np.zeros(10)}
nodes = [
    helper.make_node("Gemm", ["pixels", "fc1.weight", "fc1.bias"], ["a"], transB=1),
    helper.make_node("Tanh", ["a"], ["b"]),
    helper.make_node("Gemm", ["b", "fc2.weight", "fc2.bias"], ["logits"], transB=1),
]
ends = [
    helper.make_tensor_value_info(*end)
    for end in (("pixels", TensorProto.FLOAT, ["n", 64]), ("logits", TensorProto.FLOAT, ["n", 10]))
]
held = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()]
onnx.save(helper.make_model(helper.make_graph(nodes, "classifier", ends[:1], ends[1:], held)), "classifier.onnx")

network = dn.Network.from_onnx("classifier.onnx", loss="cross_entropy")
print(network)

data = dn.datasets.load("digits")
inputs, targets = data.inputs[:4], data.targets[:4]
textbook = dn.backprop(network, inputs, targets)
for backend in ("nengo", "lava", "chip"):
    trace = dn.relax(network, inputs, targets, backend=backend)
    worst = max(float(np.abs(trace.gradients[key] - right).max()) for key, right in textbook.items())
    print(f"{backend:6} {trace.steps} steps, gradients within {worst:.0e} of backpropagation's (float32); ran on {trace.runs_on}")

learned = dn.train(network, data, backend="nengo", epochs=2, learning_rate=0.5)
print(f"test accuracy after 2 epochs in Nengo: {learned.history[-1].validation:.2f}")
learned.network.to_onnx("learned.onnx", like="classifier.onnx")  # the same graph and names, with the learned weights
(logits,) = ReferenceEvaluator("learned.onnx").run(None, {"pixels": data.test_inputs.astype(np.float32)})
print(f"test accuracy of the file in ONNX's own evaluator: {(logits.argmax(axis=1) == data.test_targets).mean():.2f}")
