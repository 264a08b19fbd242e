"""The patient of an abdominal CT and what holds the organs: skin, fat, wall, ribs and spine.

Hounsfield units, in the frame that :mod:`medreasoner_monai.data.phantoms.ct_abdomen` draws in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medreasoner_monai.data.phantoms.canvas import Canvas, Mask
from medreasoner_monai.data.phantoms.imaging import noise
from medreasoner_monai.data.phantoms.shapes import blob

SPINE = 0.66  # how far back the vertebra's middle lies, in half heights of the cavity
AIR, LUNG, FAT, MUSCLE = -1000.0, -850.0, -105.0, 50.0


@dataclass(frozen=True)
class Patient:
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


def draw_patient(rng: np.random.Generator) -> Patient:
    """Draw a patient, and the level the slice is taken at."""
    low, middle, high = rng.uniform(0.1, 0.8), rng.uniform(0.7, 1.4), rng.uniform(1.4, 3.0)
    enhanced = rng.random() < 0.55
    organ = rng.uniform(35, 60)
    return Patient(
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


def draw_trunk(canvas: Canvas, rng: np.random.Generator, patient: Patient) -> Mask:
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


def _draw_ribs(canvas: Canvas, rng: np.random.Generator, patient: Patient) -> None:
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


def draw_spine(canvas: Canvas, rng: np.random.Generator, patient: Patient) -> None:
    """Back muscles, then one vertebra: body, arch, processes and the canal between them."""
    bone, aspect = patient.bone, patient.aspect
    y = aspect * SPINE
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
