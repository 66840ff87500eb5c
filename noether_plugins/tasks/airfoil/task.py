"""The task of aerofoils: its samples, its picture, and predictions for coordinate files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from noether_core.tasks import (
    Fields,
    GroupLayout,
    Layout,
    Points,
    Predict,
    Quantity,
    Sample,
    Task,
    write_whole,
)
from noether_plugins.tasks.airfoil.config import AirfoilTaskConfig
from noether_plugins.tasks.airfoil.contours import FloatArray, node_normals
from noether_plugins.tasks.airfoil.dataset import (
    AirfoilTokens,
    draw_angle,
    draw_tokens,
    draw_volume_positions,
    ruler_of,
    sample,
)
from noether_plugins.tasks.airfoil.folder import (
    FileSection,
    Split,
    open_folder,
    open_section,
    split,
)
from noether_plugins.tasks.airfoil.geometry import naca_contour, turn_into_stream, turn_to_chord
from noether_plugins.tasks.lazy import LazySamples

_HELD_OUT = 1_000_003
"""Added to the seed for held-out aerofoils."""

_HELD_OUT_SHARE = 0.2
"""Share of the sections of a folder that is held out where the config says none."""

LAYOUT = Layout(
    coordinates=2,
    groups={
        "surface": GroupLayout(
            inputs={"normal": Quantity(width=2, is_normalised=False)},
            fields={"pressure": Quantity(label="Cp")},
        ),
        "volume": GroupLayout(
            inputs={"distance": Quantity(unit="chords", is_normalised=False)},
            fields={"velocity": Quantity(width=2)},
        ),
    },
    length=1.0,
)
"""Surface points with their outward normals; points in the fluid with how far the surface is."""


class Case(NamedTuple):
    """One aerofoil at its angle of attack, and what is seen of its flow."""

    title: str
    """What it is."""

    contour: FloatArray
    """``(panels + 1, 2)``: the body in the frame of the stream."""

    angle_of_attack: float
    """Degrees."""

    tokens: AirfoilTokens
    """What is seen of it."""


class AirfoilTask(Task):
    """Predict Cp on an aerofoil and the velocity around it, from points, normals and distances.

    Args:
        config: How many aerofoils there are, of which sections.
        seed: Aerofoil *i* depends on this, its number and the sections alone.
    """

    config: AirfoilTaskConfig

    @property
    def layout(self) -> Layout:
        """Surface and volume, in chords."""
        return LAYOUT

    @cached_property
    def train(self) -> Sequence[Sample]:
        """Aerofoils to learn from.

        Raises:
            TaskError: If files of sections are wrong; all of them are named.
        """
        cases = self._cases(is_held_out=False)
        return self._samples("aerofoil", cases, self.config.n_train)

    @cached_property
    def test(self) -> Sequence[Sample]:
        """Held-out aerofoils; with files, of sections that none of the others has.

        Raises:
            TaskError: As `train`.
        """
        cases = self._cases(is_held_out=True)
        return self._samples("held_out_aerofoil", cases, self.config.n_test)

    def _samples(self, name: str, cases: Callable[[int], Case], count: int) -> Sequence[Sample]:
        numbers = 5 * (self.config.n_surface + self.config.n_volume)
        return LazySamples(
            count,
            lambda number: _sample_of(f"{name}_{number}", cases(number).tokens),
            size=numbers * np.dtype(np.float32).itemsize,
        )

    def _cases(self, *, is_held_out: bool) -> Callable[[int], Case]:
        """Return what makes a case of its number; the files are read and checked here."""
        seed = self.seed + _HELD_OUT if is_held_out else self.seed
        sections: Sequence[FileSection] = ()
        if self._split is not None:
            sections = self._split.test if is_held_out else self._split.train

        def make(number: int) -> Case:
            # the streams that `generate` spawns
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
            if sections:
                return self._file_case(rng, sections[number % len(sections)])
            return self._drawn_case(rng)

        return make

    @cached_property
    def _split(self) -> Split | None:
        if self.config.contours is None:
            return None
        share = self.config.hold_out or _HELD_OUT_SHARE
        return split(open_folder(Path(self.config.contours)), share, self.seed)

    def _drawn_case(self, rng: np.random.Generator) -> Case:
        drawn = sample(rng, n_surface=self.config.n_surface, n_volume=self.config.n_volume)
        section, angle = drawn.section, drawn.angle_of_attack
        title = (
            f"camber {section.camber:.1%} at {section.camber_position:.0%} of the chord, "
            f"thickness {section.thickness:.1%}"
        )
        return Case(title, turn_into_stream(naca_contour(section), angle), angle, drawn)

    def _file_case(self, rng: np.random.Generator, opened: FileSection) -> Case:
        angle = draw_angle(rng)
        flow = opened.flow(angle)
        tokens = draw_tokens(
            rng,
            flow,
            n_surface=self.config.n_surface,
            n_volume=self.config.n_volume,
            ruler=ruler_of(flow),
        )
        return Case(opened.section.name, flow.nodes, angle, tokens)

    def picture(self, predict: Predict) -> bytes:
        """Return a picture of the first held-out aerofoil: Cp over the chord, and speed around it.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        from noether_plugins.tasks.airfoil.picture import draw  # noqa: PLC0415  with matplotlib

        return draw(self._cases(is_held_out=True)(0), self.test[0], predict)

    def read(self, file: Path, layout: Layout) -> Sample:  # noqa: ARG002  always the same
        """Return the section of a coordinate file, with its own nodes for surface points.

        The angle of attack is what a comment in the file says, ``# angle_of_attack: 4``, or 0.

        Raises:
            TaskError: If the file holds no section whose flow can be found, with the reason.
        """
        return self._sample_at_nodes(file.stem, open_section(file))

    def _sample_at_nodes(self, name: str, opened: FileSection) -> Sample:
        """Return a section at its own nodes, and at points around it that are always the same."""
        flow, walk = opened.flow(_angle_of(opened)), opened.walk
        positions, away = draw_volume_positions(
            np.random.default_rng(0), flow.outline, self.config.n_volume, ruler_of(flow)
        )
        tokens = AirfoilTokens(
            surface_positions=walk.at_nodes(flow.nodes),
            surface_normals=walk.at_nodes(node_normals(flow.nodes)),
            surface_pressures=walk.at_nodes(flow.pressure_coefficients),
            volume_positions=positions,
            volume_distances=away,
            volume_velocities=flow.velocity(positions),
        )
        return _sample_of(name, tokens)

    def write(self, file: Path, predicted: Fields, folder: Path) -> tuple[Path, ...]:
        """Write Cp at the nodes of *file*, and velocities at points around, as two tables.

        They are ``NAME_surface.csv`` with x, y, pressure and ``NAME_volume.csv`` with x, y,
        velocity_x, velocity_y, all along the axes and in the lengths of *file*; the stream comes at
        the angle of attack.
        """
        opened = open_section(file)
        angle = _angle_of(opened)
        sample = self._sample_at_nodes(file.stem, opened)
        volume = sample.groups["volume"].positions.astype(float)
        around = opened.chord.from_unit(turn_to_chord(volume, angle))
        # a velocity turns as the way between two points does
        velocities = predicted["volume"]["velocity"].astype(float)
        turned = turn_to_chord(velocities, angle) - turn_to_chord(np.zeros(2), angle)
        return (
            _write_table(
                folder / f"{file.stem}_surface.csv",
                ("x", "y", "pressure"),
                np.concatenate([opened.section.nodes, predicted["surface"]["pressure"]], axis=1),
            ),
            _write_table(
                folder / f"{file.stem}_volume.csv",
                ("x", "y", "velocity_x", "velocity_y"),
                np.concatenate([around, turned], axis=1),
            ),
        )


def _angle_of(opened: FileSection) -> float:
    angle = opened.section.angle_of_attack
    return 0.0 if angle is None else angle


def _sample_of(name: str, tokens: AirfoilTokens) -> Sample:
    """Return tokens as a sample, in single precision."""

    def single(values: FloatArray) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        return values.reshape(len(values), -1).astype(np.float32)

    surface = Points(
        positions=single(tokens.surface_positions),
        inputs={"normal": single(tokens.surface_normals)},
        fields={"pressure": single(tokens.surface_pressures)},
    )
    volume = Points(
        positions=single(tokens.volume_positions),
        inputs={"distance": single(tokens.volume_distances)},
        fields={"velocity": single(tokens.volume_velocities)},
    )
    return Sample(name=name, groups={"surface": surface, "volume": volume})


def _write_table(path: Path, header: Iterable[str], rows: FloatArray) -> Path:
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows([f"{value:.7g}" for value in row] for row in rows.tolist())
    write_whole(path, text.getvalue())
    return path
