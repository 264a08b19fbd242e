"""Which files of a folder are images (NIfTI or NRRD) and which are their label maps.

| layout | image | labels |
|---|---|---|
| MSD | ``imagesTr/CASE.nii.gz`` | ``labelsTr/CASE.nii.gz``, named by ``dataset.json`` |
| nnU-Net | ``imagesTr/CASE_0000.nii.gz``, a file per channel | as MSD |
| plain | ``images/CASE.nii.gz`` | ``labels/CASE.nii.gz``, named by the config |
| TotalSegmentator | ``CASE/ct.nii.gz``, ``CASE/mri.nii.gz`` | ``CASE/segmentations/TARGET.nii.gz``, a mask each |
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medreasoner_monai.data.sources.nrrd_volume import ENDINGS, FOREIGN, convert
from medreasoner_monai.data.sources.reading import inside
from medreasoner_monai.errors import InputError
from medreasoner_monai.settings.sources import NiftiSettings

_ENDINGS = (".nii.gz", ".nii", *ENDINGS)
_FOLDERS = (("imagesTr", "labelsTr"), ("imagesTs", "labelsTs"), ("images", "labels"))
_CHANNEL = re.compile(r"(.+)_(\d{4})")
_SCANS = ("ct", "mri", "mr", "image")


@dataclass(frozen=True)
class Case:
    """One volume.

    Attributes
    ----------
    name:
        Its id in the source.
    image, labels:
        ``labels`` is a label map, or a folder with a mask per target; None where there is none.
    channel:
        Of an image with several, from 0.
    """

    name: str
    image: Path
    labels: Path | None
    channel: int | None = None


@dataclass(frozen=True)
class About:
    """What ``dataset.json`` states, as far as it is there.

    Attributes
    ----------
    labels:
        Names of targets, and the label values that make up each (regions of nnU-Net have several).
    channels:
        Names of the channels, such as ``CT`` or ``T1w``.
    """

    labels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    channels: Mapping[int, str] = field(default_factory=dict)
    licence: str = ""


def stem_of(path: Path) -> str | None:
    """A volume's name without its ending; None for other files and for what macOS leaves beside files."""
    for ending in _ENDINGS:
        if path.name.endswith(ending) and not path.name.startswith("."):
            return path.name.removesuffix(ending)
    return None


def find_cases(settings: NiftiSettings) -> tuple[list[Case], dict[Path, str]]:
    """The cases, each with a name of its own; and files that belong to none, with the reason.

    Raises
    ------
    InputError
        If no layout fits, or ``pairs`` names a file outside the folder.
    """
    root = settings.path
    if settings.pairs:
        return _apart([_pair(root, image, labels) for image, labels in sorted(settings.pairs.items())], root), {}
    cases: list[Case] = []
    alone: dict[Path, str] = {}
    for images, labels in _FOLDERS:
        if (root / images).is_dir():
            found, lost = _matched(root / images, root / labels, settings.channel)
            cases += found
            alone |= lost
            alone |= {p: convert(p) for d in (images, labels) for p in sorted((root / d).glob("*")) if _foreign(p)}
    for folder in sorted(p for p in root.glob("*") if (p / "segmentations").is_dir()):
        scans = [p for name in _SCANS for ending in _ENDINGS if (p := folder / (name + ending)).is_file()]
        if scans:
            cases.append(Case(folder.name, scans[0], folder / "segmentations"))
    if not cases and not alone:
        raise InputError(
            f"{root} holds no NIfTI or NRRD images in a known layout (imagesTr and labelsTr, images and labels, or "
            "CASE/ct.nii.gz and CASE/segmentations); name image and label map in pairs"
        )
    named: dict[str, Case] = {}
    for case in cases:
        if (first := named.setdefault(case.name, case)) is not case:
            alone[case.image] = f"{first.image.relative_to(root)} has its name; rename one of them"
    return list(named.values()), alone


def _apart(cases: list[Case], root: Path) -> list[Case]:
    """Files of one name in several folders are named with their folders."""
    counts = Counter(case.name for case in cases)
    return [c if counts[c.name] == 1 else replace(c, name=_with_folder(c.image, root)) for c in cases]


def _with_folder(path: Path, root: Path) -> str:
    return path.relative_to(root).with_name(stem_of(path) or path.stem).as_posix()


def _foreign(path: Path) -> bool:
    return path.suffix in FOREIGN and not path.name.startswith(".")


def _pair(root: Path, image: str, labels: str) -> Case:
    paths = [inside(root, name) for name in (image, labels)]
    for path in paths:
        if not path.exists():
            raise InputError(f"{root}: pairs names {path.relative_to(root)}, which is not there")
    return Case(stem_of(paths[0]) or paths[0].stem, paths[0], paths[1])


def _matched(images: Path, labels: Path, channel: int) -> tuple[list[Case], dict[Path, str]]:
    lost: dict[Path, str] = {}
    maps: dict[str, Path] = {}
    for path in sorted(labels.glob("*")):
        if (stem := stem_of(path)) and maps.setdefault(stem, path) != path:
            lost[path] = f"{maps[stem].name} is the label map of this name; remove one of them"
    channels: dict[str, dict[int, Path]] = {}
    for path in sorted(images.glob("*")):
        stem = stem_of(path)
        if stem is None:
            continue
        match = _CHANNEL.fullmatch(stem)
        if match and stem not in maps:
            name, number = match[1], int(match[2])
        else:
            name, number = stem, -1
        if (first := channels.setdefault(name, {}).setdefault(number, path)) != path:
            lost[path] = f"{first.name} is the image of this name; remove one of them"
    cases = []
    for name, files in sorted(channels.items()):
        # A channel that is not there is found missing when the case is read.
        image = files[-1] if -1 in files else files.get(channel, images / f"{name}_{channel:04}.nii.gz")
        cases.append(Case(name, image, maps.get(name), None if -1 in files else channel))
    lost |= {path: "there is no image of its name" for stem, path in maps.items() if stem not in channels}
    return cases, lost


def read_about(root: Path) -> About:
    """``dataset.json`` of MSD (``modality``, labels by value) or of nnU-Net (``channel_names``, labels by name).

    Raises
    ------
    InputError
        If it is there and cannot be understood.
    """
    path = root / "dataset.json"
    if not path.is_file():
        return About()
    try:
        stated: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        channels = stated.get("channel_names") or stated.get("modality") or {}
        return About(
            _labels(stated.get("labels") or {}),
            {int(n): str(name) for n, name in channels.items()} if isinstance(channels, dict) else {},
            str(stated.get("licence") or stated.get("license") or ""),
        )
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not a data set description of MSD or nnU-Net ({type(error).__name__}: {error}); correct it, or "
            "name the labels in the config"
        ) from None


def _labels(stated: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    values: tuple[int, ...]
    for key, value in stated.items():
        if key.lstrip("-").isdigit():  # MSD: value to name
            name, values = str(value), (int(key),)
        else:  # nnU-Net: name to value, or to the values of a region
            name, values = key, tuple(int(v) for v in (value if isinstance(value, list) else [value]))
        plain = " ".join(name.replace("_", " ").lower().split())
        if plain not in ("background", "ignore") and values != (0,):
            found[plain] = values
    return found
