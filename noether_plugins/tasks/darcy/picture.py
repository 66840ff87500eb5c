"""What the picture of a run shows: ground and its pressure, true, predicted and how far off."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from noether_core.tasks import Predict, Sample
from noether_plugins.tasks.darcy.permeability import FloatArray

if TYPE_CHECKING:
    from noether_plugins.tasks.darcy.task import Case

_INCHES = (14.0, 3.6)
_DOTS_PER_INCH = 130


def draw(case: Case, predict: Predict) -> bytes:
    """Return a PNG picture of a ground and the pressure in it.

    Args:
        case: The ground and its flow.
        predict: Predicts the fields of a sample.
    """
    true = case.flow.pressure
    predicted = _predicted(case, predict)
    difference = predicted - true
    most = float(np.abs(difference).max()) or 1.0
    highest = float(max(true.max(), predicted.max()))

    figure = Figure(figsize=_INCHES, layout="constrained")
    panels = {
        "ln k": (case.log_permeability, "cividis", None, None),
        "pressure, true": (true, "viridis", 0.0, highest),
        "pressure, predicted": (predicted, "viridis", 0.0, highest),
        "predicted less true": (difference, "coolwarm", -most, most),
    }
    for axes, (title, (values, colours, low, high)) in zip(
        figure.subplots(1, 4), panels.items(), strict=True
    ):
        image = axes.imshow(
            values.T, origin="lower", extent=(0, 1, 0, 1), cmap=colours, vmin=low, vmax=high
        )
        axes.set_title(title)
        axes.set(xticks=[], yticks=[])
        figure.colorbar(image, ax=axes, shrink=0.8)

    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DOTS_PER_INCH)
    return content.getvalue()


def _predicted(case: Case, predict: Predict) -> FloatArray:
    """Return the pressure in all cells, shown to the model in handfuls as large as its samples."""
    from noether_plugins.tasks.darcy.task import points_of  # noqa: PLC0415  which imports this

    n_points, n_cells = len(case.cells), case.log_permeability.size
    n_handfuls = math.ceil(n_cells / n_points)
    # shuffled, and some of them twice so that every handful is full
    order = np.resize(np.random.default_rng(0).permutation(n_cells), n_handfuls * n_points)

    pressure = np.empty(n_cells)
    for number, cells in enumerate(order.reshape(n_handfuls, n_points)):
        cells.sort()
        handful = Sample(name=f"handful_{number}", groups={"points": points_of(case, cells)})
        pressure[cells] = predict(handful)["points"]["pressure"][:, 0]
    return pressure.reshape(case.log_permeability.shape)
