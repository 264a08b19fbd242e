"""How two masks agree: Dice, IoU, and by their borders (MONAI's normalised surface Dice and Hausdorff distance)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from medreasoner_monai.segmenters.protocol import Mask

TOLERANCE = 2.0
"""How far apart borders may be and still count as agreeing: mm where the spacing is known, pixels where not."""


def overlap(found: Mask, truth: Mask) -> dict[str, float]:
    """``dice`` and ``iou`` of two boolean masks ``(rows, cols)``; 0 when both are empty."""
    shared, total = int((found & truth).sum()), int(found.sum()) + int(truth.sum())
    return {"dice": 2 * shared / total, "iou": shared / (total - shared)} if total else {"dice": 0.0, "iou": 0.0}


def borders(
    found: Sequence[Mask], truth: Mask, spacing: tuple[float, float] | None = None, *, tolerance: float = TOLERANCE
) -> list[dict[str, float]]:
    """``nsd`` and ``hd95`` of masks against one truth.

    Parameters
    ----------
    found:
        Boolean masks ``(rows, cols)``.
    truth:
        The true one, not empty.
    spacing:
        Millimetres from row to row and from column to column; without it distances are in pixels.

    Returns
    -------
    One a mask: the share of both borders that lies within the tolerance of the other, and the 95th percentile of the
    distances between them. A mask with no pixel has 0 and the diagonal of the image, the worst there can be.
    """
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.surface_dice import compute_surface_dice

    row, col = spacing or (1.0, 1.0)
    worst = {"nsd": 0.0, "hd95": math.hypot(truth.shape[0] * row, truth.shape[1] * col)}
    full = [i for i, mask in enumerate(found) if mask.any()]
    out = [dict(worst) for _ in found]
    if not full:
        return out
    # Far from both masks nothing is to be measured; a margin keeps the borders whole.
    top, left, bottom, right = _window([*(found[i] for i in full), truth])
    pred = torch.from_numpy(np.stack([found[i][top:bottom, left:right] for i in full]))[:, None].float()
    true = torch.from_numpy(np.ascontiguousarray(truth[top:bottom, left:right]))[None, None].float().expand_as(pred)
    options = {"include_background": True, "spacing": [row, col]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI's own use of an argument it is about to drop
        shares = compute_surface_dice(pred, true, class_thresholds=[tolerance], **options)  # type: ignore[arg-type]
        distances = compute_hausdorff_distance(pred, true, percentile=95, **options)  # type: ignore[arg-type]
    for i, share, distance in zip(full, shares[:, 0].tolist(), distances[:, 0].tolist(), strict=True):
        out[i] = {"nsd": share, "hd95": distance}
    return out


def _window(masks: Sequence[Mask], margin: int = 2) -> tuple[int, int, int, int]:
    seen = np.any(masks, axis=0)
    rows, cols = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    top, left = max(int(rows[0]) - margin, 0), max(int(cols[0]) - margin, 0)
    return top, left, int(rows[-1]) + 1 + margin, int(cols[-1]) + 1 + margin
