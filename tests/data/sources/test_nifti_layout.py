"""Volumes of one name: none is taken for another, and none is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medreasoner_monai.data.sources.nifti import NiftiSource
from medreasoner_monai.settings.sources import NiftiSettings
from tests.data.sources.volumes import items, pictures, reasons, write_nifti

IMAGE, LABELS = np.zeros((8, 8, 4), np.int16), np.ones((8, 8, 4), np.uint8)


def source(path: Path, **settings: object) -> NiftiSource:
    return NiftiSource(NiftiSettings(kind="nifti", path=path, labels={1: "spot"}, modality="CT", **settings))  # type: ignore[arg-type]


def test_pairs_of_one_file_name_in_folders_of_the_patients_are_all_taken(tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        write_nifti(tmp_path / patient / "scan.nii.gz", IMAGE)
        write_nifti(tmp_path / patient / "seg.nii.gz", LABELS)
    write_nifti(tmp_path / "p3" / "other.nii.gz", IMAGE)
    pairs = {f"{p}/scan.nii.gz": f"{p}/seg.nii.gz" for p in ("p1", "p2")} | {"p3/other.nii.gz": "p1/seg.nii.gz"}
    found = pictures(items(source(tmp_path, pairs=pairs)))
    assert [p.id.removesuffix("-axial-0000") for p in found] == ["p1/scan", "p2/scan", "other"]
    assert len({p.group for p in found}) == 3


def test_two_files_of_one_name_are_not_taken_for_each_other(tmp_path: Path) -> None:
    write_nifti(tmp_path / "images" / "a.nii", IMAGE)
    for folder, values in (("images", IMAGE), ("labels", LABELS)):
        write_nifti(tmp_path / folder / "a.nii.gz", values)
    write_nifti(tmp_path / "labels" / "a.nii", LABELS)
    found = items(source(tmp_path))
    assert len(pictures(found)) == 1
    assert reasons(found) == {
        "images/a.nii.gz": "a.nii is the image of this name; remove one of them",
        "labels/a.nii.gz": "a.nii is the label map of this name; remove one of them",
    }


def test_a_case_of_training_and_of_test_is_taken_once_and_said(tmp_path: Path) -> None:
    for part in ("Tr", "Ts"):
        write_nifti(tmp_path / f"images{part}" / "a.nii.gz", IMAGE)
        write_nifti(tmp_path / f"labels{part}" / "a.nii.gz", LABELS)
    found = items(source(tmp_path))
    assert [p.origin.file for p in pictures(found)] == ["imagesTr/a.nii.gz"]
    assert reasons(found) == {"imagesTs/a.nii.gz": "imagesTr/a.nii.gz has its name; rename one of them"}
