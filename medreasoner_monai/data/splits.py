"""Which split a patient belongs to: by a digest of the patient's name, so that adding data moves nobody."""

from __future__ import annotations

import hashlib

from medreasoner_monai.settings.data import SplitSettings

SPLITS = ("train", "val", "test")


def split_of(group: str, settings: SplitSettings) -> str:
    """The split of a group.

    >>> split_of("patient 7", SplitSettings())
    'train'
    """
    digest = hashlib.sha256(f"{settings.salt}\n{group}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < settings.test:
        return "test"
    return "val" if place < settings.test + settings.val else "train"
