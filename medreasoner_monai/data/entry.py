"""What a source promises of its pictures, held to where they enter the steps: later steps tell them apart by it."""

from __future__ import annotations

from dataclasses import replace

from medreasoner_monai.data.labelled import LabelledImage, Target
from medreasoner_monai.data.rejects import Reject


def enter(picture: LabelledImage, taken: set[str]) -> tuple[LabelledImage | None, list[Reject]]:
    """The picture with targets that can be told apart, and a reject for each other mask of it.

    Parameters
    ----------
    taken:
        Ids of the pictures of its source that came before; its own is added.

    Returns
    -------
    None for a picture whose id is taken: all of its masks are rejected.
    """
    if picture.id in taken:
        reason = repeated_id(picture.id, picture.origin.source)
        if not picture.targets:
            return None, [Reject(picture.origin.file or picture.id, reason, masks=0)]
        return None, [Reject(target.where, reason) for target in picture.targets]
    taken.add(picture.id)
    kept: dict[tuple[str, str], Target] = {}
    rejects: list[Reject] = []
    for target in picture.targets:
        if kept.setdefault((target.where, target.name), target) is not target:
            reason = (
                f"{target.name}: picture {picture.id} has another target of this name in the same place; tell them "
                "apart, or join them into one"
            )
            rejects.append(Reject(target.where, reason))
    return (replace(picture, targets=tuple(kept.values())) if rejects else picture), rejects


def repeated_id(name: str, source: str) -> str:
    """Why a second picture of one id is set aside."""
    return f"picture {name}: another picture of source {source} has this id; give each picture a name of its own"
