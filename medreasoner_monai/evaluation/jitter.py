"""Boxes that are off by a known amount: what a segmenter makes of a reasoner's mistakes, without a reasoner."""

from __future__ import annotations

import hashlib

import numpy as np

from medreasoner_monai.task.geometry import Box


def generator(*parts: object) -> np.random.Generator:
    """A random generator that the parts decide, such as a seed and a sample's id.

    >>> generator(0, "a").random() == generator(0, "a").random()
    True
    """
    return np.random.default_rng(list(hashlib.sha256(repr(parts).encode()).digest()))


def jittered(box: Box, amount: float, random: np.random.Generator) -> Box:
    """A box whose four sides are each moved, evenly distributed, by up to ``amount`` of the box's width or height.

    It stays within its frame, and at least a pixel wide and high.
    """
    w, h, frame = box.x2 - box.x1, box.y2 - box.y1, box.frame
    dx1, dy1, dx2, dy2 = random.uniform(-amount, amount, 4) * (w, h, w, h)
    x1 = min(max(box.x1 + dx1, 0.0), frame.width - 1.0)
    y1 = min(max(box.y1 + dy1, 0.0), frame.height - 1.0)
    x2, y2 = min(box.x2 + dx2, float(frame.width)), min(box.y2 + dy2, float(frame.height))
    return Box(x1, y1, max(x2, x1 + 1), max(y2, y1 + 1), frame)
