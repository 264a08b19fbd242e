"""One slice of one patient, in two sources under two ids and in two windows: the firewall knows it by its values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medreasoner_monai.data.curate_stage import curate_into
from medreasoner_monai.data.fingerprints import look
from medreasoner_monai.data.firewall import REPORT
from medreasoner_monai.data.likeness import SAME, likeness
from medreasoner_monai.data.near_hashes import RADIUS
from medreasoner_monai.data.phantoms import render
from medreasoner_monai.data.sources.dicom_folder import DicomSource
from medreasoner_monai.data.sources.nifti import NiftiSource
from medreasoner_monai.dicom.saving import save
from medreasoner_monai.dicom.seg import build_seg
from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.errors import InputError
from medreasoner_monai.pipeline.progress import NoProgress
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.settings.data import CleanSettings, DataSettings, QuestionSettings, SplitSettings
from medreasoner_monai.settings.sources import DicomSettings, NiftiSettings
from tests.data.sources.volumes import LPS_TO_RAS, items, pictures, write_nifti
from tests.dicom.made import ORIGIN, a_finding
from tests.dicom.turned import WAYS, write_ct

SOFT, WIDE = "window:150,300", "window:0,2000"


def hounsfield(number: int) -> NDArray[np.int16]:
    """A drawn abdomen with the contrast of a CT, ``(3, rows, columns)`` towards head, back and left."""
    drawn = render("ct_abdomen", number).image[::2, ::2].astype(np.int16) * 8 - 1000
    return np.stack([drawn - 40, drawn, drawn + 30])


def nifti(folder: Path, hu: NDArray[np.int16], rule: str) -> NiftiSettings:
    affine = LPS_TO_RAS @ np.diag([1.0, 1.0, 5.0, 1.0])
    marks = np.zeros(hu.shape, np.uint8)
    marks[1, 50:80, 40:70] = 1
    write_nifti(folder / "images" / f"{folder.name}.nii.gz", hu.transpose(2, 1, 0), affine)
    write_nifti(folder / "labels" / f"{folder.name}.nii.gz", marks.transpose(2, 1, 0), affine)
    return NiftiSettings(kind="nifti", path=folder, labels={1: "liver"}, modality="CT", rule=rule)


def dicom(folder: Path, hu: NDArray[np.int16], rule: str) -> DicomSettings:
    series = choose_series(write_ct(folder, WAYS[0], hu))
    mask = np.zeros(hu.shape[1:], dtype=bool)
    mask[50:80, 40:70] = True
    save(build_seg(series, [a_finding(series, {1: mask})], ORIGIN), folder / "seg.dcm")
    return DicomSettings(kind="dicom", path=folder, rule=rule)


def curated(folder: Path, *sources: NiftiSettings | DicomSettings) -> Draft:
    """Each patient in the split that the digest gives: the first salt that trains on one and tests on another."""
    for salt in range(40):
        draft = Draft(folder / f"{salt}.partial", folder / f"{salt}.scratch")
        data = DataSettings(
            sources=sources,
            splits=SplitSettings(val=0, test=0.5, salt=str(salt), stratify=False),
            clean=CleanSettings(min_contrast=None),
            questions=QuestionSettings(writer="name"),
        )
        try:
            curate_into(draft, data, NoProgress())
        except InputError as error:
            if "no sample is left" in str(error):
                continue
            raise
        return draft
    raise AssertionError("no salt divides them")


@pytest.mark.parametrize("second", [nifti, dicom])
def test_a_slice_in_two_windows_under_two_patients_is_refused(
    second: Callable[[Path, NDArray[np.int16], str], NiftiSettings | DicomSettings], tmp_path: Path
) -> None:
    one, two = nifti(tmp_path / "p1", hounsfield(1), SOFT), second(tmp_path / "p2", hounsfield(1), WIDE)
    (a,) = pictures(items(NiftiSource(one)))
    (b,) = pictures(items(NiftiSource(two) if isinstance(two, NiftiSettings) else DicomSource(two)))
    assert a.group != b.group
    seen = [look(picture.image) for picture in (a, b)]
    far = min((seen[0].whole ^ seen[1].whole).bit_count(), (seen[0].inner ^ seen[1].inner).bit_count())
    assert far > RADIUS or likeness(*seen) < SAME, "the pictures alone do not tell"
    with pytest.raises(InputError, match="near-duplicate: 1, such as"):
        curated(tmp_path, one, two)


def test_other_patients_in_two_windows_are_not(tmp_path: Path) -> None:
    sources = nifti(tmp_path / "p1", hounsfield(1), SOFT), nifti(tmp_path / "p2", hounsfield(2), WIDE)
    draft = curated(tmp_path, *sources)
    assert sum(json.loads((draft.path / REPORT).read_text())["leaks"].values()) == 0


def test_values_lie_on_the_pictures_grid_whatever_the_window_and_the_file(tmp_path: Path) -> None:
    hu = hounsfield(3)
    (a,) = pictures(items(NiftiSource(nifti(tmp_path / "p1", hu, SOFT))))
    (b,) = pictures(items(DicomSource(dicom(tmp_path / "p2", hu, WIDE))))
    for picture in (a, b):
        assert picture.stored is not None and picture.stored.shape == picture.image.shape
        assert np.array_equal(picture.stored, hu[1])
        centre, width = map(float, (picture.origin.window or "").split("/"))
        inside = np.abs(hu[1] - centre) < width / 2 - 1
        expected = ((hu[1] - (centre - 0.5)) / (width - 1) + 0.5) * 255  # PS3.3 C.11.2.1.2.1
        assert np.abs(picture.image[inside] - expected[inside]).max() <= 0.5
