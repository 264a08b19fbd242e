"""What tells a target from others of its picture that the same words fit: place, or rank by size or position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medreasoner_monai.data.describe import Description
from medreasoner_monai.data.labelled import LabelledImage
from medreasoner_monai.task.keypoints import mask_box

_LARGER = 1.25  # areas whose ratio a reader sees
_APART = 0.04  # of the picture's extent: distances that a reader sees
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


@dataclass(frozen=True)
class Apart:
    """Words around a noun; both empty where nothing else fits it.

    Attributes
    ----------
    before:
        Such as ``larger`` or ``second``, as in "the second growth from the left in the picture".
    behind:
        Such as ``in the upper left of the picture``.
    """

    before: str = ""
    behind: str = ""

    def __bool__(self) -> bool:
        return bool(self.before or self.behind)


ALONE = Apart()


def tell_apart(picture: LabelledImage, seen: Sequence[Description], number: int, rivals: Sequence[int]) -> Apart:
    """Place, where no rival shares it; else rank among those that do, by size where a reader sees it, or by position.

    Parameters
    ----------
    seen:
        Of each target of the picture.
    number, rivals:
        Indices of the target, and of the others that its words fit.
    """
    if not rivals:
        return ALONE
    place = seen[number].place
    near = [n for n in rivals if seen[n].place == place]
    where = f"in the {place} of the picture"
    if not near:
        return Apart(behind=where)
    if len(near) == len(rivals):
        where = "in the picture"
    group = [number, *near]
    areas = [float(picture.targets[n].mask.sum()) for n in group]
    centres = [_centre(picture, n) for n in group]
    across, along = ([centre[axis] for centre in centres] for axis in (0, 1))
    sideways = _gap(across) >= _gap(along)
    steps = across if sideways else along
    by_size = all(max(areas[0], area) >= _LARGER * min(areas[0], area) for area in areas[1:])
    if by_size or (_gap(steps) < _APART and areas[0] not in areas[1:]):
        return Apart(_by_size(areas), where)
    rank = sum(step < steps[0] for step in steps)
    if rank in (0, len(group) - 1):
        first, last = ("leftmost", "rightmost") if sideways else ("uppermost", "lowest")
        return Apart(last if rank else first, where)
    return Apart(_ordinal(rank), f"from the {'left' if sideways else 'top'} {where}")


def _by_size(areas: list[float]) -> str:
    rank = sum(area > areas[0] for area in areas)
    if len(areas) == 2:
        return "smaller" if rank else "larger"
    if rank in (0, len(areas) - 1):
        return "smallest" if rank else "largest"
    return f"{_ordinal(rank)} largest"


def _ordinal(rank: int) -> str:
    return _ORDINALS[rank] if rank < len(_ORDINALS) else f"{rank + 1}th"


def _centre(picture: LabelledImage, number: int) -> tuple[float, float]:
    """Middle of the box, x and y as shares of the picture."""
    mask = picture.targets[number].mask
    x1, y1, x2, y2 = mask_box(mask).xyxy
    return (x1 + x2) / 2 / mask.shape[1], (y1 + y2) / 2 / mask.shape[0]


def _gap(values: list[float]) -> float:
    """From the first value to the nearest other one."""
    return min(abs(values[0] - value) for value in values[1:])
