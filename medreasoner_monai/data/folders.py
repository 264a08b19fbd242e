"""Samples from a folder of pictures and masks, named as BiomedParse and U-MRG's sources name them.

``images/<id>_<modality>_<site>.png`` and ``masks/<id>_<modality>_<site>_<target+words>.png``; a mask may also have its
image's exact name, and then each of its values above 0 is a target. A mask is that of the image with the longest name
it begins with. There are no questions in such a folder: each
target is asked for by its name, which is no implicit question, but enough to measure segmenters and to try a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.pictures import UNREADABLE, read_image, read_labels
from medreasoner_monai.data.schema import Sample
from medreasoner_monai.data.sources import Ids, Reject
from medreasoner_monai.errors import InputError
from medreasoner_monai.files import file_digest, object_digest
from medreasoner_monai.task.keypoints import key_points, mask_box
from medreasoner_monai.task.taxonomy import TAXONOMY

T = TypeVar("T", bound=np.generic)

_SUPER = {name: c.super_category for name, c in TAXONOMY.items()}


def folder_samples(folder: Path) -> Iterator[Sample | Reject]:
    """Samples of a folder in the order of its file names, and a reject in the place of each that cannot be used.

    Raises
    ------
    InputError
        If the folder has no ``images`` and ``masks`` with pictures in them.
    """
    ids = Ids()
    pairs, alone = _pairs(folder)
    for path in alone:
        yield Reject(path.name, "there is no image whose name it begins with")
    for image_path, mask_paths in pairs:
        try:
            image = _read(image_path, read_image)
        except InputError as error:
            yield Reject(image_path.name, str(error))
            continue
        if not mask_paths:
            yield Reject(image_path.name, "there is no mask that begins with its name, and with no longer image's name")
        for path in mask_paths:
            try:
                targets = _targets(path, image_path.stem)
            except InputError as error:
                yield Reject(path.name, str(error))
                continue
            if not targets:
                yield Reject(path.name, "the mask is empty")
            for target, mask in targets:
                if mask.shape != image.shape[:2]:
                    rows, cols = image.shape[:2]
                    yield Reject(path.name, f"the mask is {mask.shape[1]} x {mask.shape[0]}, its image {cols} x {rows}")
                    continue
                sample = _sample(image_path.stem, image, target, mask)
                reason = ids.refuse(sample.id, path.name)
                yield sample if reason is None else Reject(path.name, reason)


def folder_digest(folder: Path) -> str:
    """sha256 over the names and contents of a folder's pictures."""
    pairs, alone = _pairs(folder)
    found = [*(p for pair in pairs for p in (pair[0], *pair[1])), *alone]
    return object_digest([[str(p.relative_to(folder)), file_digest(p)] for p in found])


def _pairs(folder: Path) -> tuple[list[tuple[Path, list[Path]]], list[Path]]:
    """Each image with its masks, and the masks that belong to none.

    A mask belongs to the image with the longest name that it has or begins with: ``case_1_2_liver`` is a mask of
    ``case_1`` only where there is no image ``case_1_2``.
    """
    images, masks = sorted((folder / "images").glob("*.png")), sorted((folder / "masks").glob("*.png"))
    if not images or not masks:
        raise InputError(f"{folder} has no images/*.png and masks/*.png")
    found: dict[str, list[Path]] = {image.stem: [] for image in images}
    alone: list[Path] = []
    for mask in masks:
        stem: str | None = mask.stem
        while stem and stem not in found:
            stem = stem.rpartition("_")[0]
        (found[stem] if stem else alone).append(mask)
    return [(image, found[image.stem]) for image in images], alone


def _read(path: Path, read: Callable[[bytes], NDArray[T]]) -> NDArray[T]:
    try:
        return read(path.read_bytes())
    except UNREADABLE as error:
        raise InputError(f"{path} is no readable picture ({error})") from None


def _targets(path: Path, stem: str) -> list[tuple[str, NDArray[np.bool_]]]:
    values = _read(path, read_labels)
    if path.stem != stem:
        mask = values > 0
        return [(path.stem.removeprefix(f"{stem}_").replace("+", " "), mask)] if mask.any() else []
    return [(f"structure {n}", values == v) for n, v in enumerate(np.unique(values[values > 0]), 1)]


def _sample(stem: str, image: NDArray[np.uint8], target: str, mask: NDArray[np.bool_]) -> Sample:
    parts = stem.split("_")
    return Sample(
        id=f"{stem}-{target.replace(' ', '-')}",
        question=f"Where is the {target}?",
        image=image,
        mask=mask,
        box=mask_box(mask),
        points=key_points(mask),
        category=target,
        supercategory=_SUPER.get(target) or (parts[2].capitalize() if len(parts) > 2 else "Other"),
        modality=parts[1] if len(parts) > 2 else "",
        group=stem,
    )
