"""Small samples for tests that do not care what the picture shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from medreasoner_monai.data.sample import Sample
from medreasoner_monai.task.keypoints import key_points, mask_box


def sample(number: int = 0, **changes: Any) -> Sample:
    """A bright rectangle on noise, 60 x 40; its place follows from the number."""
    rng = np.random.default_rng(number)
    image = rng.integers(0, 100, (40, 60), dtype=np.uint8)
    mask = np.zeros((40, 60), dtype=bool)
    top, left = int(rng.integers(2, 20)), int(rng.integers(2, 30))
    mask[top : top + 16, left : left + 24] = True
    image[mask] += 120
    made = Sample(
        id=f"s{number}",
        question=f"Where is the bright area number {number}?",
        image=image,
        mask=mask,
        box=mask_box(mask),
        points=key_points(mask),
        category="liver" if number % 2 else "spleen",
        supercategory="Abdomen",
        modality="CT",
        group=f"g{number // 2}",
        trace="It is bright.",
    )
    return replace(made, **changes)


def absent_sample(number: int = 0, **changes: Any) -> Sample:
    """A sample of which the image does not show what is asked for."""
    nothing = np.zeros((40, 60), dtype=bool)
    return sample(number, **{"mask": nothing, "box": None, "points": None, "absent": "removed", **changes})
