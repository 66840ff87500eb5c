"""What the picture of a run shows: Cp and speed of a held-out aerofoil, true and predicted."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from noether_plugins.tasks.airfoil import (
    BOX,
    AirfoilBatch,
    AirfoilField,
    evaluate_field,
    turn_to_chord,
)
from noether_plugins.workbench.data import Units, as_batch
from noether_plugins.workbench.evaluation import predict
from noether_plugins.workbench.model import PointTransformer

_INCHES = (13.5, 4.0)
_DOTS_PER_INCH = 130

FloatArray = NDArray[np.float64]


def draw(model: PointTransformer, aerofoils: AirfoilBatch, units: Units, *, title: str) -> bytes:
    """Return a PNG picture of the first of *aerofoils*.

    Args:
        model: Predicts the fields.
        aerofoils: Held-out aerofoils.
        units: The units of the predictions.
        title: What stands above.
    """
    section, angle = aerofoils.sections[0], float(aerofoils.angles_of_attack[0])
    field = evaluate_field(section, angle)
    pressure, speed = _predicted(model, aerofoils, units, field)

    figure = Figure(figsize=_INCHES, layout="constrained")
    pressure_axes, true_axes, predicted_axes = figure.subplots(1, 3, width_ratios=(1.1, 1, 1))
    figure.suptitle(
        f"{title}: camber {section.camber:.1%} at {section.camber_position:.0%} of the chord, "
        f"thickness {section.thickness:.1%}, angle of attack {angle:.1f} degrees"
    )
    _draw_pressure(
        pressure_axes, field, aerofoils.surface_positions[0].astype(float), pressure, angle
    )
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


def _predicted(
    model: PointTransformer, aerofoils: AirfoilBatch, units: Units, field: AirfoilField
) -> tuple[FloatArray, FloatArray]:
    """Return Cp at the surface tokens, and the speed on the grid.

    The grid is shown to the model in handfuls of random points, as many as it learnt with.
    """
    first = as_batch(aerofoils).select(torch.tensor([0])).to(next(model.parameters()).device)
    surface, volume = first.inputs["surface"], first.inputs["volume"]
    n_volume = volume.shape[1]

    # The grid points in the fluid, shuffled, and some of them twice so that every handful is full.
    outside = np.flatnonzero(~field.is_inside)
    n_handfuls = math.ceil(len(outside) / n_volume)
    order = np.resize(np.random.default_rng(0).permutation(outside), n_handfuls * n_volume)
    features = np.concatenate([field.positions, field.distances[..., None]], axis=-1)
    points = torch.from_numpy(features.reshape(-1, 3)[order]).to(volume)
    handfuls = {
        "surface": surface.expand(n_handfuls, -1, -1),
        "volume": points.reshape(n_handfuls, n_volume, 3),
    }

    pressure = predict(model, first.inputs, units)["pressure"].flatten()
    speeds = predict(model, handfuls, units)["velocity"].norm(dim=-1).flatten()

    speed = np.zeros(field.is_inside.size)
    speed[order] = speeds.cpu().numpy()
    return pressure.cpu().double().numpy(), speed.reshape(field.is_inside.shape)


def _draw_pressure(
    axes: Axes, field: AirfoilField, positions: FloatArray, predicted: FloatArray, angle: float
) -> None:
    """Draw Cp over the chord, suction upwards as aerodynamicists do."""
    chord = turn_to_chord(field.flow.nodes, angle)[:, 0]
    axes.plot(chord, field.flow.pressure_coefficients, color="black", linewidth=1.2, label="true")
    axes.plot(
        turn_to_chord(positions, angle)[:, 0],
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


def _filled(values: FloatArray, is_inside: NDArray[np.bool_]) -> FloatArray:
    """Continue the values of each column through the body, whose outline is drawn on top.

    So nothing white shows beside the outline.
    """
    filled = values.copy()
    rows = np.arange(len(values))
    for column, inside in enumerate(is_inside.T):
        filled[inside, column] = np.interp(rows[inside], rows[~inside], values[~inside, column])
    return filled
