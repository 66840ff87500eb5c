"""What the picture of a run shows: Cp and speed of a held-out aerofoil, true and predicted."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from noether_core.tasks import Points, Predict, Sample
from noether_plugins.tasks.airfoil.contours import BoolArray, FloatArray
from noether_plugins.tasks.airfoil.dataset import BOX
from noether_plugins.tasks.airfoil.field import AirfoilField, evaluate_flow
from noether_plugins.tasks.airfoil.geometry import turn_to_chord
from noether_plugins.tasks.airfoil.panels import solve

if TYPE_CHECKING:
    from noether_plugins.tasks.airfoil.task import Case

_INCHES = (13.5, 4.0)
_DOTS_PER_INCH = 130
_LONGEST_TITLE = 80


def draw(case: Case, sample: Sample, predict: Predict) -> bytes:
    """Return a PNG picture of an aerofoil.

    Args:
        case: The aerofoil.
        sample: The same, as the model sees it.
        predict: Predicts the fields of a sample.
    """
    field = evaluate_flow(solve(case.contour))
    pressure = predict(sample)["surface"]["pressure"][:, 0]
    speed = _predicted_speed(sample, field, predict)

    figure = Figure(figsize=_INCHES, layout="constrained")
    pressure_axes, true_axes, predicted_axes = figure.subplots(1, 3, width_ratios=(1.1, 1, 1))
    # names of files may hold anything, dollars included
    figure.suptitle(
        f"{case.title[:_LONGEST_TITLE]}, angle of attack {case.angle_of_attack:.1f} degrees",
        parse_math=False,
    )
    positions = sample.groups["surface"].positions
    _draw_pressure(pressure_axes, field, positions, pressure, case.angle_of_attack)
    true_speed = np.linalg.norm(field.velocities, axis=-1)
    scale = Normalize(*np.quantile(true_speed[~field.is_inside], (0.002, 0.998)))
    for axes, values, name in (
        (true_axes, true_speed, "true"),
        (predicted_axes, speed, "predicted"),
    ):
        image = _draw_speed(axes, field, values, scale)
        axes.set_title(f"speed over free stream, {name}")
    figure.colorbar(image, ax=[true_axes, predicted_axes], shrink=0.8)

    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DOTS_PER_INCH)
    return content.getvalue()


def _predicted_speed(sample: Sample, field: AirfoilField, predict: Predict) -> FloatArray:
    """Return the speed on the grid, zero in the body.

    The grid is shown to the model in handfuls of random points, as many as it learnt with.
    """
    surface = sample.groups["surface"]
    n_volume = len(sample.groups["volume"])
    # The grid points in the fluid, shuffled, and some of them twice so that every handful is full.
    outside = np.flatnonzero(~field.is_inside)
    n_handfuls = math.ceil(len(outside) / n_volume)
    order = np.resize(np.random.default_rng(0).permutation(outside), n_handfuls * n_volume)
    positions = field.positions.reshape(-1, 2).astype(np.float32)
    away = field.distances.reshape(-1, 1).astype(np.float32)
    velocities = field.velocities.reshape(-1, 2).astype(np.float32)

    speed = np.zeros(field.is_inside.size)
    for number, rows in enumerate(order.reshape(n_handfuls, n_volume)):
        volume = Points(
            positions=positions[rows],
            inputs={"distance": away[rows]},
            fields={"velocity": velocities[rows]},
        )
        handful = Sample(name=f"handful_{number}", groups={"surface": surface, "volume": volume})
        speed[rows] = np.linalg.norm(predict(handful)["volume"]["velocity"], axis=1)
    return speed.reshape(field.is_inside.shape)


def _draw_pressure(
    axes: Axes,
    field: AirfoilField,
    positions: NDArray[np.float32],
    predicted: NDArray[np.float32],
    angle: float,
) -> None:
    """Draw Cp over the chord, suction upwards as aerodynamicists do."""
    chord = turn_to_chord(field.flow.nodes, angle)[:, 0]
    axes.plot(chord, field.flow.pressure_coefficients, color="black", linewidth=1.2, label="true")
    axes.plot(
        turn_to_chord(positions.astype(float), angle)[:, 0],
        predicted,
        ".",
        color="tab:red",
        markersize=5,
        label="predicted",
    )
    axes.invert_yaxis()
    axes.set(xlabel="position along the chord", ylabel="pressure coefficient Cp")
    axes.legend(frameon=False)


def _draw_speed(axes: Axes, field: AirfoilField, speed: FloatArray, scale: Normalize) -> AxesImage:
    (left, right), (bottom, top) = BOX
    extent = (left, right, bottom, top)
    image = axes.imshow(
        _filled(speed, field.is_inside),
        origin="lower",
        extent=extent,
        norm=scale,
        cmap="viridis",
        interpolation="bilinear",
    )
    axes.fill(*field.flow.nodes.T, color="white", edgecolor="black", linewidth=0.8)
    axes.set(xticks=[], yticks=[])
    return image


def _filled(values: FloatArray, is_inside: BoolArray) -> FloatArray:
    """Continue the values of each column through the body, whose outline is drawn on top.

    So nothing white shows beside the outline.
    """
    filled = values.copy()
    rows = np.arange(len(values))
    for column, inside in enumerate(is_inside.T):
        filled[inside, column] = np.interp(rows[inside], rows[~inside], values[~inside, column])
    return filled
