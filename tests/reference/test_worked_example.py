"""One small network worked on paper, step by step, in whole numbers and halves: every backend has to come to these.

    input (2) --W--> a (2, relu) --V--> output (1)      and a skip    input --K--> output       D = 2, so 4 steps

    W = [ 1  2 ]     bias of a = [ 1, -4 ]     V = [ 2  3 ]     K = [ 1  -1 ]     bias of output = 0.5     C = (u - y)^2 / 2
        [ 3 -1 ]

Two samples: x = (1, 1), y = 5, and x = (2, 0), y = 0.

    drive of a            W x + bias                 (1 + 2 + 1, 3 - 1 - 4) = (4, -2)         (2 + 1, 6 - 4) = (3, 2)
    K x + bias            of the output              1 - 1 + 0.5 = 0.5                        2 + 0.5 = 2.5
    rates                 relu                       (4, 0)                                   (3, 2)
    derivatives                                      (1, 0)                                   (1, 1)
    drive of the output   V r + K x + bias           8 + 0.5 = 8.5                            6 + 6 + 2.5 = 14.5
    error                 u - y                      8.5 - 5 = 3.5                            14.5

From the zero state, where relu and its derivative are 0 (0 is the kink), and u - y is -5 and 0:

    t = 1    u_a  (4, -2)   (3, 2)      exact from depth 1 on
             u_o  0.5       2.5         V r is still 0
             s_o  -5        0           the error of the zero potential
             s_a  (0, 0)    (0, 0)
    t = 2    u_o  8.5       14.5        exact from depth 2 on
             s_o  0.5 - 5 = -4.5        2.5 - 0 = 2.5
             s_a  (1, 0) * (2, 3) * -5 = (-10, 0)               (1, 1) * (2, 3) * 0 = (0, 0)
    t = 3    s_o  3.5       14.5        exact from D + 1 = 3 on
             s_a  (1, 0) * (2, 3) * -4.5 = (-9, 0)              (2, 3) * 2.5 = (5, 7.5)
    t = 4    s_a  (1, 0) * (2, 3) * 3.5 = (7, 0)                (2, 3) * 14.5 = (29, 43.5)       exact at 2D = 4

Gradients, means over the two samples of s (outer) r:

    W   ((7, 0)^T (1, 1) + (29, 43.5)^T (2, 0)) / 2 = ( (7 + 58, 7), (87, 0) ) / 2 = ((32.5, 3.5), (43.5, 0))
    V   (3.5 (4, 0) + 14.5 (3, 2)) / 2 = (14 + 43.5, 29) / 2 = (28.75, 14.5)
    K   (3.5 (1, 1) + 14.5 (2, 0)) / 2 = (3.5 + 29, 3.5) / 2 = (16.25, 1.75)
    bias of a (18, 21.75), of the output 9           loss (3.5^2 + 14.5^2) / 4 = (12.25 + 210.25) / 4 = 55.625
"""

import numpy as np
import pytest

from dyadic_neuro import backprop, mean_loss, relax, train
from dyadic_neuro.network import Network
from dyadic_neuro.population import Population
from dyadic_neuro.projection import Projection

NET = Network(
    [Population("input", 2), Population("a", 2, "relu", [1, -4]), Population("output", 1, bias=0.5)],
    [
        Projection("input", "a", np.array([[1, 2], [3, -1]])),
        Projection("a", "output", np.array([[2, 3]])),
        Projection("input", "output", np.array([[1, -1]])),
    ],
)
X, Y = [[1, 1], [2, 0]], [[5], [0]]
ZERO = [[0, 0], [0, 0]]
U_A = [ZERO, [[4, -2], [3, 2]], [[4, -2], [3, 2]], [[4, -2], [3, 2]], [[4, -2], [3, 2]]]
U_O = [[[0], [0]], [[0.5], [2.5]], [[8.5], [14.5]], [[8.5], [14.5]], [[8.5], [14.5]]]
S_A = [ZERO, ZERO, [[-10, 0], [0, 0]], [[-9, 0], [5, 7.5]], [[7, 0], [29, 43.5]]]
S_O = [[[0], [0]], [[-5], [0]], [[-4.5], [2.5]], [[3.5], [14.5]], [[3.5], [14.5]]]
GRADIENTS = {
    "input->a": [[32.5, 3.5], [43.5, 0]],
    "a->output": [[28.75, 14.5]],
    "input->output": [[16.25, 1.75]],
    "a.bias": [18, 21.75],
    "output.bias": [9],
}


def test_every_step_is_the_one_on_paper():
    trace = relax(NET, X, Y)
    assert trace.steps == 4
    assert trace.potentials["a"].tolist() == U_A
    assert trace.potentials["output"].tolist() == U_O
    assert trace.sensitivities["a"].tolist() == S_A
    assert trace.sensitivities["output"].tolist() == S_O
    assert {key: values.tolist() for key, values in trace.gradients.items()} == GRADIENTS
    assert trace.loss == 55.625


def test_one_step_earlier_only_the_lowest_gradients_are_wrong():
    found = {key: values.tolist() for key, values in relax(NET, X, Y, steps=3).gradients.items()}
    assert {key for key in GRADIENTS if found[key] != GRADIENTS[key]} == {"input->a", "a.bias"}
    assert found["input->a"] == [[0.5, -4.5], [7.5, 0]]  # ((-9, 0)^T (1, 1) + (5, 7.5)^T (2, 0)) / 2
    assert found["a.bias"] == [-2, 3.75]


def test_a_wavefront_takes_each_exact_value_at_its_step_and_no_other():
    trace = relax(NET, X, Y, schedule="wavefront")
    assert trace.potentials["a"].tolist() == U_A
    assert trace.potentials["output"].tolist() == [[[0], [0]]] * 2 + U_O[2:]
    assert trace.sensitivities["output"].tolist() == [[[0], [0]]] * 3 + S_O[3:]
    assert trace.sensitivities["a"].tolist() == [ZERO] * 4 + S_A[4:]
    assert {key: values.tolist() for key, values in trace.gradients.items()} == GRADIENTS


def test_the_oracle_agrees():
    assert {key: values.tolist() for key, values in backprop(NET, X, Y).items()} == GRADIENTS
    assert mean_loss(NET, X, Y) == 55.625


def test_one_window_of_learning_takes_these_gradients_from_both_copies():
    result = train(NET, (X, Y), batch_size=2, learning_rate=2.0, shuffle=False)
    learned = {key: values.tolist() for key, values in result.network.parameters.items()}
    assert learned == {
        "input->a": [[-64, -5], [-84, -1]],
        "a->output": [[-55.5, -26]],
        "input->output": [[-31.5, -4.5]],
        "a.bias": [-35, -47.5],
        "output.bias": [-17.5],
    }
    assert result.copies["a->output"].backward.tolist() == [[-55.5], [-26]]
    assert result.history[0].loss == 55.625


@pytest.mark.parametrize("alpha", [0.5])
def test_half_steps_on_paper(alpha):
    trace = relax(NET, X, Y, alpha=alpha, steps=2)
    # t = 1 is half of the full step from zero. t = 2, first sample: r = (2, 0), so u_o = 0.25 + (4 + 0.5 - 0.25) / 2 = 2.375,
    # s_o = -2.5 + (0.25 - 5 + 2.5) / 2 = -3.625, and s_a = 0 + (1, 0) * (2, 3) * -2.5 / 2 = (-2.5, 0)
    assert trace.potentials["a"][1:, 0].tolist() == [[2, -1], [3, -1.5]]
    assert trace.potentials["output"][1:, 0].tolist() == [[0.25], [2.375]]
    assert trace.sensitivities["output"][1:, 0].tolist() == [[-2.5], [-3.625]]
    assert trace.sensitivities["a"][1:, 0].tolist() == [[0, 0], [-2.5, 0]]
