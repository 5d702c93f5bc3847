"""Figures of a relaxation and of a training: the two waves, and the learning curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dyadic_neuro.plotting.canvas import new_figure
from dyadic_neuro.studies.convergence import Row
from dyadic_neuro.training import EpochRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_FLOOR = 1e-16  # the rounding of float64: below it a relative error is noise
_PANELS = ("potential", "sensitivity", "gradient")


def waves(rows: Sequence[Row], title: str = "") -> Figure:
    """Return the space-time diagram of a relaxation: relative error over step (across) and layer (up), a panel a quantity.

    The stepped line is where each layer is predicted to become exact. Raises MissingExtraError.
    """
    layers = list(dict.fromkeys(row.layer for row in rows))
    panels = [name for name in _PANELS if any(row.quantity == name for row in rows)]
    steps = len(rows[0].errors)
    figure = new_figure(min(12.0, 3.0 + 0.4 * steps * len(panels)), min(9.0, 1.9 + 0.35 * len(layers)))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, quantity in zip(axes, panels, strict=True):
        by_layer = {row.layer: row for row in rows if row.quantity == quantity}
        image = _panel(axis, [by_layer.get(layer) for layer in layers], steps)
        axis.set_title(quantity)
        axis.set_xlabel("step")
    axes[0].set_yticks(range(len(layers)), layers)
    axes[0].set_ylabel("layer")
    bar = figure.colorbar(image, ax=list(axes), label="relative error", ticks=[0, -4, -8, -12, -16])
    bar.ax.set_yticklabels(["1", "1e-4", "1e-8", "1e-12", "1e-16"])
    figure.suptitle(title)
    figure.legend(handles=axes[0].lines[:1], labels=["predicted arrival"], loc="outside lower right", frameon=False)
    return figure


def learning_curve(history: Sequence[EpochRecord], title: str = "") -> Figure:
    """Return loss and accuracy over epochs. Raises MissingExtraError."""
    figure = new_figure(7.0, 3.4)
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

    loss, accuracy = figure.subplots(1, 2)
    epochs = [record.epoch for record in history]
    loss.plot(epochs, [record.loss for record in history], marker="o", markersize=3)
    loss.set_yscale("log")
    loss.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    loss.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    loss.yaxis.set_minor_locator(NullLocator())
    loss.set_ylabel("training loss (mean of the epoch)")
    for name, values in (("training, while learning", [r.accuracy for r in history]), ("test", [r.validation for r in history])):
        if all(value is not None for value in values):
            accuracy.plot(epochs, [100.0 * (value or 0.0) for value in values], marker="o", markersize=3, label=name)
    accuracy.set_ylabel("accuracy (%)")
    if accuracy.lines:
        accuracy.legend()
    for axis in (loss, accuracy):
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
    figure.suptitle(title)
    return figure


def _panel(axis: Axes, rows: Sequence[Row | None], steps: int) -> AxesImage:
    errors = np.full((len(rows), steps), np.nan)
    for i, row in enumerate(rows):
        if row is not None:
            errors[i] = np.log10(np.clip(row.errors, _FLOOR, 1.0))
    image = axis.imshow(errors, origin="lower", aspect="auto", cmap="magma", vmin=-16, vmax=0, interpolation="nearest")
    for i, row in enumerate(rows):
        if row is not None:
            axis.plot([row.due - 0.5, row.due - 0.5], [i - 0.5, i + 0.5], color="deepskyblue", linewidth=2)
    axis.set_xticks(range(0, steps, -(-steps // 8)))
    return image
