"""COCO annotations: polygons and run lengths, drawn by pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.labelled import LabelledImage, Target
from medreasoner_monai.data.pictures import read_image
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sample import SourceRef
from medreasoner_monai.data.sources.licences import licence_of
from medreasoner_monai.data.sources.modality import modality_of
from medreasoner_monai.data.sources.patients import Patients
from medreasoner_monai.data.sources.protocol import Unit
from medreasoner_monai.data.sources.reading import inside, read_picture
from medreasoner_monai.errors import InputError
from medreasoner_monai.files import file_digest, object_digest, remembered_digest
from medreasoner_monai.settings.sources import CocoSettings

_LOST = ":lost"


@dataclass(frozen=True)
class _Annotations:
    """A JSON file by image; ``lost`` are annotations of images that are not listed, or listed twice."""

    images: Mapping[str, dict[str, Any]]
    of: Mapping[str, list[dict[str, Any]]]
    categories: Mapping[int, str]
    licences: Mapping[int, str]
    lost: tuple[Reject, ...]


@dataclass(frozen=True)
class CocoSource:
    """A JSON file and a folder of pictures; a unit is a picture."""

    settings: CocoSettings
    inline: ClassVar[bool] = False
    synthetic: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """As the config names it, else that of the JSON file."""
        return self.settings.name or self.settings.annotations.stem

    @property
    def description(self) -> str:
        """Licence, and of how many pictures the patient is unknown."""
        unknown, total = self._unknown, len(self._found.images)
        said = f"{self.name}: {self._licence}"
        if unknown:
            said += f"; patient unknown for {unknown} of {total} pictures, each then a group of its own"
        return said + "."

    @cached_property
    def _licence(self) -> str:
        return licence_of(self.settings, self._folder, ", ".join(sorted(set(self._found.licences.values()))))

    @property
    def _folder(self) -> Path:
        return self.settings.images or self.settings.annotations.parent

    @property
    def _found(self) -> _Annotations:
        """Read once per process, and not sent from one to another."""
        path = self.settings.annotations
        try:
            return _load(path, path.stat().st_mtime_ns)
        except OSError as error:
            raise InputError(f"the annotations {path} cannot be read ({error.strerror})") from None

    @cached_property
    def _patients(self) -> Patients:
        return Patients.of(self.name, self.settings)

    @cached_property
    def _unknown(self) -> int:
        names = [_id(key) for key, image in self._found.images.items() if not self._stated(image)]
        return self._patients.unknown(names)

    def _stated(self, image: Mapping[str, Any]) -> str:
        return str(image.get(self.settings.patient_key) or "") if self.settings.patient_key else ""

    def identity(self) -> dict[str, Any]:
        """Settings, the annotations, and the contents of the pictures."""
        settings = self.settings.model_dump(mode="json", exclude={"annotations", "images", "patient_table", "aliases"})
        return {
            **settings,
            "name": self.name,
            "annotations": file_digest(self.settings.annotations),
            "patient": self._patients.identity(),
            "files": object_digest([[name, self._content(name)] for name in sorted(self._found.images)]),
        }

    def _content(self, name: str) -> str:
        try:
            return remembered_digest(inside(self._folder, name))
        except (InputError, OSError):
            return ""  # it becomes a reject

    def units(self) -> Iterator[Unit]:
        """One per picture, in the order of the file; annotations of no picture come last."""
        found = self._found
        _ = self._unknown  # a rule that does not fit is an error before anything is read
        for name in found.images:
            yield Unit(name, max(1, len(found.of[name])))
        if found.lost:
            yield Unit(_LOST, sum(reject.masks for reject in found.lost))

    def read(self, unit: Unit) -> Iterator[LabelledImage | Reject]:
        """A picture with its targets (with ``several: apart`` several of them), after its rejects."""
        found = self._found
        if unit.key == _LOST:
            yield from found.lost
            return
        about, annotations = found.images[unit.key], found.of[unit.key]
        try:
            image = read_picture(inside(self._folder, unit.key), read_image)
            _same_size(about, image)
        except InputError as error:
            yield Reject(unit.key, str(error), masks=len(annotations))
            return
        masks: dict[str, list[Target]] = {}
        for number, annotation in enumerate(annotations, 1):
            # Ids of broken files are missing or not unique, and a place must be.
            made = self._target(f"{unit.key} annotation {annotation.get('id', '?')} (no. {number})", annotation, image)
            if isinstance(made, Reject):
                yield made
            else:
                masks.setdefault(made.name, []).append(made)
        pictures: list[list[Target]] = [[]]
        for name, targets in masks.items():
            if len(targets) > 1 and self.settings.several == "reject":
                reason = f"one of {len(targets)} annotations of {name!r} in this picture (several: reject)"
                yield from (Reject(target.where, reason) for target in targets)
            elif self.settings.several == "apart":
                pictures[0].append(targets[0])
                pictures += [[target] for target in targets[1:]]
            else:
                pictures[0].append(_union(targets))
        if pictures[0] or (self.settings.complete and not annotations):
            for number, shown in enumerate(pictures, 1):
                yield self._picture(unit.key, about, image, tuple(shown), number)
        elif not annotations:
            yield Reject(unit.key, "it has no annotation, and `complete` does not say that it shows nothing", masks=0)

    def _target(self, where: str, annotation: Mapping[str, Any], image: NDArray[np.uint8]) -> Target | Reject:
        name = self._found.categories.get(annotation.get("category_id", -1))
        if name is None:
            return Reject(where, f"its category {annotation.get('category_id')!r} is not in the file's list")
        if annotation.get("iscrowd") and self.settings.crowd == "reject":
            return Reject(where, "it outlines a group of objects (iscrowd); crowd: keep takes it as one")
        rows, cols = image.shape[:2]
        try:
            mask = draw(annotation.get("segmentation"), rows, cols)
        except InputError as error:
            return Reject(where, str(error))
        return Target(name, mask, where) if mask.any() else Reject(where, "the mask is empty")

    def _picture(
        self, name: str, about: Mapping[str, Any], image: NDArray[np.uint8], targets: tuple[Target, ...], number: int
    ) -> LabelledImage:
        modality, sequence = modality_of(self.settings.modality)
        licence = self._found.licences.get(about.get("license", -1), self._licence)
        complete = self.settings.complete and number == 1 and self.settings.several != "apart"
        return LabelledImage(
            id=_id(name) if number == 1 else f"{_id(name)}-{number}",
            image=image,
            targets=targets,
            modality=modality,
            site=self.settings.site,
            group=self._patients.group(_id(name), image, self._stated(about) or None),
            origin=SourceRef(self.name, name, licence, sequence=sequence),
            labelled=frozenset(self._found.categories.values()) if complete else frozenset(),
        )


def draw(segmentation: Any, rows: int, cols: int) -> NDArray[np.bool_]:
    """A mask ``(rows, cols)`` of COCO's polygons, or of its run lengths, compressed or not.

    Raises
    ------
    InputError
        If it is neither, or of another size than the picture.
    """
    from pycocotools import mask as coco

    if isinstance(segmentation, list):
        if not segmentation or not all(_polygon(p) for p in segmentation):
            raise InputError("a polygon is a list of at least three x, y pairs; this has none, or others")
        runs = coco.merge(coco.frPyObjects(segmentation, rows, cols))
    elif isinstance(segmentation, Mapping):
        if list(segmentation.get("size") or ()) != [rows, cols]:
            raise InputError(f"its run lengths are of the size {segmentation.get('size')}, its picture {[rows, cols]}")
        counts = segmentation.get("counts")
        if isinstance(counts, list):
            if not all(isinstance(n, int) and n >= 0 for n in counts) or sum(counts) != rows * cols:
                raise InputError(f"its run lengths do not add up to {rows * cols} pixels")
            runs = coco.frPyObjects({"size": [rows, cols], "counts": counts}, rows, cols)
        elif isinstance(counts, str) and counts.isascii():
            runs = {"size": [rows, cols], "counts": counts.encode()}
        else:
            raise InputError("its run lengths are neither numbers nor a text")
    else:
        raise InputError("it has no segmentation, a box alone perhaps")
    try:
        return np.asarray(coco.decode(runs), dtype=bool)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"its run lengths cannot be decoded ({error})") from None


def _polygon(points: Any) -> bool:
    return (
        isinstance(points, list)
        and len(points) >= 6
        and len(points) % 2 == 0
        and all(isinstance(v, int | float) and math.isfinite(v) and abs(v) < 1e6 for v in points)
    )


def _union(targets: list[Target]) -> Target:
    if len(targets) == 1:
        return targets[0]
    mask = np.logical_or.reduce([t.mask for t in targets])
    return Target(targets[0].name, mask, f"{targets[0].where} and {len(targets) - 1} more")


def _same_size(about: Mapping[str, Any], image: NDArray[np.uint8]) -> None:
    stated = (about.get("height"), about.get("width"))
    if stated != image.shape[:2]:
        raise InputError(f"the picture has {image.shape[0]} rows and {image.shape[1]} columns, the file says {stated}")


def _id(name: str) -> str:
    return Path(name).with_suffix("").as_posix()


@lru_cache(maxsize=4)
def _load(path: Path, _: int) -> _Annotations:
    from pycocotools.coco import COCO

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        coco = COCO()
        coco.dataset = data
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
            coco.createIndex()
        listed = Counter(image["id"] for image in data["images"])
        named = Counter(str(image["file_name"]) for image in data["images"])
        images = {
            str(i["file_name"]): i for i in data["images"] if listed[i["id"]] == 1 and named[str(i["file_name"])] == 1
        }
        of = {name: list(coco.imgToAnns.get(image["id"], ())) for name, image in images.items()}
        there = {image["id"] for image in images.values()}
        lost = [
            Reject(f"annotation {a.get('id', '?')}", f"its image {a.get('image_id')!r} is not listed, or listed twice")
            for a in data.get("annotations", ())
            if a.get("image_id") not in there
        ]
        categories = {c["id"]: " ".join(str(c["name"]).replace("_", " ").lower().split()) for c in data["categories"]}
        licences = {entry["id"]: str(entry.get("name") or "") for entry in data.get("licenses", ())}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a COCO file ({type(error).__name__}: {error})") from None
    lost += [Reject(f"image {i}", f"{n} images have this id", masks=0) for i, n in listed.items() if n > 1]
    lost += [Reject(f"image {i}", f"{n} images have this file name", masks=0) for i, n in named.items() if n > 1]
    return _Annotations(images, of, categories, licences, tuple(lost))
