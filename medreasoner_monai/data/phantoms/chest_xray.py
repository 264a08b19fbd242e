"""Frontal chest radiograph: attenuation adds up along the ray, so bones and opacities shine through the lungs.

Drawn as brightness from 0 (black) to 1 in a frame whose unit is half the chest's width.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.phantoms.canvas import Canvas, Mask, Phantom, random_view
from medreasoner_monai.data.phantoms.imaging import Field, blurred, noise, stamp_text, windowed
from medreasoner_monai.data.phantoms.shapes import Outline, blob, jitter, smooth

# The patient's right lung, on the image's left; corners from the apex down the flank and back up the mediastinum.
_LUNG = np.array(
    [
        (-0.36, -0.98), (-0.56, -0.90), (-0.70, -0.68), (-0.79, -0.36), (-0.84, 0.00), (-0.86, 0.36), (-0.86, 0.66),
        (-0.68, 0.52), (-0.45, 0.44), (-0.24, 0.52), (-0.17, 0.30), (-0.19, 0.00), (-0.20, -0.30), (-0.18, -0.62),
        (-0.22, -0.86),
    ]
)  # fmt: skip


# What a frontal radiograph shows of structures that are not asked about on it, sharply or not.
_ALSO_SHOWN = frozenset({"vertebra", "aorta", "liver", "spleen", "stomach"})


def render_chest_xray(rng: np.random.Generator, removed: frozenset[str] = frozenset()) -> Phantom:
    """Draw one radiograph; see :func:`medreasoner_monai.data.phantoms.render`."""
    canvas = Canvas(random_view(rng, (0.34, 0.52), shift=0.16, max_rotation=9, max_stretch=0.12), 0.02)
    _draw_trunk(canvas, rng)
    before = canvas.image.copy()
    lungs = _draw_lungs(canvas, rng, removed)
    darkened = before - canvas.image
    _draw_heart(canvas, rng, darkened)
    _draw_bones(canvas, rng)
    _draw_findings(canvas, rng, lungs)
    image = _expose(canvas, rng)
    masks = canvas.masks()
    shown = canvas.visible() | _ALSO_SHOWN
    if removed:  # the heart has no border beside an airless half, which could hold any fluid or opacity
        masks.pop("heart", None)
        shown |= {"heart", "pleural effusion", "lung opacity"}
    return Phantom(image, masks, "X-Ray", "chest", "frontal chest X-ray", shown)


def _soft(canvas: Canvas, outline: Outline, blur: float) -> Field:
    """Coverage of an outline from 0 to 1 with a soft edge of ``blur`` body units, shape (rows, cols)."""
    return blurred(canvas.region(outline).astype(np.float32), max(0.4, blur * canvas.view.scale))


def _draw_trunk(canvas: Canvas, rng: np.random.Generator) -> None:
    wide = rng.uniform(1.0, 1.18)
    shoulder = rng.uniform(-1.05, -0.85)
    half = np.array(
        [(0.26, -1.9), (0.28, -1.2), (0.75, shoulder - 0.12), (1.3, shoulder), (1.7, shoulder + 0.25), (1.9, 0.6),
         (1.25, 0.2), (wide, 0.0), (wide * 0.98, 0.5), (wide, 1.1), (wide * 1.02, 2.2)]
    )  # fmt: skip
    body = np.concatenate([half, half[::-1] * [-1, 1]])
    canvas.image += _soft(canvas, smooth(body), 0.03) * np.float32(rng.uniform(0.5, 0.68))
    belly = np.array([(-1.3, 0.75), (1.3, 0.75), (1.3, 2.4), (-1.3, 2.4)])
    canvas.image += _soft(canvas, belly, 0.2) * np.float32(rng.uniform(0.05, 0.22))
    middle = np.array([(-0.17, -1.8), (0.17, -1.8), (0.2, -0.4), (0.22, 1.8), (-0.22, 1.8), (-0.2, -0.4)])
    canvas.image += _soft(canvas, middle, 0.05) * np.float32(rng.uniform(0.1, 0.25))
    windpipe = np.array([(-0.055, -1.6), (0.055, -1.6), (0.05, -0.45), (-0.05, -0.45)])
    canvas.image -= _soft(canvas, windpipe, 0.02) * np.float32(rng.uniform(0.06, 0.14))


def _draw_lungs(canvas: Canvas, rng: np.random.Generator, removed: frozenset[str]) -> dict[str, Outline]:
    """Darken the lungs that are there; returns their outlines by name. Fluid as dense as the wall fills the other."""
    breath = rng.uniform(0.72, 1.12)
    depth = np.float32(rng.uniform(0.3, 0.48))
    lungs: dict[str, Outline] = {}
    for side, name in ((1.0, "right lung"), (-1.0, "left lung")):
        corners = _LUNG * [side * rng.uniform(0.94, 1.06), 1.0]
        below = corners[:, 1] > 0.2
        corners[below, 1] = 0.2 + (corners[below, 1] - 0.2) * breath * rng.uniform(0.85, 1.15)
        lift = 0.0 if side > 0 else rng.uniform(0.0, 0.14)  # the left dome stands lower
        corners[below, 1] += lift
        outline = smooth(jitter(rng, corners, 0.016))
        if name in removed:
            continue
        lungs[name] = outline
        canvas.image -= _soft(canvas, outline, 0.02) * depth
        canvas.claim(canvas.region(outline), name)
        hilum = (-side * rng.uniform(0.24, 0.32), rng.uniform(-0.2, 0.05))
        canvas.image += _soft(canvas, blob(rng, hilum, (0.09, 0.16), wobble=0.2), 0.05) * depth * np.float32(0.5)
        _draw_vessels(canvas, rng, side, hilum)
    if rng.random() < 0.5:
        under_dome = (rng.uniform(0.35, 0.6), 0.2 + 0.55 * breath + rng.uniform(0.1, 0.2))
        bubble = blob(rng, under_dome, (0.18, 0.09), wobble=0.1)
        canvas.image -= _soft(canvas, bubble, 0.01) * ~canvas.owned("left lung") * np.float32(rng.uniform(0.1, 0.25))
    return lungs


def _draw_vessels(canvas: Canvas, rng: np.random.Generator, side: float, hilum: tuple[float, float]) -> None:
    layer = np.zeros_like(canvas.image)
    for _ in range(9):
        end = np.array([-side * rng.uniform(0.45, 0.8), rng.uniform(-0.75, 0.55)])
        bend = (np.array(hilum) + end) / 2 + rng.uniform(-0.06, 0.06, 2)
        canvas.stroke(np.array([hilum, bend, end]), 1.0, 0.0, layer)
    canvas.image += blurred(layer, 1.0) * np.float32(rng.uniform(0.05, 0.14))


def _draw_heart(canvas: Canvas, rng: np.random.Generator, darkened: Field) -> None:
    """Take back most of what the lungs darkened; corners from the right atrium over the great vessels to the apex."""
    corners = np.array(
        [(-0.24, 0.30), (-0.25, 0.12), (-0.17, -0.10), (-0.06, -0.28), (0.10, -0.30), (0.22, -0.18), (0.33, 0.02),
         (0.47, 0.24), (0.53, 0.40), (0.44, 0.50), (0.20, 0.50), (-0.08, 0.46)]
    )  # fmt: skip
    size = rng.uniform(0.8, 1.25) * rng.uniform(0.9, 1.1, 2)
    place = [rng.uniform(-0.04, 0.04), rng.uniform(-0.06, 0.12)]
    heart = smooth(jitter(rng, corners, 0.014) * size) + place
    arch = blob(rng, (rng.uniform(0.1, 0.18), rng.uniform(-0.5, -0.36)), (0.15, 0.14))
    lift = darkened * np.float32(rng.uniform(0.7, 0.95)) + np.float32(rng.uniform(0.02, 0.07))
    canvas.image += np.maximum(_soft(canvas, heart, 0.012), 0.8 * _soft(canvas, arch, 0.015)) * lift
    canvas.claim(canvas.region(arch), None)
    canvas.claim(canvas.region(heart), "heart")


def _draw_bones(canvas: Canvas, rng: np.random.Generator) -> None:
    """Ribs, collar bones and spine, summed in one layer that the diaphragm's organs outshine."""
    rear, front, collars = (np.zeros_like(canvas.image) for _ in range(3))
    t = np.linspace(0, 1, 12)
    slope = rng.uniform(0.15, 0.35)
    for top in np.arange(-0.98, 0.62, rng.uniform(0.18, 0.24)):
        reach = float(np.interp(top, [-1, -0.5, 0.2], [0.5, 0.82, 0.9]))
        for side in (-1.0, 1.0):
            path = np.column_stack([side * (0.12 + (reach - 0.12) * t), top - 0.12 * np.sin(np.pi * t) + slope * t**2])
            canvas.stroke(path, 1.0, 0.055, rear)
            path = np.column_stack([side * (reach - 0.5 * t), top + slope + 0.25 * t])
            canvas.stroke(path, 0.5, 0.055, front)
    tilt = rng.uniform(-0.04, 0.04)
    for side in (-1.0, 1.0):
        path = np.array([(0.1, -0.72), (0.4, -0.84), (0.75, -0.92), (1.1, -1.02)]) * [side, 1.0] + [0, side * tilt]
        canvas.stroke(path, 1.5, 0.075, collars)
    strength = rng.uniform(0.05, 0.13)
    if strength > 0.08:  # a hard exposure shows the vertebrae through the mediastinum
        for y in np.arange(-1.6, 1.6, 0.17).tolist():
            vertebra = blob(rng, (0, y), (0.11, 0.06), power=3.0, points=16)
            collars[canvas.region(vertebra)] += 0.4
    _, y_body = canvas.view.bodies()
    fade = np.clip((np.float32(1.0) - y_body) / np.float32(0.4), 0.15, 1)
    canvas.image += blurred((rear + front) * fade + collars, 0.9) * np.float32(strength)


def _draw_findings(canvas: Canvas, rng: np.random.Generator, lungs: dict[str, Outline]) -> None:
    """At most one finding a lung: a nodule, an opacity or fluid at the base."""
    for name, lung in lungs.items():
        finding = rng.choice(["none", "lung nodule", "lung opacity", "pleural effusion"], p=[0.34, 0.24, 0.22, 0.2])
        if finding == "pleural effusion":
            _draw_effusion(canvas, rng, lung, name)
        elif finding != "none":
            _draw_opacity(canvas, rng, name, str(finding))


def _draw_opacity(canvas: Canvas, rng: np.random.Generator, lung: str, finding: str) -> None:
    free = canvas.owned(lung)
    if finding in canvas.findings or free.sum() < 0.02 * free.size:
        return
    inner = cv2.erode(free.view(np.uint8), np.ones((9, 9), np.uint8))
    rows, cols = np.nonzero(inner)
    if len(rows) == 0:
        return
    pick = int(rng.integers(0, len(rows)))
    inverse = np.linalg.inv(canvas.view.matrix[:, :2])
    centre = inverse @ (np.array([cols[pick], rows[pick]]) - canvas.view.matrix[:, 2])
    if finding == "lung nodule":
        outline = blob(rng, centre, rng.uniform(0.09, 0.17) * rng.uniform(0.9, 1.1, 2), wobble=0.05)
        edge, strength = 0.012, rng.uniform(0.2, 0.34)
        texture = np.ones_like(canvas.image)
    else:
        outline = blob(rng, centre, rng.uniform(0.18, 0.34, 2), rng.uniform(0, 180), wobble=0.12)
        edge, strength = 0.05, rng.uniform(0.2, 0.34)
        texture = 1 + np.float32(0.16) * noise(rng, canvas.image.shape, 0.09 * canvas.view.scale)
    region: Mask = canvas.region(outline) & free
    cover = blurred(region.astype(np.float32), max(0.4, edge * canvas.view.scale))
    canvas.image += cover * texture * np.float32(strength)
    canvas.mark_lesion(region, finding)


def _draw_effusion(canvas: Canvas, rng: np.random.Generator, lung: Outline, name: str) -> None:
    """Fluid fills the lung's base up to a level that climbs towards the flank."""
    if "pleural effusion" in canvas.findings:
        return
    x, y = canvas.view.bodies()
    bottom = float(lung[:, 1].max())
    level = bottom - rng.uniform(0.35, 0.75)
    side = float(np.sign(lung[:, 0].mean()))
    flank = np.clip((side * x - 0.3) / 0.55, 0, 1)
    fluid = canvas.owned(name) & (y > level + np.float32(0.16) * (1 - flank**2))
    cover = blurred(fluid.astype(np.float32), max(0.4, 0.02 * canvas.view.scale))
    canvas.image += cover * np.float32(rng.uniform(0.32, 0.44))
    canvas.claim(fluid, "pleural effusion")


def _expose(canvas: Canvas, rng: np.random.Generator) -> NDArray[np.uint8]:
    if rng.random() < 0.35:  # a wire or a line across the chest
        path = np.column_stack([np.linspace(-0.6, 0.6, 4) * rng.choice([-1, 1]), np.sort(rng.uniform(-1.2, 1.0, 4))])
        canvas.stroke(smooth(path)[:-5], 0.95, 0.02)  # without the part that closes the spline
    field = blurred(canvas.image, rng.uniform(0.5, 0.9))
    field += np.float32(rng.uniform(0.005, 0.03)) * noise(rng, field.shape, 1)
    field += np.float32(rng.uniform(0.0, 0.02)) * noise(rng, field.shape, 12)
    image = windowed(field, rng.uniform(0.43, 0.56), rng.uniform(0.8, 1.05), rng.uniform(0.75, 1.3))
    if rng.random() < 0.5:
        stamp_text(image, rng, ("R", "L", "PA", "AP"))
    return image
