"""Axial CT of the upper abdomen, from the dome of the diaphragm (level 0) down to the kidneys (level 3).

Drawn in Hounsfield units in the frame of the trunk's cavity: half its width is 1, half its height the patient's aspect.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.phantoms.canvas import Canvas, Mask, Phantom, random_view
from medreasoner_monai.data.phantoms.imaging import blurred, noise, stamp_text, windowed
from medreasoner_monai.data.phantoms.shapes import Outline, blob, jitter, smooth

_SPINE = 0.66  # how far back the vertebra's middle lies, in half heights of the cavity
AIR, LUNG, FAT, MUSCLE = -1000.0, -850.0, -105.0, 50.0

_ANGLES = np.pi + 2 * np.pi * np.arange(18) / 18
# One outline of the liver a level, 18 corners each in the same order (from the right flank over the front), so that
# levels in between are interpolated.
_LIVER_LEVELS = np.array(
    [
        np.column_stack([-0.42 + 0.43 * np.cos(_ANGLES), -0.12 + 0.52 * np.sin(_ANGLES)]).tolist(),
        [
            (-0.98, -0.42), (-0.83, -0.66), (-0.56, -0.78), (-0.28, -0.83), (0.02, -0.89), (0.28, -0.80),
            (0.43, -0.57), (0.44, -0.30), (0.28, -0.21), (0.06, -0.18), (-0.13, -0.14), (-0.24, -0.08),
            (-0.39, 0.12), (-0.49, 0.42), (-0.60, 0.54), (-0.83, 0.51), (-0.95, 0.24), (-0.99, -0.09),
        ],
        [
            (-0.97, -0.25), (-0.90, -0.50), (-0.72, -0.72), (-0.48, -0.82), (-0.20, -0.86), (0.08, -0.82),
            (0.30, -0.68), (0.32, -0.55), (0.12, -0.48), (-0.08, -0.38), (-0.18, -0.20), (-0.22, 0.00),
            (-0.30, 0.15), (-0.38, 0.38), (-0.52, 0.62), (-0.76, 0.60), (-0.92, 0.35), (-0.98, 0.05),
        ],
        [
            (-0.96, -0.05), (-0.95, -0.25), (-0.86, -0.45), (-0.74, -0.58), (-0.62, -0.62), (-0.52, -0.58),
            (-0.46, -0.48), (-0.44, -0.38), (-0.44, -0.28), (-0.45, -0.18), (-0.47, -0.08), (-0.50, 0.03),
            (-0.55, 0.14), (-0.62, 0.26), (-0.70, 0.38), (-0.80, 0.42), (-0.90, 0.32), (-0.95, 0.14),
        ],
    ]
)  # fmt: skip


@dataclass(frozen=True)
class _Patient:
    """What varies from patient to patient; Hounsfield values unless said otherwise."""

    level: float
    aspect: float
    fat: float  # thickness of the fat under the skin, cavity units
    organ: float
    liver: float
    spleen: float
    kidney: float
    aorta: float
    bone: float
    growth: float  # overall size of the liver


def _draw_patient(rng: np.random.Generator) -> _Patient:
    low, middle, high = rng.uniform(0.1, 0.8), rng.uniform(0.7, 1.4), rng.uniform(1.4, 3.0)
    enhanced = rng.random() < 0.55
    organ = rng.uniform(35, 60)
    return _Patient(
        level=float(rng.choice([low, middle, high], p=[0.15, 0.4, 0.45])),
        aspect=rng.uniform(0.66, 0.88),
        fat=float(rng.choice([rng.uniform(0.02, 0.1), rng.uniform(0.1, 0.34)])),
        organ=organ,
        liver=rng.uniform(80, 125) if enhanced else rng.uniform(38, 68),
        spleen=rng.uniform(85, 140) if enhanced else rng.uniform(38, 60),
        kidney=rng.uniform(130, 230) if enhanced else rng.uniform(28, 45),
        aorta=rng.uniform(120, 320) if enhanced else rng.uniform(35, 55),
        bone=rng.uniform(230, 800),
        growth=rng.uniform(0.85, 1.1),
    )


def render_ct_abdomen(rng: np.random.Generator) -> Phantom:
    """Draw one slice; see :func:`medreasoner_monai.data.phantoms.render`."""
    patient = _draw_patient(rng)
    canvas = Canvas(random_view(rng, (0.30, 0.48), shift=0.16), AIR)
    cavity = _draw_trunk(canvas, rng, patient)
    _draw_contents(canvas, rng, patient, cavity)
    _draw_spine(canvas, rng, patient)
    image = _expose(canvas, rng)
    return Phantom(image, canvas.masks(), "CT", "abdomen", "axial CT, soft-tissue window")


def _draw_trunk(canvas: Canvas, rng: np.random.Generator, patient: _Patient) -> Mask:
    """Table, arms, skin, fat, muscle wall, ribs and the cavity; returns the cavity's pixels."""
    aspect, fat = patient.aspect, patient.fat
    middle = np.array([0.0, aspect * 0.11])  # the back is thicker than the front
    outer = np.array([1.13 + fat, aspect * 1.20 + fat * rng.uniform(0.5, 1.1)])
    shape = rng.uniform(2.0, 2.5)
    if rng.random() < 0.8:
        x = np.linspace(-0.95, 0.95, 24) * rng.uniform(0.7, 1.3)
        table = np.column_stack([x, middle[1] + outer[1] + rng.uniform(0.02, 0.1) - rng.uniform(0, 0.22) * x**2])
        for gap in (0.0, rng.uniform(0.06, 0.2))[: int(rng.integers(1, 3))]:
            canvas.stroke(table + np.array([0, gap]), rng.uniform(0, 400), 0.02)
    if rng.random() < 0.15:
        side = rng.choice([-1.0, 1.0])
        arm = (side * (outer[0] + 0.2), rng.uniform(-0.2, 0.4))
        canvas.fill(blob(rng, arm, (0.19, 0.22)), MUSCLE)
        canvas.fill(blob(rng, arm, (0.06, 0.06)), patient.bone)
    body = blob(rng, middle, outer, wobble=0.015, power=shape, points=72)
    canvas.fill(body, 0.0)
    canvas.fill(middle + (body - middle) * 0.985, FAT + rng.uniform(-10, 10))
    wall = blob(rng, middle, (1.1, aspect * 1.17), wobble=0.012, power=shape, points=72)
    canvas.fill(wall, MUSCLE + rng.uniform(-15, 10))
    # Fat between the muscle layers keeps the wall from looking like one band.
    for degrees in rng.uniform(0, 360, 5):
        at = np.deg2rad(degrees)
        canvas.fill(blob(rng, (1.06 * np.cos(at), aspect * 1.06 * np.sin(at)), (0.12, 0.018), degrees + 90), FAT)
    cavity = canvas.fill(blob(rng, (0, 0), (1.0, aspect), wobble=0.012, power=shape, points=72), FAT)
    _draw_ribs(canvas, rng, patient)
    return cavity


def _draw_ribs(canvas: Canvas, rng: np.random.Generator, patient: _Patient) -> None:
    start = rng.uniform(0, 40)
    for degrees in np.arange(start, 360 + start, rng.uniform(28, 48)) + rng.uniform(-6, 6):
        if patient.level > 2.0 and 200 < degrees % 360 < 340:
            continue  # no ribs in front of the lower abdomen
        at = np.deg2rad(degrees)
        x, y = 1.045 * np.cos(at), patient.aspect * 1.05 * np.sin(at)
        tangent = np.rad2deg(np.arctan2(patient.aspect * np.cos(at), -np.sin(at)))
        length = rng.uniform(0.06, 0.17)
        cartilage = 230 < degrees % 360 < 310  # calcified to a varying degree
        bone = rng.uniform(90, 200) if cartilage else patient.bone
        canvas.fill(blob(rng, (x, y), (length, 0.035), tangent), bone)
        if not cartilage:
            canvas.fill(blob(rng, (x, y), (length * 0.7, 0.013), tangent), patient.bone * 0.5)


def _draw_contents(canvas: Canvas, rng: np.random.Generator, patient: _Patient, cavity: Mask) -> None:
    """Lungs, then the organs from back to front."""
    level, aspect = patient.level, patient.aspect
    flat = np.array([1.0, aspect])
    if level < 1.9:
        canvas.fill(blob(rng, (0, 0), flat, wobble=0.01), LUNG + rng.uniform(-60, 60), within=cavity)
        _draw_lung_vessels(canvas, rng, cavity)
    if level < 0.75:
        at = np.array([rng.uniform(0.12, 0.3), rng.uniform(-0.5, -0.3)]) * flat
        canvas.fill(blob(rng, at, (0.52, 0.45 * aspect), 15), FAT, within=cavity)
        heart = blob(rng, at, (rng.uniform(0.4, 0.5), rng.uniform(0.32, 0.42) * aspect), rng.uniform(5, 35))
        canvas.fill(heart, max(40.0, patient.aorta * 0.8), "heart", cavity)
    elif level < 1.9:
        # Fat of the abdomen below the left dome: grows until only recesses of lung are left behind.
        grown = np.clip((level - 0.75) / 1.1, 0, 1)
        centre = np.array([0.5 - 0.45 * grown, -0.3 + 0.2 * grown]) * flat
        dome = blob(rng, centre, (0.42 + 0.5 * grown, (0.5 + 0.38 * grown) * aspect))
        canvas.fill(dome, MUSCLE, within=cavity)  # the diaphragm is a thin line around it
        canvas.fill(centre + (dome - centre) * rng.uniform(0.94, 0.98), FAT, within=cavity)
    canvas.fill(blob(rng, (0, 0.95 * aspect), (0.42, 0.3 * aspect), power=2.6), MUSCLE)  # psoas, crura, back muscles
    if level > 1.7:
        _draw_bowel(canvas, rng, patient, cavity)
    _draw_spleen(canvas, rng, patient, cavity)
    _draw_stomach(canvas, rng, patient, cavity)
    _draw_liver(canvas, rng, patient, cavity)
    if level > 1.75:
        _draw_kidneys(canvas, rng, patient, cavity)
    if level > 1.2:
        canvas.fill(blob(rng, (-0.16, 0.22 * aspect), (0.1, 0.075)), patient.aorta * 0.6 + 20, within=cavity)
    else:
        gullet = np.array([0.1, rng.uniform(0.02, 0.15)]) * flat
        canvas.fill(blob(rng, gullet, (0.09, 0.07), wobble=0.1), patient.organ)
        canvas.fill(blob(rng, gullet, (0.03, 0.025), wobble=0.1), rng.choice([-500.0, 300.0, 30.0]))
    radius = rng.uniform(0.075, 0.125)
    middle = (rng.uniform(0.03, 0.16), aspect * _SPINE - rng.uniform(0.17, 0.22) - radius)
    canvas.fill(blob(rng, middle, (radius * 1.25, radius * 1.2)), FAT)
    canvas.fill(blob(rng, middle, (radius, radius), wobble=0.02), patient.aorta, "aorta")
    if rng.random() < 0.3:
        at = rng.uniform(0, 2 * np.pi)
        spot = (middle[0] + radius * 0.9 * np.cos(at), middle[1] + radius * 0.9 * np.sin(at))
        canvas.image[canvas.region(blob(rng, spot, (0.03, 0.02)))] = 400  # calcified wall


def _draw_lung_vessels(canvas: Canvas, rng: np.random.Generator, cavity: Mask) -> None:
    for _ in range(int(rng.integers(0, 10))):
        centre = (rng.uniform(-0.9, 0.9), rng.uniform(-0.1, 0.75))
        canvas.fill(blob(rng, centre, rng.uniform(0.012, 0.03, 2)), rng.uniform(-300, 20), within=cavity)


def _draw_liver(canvas: Canvas, rng: np.random.Generator, patient: _Patient, cavity: Mask) -> None:
    below = int(min(patient.level, 2.999))
    part = patient.level - below
    corners = (1 - part) * _LIVER_LEVELS[below] + part * _LIVER_LEVELS[below + 1]
    if patient.level > 0.6:  # the left lobe reaches more or less far across the midline
        reach = rng.uniform(-0.35, 0.45)
        corners[:, 0] += reach * np.clip(corners[:, 0] + 0.1, 0, None)
    anchor = np.array([-0.8, -0.1])
    corners = anchor + (corners - anchor) * patient.growth * rng.uniform(0.92, 1.08, 2)
    outline = smooth(jitter(rng, corners, 0.022)) * [1.0, patient.aspect]
    liver = canvas.fill(outline, patient.liver, "liver", cavity)
    contrast = rng.uniform(20, 60) * (1 if patient.aorta > 100 else -0.35)
    vessels = np.zeros_like(canvas.image)
    for _ in range(int(rng.integers(0, 7))):
        at = corners[rng.integers(0, 18)] * 0.5 + corners.mean(0) * 0.5
        path = np.array([at + rng.uniform(-0.2, 0.2, 2), at, at + rng.uniform(-0.12, 0.12, 2)]) * [1.0, patient.aspect]
        canvas.stroke(path, 1.0, 0.03, vessels)
    canvas.image[liver] += contrast * vessels[liver]
    if rng.random() < 0.55:
        _draw_liver_tumor(canvas, rng, patient, corners)


def _draw_liver_tumor(canvas: Canvas, rng: np.random.Generator, patient: _Patient, corners: Outline) -> None:
    centre = (0.55 * corners[rng.integers(0, 18)] + 0.45 * corners.mean(0)) * [1.0, patient.aspect]
    radius = rng.uniform(0.09, 0.24)
    outline = blob(rng, centre, radius * rng.uniform(0.8, 1.2, 2), rng.uniform(0, 180), wobble=0.08)
    region = canvas.region(outline) & canvas.owned("liver")
    if region.sum() < 0.7 * canvas.region(outline).sum():
        return  # would hang half out of the organ
    canvas.image[region] = patient.liver - rng.uniform(35, 75)
    if rng.random() < 0.4:
        core = canvas.region(centre + (outline - centre) * rng.uniform(0.4, 0.7)) & region
        canvas.image[core] -= rng.uniform(15, 40)
    canvas.mark_lesion(region, "liver tumor")


def _draw_spleen(canvas: Canvas, rng: np.random.Generator, patient: _Patient, cavity: Mask) -> None:
    level = patient.level
    if not 0.5 < level < 2.75:
        return
    size = np.interp(level, [0.5, 1.0, 1.5, 2.1, 2.75], [0.45, 0.7, 1.0, 1.05, 0.5]) * rng.uniform(0.8, 1.25)
    lateral = np.interp(level, [0.5, 1.0, 1.6, 3], [0.52, 0.64, 0.76, 0.8]) + rng.uniform(-0.06, 0.06)
    centre = np.array([lateral, (rng.uniform(0.22, 0.42)) * patient.aspect])
    tall = np.interp(level, [0.8, 1.7], [0.17, 0.36]) * size
    wide = np.interp(level, [0.8, 1.7], [0.3, 0.19]) * size
    outline = blob(rng, centre, (wide, tall), np.interp(level, [0.8, 1.7], [-10, 22]) + rng.uniform(-12, 12), 0.06)
    if level < 1.9:
        canvas.fill(centre + (outline - centre) * 1.2, FAT, within=cavity)
    canvas.fill(outline, patient.spleen, "spleen", cavity)


def _draw_stomach(canvas: Canvas, rng: np.random.Generator, patient: _Patient, cavity: Mask) -> None:
    level = patient.level
    if not 0.7 < level < 2.6:
        return
    full = rng.uniform(0.6, 1.3)
    centre = np.array([rng.uniform(0.36, 0.6), rng.uniform(-0.45, -0.05) * patient.aspect])
    radii = np.array([rng.uniform(0.18, 0.3), rng.uniform(0.17, 0.26)]) * full
    outline = blob(rng, centre, radii, rng.uniform(-40, 40), 0.07)
    canvas.fill(centre + (outline - centre) * 1.12, FAT, within=cavity)
    stomach = canvas.fill(outline, patient.organ + 15, "stomach", cavity)
    lumen = canvas.region(centre + (outline - centre) * rng.uniform(0.78, 0.92)) & stomach
    fluid = float(rng.choice([rng.uniform(0, 40), rng.uniform(120, 260)], p=[0.65, 0.35]))
    speckle = noise(rng, canvas.image.shape, 2.0) * np.float32(rng.choice([5, 60]))
    canvas.image[lumen] = fluid + speckle[lumen]
    if rng.random() < 0.6:  # gas rises to the front: the patient lies on the back
        _, y = canvas.view.bodies()
        canvas.image[lumen & (y < centre[1] - radii[1] * rng.uniform(-0.3, 0.8))] = AIR


def _draw_kidneys(canvas: Canvas, rng: np.random.Generator, patient: _Patient, cavity: Mask) -> None:
    size = np.interp(patient.level, [1.75, 2.3, 3.0], [0.65, 1.0, 0.95])
    for side, name in ((-1.0, "right kidney"), (1.0, "left kidney")):
        centre = np.array([side * rng.uniform(0.44, 0.58), rng.uniform(0.36, 0.52) * patient.aspect])
        radii = np.array([rng.uniform(0.15, 0.2), rng.uniform(0.19, 0.25)]) * size * rng.uniform(0.85, 1.15)
        turn = side * rng.uniform(-35, 5)
        canvas.fill(blob(rng, centre, radii * 1.35, turn), FAT, within=cavity)
        outline = blob(rng, centre, radii, turn, 0.05)
        kidney = canvas.fill(outline, patient.kidney, name, cavity)
        if patient.kidney > 100:  # the medulla lags behind the cortex
            medulla = canvas.region(centre + (outline - centre) * 0.68) & kidney
            canvas.image[medulla] = patient.kidney * rng.uniform(0.6, 1)
        if patient.level > 2.0:
            hilum = centre - [side * radii[0] * 0.75, 0]
            sinus = canvas.region(blob(rng, hilum, radii * [0.6, 0.32], turn, 0.1)) & kidney
            canvas.image[sinus] = FAT + 40
            canvas.claim(sinus, None)


def _draw_bowel(canvas: Canvas, rng: np.random.Generator, patient: _Patient, cavity: Mask) -> None:
    for _ in range(int(rng.integers(4, 14))):
        centre = np.array([rng.uniform(-0.55, 0.8), rng.uniform(-0.75, 0.1) * patient.aspect])
        radii = rng.uniform(0.06, 0.16, 2)
        outline = blob(rng, centre, radii, rng.uniform(0, 180), 0.1)
        canvas.fill(outline, patient.organ, within=cavity)
        inside = float(rng.choice([AIR, 10.0, 250.0, 40.0], p=[0.3, 0.3, 0.15, 0.25]))
        canvas.fill(centre + (outline - centre) * 0.75, inside, within=cavity)
    canvas.fill(blob(rng, (0.15, -0.02), (0.3, 0.08), -20, 0.12), patient.organ, within=cavity)  # pancreas


def _draw_spine(canvas: Canvas, rng: np.random.Generator, patient: _Patient) -> None:
    """Back muscles, then one vertebra: body, arch, processes and the canal between them."""
    bone, aspect = patient.bone, patient.aspect
    y = aspect * _SPINE
    width = rng.uniform(0.17, 0.23)
    height = width * rng.uniform(0.72, 0.9)
    up = aspect / 0.78  # flat trunks have flat backs
    for side in (-1.0, 1.0):
        canvas.fill(blob(rng, (side * 0.26, y + 0.29 * up), (0.25, 0.15 * up), side * 10), MUSCLE)
    canvas.fill(blob(rng, (0, y + 0.24 * up), (0.11, 0.09)), bone * 0.9, "vertebra")
    for side in (-1.0, 1.0):
        canvas.fill(blob(rng, (side * 0.16, y + 0.19 * up), (0.14, 0.045), side * 25), bone * 0.8, "vertebra")
    canvas.fill(blob(rng, (0, y + 0.33 * up), (0.03, 0.1 * up)), bone * 0.9, "vertebra")
    body = blob(rng, (0, y), (width, height), wobble=0.03, power=2.4)
    canvas.fill(body, bone, "vertebra")
    marrow = canvas.region([0, y] + (body - [0, y]) * rng.uniform(0.55, 0.9))
    mottled = 1 + np.float32(rng.uniform(0.0, 0.35)) * noise(rng, canvas.image.shape, 2.5)
    canvas.image[marrow] = bone * rng.uniform(0.2, 0.9) * mottled[marrow]
    canvas.fill(blob(rng, (0, y + height + 0.06), (0.08, 0.065)), 30.0)


def _expose(canvas: Canvas, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Scanner and workstation: blur, noise, field of view, display window, burnt-in text."""
    values = blurred(canvas.image, rng.uniform(0.45, 0.9))
    spread = rng.uniform(4, 38)
    values += np.float32(spread * 0.75) * noise(rng, canvas.image.shape, 1)
    values += np.float32(spread * 0.45) * noise(rng, canvas.image.shape, rng.uniform(2, 4))
    if rng.random() < 0.2:  # round reconstruction field
        rows, cols = values.shape
        y, x = np.ogrid[:rows, :cols]
        values[(x - cols / 2) ** 2 + (y - rows / 2) ** 2 > (max(rows, cols) / 2) ** 2] = AIR
    image = windowed(values, rng.uniform(20, 80), rng.uniform(250, 600))
    if rng.random() < 0.15:
        stamp_text(image, rng, ("R", "L", "A", "S12", "5mm"))
    return image
