"""The samples of acme_pipe, and files of them."""

import json
from collections.abc import Mapping, Sequence
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

FIELDS = {"fluid": "velocity", "wall": "shear"}
"""What is predicted in each group."""


class PipeTask(Task):
    """Velocities in the cross-section of a pipe, and the shear stress at its wall.

    ``u(r) = G (R^2 - r^2) / (4 mu)`` and ``tau = G R / 2``, by Hagen and Poiseuille.
    """

    config: PipeConfig

    @property
    def layout(self) -> Layout:
        """Points of the fluid and of the wall, and one gradient for each pipe."""
        fluid = GroupLayout(
            inputs={"distance": Quantity(unit="m")},
            fields={"velocity": Quantity(unit="m/s", label="u")},
        )
        wall = GroupLayout(fields={"shear": Quantity(unit="Pa")})
        return Layout(
            coordinates=2,
            groups={"fluid": fluid, "wall": wall},
            inputs={"gradient": Quantity(unit="Pa/m", label="-dp/dx")},
        )

    @cached_property
    def train(self) -> Sequence[Sample]:
        """Pipes to learn from."""
        return self._pipes("train", self.config.n_train, stream=0)

    @cached_property
    def test(self) -> Sequence[Sample]:
        """Held-out pipes."""
        return self._pipes("test", self.config.n_test, stream=1)

    def _pipes(self, name: str, count: int, *, stream: int) -> list[Sample]:
        rng = np.random.default_rng((self.seed, stream))  # so that each seed has its own pipes
        return [self._pipe(f"{name}_{number}", rng) for number in range(count)]

    def _pipe(self, name: str, rng: np.random.Generator) -> Sample:
        radius = rng.uniform(self.config.smallest, self.config.largest)
        gradient = rng.uniform(0.5, 2.0)

        most = self.config.points
        radii = radius * np.sqrt(rng.uniform(0, 0.999, rng.integers(most // 2, most + 1)))
        around = np.full(rng.integers(4, most // 2 + 1), radius)

        velocity = gradient * (radius**2 - radii**2) / (4 * self.config.viscosity)
        shear = np.full(len(around), gradient * radius / 2)
        positions = {"fluid": _at(radii, rng), "wall": _at(around, rng)}
        return _sample(name, gradient, positions, {"fluid": velocity, "wall": shear})

    def read(self, file: Path, layout: Layout) -> Sample:
        """Return the pipe in a file of JSON, with its fields where they are there."""
        try:
            data = json.loads(Path(file).read_text(encoding="utf-8"))
            positions = {group: np.array(data[group]["positions"], float) for group in FIELDS}
            fields = {group: data[group].get(field) for group, field in FIELDS.items()}
            return _sample(Path(file).stem, float(data["gradient"]), positions, fields)
        except OSError as error:
            raise TaskError(f"{file}: {error.strerror}") from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise TaskError(f"{file}: holds no pipe, {error!r}; the README says how") from error

    def write(self, file: Path, predicted: Fields, folder: Path) -> tuple[Path, ...]:
        """Write what the file holds, with the predicted fields."""
        data = json.loads(Path(file).read_text(encoding="utf-8"))
        for group, field in FIELDS.items():
            data[group][field] = np.asarray(predicted[group][field])[:, 0].tolist()

        target = Path(folder) / Path(file).name
        part = target.with_name(f".{target.name}.part")  # so that no half file is ever there
        part.write_text(json.dumps(data), encoding="utf-8")
        part.replace(target)
        return (target,)


def _at(radii: Any, rng: np.random.Generator) -> Any:
    """Return points at these distances from the axis, in random directions."""
    angles = rng.uniform(0, 2 * np.pi, len(radii))
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _sample(
    name: str, gradient: float, positions: Mapping[str, Any], fields: Mapping[str, Any]
) -> Sample:
    """Return a sample of arrays in the shapes of the layout; fields that are not known are None."""
    radius = np.linalg.norm(positions["wall"], axis=1).mean()
    distance = radius - np.linalg.norm(positions["fluid"], axis=1)
    inputs = {"fluid": {"distance": _column(distance)}, "wall": {}}

    groups = {}
    for group, field in FIELDS.items():
        known = {} if fields[group] is None else {field: _column(fields[group])}
        points = positions[group].astype(np.float32)
        groups[group] = Points(positions=points, inputs=inputs[group], fields=known)
    return Sample(name=name, groups=groups, inputs={"gradient": np.array([gradient], np.float32)})


def _column(values: Any) -> Any:
    return np.array(values, np.float32)[:, None]
