"""Axial CT of the upper abdomen, from the dome of the diaphragm (level 0) down to the kidneys (level 3).

Drawn in Hounsfield units in the frame of the trunk's cavity: half its width is 1, half its height the patient's aspect.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.phantoms.canvas import Canvas, Mask, Phantom, random_view
from medreasoner_monai.data.phantoms.ct_trunk import (
    AIR,
    FAT,
    LUNG,
    MUSCLE,
    SPINE,
    Patient,
    draw_patient,
    draw_spine,
    draw_trunk,
)
from medreasoner_monai.data.phantoms.imaging import blurred, noise, stamp_text, windowed
from medreasoner_monai.data.phantoms.shapes import Outline, blob, jitter, smooth

_SPINE_VIEWS = 0.08  # share of slices reconstructed small around the spine
_LUNG_BASES = 1.9  # the level below which no lung is left

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


def render_ct_abdomen(rng: np.random.Generator, removed: frozenset[str] = frozenset()) -> Phantom:
    """Draw one slice; see :func:`medreasoner_monai.data.phantoms.render`."""
    patient = draw_patient(rng)
    if rng.random() < _SPINE_VIEWS:
        view = random_view(rng, (0.8, 1.9), shift=0.16, centre=(0.0, patient.aspect * (SPINE + 0.1)))
    else:
        view = random_view(rng, (0.30, 0.48), shift=0.16)
    canvas = Canvas(view, AIR)
    cavity = draw_trunk(canvas, rng, patient)
    _draw_contents(canvas, rng, patient, cavity, removed)
    draw_spine(canvas, rng, patient)
    image = _expose(canvas, rng)
    # The lungs' bases belong to nothing that may be asked about, but they are there.
    lungs = {"left lung", "right lung"} if patient.level < _LUNG_BASES else set()
    return Phantom(
        image, canvas.masks(), "CT", "abdomen", "axial CT, soft-tissue window", canvas.visible() | frozenset(lungs)
    )


def _draw_contents(
    canvas: Canvas, rng: np.random.Generator, patient: Patient, cavity: Mask, removed: frozenset[str]
) -> None:
    """Lungs, then the organs from back to front."""
    level, aspect = patient.level, patient.aspect
    flat = np.array([1.0, aspect])
    if level < _LUNG_BASES:
        canvas.fill(blob(rng, (0, 0), flat, wobble=0.01), LUNG + rng.uniform(-60, 60), within=cavity)
        _draw_lung_vessels(canvas, rng, cavity)
    if level < 0.75:
        at = np.array([rng.uniform(0.12, 0.3), rng.uniform(-0.5, -0.3)]) * flat
        canvas.fill(blob(rng, at, (0.52, 0.45 * aspect), 15), FAT, within=cavity)
        heart = blob(rng, at, (rng.uniform(0.4, 0.5), rng.uniform(0.32, 0.42) * aspect), rng.uniform(5, 35))
        canvas.fill(heart, max(40.0, patient.aorta * 0.8), "heart", cavity)
    elif level < _LUNG_BASES:
        # Fat of the abdomen below the left dome: grows until only recesses of lung are left behind.
        grown = np.clip((level - 0.75) / 1.1, 0, 1)
        centre = np.array([0.5 - 0.45 * grown, -0.3 + 0.2 * grown]) * flat
        dome = blob(rng, centre, (0.42 + 0.5 * grown, (0.5 + 0.38 * grown) * aspect))
        canvas.fill(dome, MUSCLE, within=cavity)  # the diaphragm is a thin line around it
        canvas.fill(centre + (dome - centre) * rng.uniform(0.94, 0.98), FAT, within=cavity)
    canvas.fill(blob(rng, (0, 0.95 * aspect), (0.42, 0.3 * aspect), power=2.6), MUSCLE)  # psoas, crura, back muscles
    if level > 1.7:
        _draw_bowel(canvas, rng, patient, cavity)
    _draw_spleen(canvas, rng, patient, cavity, "spleen" in removed)
    _draw_stomach(canvas, rng, patient, cavity, "stomach" in removed)
    _draw_liver(canvas, rng, patient, cavity)
    if level > 1.75:
        _draw_kidneys(canvas, rng, patient, cavity, removed)
    if level > 1.2:
        canvas.fill(blob(rng, (-0.16, 0.22 * aspect), (0.1, 0.075)), patient.aorta * 0.6 + 20, within=cavity)
    else:
        gullet = np.array([0.1, rng.uniform(0.02, 0.15)]) * flat
        canvas.fill(blob(rng, gullet, (0.09, 0.07), wobble=0.1), patient.organ)
        canvas.fill(blob(rng, gullet, (0.03, 0.025), wobble=0.1), rng.choice([-500.0, 300.0, 30.0]))
    radius = rng.uniform(0.075, 0.125)
    middle = (rng.uniform(0.03, 0.16), aspect * SPINE - rng.uniform(0.17, 0.22) - radius)
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


def _draw_liver(canvas: Canvas, rng: np.random.Generator, patient: Patient, cavity: Mask) -> None:
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


def _draw_liver_tumor(canvas: Canvas, rng: np.random.Generator, patient: Patient, corners: Outline) -> None:
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


def _draw_spleen(canvas: Canvas, rng: np.random.Generator, patient: Patient, cavity: Mask, removed: bool) -> None:
    level = patient.level
    if not 0.5 < level < 2.75:
        return
    size = np.interp(level, [0.5, 1.0, 1.5, 2.1, 2.75], [0.45, 0.7, 1.0, 1.05, 0.5]) * rng.uniform(0.8, 1.25)
    lateral = np.interp(level, [0.5, 1.0, 1.6, 3], [0.52, 0.64, 0.76, 0.8]) + rng.uniform(-0.06, 0.06)
    centre = np.array([lateral, (rng.uniform(0.22, 0.42)) * patient.aspect])
    tall = np.interp(level, [0.8, 1.7], [0.17, 0.36]) * size
    wide = np.interp(level, [0.8, 1.7], [0.3, 0.19]) * size
    outline = blob(rng, centre, (wide, tall), np.interp(level, [0.8, 1.7], [-10, 22]) + rng.uniform(-12, 12), 0.06)
    if removed:
        _close_gap(canvas, rng, patient, cavity, outline)
        return
    if level < _LUNG_BASES:
        canvas.fill(centre + (outline - centre) * 1.2, FAT, within=cavity)
    canvas.fill(outline, patient.spleen, "spleen", cavity)


def _close_gap(canvas: Canvas, rng: np.random.Generator, patient: Patient, cavity: Mask, outline: Outline) -> None:
    """Fat of any shape where an organ was taken out, and often a loop of bowel that fell into its place.

    Draws from numbers of its own, so that the rest of the patient is as it would be with the organ.
    """
    own = rng.spawn(1)[0]
    middle, radii = outline.mean(0), np.ptp(outline, axis=0) / 2
    if patient.level < _LUNG_BASES:
        bed = blob(own, middle + own.uniform(-0.25, 0.25, 2) * radii, radii * own.uniform(0.7, 1.3, 2), wobble=0.15)
        canvas.fill(bed, FAT, within=cavity)
    if patient.level > 1.0:
        for _ in range(int(own.integers(0, 3))):
            _draw_loop(canvas, own, patient, cavity, middle + own.uniform(-0.7, 0.7, 2) * radii)


def _draw_stomach(canvas: Canvas, rng: np.random.Generator, patient: Patient, cavity: Mask, removed: bool) -> None:
    level = patient.level
    if not 0.7 < level < 2.6:
        return
    full = rng.uniform(0.6, 1.3)
    centre = np.array([rng.uniform(0.36, 0.6), rng.uniform(-0.45, -0.05) * patient.aspect])
    radii = np.array([rng.uniform(0.18, 0.3), rng.uniform(0.17, 0.26)]) * full
    outline = blob(rng, centre, radii, rng.uniform(-40, 40), 0.07)
    inner = rng.uniform(0.78, 0.92)
    fluid = float(rng.choice([rng.uniform(0, 40), rng.uniform(120, 260)], p=[0.65, 0.35]))
    speckle = noise(rng, canvas.image.shape, 2.0) * np.float32(rng.choice([5, 60]))
    # Gas rises to the front: the patient lies on the back.
    gas = centre[1] - radii[1] * rng.uniform(-0.3, 0.8) if rng.random() < 0.6 else None
    if removed:
        _close_gap(canvas, rng, patient, cavity, outline)
        return
    canvas.fill(centre + (outline - centre) * 1.12, FAT, within=cavity)
    stomach = canvas.fill(outline, patient.organ + 15, "stomach", cavity)
    lumen = canvas.region(centre + (outline - centre) * inner) & stomach
    canvas.image[lumen] = fluid + speckle[lumen]
    if gas is not None:
        _, y = canvas.view.bodies()
        canvas.image[lumen & (y < gas)] = AIR


def _draw_kidneys(
    canvas: Canvas, rng: np.random.Generator, patient: Patient, cavity: Mask, removed: frozenset[str]
) -> None:
    size = np.interp(patient.level, [1.75, 2.3, 3.0], [0.65, 1.0, 0.95])
    for side, name in ((-1.0, "right kidney"), (1.0, "left kidney")):
        centre = np.array([side * rng.uniform(0.44, 0.58), rng.uniform(0.36, 0.52) * patient.aspect])
        radii = np.array([rng.uniform(0.15, 0.2), rng.uniform(0.19, 0.25)]) * size * rng.uniform(0.85, 1.15)
        turn = side * rng.uniform(-35, 5)
        capsule = blob(rng, centre, radii * 1.35, turn)
        outline = blob(rng, centre, radii, turn, 0.05)
        medulla = rng.uniform(0.6, 1) if patient.kidney > 100 else None  # it lags behind the cortex
        hilum = centre - [side * radii[0] * 0.75, 0]
        sinus = blob(rng, hilum, radii * [0.6, 0.32], turn, 0.1) if patient.level > 2.0 else None
        if name in removed:
            _close_gap(canvas, rng, patient, cavity, outline)
            continue
        canvas.fill(capsule, FAT, within=cavity)
        kidney = canvas.fill(outline, patient.kidney, name, cavity)
        if medulla is not None:
            canvas.image[canvas.region(centre + (outline - centre) * 0.68) & kidney] = patient.kidney * medulla
        if sinus is not None:
            fat = canvas.region(sinus) & kidney
            canvas.image[fat] = FAT + 40
            canvas.claim(fat, None)


def _draw_bowel(canvas: Canvas, rng: np.random.Generator, patient: Patient, cavity: Mask) -> None:
    for _ in range(int(rng.integers(4, 14))):
        centre = np.array([rng.uniform(-0.55, 0.8), rng.uniform(-0.75, 0.1) * patient.aspect])
        _draw_loop(canvas, rng, patient, cavity, centre)
    canvas.fill(blob(rng, (0.15, -0.02), (0.3, 0.08), -20, 0.12), patient.organ, within=cavity)  # pancreas


def _draw_loop(
    canvas: Canvas, rng: np.random.Generator, patient: Patient, cavity: Mask, centre: NDArray[np.float64]
) -> None:
    """A loop of bowel around a body point, filled with gas, fluid, contrast or chyme."""
    outline = blob(rng, centre, rng.uniform(0.06, 0.16, 2), rng.uniform(0, 180), 0.1)
    canvas.fill(outline, patient.organ, within=cavity)
    inside = float(rng.choice([AIR, 10.0, 250.0, 40.0], p=[0.3, 0.3, 0.15, 0.25]))
    canvas.fill(centre + (outline - centre) * 0.75, inside, within=cavity)


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
