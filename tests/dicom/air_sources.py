"""Eleven kinds of source that results are written for: the modalities that an archive of AI results meets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydicom import dcmread

from medreasoner_monai.dicom.series import Series, choose_series
from tests.dicom.made import make_photograph, make_series
from tests.dicom.tools import carried, make_ct, make_enhanced

PET = "1.2.840.10008.5.1.4.1.1.128"
MAMMOGRAM = "1.2.840.10008.5.1.4.1.1.1.2"
ANGIOGRAM = "1.2.840.10008.5.1.4.1.1.12.1"
FUNDUS = "1.2.840.10008.5.1.4.1.1.77.1.5.1"


def _ct(folder: Path) -> Series:
    make_ct(folder / "ct", 6)
    return choose_series(folder / "ct")


def _pet(folder: Path) -> Series:
    for path in make_ct(folder / "pt", 5):
        dataset = dcmread(path)
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = PET
        dataset.Modality, dataset.Units = "PT", "BQML"
        dataset.save_as(path, enforce_file_format=True)
    return choose_series(folder / "pt")


def _enhanced(folder: Path) -> Series:
    return choose_series(make_enhanced(folder / "enhanced.dcm", (0, 2.5, 5, 7.5, 10)))


def _photograph(modality: str, sop_class: str, *, colour: bool = True) -> Callable[[Path], Series]:
    return lambda folder: choose_series(make_photograph(folder / "one.dcm", modality, sop_class, colour=colour))


def _fundus(folder: Path) -> Series:
    path = make_photograph(folder / "one.dcm", "OP", FUNDUS)
    dataset = dcmread(path)
    dataset.NumberOfFrames = 1  # the multi-frame module is mandatory for it (PS3.3 A.41)
    dataset.save_as(path, enforce_file_format=True)
    return choose_series(path)


def _made(kind: str) -> Callable[[Path], Series]:
    return lambda folder: make_series(kind, folder)


def _carried(name: str) -> Callable[[Path], Series]:
    return lambda _: choose_series(carried(name))


SOURCES: dict[str, Callable[[Path], Series]] = {
    "CT": _ct,
    "MR": _carried("MR_small.dcm"),
    "CT, enhanced multi-frame": _enhanced,
    "DX": _made("DX"),
    "MG": _photograph("MG", MAMMOGRAM, colour=False),
    "US, multi-frame": _made("US, clip"),
    "VL endoscopy": _photograph("ES", "1.2.840.10008.5.1.4.1.1.77.1.1"),
    "ophthalmic photography": _fundus,
    "secondary capture": _carried("SC_rgb_jpeg_gdcm.dcm"),
    "PT": _pet,
    "XA, one frame": _photograph("XA", ANGIOGRAM, colour=False),
}
