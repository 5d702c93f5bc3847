"""ONNX models of a few nodes: what MLPs are made of, and what is none."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
RNG = np.random.default_rng(0)
WEIGHTS = {
    "w": RNG.normal(size=(4, 3)).astype("f4"),
    "b": RNG.normal(size=3).astype("f4"),
    "v": RNG.normal(size=(3, 2)).astype("f4"),
}


def saved(path, *nodes, shape=("batch", 4), opset=20, outputs=("y",), **tensors):
    """Write a model of these nodes, tuples (operator, inputs, output, attributes), over WEIGHTS."""
    made = [helper.make_node(op, ins, [out], f"n_{out}", **dict(*rest)) for op, ins, out, *rest in nodes]
    ends = [helper.make_tensor_value_info(name, 1, None) for name in outputs]
    given = [numpy_helper.from_array(np.asarray(value), name) for name, value in (WEIGHTS | tensors).items()]
    graph = helper.make_graph(made, "g", [helper.make_tensor_value_info("x", 1, shape)], ends, given)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


GEMM = ("Gemm", ["x", "w", "b"], "a")
HIDDEN = [GEMM, ("Tanh", ["a"], "h")]
ACCEPTED = {
    "gemm with factors": [("Gemm", ["x", "w", "b"], "y", {"alpha": 0.5, "beta": -2.0})],
    "transposed": [("Gemm", ["x", "wt", "b"], "y", {"transB": 1})],
    "bias of one number": [("Gemm", ["x", "w", "one"], "y")],
    "consecutive": [GEMM, ("MatMul", ["a", "v"], "y")],
    "skip": [*HIDDEN, ("MatMul", ["h", "v"], "p"), ("MatMul", ["x", "u"], "q"), ("Add", ["p", "q"], "y")],
    "sum": [*HIDDEN, ("MatMul", ["h", "v"], "p"), ("MatMul", ["x", "u"], "q"), ("Sum", ["p", "c", "q"], "y")],
    "parallel": [
        *HIDDEN,
        ("MatMul", ["h", "s"], "p"),
        ("Add", ["h", "p"], "q"),
        ("Relu", ["q"], "r"),
        ("MatMul", ["r", "v"], "y"),
    ],
    "scale": [*HIDDEN, ("Mul", ["g1", "h"], "g"), ("MatMul", ["g", "v"], "y")],
    "pre-activation twice": [*HIDDEN, ("Add", ["a", "h"], "q"), ("MatMul", ["q", "v"], "y")],
    "sum twice": [
        *HIDDEN,
        ("Add", ["a", "h"], "q"),
        ("Relu", ["q"], "r"),
        ("Sigmoid", ["q"], "t"),
        ("Sum", ["r", "q", "t"], "o"),
        ("MatMul", ["o", "v"], "y"),
    ],
    "number at the input": [("Mul", ["half", "x"], "m"), ("MatMul", ["m", "w"], "y")],
    "numbers twice": [("Mul", ["half", "x"], "m"), ("Mul", ["m", "half"], "n"), ("MatMul", ["n", "w"], "y")],
    "no bias": [("Gemm", ["x", "w", "b"], "y", {"beta": 0.0})],
    "axis of one": [
        ("Reshape", ["x", "row"], "r"),
        ("MatMul", ["r", "w"], "m"),
        ("Add", ["m", "c3"], "n"),
        ("Flatten", ["n"], "y"),
    ],
    "column": [("Reshape", ["x", "col"], "r"), ("Mul", ["r", "c41"], "m"), ("Flatten", ["m"], "f"), ("MatMul", ["f", "w"], "y")],
    "rate at the end": [GEMM, ("Tanh", ["a"], "y")],
    "wires": [("Flatten", ["x"], "f"), ("Identity", ["f"], "i"), ("Reshape", ["i", "to"], "r"), ("Gemm", ["r", "w"], "y")],
    "normalised input": [("Sub", ["x", "mean"], "c0"), ("Div", ["c0", "std"], "n"), ("MatMul", ["n", "w"], "y")],
    "divided by a number": [("Div", ["x", "two"], "d"), ("MatMul", ["d", "w"], "m"), ("Sub", ["m", "b"], "y")],
    "dropout": [*HIDDEN, ("Dropout", ["h", "half", "no"], "d"), ("MatMul", ["d", "v"], "y")],
    "rate of the input": [("Sin", ["x"], "s1"), ("Gemm", ["s1", "w"], "y")],
}
EXTRA = {"wt": WEIGHTS["w"].T.copy(), "one": np.ones(1, "f4"), "u": RNG.normal(size=(4, 2)).astype("f4")}
EXTRA |= {
    "g1": RNG.normal(size=3).astype("f4"),
    "half": np.float32(0.5),
    "c": np.ones((1, 2), "f4"),
    "s": RNG.normal(size=(3, 3)).astype("f4"),
    "to": np.array([0, -1]),
}
EXTRA |= {"row": np.array([0, 1, 4]), "col": np.array([0, 4, 1]), "c3": RNG.normal(size=(1, 1, 3)).astype("f4")}
EXTRA |= {"mean": RNG.normal(size=4).astype("f4"), "std": np.array([0.3, 0.7, 1.1, 3.0], "f4"), "two": np.float32(2.0)}
EXTRA |= {"no": np.zeros((), bool), "c41": RNG.normal(size=(4, 1)).astype("f4"), "c31": np.ones((3, 1), "f4")}


REFUSED = {
    "constant matrices": [*HIDDEN, ("MatMul", ["s", "h"], "y")],
    "transposes": [("Gemm", ["x", "w"], "y", {"transA": 1})],
    "alpha = 0.01": [GEMM, ("LeakyRelu", ["a"], "y", {"alpha": 0.2})],
    'approximate = "tanh"': [GEMM, ("Gelu", ["a"], "y")],
    "a range from -1 to 1": [GEMM, ("Clip", ["a"], "y")],
    "takes 4 values and gets 3": [GEMM, ("Gemm", ["a", "u"], "y")],
    "nowhere in the file": [("Gemm", ["x", "missing"], "y")],
    "softmax": [GEMM, ("Softmax", ["a"], "p"), ("MatMul", ["p", "v"], "y")],
    "reshapes": [("Reshape", ["x", "away"], "r"), ("MatMul", ["r", "w"], "y")],
    "nowhere; ": [("MatMul", ["x", "w"], "y"), ("MatMul", ["x", "u"], "lost")],
    "multiplies two signals": [*HIDDEN, ("Mul", ["a", "h"], "y")],
    "subtracts two signals": [*HIDDEN, ("Sub", ["a", "h"], "y")],
    "its signal from a constant": [GEMM, ("Sub", ["b", "a"], "y")],
    "by its signal": [GEMM, ("Div", ["b", "a"], "y")],
    "as in training": [GEMM, ("Dropout", ["a", "half", "yes"], "y")],
    "onnxsim folds": [("Shape", ["x"], "s1"), ("Gather", ["s1", "to"], "g"), ("Reshape", ["x", "g"], "y")],
    "n_h and n_y: tied": [GEMM, ("Gemm", ["a", "s"], "h"), ("Gemm", ["h", "s"], "y")],
    "shape (3, 1)": [("MatMul", ["x", "w"], "p"), ("Add", ["p", "c31"], "y")],
    "shape (1, 1, 3)": [("MatMul", ["x", "w"], "p"), ("Add", ["p", "c3"], "y")],
    "shape (3,) for samples of (3, 1)": [
        ("MatMul", ["x", "w"], "p"),
        ("Reshape", ["p", "col3"], "r"),
        ("Add", ["r", "b"], "s1"),
        ("Flatten", ["s1"], "y"),
    ],
    "takes shapes": [("MatMul", ["x", "w"], "p"), ("Reshape", ["p", "row3"], "q"), ("Add", ["p", "q"], "y")],
    "not a vector": [("Reshape", ["x", "col"], "r"), ("MatMul", ["r", "w"], "y")],
    "alpha = 0": [("Gemm", ["x", "w", "b"], "y", {"alpha": 0.0})],
    "over the outputs": [GEMM, ("Softmax", ["a"], "y", {"axis": 0})],
}


REFUSED_EXTRA = {"col3": np.array([0, 3, 1]), "row3": np.array([0, 1, 3]), "yes": np.ones((), bool)}
