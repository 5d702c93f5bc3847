"""Fixed point: networks of integers, whose every step is one specification that all backends keep bit for bit.

    scales      what an integer stands for, how wide it may be, and how a wider one is rounded to it
    format      the widths that a chip gives to weights, messages and states
    functions   rate functions and losses on integers: exact, or as tables
    population, synapses    neurons and weights of integers
    pace        how fast integer weights change, and how changes are rounded
    rules       the local rules: what `dynamics` is for floats
    network     FixedNetwork

`quantization` makes a FixedNetwork of a Network, `integer_oracle` judges it: code of its own for what follows.

The arithmetic
==============

Every variable is an integer. [x] is x rounded to nearest with ties up, floor(x + 1/2); x >> n is floor(x / 2^n).

1. Scales. An integer n of exponent e stands for n 2^-e; e may be negative. A width of b bits holds -2^(b-1) .. 2^(b-1) - 1, in
   two's complement. A real number x becomes floor(x 2^e + 1/2), computed in float64 and limited to its width.
2. Exponents are given (`Exponents`): of each potential, each sensitivity, and the weights of each projection. With weight_bits
   wb, message_bits mb and state_bits sb: weights have wb bits; potentials u, sensitivities s and biases b have sb, and a bias the
   exponent of its potential. The input has no state: its rate has the exponent of its potential, and mb bits.
3. Messages have mb bits. A sensitivity is sent as m = min([s 2^(mb - sb)], 2^(mb-1) - 1), with the exponent of s less sb - mb.
   A rate is r = phi(u) of 6 or 7. Rounding up at the upper end stops there; this is no saturation.
4. One step, of every population from the state before:
       u <- limit([(sum over projections to it of W r + b) 2^E])         E the exponent of u
       s <- limit([phi'(u) (sum over projections from it of W^T m) 2^E])    E the exponent of s; phi' of the old u
       s <- limit(error(u, y))                                              of the readout; where others drive it, error is added
   The sum in the brackets is exact, whatever the exponents of its terms: products are shifted to the left to the finest exponent
   there is, never to the right. It is rounded once and limited once, so that no order of summation and no mapping shows. In a
   network sums have at most 62 bits, for all weights, messages and slopes of their widths; others are refused.
5. Saturation. What leaves its width is limited to it. Each number of u, s, weights (in the forward copy: the other one is the
   same weight) and biases that this changes counts as one, and so does each input and target; with `strict` any makes an error.
6. Exact rate functions, of potentials with the exponent e; phi'(0) = 0 at kinks, and slopes are integers of the exponent given:
       identity     r = u                        slope 1                          exponent 0
       relu         r = max(u, 0)                slope 1 for u > 0, else 0        exponent 0
       leaky_relu   r = u, or 164 / 2^14 u       2^14 for u > 0, 164 for u < 0    exponent 14
       hard_tanh    r = min(max(u, -1), 1)       slope 1 for -1 < u < 1, else 0   exponent 0; e >= 0, so that 1 is an integer
   r is rounded once, to the exponent e - sb + mb (the upper bits of the potential), of hard_tanh to mb - 2; and limited as in 3.
7. All other rate functions, and their slopes, are tables of 2^p pieces over all potentials, p = min(table_bits, sb): entry i
   of 0 .. 2^p is the value, in float64, at the integer first + i 2^q with first = -2^(sb-1) and q = sb - p, as an integer (1).
   Both have mb bits and the largest exponent with which no entry is beyond 2^(mb-1) - 1 in size (0 if all are 0). An argument n,
   limited to the first and last point, lies k = n - first - i 2^q, 0 <= k <= 2^q, beyond an entry i that is not the last: its
   value is T[i] + [k (T[i+1] - T[i]) / 2^q]. This is within h^2 / 8 max|f''| and one unit of f, for pieces of length h.
8. Losses. Targets have the exponent and the width of the readout's u for squared_error, else the exponent 16 and 18 bits. The
   error is [(p - y) 2^(E - e)], from the exponent e of the targets to E, that of the readout's s:
       squared_error          p = u
       binary_cross_entropy   p = T(u), a table as in 7 of 1 / (1 + exp(-u)) from -16 to 16, or as far as u reaches
       cross_entropy          d = max(u) - u;  t = T(d), 0 beyond the last point;  p = [t 2^16 / sum t], an exact quotient
   where T for the latter is a table of exp(-d) from 0 to 16, or as far as differences of two u reach. Entries have the exponent
   16. A table of a range of 2^n integers (16 is 2^max(0, e + 4) of them, e of u) has 2^min(table_bits, n) pieces.
9. Gradients. G = sum over the batch of m r (for a projection) or m (for a bias): exact, with the exponent of m plus that of r, or
   that of m. As real numbers they are divided by the size of the batch.
10. Learning, once per window, of all plastic weights (exponent e, G of exponent g) and biases alike. With the bits B of G (of m,
   and for weights of r, plus the bit length of the batch size) and lr / batch = f 2^k in float64, 1/2 <= f < 1:
       M = min(15, 60 - B);  factor = f 2^M, to nearest with ties to even;  places = M - k - e + g
       where places < 0: factor <- factor 2^-places, places <- 0
       kept = min(places, 44);  dropped = min(places - kept, 62)
       decay = lr weight_decay 2^kept in float64, to nearest with ties to even; 0 for biases
       change = ((-G factor) >> dropped) - w decay
       w <- limit(w + ((change + h) >> kept)),   h = 2^(kept-1) to nearest, random to kept bits stochastically; 0 if kept = 0
   Refused are M < 7 (a batch too large, or messages too wide), a learning rate for which G factor has more than 62 bits, and
   lr weight_decay > 1.
11. Random numbers. h is the upper `kept` bits of word(seed, update, cell). With all in 64 bits and g = 0x9E3779B97F4A7C15:
       word(a, b, c) = mix(mix(mix(a + g) ^ (b + g)) ^ (c + g))
       mix(z): z ^= z >> 30; z *= 0xBF58476D1CE4E5B9; z ^= z >> 27; z *= 0x94D049BB133111EB; z ^= z >> 31   (SplitMix64)
   `update` counts the updates of the network from 0. The cell of weight (i, j) is P 2^48 + i 2^24 + j, for the place P of its
   projection in the network, and i, j within its block (i, i on a diagonal); that of bias i is (2^14 + P) 2^48 + i, for the
   place P of its population. Both copies of a weight, wherever they are, read G and the same cell, and stay the same.
12. A divided fan-in (for a chip that cannot hold all synapses of a neuron) keeps all this. Populations that hold parts of a sum
   of rates, and relays in which parts of a sum of sensitivities come together, hold these with the width and the exponent of the
   accumulator, and send them whole, over weights of 1, with phi' = 1: they round nothing. A piece of a projection keeps the
   cells of the whole. 2D is that of the deeper network.
"""

from dyadic_neuro.fixed_point.format import FixedFormat
from dyadic_neuro.fixed_point.network import FixedNetwork

__all__ = ["FixedFormat", "FixedNetwork"]
