"""A picture of one held-out aerofoil: Cp along its chord and the flow around it, true beside
predicted.
"""

from __future__ import annotations

import io

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
from noether_plugins.workbench.data import FlowUnits, flow_batch
from noether_plugins.workbench.evaluation import predict
from noether_plugins.workbench.model import FlowTransformer

_INCHES = (13.5, 4.0)
_DOTS_PER_INCH = 130

FloatArray = NDArray[np.float64]


def draw(model: FlowTransformer, aerofoils: AirfoilBatch, units: FlowUnits, title: str) -> bytes:
    """Return a PNG picture of the first of *aerofoils*.

    Args:
        model: Predicts the fields.
        aerofoils: Held-out aerofoils.
        units: The units in which the model speaks.
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
    model: FlowTransformer, aerofoils: AirfoilBatch, units: FlowUnits, field: AirfoilField
) -> tuple[FloatArray, FloatArray]:
    """Return Cp at the surface tokens, and the speed on the grid.

    The grid is shown to the model in handfuls of random points, as many as it learnt with.
    """
    batch = flow_batch(aerofoils).select(torch.tensor([0])).to(units.pressure_mean.device)
    outside = np.flatnonzero(~field.is_inside)
    size = batch.volume.shape[1]
    order = np.resize(
        np.random.default_rng(0).permutation(outside), -(-len(outside) // size) * size
    )
    features = np.concatenate([field.positions, field.distances[..., None]], axis=-1).reshape(
        -1, 3
    )[order]
    volume = torch.from_numpy(features).to(batch.volume).reshape(-1, size, 3)

    pressure, _ = predict(model, batch.surface, batch.volume, units)
    _, velocity = predict(model, batch.surface.expand(len(volume), -1, -1), volume, units)

    speed = np.zeros(field.is_inside.size)
    speed[order] = velocity.reshape(-1, 2).norm(dim=-1).cpu().numpy()
    return pressure[0].cpu().double().numpy(), speed.reshape(field.is_inside.shape)


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
    """Continue the values of each column through the body, so that no white shows at its outline,
    drawn on top.
    """
    filled = values.copy()
    rows = np.arange(len(values))
    for column, inside in enumerate(is_inside.T):
        filled[inside, column] = np.interp(rows[inside], rows[~inside], values[~inside, column])
    return filled
