"""Slice-to-slice carrying for any segmenter: the last mask prompts the next slice until it no longer looks the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.segmenters.protocol import Image, Mask, Prompt, Segmenter, richest
from medreasoner_monai.segmenters.volume import REACHED, SHRANK, Carried, CarriedSlice, Carrier, Pictures
from medreasoner_monai.task.geometry import Box, Frame
from medreasoner_monai.task.keypoints import key_points, mask_box

_BINS = 32


@dataclass(frozen=True, slots=True)
class Limits:
    """When the carried mask ends.

    Attributes
    ----------
    overlap:
        Least Dice of a mask with the one before it.
    likeness:
        Least overlap of the intensity histograms inside the mask, here and on the key slice.
    growth:
        Most times the area of the mask before.
    shrink:
        Least share of the key mask's area; what is smaller is taken for the structure's end.
    room:
        The prompt's box is this share, and at least a pixel, larger than the last mask on each side: it can grow.
    """

    overlap: float = 0.5
    likeness: float = 0.5
    growth: float = 1.6
    shrink: float = 0.03
    room: float = 0.01


class PromptCarrier:
    """Carries a mask by prompting each next slice with the box and two points of the last mask.

    Of the two the engine gets what it was trained on.
    """

    def __init__(self, segmenter: Segmenter[Any], limits: Limits | None = None) -> None:
        self.segmenter, self.limits = segmenter, limits or Limits()
        self.kind = richest(segmenter.prompt_kinds)

    def carry(
        self, pictures: Pictures, count: int, key: int, prompt: Prompt, mask: Mask, step: Callable[[int], None]
    ) -> Carried:
        """See :meth:`~medreasoner_monai.segmenters.volume.Carrier.carry`; confidence is overlap times likeness."""
        first = _histogram(pictures(key), mask)
        slices: list[CarriedSlice] = []
        stops = []
        for way in (range(key - 1, -1, -1), range(key + 1, count)):
            last, why = mask, ""
            for index in way:
                found, confidence, why = self._next(pictures(index), last, mask, first)
                if why:
                    why = f"stopped before slice {index}: {why}"
                    break
                slices.append(CarriedSlice(index, found, confidence))
                step(len(slices))
                last = found
            stops.append(why or f"{REACHED} {'first' if way.step < 0 else 'last'} slice")
        return Carried(tuple(slices), (stops[0], stops[1]))

    def _next(self, image: Image, last: Mask, key: Mask, first: NDArray[np.float64]) -> tuple[Mask, float, str]:
        """Mask and confidence on the next slice, or why there is none."""
        o = self.limits
        found = self.segmenter.segment(self.segmenter.embed(image), [_prompt(last, o.room).only(self.kind)])[0]
        area, before = int(found.sum()), int(last.sum())
        if area < max(o.shrink * int(key.sum()), 1):
            return found, 0.0, f"{SHRANK} {area} pixels"
        if area > o.growth * before:
            return found, 0.0, f"the region grew from {before} to {area} pixels at once"
        overlap = 2 * int((found & last).sum()) / (area + before)
        if overlap < o.overlap:
            return found, 0.0, f"overlap {overlap:.2f} with the last mask, {o.overlap} is asked for"
        likeness = float(np.minimum(_histogram(image, found), first).sum())
        if likeness < o.likeness:
            return found, 0.0, f"likeness {likeness:.2f} to the key slice's region, {o.likeness} is asked for"
        return found, overlap * likeness, ""


def carrier_of(segmenter: Segmenter[Any]) -> Carrier:
    """The segmenter's own carrier where it has one (its method ``carry``), else :class:`PromptCarrier`."""
    return segmenter if isinstance(segmenter, Carrier) else PromptCarrier(segmenter)


def _prompt(mask: Mask, room: float) -> Prompt:
    box = mask_box(mask)
    frame: Frame = box.frame
    dx, dy = max(room * (box.x2 - box.x1), 1), max(room * (box.y2 - box.y1), 1)
    wider = Box(
        max(box.x1 - dx, 0), max(box.y1 - dy, 0), min(box.x2 + dx, frame.width), min(box.y2 + dy, frame.height), frame
    )
    return Prompt(wider, key_points(mask))


def _histogram(image: Image, mask: Mask) -> NDArray[np.float64]:
    """Shares ``(bins,)`` of intensities inside the mask, smoothed a little: neighbouring grey levels are alike."""
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    counts = np.bincount(grey[mask] // (256 // _BINS), minlength=_BINS).astype(np.float64)
    smooth = np.convolve(np.pad(counts, 2, mode="edge"), np.array([1, 4, 6, 4, 1]) / 16, mode="valid")
    return smooth / max(smooth.sum(), 1e-9)
