"""Data sets in memory make the same series as the files they were read from, and stay as they were."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, config, dcmread
from pydicom.filewriter import dcmwrite

from medreasoner_monai.dicom.series import Found, choose_series, open_datasets, open_dicom
from medreasoner_monai.errors import DicomError
from tests.dicom.damage import DAMAGES, templates
from tests.dicom.made import KINDS, make_series
from tests.dicom.tools import carried, make_ct, make_enhanced, paths_of


def written(dataset: Dataset) -> bytes:
    out = io.BytesIO()
    dcmwrite(out, dataset, enforce_file_format=False)
    return out.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_memory_and_files_make_one_series(kind: str, tmp_path: Path) -> None:
    series = make_series(kind, tmp_path)
    held = open_datasets([dcmread(path) for path in paths_of(series)]).choose()
    assert (held.uid, held.shape, held.spacing, held.slice_distance) == (
        series.uid,
        series.shape,
        series.spacing,
        series.slice_distance,
    )
    assert (held.repairs, held.notes, held.headers) == (series.repairs, series.notes, series.headers)
    for index in range(len(series)):
        ours, theirs = held.view(index), series.view(index)
        assert np.array_equal(ours.pixels, theirs.pixels) and (ours.source, ours.voi) == (theirs.source, theirs.voi)


def test_without_the_disk_a_series_is_still_read(tmp_path: Path) -> None:
    paths = make_ct(tmp_path, 3)
    datasets = [dcmread(path) for path in paths]
    expected = [choose_series(tmp_path).view(i).pixels for i in range(3)]
    for path in paths:
        path.unlink()
    held = open_datasets(datasets).choose()
    assert all(np.array_equal(held.view(i).pixels, pixels) for i, pixels in enumerate(expected))


@pytest.mark.parametrize(
    "name",
    ["MR_small_RLE.dcm", "SC_rgb_jpeg_gdcm.dcm", "examples_ybr_color.dcm", "MR_small_bigendian.dcm", "693_J2KI.dcm"],
)
@pytest.mark.parametrize("deferred", [False, True])
def test_pixels_in_any_encoding_are_read_from_memory(name: str, deferred: bool) -> None:
    path = carried(name)
    dataset = dcmread(path, defer_size=64 if deferred else None)
    held, read = open_datasets([dataset]).choose(), choose_series(path)
    assert (held.repairs, held.notes) == (read.repairs, read.notes)
    last = len(read) - 1
    assert np.array_equal(held.view(last).pixels, read.view(last).pixels)


def test_the_callers_data_sets_are_left_as_they_are(tmp_path: Path) -> None:
    dataset = dcmread(make_enhanced(tmp_path / "e"))
    dataset.SpecificCharacterSet, dataset.StudyDate = "", "2001.02.03"
    dataset.PerFrameFunctionalGroupsSequence[0].FrameVOILUTSequence[0].WindowWidth = -1
    dataset.PixelSpacing = [0, 0]
    dataset.add_new(0x00091001, "LO", "a private element")
    before = written(dataset)
    held = open_datasets([dataset]).choose()
    held.view(0)
    assert held.repairs, "something had to be repaired, in the copy"
    assert written(dataset) == before


def test_a_data_set_made_here_needs_no_file(tmp_path: Path) -> None:
    dataset = Dataset()
    dataset.update(dcmread(make_ct(tmp_path, 1)[0]))  # as a server hands it on: no file, no meta information
    held = open_datasets([dataset]).choose()
    assert any("missing TransferSyntaxUID guessed" in what for what in held.repairs)
    assert np.array_equal(held.view(0).pixels, choose_series(tmp_path).view(0).pixels)


def test_pixels_that_are_not_there_are_missed_in_memory_too(tmp_path: Path) -> None:
    short, without, compressed = (dcmread(path) for path in make_ct(tmp_path, 3))
    tail = str(short.SOPInstanceUID)[-12:]
    short.PixelData = short.PixelData[:-100]
    with pytest.raises(DicomError, match=f"{paths_name(short)}: truncated, 100 bytes of pixel data are missing"):
        open_datasets([short]).choose()
    short.filename = None
    with pytest.raises(DicomError, match=f"instance …{tail}: truncated, 100 bytes of pixel data are missing"):
        open_datasets([short]).choose()
    del without.PixelData
    with pytest.raises(DicomError, match="an image without integer pixel data"):
        open_datasets([without]).choose()
    compressed.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
    with pytest.raises(DicomError, match="truncated, the compressed pixel data do not reach their end"):
        open_datasets([compressed]).choose()


def paths_name(dataset: Dataset) -> str:
    return Path(str(dataset.filename)).name


def test_several_series_in_memory_are_chosen_from(tmp_path: Path) -> None:
    both = [
        *make_ct(tmp_path / "a", 2, series_uid="1.2.826.0.1.1"),
        *make_ct(tmp_path / "b", 3, series_uid="1.2.826.0.1.2"),
    ]
    found = open_datasets((dcmread(path) for path in both), "what the archive sent")
    assert isinstance(found, Found) and [len(s) for s in found.series] == [2, 3]
    with pytest.raises(DicomError, match="what the archive sent: holds 2 image series"):
        found.choose()
    assert found.choose("0.1.2").uid == "1.2.826.0.1.2"


def test_one_instance_twice_counts_once_unless_it_differs(tmp_path: Path) -> None:
    (path,) = make_ct(tmp_path, 1)
    again = dcmread(path)
    series = open_datasets([dcmread(path), again]).choose()
    assert len(series) == 1 and "second file with the same SOP Instance UID left out (1 file(s))" in series.repairs
    again.PixelData = bytes(len(again.PixelData))
    with pytest.raises(DicomError, match="have the same SOP Instance UID but not the same content"):
        open_datasets([dcmread(path), again]).choose()


def test_nothing_in_memory_is_an_error() -> None:
    with pytest.raises(DicomError, match="the data sets in memory: there is none"):
        open_datasets([])
    with pytest.raises(DicomError, match="only 1 x RTDOSE; give the images that these were made from"):
        open_datasets([dcmread(carried("rtdose.dcm"))])


@pytest.mark.parametrize("seed", range(0, 40, 2))
@pytest.mark.parametrize("name", ["ct", "enhanced", "clip", "jpeg", "xray"])
def test_damage_is_met_in_memory_as_in_the_file(name: str, seed: int, tmp_path: Path) -> None:
    path = tmp_path / "damaged.dcm"
    with config.disable_value_validation():
        path.write_bytes(DAMAGES[seed % len(DAMAGES)](templates()[name], random.Random(f"{name} {seed}")))
    try:
        dataset = dcmread(path, force=True)
    except Exception:
        pytest.skip("pydicom cannot read it, so nobody has it in memory")
    outcomes = []
    for find in (lambda: open_datasets([dataset]), lambda: open_dicom(path)):
        try:
            series = find().choose()
            outcomes.append((series.shape, [series.view(i).pixels.tobytes() for i in range(len(series))]))
        except DicomError:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1]
