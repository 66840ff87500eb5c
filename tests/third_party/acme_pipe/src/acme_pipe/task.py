"""Pipes, the flow in them, and files of either."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from acme_pipe.config import PipeConfig
from noether_core.tasks import (
    Fields,
    GroupLayout,
    Layout,
    Points,
    Quantity,
    Sample,
    Task,
    TaskError,
)

_LAYOUT = Layout(
    coordinates=2,
    groups={
        "fluid": GroupLayout(
            inputs={"distance": Quantity(unit="m")},
            fields={"velocity": Quantity(unit="m/s", label="u")},
        ),
        "wall": GroupLayout(fields={"shear": Quantity(unit="Pa")}),
    },
    inputs={"gradient": Quantity(unit="Pa/m", label="-dp/dx")},
)
_FIELDS = {"fluid": "velocity", "wall": "shear"}


class PipeTask(Task):
    """Flow in pipes: velocities in a cross-section, and the shear stress at the wall.

    ``u(r) = G (R^2 - r^2) / (4 mu)`` and ``tau = G R / 2``, by Hagen and Poiseuille.
    """

    config: PipeConfig

    @property
    def layout(self) -> Layout:
        """Velocities in the fluid, the shear at the wall, and one gradient for each pipe."""
        return _LAYOUT

    @cached_property
    def train(self) -> Sequence[Sample]:
        """Pipes to learn from."""
        return self._pipes("train", self.config.n_train, stream=0)

    @cached_property
    def test(self) -> Sequence[Sample]:
        """Held-out pipes."""
        return self._pipes("test", self.config.n_test, stream=1)

    def _pipes(self, name: str, count: int, *, stream: int) -> list[Sample]:
        rng = np.random.default_rng((self.seed, stream))
        return [self._pipe(f"{name}_{number}", rng) for number in range(count)]

    def _pipe(self, name: str, rng: np.random.Generator) -> Sample:
        radius = rng.uniform(self.config.smallest, self.config.largest)
        gradient = rng.uniform(0.5, 2.0)

        n_fluid = int(rng.integers(self.config.points // 2, self.config.points, endpoint=True))
        n_wall = int(rng.integers(4, self.config.points // 2, endpoint=True))
        radii = radius * np.sqrt(rng.uniform(0, 0.999, n_fluid))
        fluid = _on_circles(radii, rng)
        wall = _on_circles(np.full(n_wall, radius), rng)

        velocity = gradient * (radius**2 - radii**2) / (4 * self.config.viscosity)
        shear = np.full(n_wall, gradient * radius / 2)
        return _sample(name, gradient, fluid, wall, {"fluid": velocity, "wall": shear})

    def read(self, file: Path, layout: Layout) -> Sample:
        """Return the pipe in a file of JSON, with velocity and shear where they are there."""
        try:
            data = json.loads(Path(file).read_text(encoding="utf-8"))
            fluid, wall = (np.array(data[group]["positions"], float) for group in _FIELDS)
            fields = {
                group: np.array(data[group][field], float)
                for group, field in _FIELDS.items()
                if field in data[group]
            }
            return _sample(Path(file).stem, float(data["gradient"]), fluid, wall, fields)
        except OSError as error:
            raise TaskError(f"{file}: {error.strerror}") from error
        except (ValueError, LookupError, TypeError) as error:
            way_out = "see the README for what a file holds"
            raise TaskError(f"{file}: is no pipe: {error!r}; {way_out}") from error

    def write(self, file: Path, predicted: Fields, folder: Path) -> tuple[Path, ...]:
        """Write what the file holds, with the predicted fields."""
        data: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
        for group, field in _FIELDS.items():
            data[group][field] = np.asarray(predicted[group][field])[:, 0].tolist()

        target = Path(folder) / Path(file).name
        part = target.with_name(f".{target.name}.part")
        part.write_text(json.dumps(data), encoding="utf-8")
        part.replace(target)
        return (target,)


def _on_circles(radii: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    angles = rng.uniform(0, 2 * np.pi, len(radii))
    return radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _sample(
    name: str,
    gradient: float,
    fluid: np.ndarray[Any, Any],
    wall: np.ndarray[Any, Any],
    fields: dict[str, np.ndarray[Any, Any]],
) -> Sample:
    radius = np.linalg.norm(wall, axis=1).mean()
    distance = radius - np.linalg.norm(fluid, axis=1, keepdims=True)
    columns = {
        group: {_FIELDS[group]: values[:, None].astype(np.float32)}
        for group, values in fields.items()
    }
    return Sample(
        name=name,
        groups={
            "fluid": Points(
                positions=fluid.astype(np.float32),
                inputs={"distance": distance.astype(np.float32)},
                fields=columns.get("fluid", {}),
            ),
            "wall": Points(positions=wall.astype(np.float32), fields=columns.get("wall", {})),
        },
        inputs={"gradient": np.array([gradient], np.float32)},
    )
