"""Axial brain MR at two levels: the lateral ventricles, and below them the posterior fossa.

Drawn as signal from 0 to 1 in a frame whose unit is half the head's width; the forehead is on top.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.phantoms.canvas import Canvas, Mask, Phantom, random_view
from medreasoner_monai.data.phantoms.imaging import blurred, noise, stamp_text, windowed
from medreasoner_monai.data.phantoms.shapes import blob, smooth

_HORN = np.array(
    [
        (0.05, -0.42), (0.16, -0.50), (0.20, -0.40), (0.13, -0.22), (0.10, -0.02), (0.17, 0.20), (0.30, 0.42),
        (0.27, 0.52), (0.17, 0.42), (0.06, 0.16), (0.03, -0.10),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class _Sequence:
    """Signal of each tissue, 0 to 1."""

    name: str
    white: float
    grey: float
    fluid: float
    scalp: float
    edema: float
    tumor: float
    rim: float


_SEQUENCES = (
    _Sequence("T1", 0.62, 0.48, 0.12, 0.85, 0.42, 0.22, 0.29),
    _Sequence("contrast T1", 0.56, 0.46, 0.12, 0.80, 0.36, 0.26, 0.95),
    _Sequence("T2", 0.36, 0.50, 0.92, 0.70, 0.84, 0.62, 0.56),
    _Sequence("FLAIR", 0.38, 0.46, 0.08, 0.80, 0.70, 0.56, 0.95),
)


def render_brain_mr(rng: np.random.Generator) -> Phantom:
    """Draw one slice; see :func:`medreasoner_monai.data.phantoms.render`."""
    sequence = _SEQUENCES[int(rng.integers(0, len(_SEQUENCES)))]
    canvas = Canvas(random_view(rng, (0.32, 0.48), shift=0.16), 0.01)
    aspect = rng.uniform(1.1, 1.35)
    brain = _draw_head(canvas, rng, sequence, aspect)
    if rng.random() < 0.62:
        _draw_ventricles(canvas, rng, sequence, aspect, brain)
    else:
        _draw_posterior_fossa(canvas, rng, sequence, aspect, brain)
    if rng.random() < 0.7:
        _draw_tumor(canvas, rng, sequence, aspect, brain)
    image = _expose(canvas, rng)
    return Phantom(image, canvas.masks(), "MRI", "brain", f"axial {sequence.name} MRI", canvas.visible())


def _draw_head(canvas: Canvas, rng: np.random.Generator, sequence: _Sequence, aspect: float) -> Mask:
    """Scalp, skull, fluid and the folded brain; returns the brain's pixels."""
    stripped = rng.random() < 0.25  # many public data sets have the skull removed
    head = blob(rng, (0, 0), (1.0, aspect), wobble=0.015, power=2.15, points=72)
    if not stripped:
        canvas.fill(head, sequence.scalp * rng.uniform(0.7, 1.1))
        canvas.fill(head * rng.uniform(0.9, 0.95), 0.05)
        canvas.fill(head * 0.875, sequence.fluid * 0.9 + 0.04)
    inner = head * rng.uniform(0.82, 0.86)
    folds = inner * (1 + 0.018 * np.sin(np.arange(len(inner)) * rng.uniform(1.3, 2.2)))[:, None]
    brain = canvas.fill(folds, sequence.grey)
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    radius = np.full(180, rng.uniform(0.66, 0.74))
    for order in rng.integers(5, 30, 9):  # white matter reaches into the folds
        radius += rng.normal(0, 0.022) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    white = np.column_stack([radius * np.cos(angle), aspect * radius * np.sin(angle)])
    canvas.fill(white, sequence.white, within=brain)
    for _ in range(int(rng.integers(10, 26))):  # sulci
        at = rng.uniform(0, 2 * np.pi)
        direction = np.array([np.cos(at), aspect * np.sin(at)])
        path = np.array([direction * 0.84, direction * rng.uniform(0.66, 0.78) + rng.uniform(-0.03, 0.03, 2)])
        canvas.stroke(path, sequence.fluid * 0.7 + 0.3 * sequence.grey, 0.022)
    path = np.array([(0, -0.84 * aspect), (rng.uniform(-0.03, 0.03), 0.0), (0, 0.84 * aspect)])
    canvas.stroke(path, sequence.fluid * 0.7 + 0.25 * sequence.grey, 0.025)
    return brain


def _draw_ventricles(canvas: Canvas, rng: np.random.Generator, sequence: _Sequence, aspect: float, brain: Mask) -> None:
    wide, tall = rng.uniform(0.85, 1.9), rng.uniform(0.75, 1.15) * aspect
    for side in (-1.0, 1.0):
        deep = np.array([side * 0.36 * min(wide, 1.3), 0.05])
        canvas.fill(blob(rng, deep, (0.15, 0.26), side * 15, 0.08), sequence.grey, within=brain)  # basal ganglia
    for side in (-1.0, 1.0):
        horn = smooth(_HORN) * [side * wide * rng.uniform(0.9, 1.1), tall * rng.uniform(0.95, 1.05)]
        horn = horn + rng.normal(0, 0.012, 2)
        canvas.fill(horn, sequence.fluid, "lateral ventricles", brain)


def _draw_posterior_fossa(
    canvas: Canvas, rng: np.random.Generator, sequence: _Sequence, aspect: float, brain: Mask
) -> None:
    for side in (-1.0, 1.0):
        if rng.random() < 0.8:
            eye = (side * rng.uniform(0.36, 0.44), -rng.uniform(0.8, 0.9) * aspect)
            canvas.fill(blob(rng, eye, (0.2, 0.2)), sequence.scalp * 0.8)
            canvas.fill(blob(rng, eye, (0.16, 0.16)), sequence.fluid)
    nose = blob(rng, (0, -0.85 * aspect), (0.18, 0.24 * aspect), wobble=0.1)
    canvas.fill(nose, rng.uniform(0.03, 0.3))
    tent = rng.uniform(0.05, 0.2)
    for side in (-1.0, 1.0):  # petrous bone between the temporal lobe and the posterior fossa
        canvas.fill(blob(rng, (side * 0.5, tent * aspect), (0.36, 0.07), -side * 25, 0.1), 0.06)
    size = rng.uniform(0.85, 1.15)
    corners = np.array([(0.0, 0.22), (0.28, 0.20), (0.54, 0.30), (0.62, 0.46), (0.50, 0.64), (0.26, 0.74), (0.0, 0.70)])
    corners = np.concatenate([corners, corners[-2:0:-1] * [-1, 1]])
    cerebellum = smooth(corners * size + [0, tent + rng.uniform(-0.08, 0.04)]) * [1, aspect * 0.93]
    canvas.fill(cerebellum * 1.04, sequence.fluid * 0.6 + 0.1, within=brain)
    region = canvas.fill(cerebellum, sequence.grey * 0.95, "cerebellum", brain)
    _draw_folia(canvas, region, rng, sequence)
    stem = np.array([0, (tent + 0.14) * aspect])
    outline = blob(rng, stem, (rng.uniform(0.2, 0.27), rng.uniform(0.16, 0.22)), wobble=0.05)
    canvas.fill(stem + (outline - stem) * 1.18, sequence.fluid * 0.8 + 0.05)
    canvas.fill(outline, sequence.white, "brainstem")
    canvas.fill(blob(rng, stem + np.array([0, 0.25]), (0.11, 0.06), wobble=0.1), sequence.fluid)  # fourth ventricle


def _draw_folia(canvas: Canvas, region: Mask, rng: np.random.Generator, sequence: _Sequence) -> None:
    """The fine leaves that tell the cerebellum from the rest of the brain."""
    x, y = canvas.view.bodies()
    bend = y + np.float32(0.25) * x * x
    stripes = np.sin(bend * np.float32(rng.uniform(45, 65)))
    canvas.image[region] += (np.float32(0.07) * stripes)[region] * np.float32(1 if sequence.fluid > 0.5 else -1)


def _draw_tumor(canvas: Canvas, rng: np.random.Generator, sequence: _Sequence, aspect: float, brain: Mask) -> None:
    """A mass with or without a dead core, often with swelling around it."""
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.6)
    centre = np.array([far * np.cos(angle), far * aspect * np.sin(angle)])
    radii = rng.uniform(0.13, 0.3) * rng.uniform(0.8, 1.25, 2)
    outline = blob(rng, centre, radii, rng.uniform(0, 180), 0.1)
    if rng.random() < 0.7:
        grow = rng.uniform(0.09, 0.24)
        swelling = blob(rng, centre + rng.uniform(-0.06, 0.06, 2), radii + grow, rng.uniform(0, 180), 0.2)
        canvas.fill(swelling, sequence.edema * rng.uniform(0.92, 1.08), "brain edema", brain)
    tumor = canvas.fill(outline, sequence.rim * rng.uniform(0.9, 1.05), "brain tumor", brain)
    if rng.random() < 0.7:
        core = canvas.region(centre + (outline - centre) * rng.uniform(0.45, 0.78)) & tumor
        canvas.image[core] = sequence.tumor + rng.uniform(-0.08, 0.08)


def _expose(canvas: Canvas, rng: np.random.Generator) -> NDArray[np.uint8]:
    field = blurred(canvas.image, rng.uniform(0.5, 1.0))
    field *= 1 + np.float32(rng.uniform(0.0, 0.06)) * noise(rng, field.shape, rng.uniform(40, 80))  # coil sensitivity
    field += np.float32(rng.uniform(0.008, 0.045)) * noise(rng, field.shape, 1)
    field += np.float32(rng.uniform(0.005, 0.025)) * noise(rng, field.shape, 4)
    white = rng.uniform(0.87, 1.33)
    image = windowed(np.abs(field), white / 2, white, rng.uniform(0.8, 1.2))
    if rng.random() < 0.15:
        stamp_text(image, rng, ("R", "L", "A", "T2", "TE"), value=220)
    return image
