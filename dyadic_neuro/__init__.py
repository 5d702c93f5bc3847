"""dyadic_neuro: exact backpropagation gradients as the finite-time relaxation of a neuromorphic network.

A network's forward and sensitivity populations exchange local messages; after 2D unit steps (D its depth) the state is
the exact gradient. `relax` runs that on a backend, `train` learns with it, `backprop` is the textbook oracle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dyadic_neuro.lazy import attach

if TYPE_CHECKING:
    from dyadic_neuro import backends, codings, datasets, dynamics, errors, plotting, testing
    from dyadic_neuro.activations import Activation
    from dyadic_neuro.comparing import compare
    from dyadic_neuro.cost import Cost
    from dyadic_neuro.datasets import Dataset
    from dyadic_neuro.dynamics import State
    from dyadic_neuro.errors import DyadicError
    from dyadic_neuro.fixed_point import FixedFormat, FixedNetwork
    from dyadic_neuro.losses import Loss
    from dyadic_neuro.mappings.chip import Chip
    from dyadic_neuro.mappings.mapping import Mapping, map_network
    from dyadic_neuro.messages import MessageLedger
    from dyadic_neuro.network import Network
    from dyadic_neuro.oracle import accuracy, backprop, mean_loss, predict
    from dyadic_neuro.population import Population
    from dyadic_neuro.projection import Projection
    from dyadic_neuro.quantity import Quantity
    from dyadic_neuro.quantization import quantize
    from dyadic_neuro.relaxation import relax, stream
    from dyadic_neuro.spikes import Spikes
    from dyadic_neuro.substrate import Substrate
    from dyadic_neuro.trace import Trace
    from dyadic_neuro.training import TrainingResult, train

__version__ = "0.1.0"

_SOURCES = {
    "Activation": "dyadic_neuro.activations",
    "Chip": "dyadic_neuro.mappings.chip",
    "Cost": "dyadic_neuro.cost",
    "Dataset": "dyadic_neuro.datasets",
    "DyadicError": "dyadic_neuro.errors",
    "FixedFormat": "dyadic_neuro.fixed_point",
    "FixedNetwork": "dyadic_neuro.fixed_point",
    "Loss": "dyadic_neuro.losses",
    "Mapping": "dyadic_neuro.mappings.mapping",
    "MessageLedger": "dyadic_neuro.messages",
    "Network": "dyadic_neuro.network",
    "Population": "dyadic_neuro.population",
    "Projection": "dyadic_neuro.projection",
    "Quantity": "dyadic_neuro.quantity",
    "Spikes": "dyadic_neuro.spikes",
    "State": "dyadic_neuro.dynamics",
    "Substrate": "dyadic_neuro.substrate",
    "Trace": "dyadic_neuro.trace",
    "TrainingResult": "dyadic_neuro.training",
    "accuracy": "dyadic_neuro.oracle",
    "backends": "dyadic_neuro.backends",
    "backprop": "dyadic_neuro.oracle",
    "codings": "dyadic_neuro.codings",
    "compare": "dyadic_neuro.comparing",
    "datasets": "dyadic_neuro.datasets",
    "dynamics": "dyadic_neuro.dynamics",
    "errors": "dyadic_neuro.errors",
    "map_network": "dyadic_neuro.mappings.mapping",
    "mean_loss": "dyadic_neuro.oracle",
    "plotting": "dyadic_neuro.plotting",
    "predict": "dyadic_neuro.oracle",
    "quantize": "dyadic_neuro.quantization",
    "relax": "dyadic_neuro.relaxation",
    "stream": "dyadic_neuro.relaxation",
    "studies": "dyadic_neuro.studies",
    "testing": "dyadic_neuro.testing",
    "train": "dyadic_neuro.training",
}
__all__ = [
    "Activation",
    "Chip",
    "Cost",
    "Dataset",
    "DyadicError",
    "FixedFormat",
    "FixedNetwork",
    "Loss",
    "Mapping",
    "MessageLedger",
    "Network",
    "Population",
    "Projection",
    "Quantity",
    "Spikes",
    "State",
    "Substrate",
    "Trace",
    "TrainingResult",
    "accuracy",
    "backends",
    "backprop",
    "codings",
    "compare",
    "datasets",
    "dynamics",
    "errors",
    "map_network",
    "mean_loss",
    "plotting",
    "predict",
    "quantize",
    "relax",
    "stream",
    "studies",
    "testing",
    "train",
]
__getattr__ = attach(__name__, _SOURCES)
