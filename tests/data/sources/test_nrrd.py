"""NRRD volumes: hung as the same body's NIfTI is, whatever their space; Slicer's segmentations; and what is refused.

The files are written by hand, as the format says (https://teem.sourceforge.net/nrrd/format.html), not by the library
that reads them.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medreasoner_monai.data.sources.dicom_folder import DicomSource
from medreasoner_monai.data.sources.nifti import NiftiSource
from medreasoner_monai.errors import InputError
from medreasoner_monai.settings.sources import DicomSettings, NiftiSettings, SliceSettings
from tests.data.sources.volumes import LPS_TO_RAS, items, pictures, reasons, turned, write_nifti
from tests.dicom.tools import need_ct
from tests.dicom.turned import SPOT, WAYS, body, name

REAL = Path(__file__).parents[4] / "shared" / "data" / "real_volumes" / "nrrd_pyradiomics"
ALL = SliceSettings(take="all", min_area_mm2=0)
SIGNS = {"LPS": (1, 1), "RAS": (-1, -1), "left-anterior-superior": (1, -1), "right-anterior-superior": (-1, -1)}
TYPES = {"int16": "short", "uint8": "unsigned char", "float32": "float"}


def source(path: Path, **settings: object) -> NiftiSource:
    settings = {"labels": {1: "spot"}, "modality": "CT", "rule": "window:40,800", "slices": ALL, **settings}
    return NiftiSource(NiftiSettings(kind="nifti", path=path, **settings))  # type: ignore[arg-type]


def write_nrrd(
    path: Path, values: NDArray[np.generic], lps: NDArray[np.float64] | None = None, space: str = "LPS", **more: str
) -> Path:
    """``lps`` leads from voxels to LPS; ``more`` are further fields, or others than these (``_`` for a space)."""
    lps = np.eye(4) if lps is None else lps
    affine = np.diag([*SIGNS.get(space, (1, 1)), 1, 1]) @ lps
    vectors = " ".join(f"({','.join(f'{x:.10g}' for x in affine[:3, axis])})" for axis in range(3))
    fields = {
        "type": TYPES[str(values.dtype)],
        "dimension": "3",
        "space": space,
        "sizes": " ".join(map(str, values.shape)),
        "space directions": vectors,
        "endian": "little",
        "encoding": "gzip",
        "space origin": f"({','.join(f'{x:.10g}' for x in affine[:3, 3])})",
    }
    own = {key.replace("_", " "): value for key, value in more.items() if not key.startswith("Segment")}
    fields = {key: value for key, value in (fields | own).items() if value}
    lines = ["NRRD0004", *(f"{key}: {value}" for key, value in fields.items())]
    lines += [f"{key}:={value}" for key, value in more.items() if key.startswith("Segment")]
    raw = np.asfortranarray(values).tobytes(order="F")
    data = gzip.compress(raw, 1) if fields["encoding"] == "gzip" else raw
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + (data if "data file" not in fields else b""))
    return path


def case(folder: Path, values: NDArray[np.generic] | None = None, **more: str) -> Path:
    values = np.zeros((8, 8, 4), np.int16) if values is None else values
    write_nrrd(folder / "images" / "p1.nrrd", values, **more)
    write_nrrd(folder / "labels" / "p1.nrrd", np.ones((8, 8, 4), np.uint8))
    return folder


@pytest.mark.parametrize("space", SIGNS)
@pytest.mark.parametrize("way", WAYS[::7], ids=name)
def test_a_volume_is_shown_as_its_nifti_copy_whatever_its_space(way, space: str, tmp_path: Path) -> None:
    spot = np.zeros(body().shape, dtype=np.uint8)
    spot[SPOT] = 1
    values, ras = turned(body(), way)
    marks = turned(spot, way)[0]
    for kind, data in (("images", values), ("labels", marks)):
        write_nifti(tmp_path / "a" / kind / "p1.nii.gz", data, ras)
        write_nrrd(tmp_path / "b" / kind / "p1.nrrd", data, LPS_TO_RAS @ ras, space)
    planes = ("axial", "coronal", "sagittal")
    theirs, ours = (pictures(items(source(tmp_path / folder, planes=planes))) for folder in "ab")
    assert len(ours) == len(theirs) == sum(s.stop - s.start for s in SPOT)
    for a, b in zip(theirs, ours, strict=True):
        assert np.array_equal(a.image, b.image) and np.array_equal(a.targets[0].mask, b.targets[0].mask)
        assert (a.id, a.spacing, a.origin.left, a.origin.plane) == (b.id, b.spacing, b.origin.left, b.origin.plane)
        assert a.stored is not None and b.stored is not None and np.array_equal(a.stored, b.stored)


def slicer(folder: Path, marks: NDArray[np.uint8], lps: NDArray[np.float64] | None = None, **more: str) -> Path:
    """An image and a segmentation as 3D Slicer saves them."""
    write_nrrd(folder / "images" / "p1.nrrd", np.arange(256, dtype=np.int16).reshape(8, 8, 4))
    names = {
        "Segment0_ID": "Segment_1",
        "Segment0_Name": "Left_Kidney",
        "Segment0_LabelValue": "1",
        "Segment1_Name": "Spleen",
        "Segment1_LabelValue": "5",
        "Segment2_Name": "Liver",
        "Segment2_LabelValue": "7",
    }
    write_nrrd(folder / "labels" / "p1.seg.nrrd", marks, lps, **{**names, **more})
    return folder


def test_segments_have_the_names_that_slicer_gave_them(tmp_path: Path) -> None:
    marks = np.zeros((8, 8, 4), np.uint8)
    marks[:3, :3, 1], marks[4:6, 4:6, 1], marks[7, 7, 1] = 1, 5, 9
    found = items(source(slicer(tmp_path, marks), labels={}))
    (picture,) = pictures(found)
    assert {t.name: int(t.mask.sum()) for t in picture.targets} == {"left kidney": 9, "spleen": 4}
    assert picture.labelled == {"left kidney", "spleen", "liver"}, "the liver was named and is not there"
    assert list(reasons(found)) == ["labels/p1.seg.nrrd label 9"]
    renamed = items(source(tmp_path, labels={1: "kidney", 5: "spleen", 9: "cyst"}))
    assert {t.name for t in pictures(renamed)[0].targets} == {"kidney", "spleen", "cyst"}, "the config has its way"


def test_a_segmentation_that_was_cropped_lies_where_it_belongs(tmp_path: Path) -> None:
    marks = np.zeros((8, 8, 4), np.uint8)
    marks[2:5, 3:7, 1:3] = 1
    moved = np.eye(4)
    moved[:3, 3] = 2, 3, 1
    whole = pictures(items(source(slicer(tmp_path / "a", marks), labels={})))
    cropped = pictures(items(source(slicer(tmp_path / "b", marks[2:5, 3:7, 1:3], moved), labels={})))
    assert len(whole) == len(cropped) == 2
    for a, b in zip(whole, cropped, strict=True):
        assert np.array_equal(a.targets[0].mask, b.targets[0].mask)
    moved[0, 3] = 6
    (reason,) = reasons(items(source(slicer(tmp_path / "b", marks[2:5, 3:7, 1:3], moved), labels={}))).values()
    assert "lie outside the image" in reason
    moved[0, 3] = 2.5
    (reason,) = reasons(items(source(slicer(tmp_path / "b", marks[2:5, 3:7, 1:3], moved), labels={}))).values()
    assert "has 3 x 4 x 2 voxels, its image 8 x 8 x 4" in reason


def test_layers_that_overlap_are_refused(tmp_path: Path) -> None:
    axes = "none (1,0,0) (0,1,0) (0,0,1)"
    more = {"dimension": "4", "kinds": "list domain domain domain", "space_directions": axes}
    given = slicer(tmp_path, np.ones((2, 8, 8, 4), np.uint8), **more)
    (reason,) = reasons(items(source(given, labels={}))).values()
    assert "2 layers of segments that overlap; export it as a label map" in reason


def test_a_channel_is_chosen_from_the_axis_without_a_direction(tmp_path: Path) -> None:
    values = np.stack([np.full((8, 8, 4), 40), np.full((8, 8, 4), -360)]).astype(np.int16)
    axes = "none (1,0,0) (0,1,0) (0,0,1)"
    case(tmp_path, values, dimension="4", kinds="vector domain domain domain", space_directions=axes)
    (picture,) = pictures(items(source(tmp_path, channel=1)))[:1]
    assert picture.stored is not None and np.all(picture.stored == -360)
    (reason,) = reasons(items(source(case(tmp_path, values, dimension="4", kinds="RGB-color domain domain domain",
                                          space_directions=axes)))).values()  # fmt: skip
    assert "holds colours" in reason


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"space": ""}, "does not say how it lies in the patient (space absent)"),
        ({"space": "scanner-xyz"}, "does not say how it lies in the patient (space scanner-xyz)"),
        ({"space_origin": ""}, "with directions and origin"),
        ({"space_directions": "(1,0,0) (1,0,0) (0,0,1)"}, "zero, missing or skewed axis"),
        ({"space_directions": "(1,0,0) (0,0,0) (0,0,1)"}, "zero, missing or skewed axis"),
        ({"space_units": '"parsec" "parsec" "parsec"'}, "other units than millimetres"),
        ({"sizes": "8 8 5"}, "not a readable NRRD file"),
        ({"sizes": "8 -8 4"}, "not a readable NRRD file"),
        ({"sizes": "2000000 2000000 4"}, "more than 1,073,741,824 voxels"),
        ({"encoding": "hex"}, "not a readable NRRD file"),
        ({"data_file": "../../secret.raw", "encoding": "raw"}, "leads out of the folder"),
        ({"data_file": "/etc/hostname", "encoding": "raw"}, "leads out of the folder"),
        ({"data_file": "p%03d.raw 1 4 1", "encoding": "raw"}, "several data files"),
        ({"data_file": "gone.raw", "encoding": "raw"}, "not a readable NRRD file"),
    ],
)
def test_a_file_that_cannot_be_used_is_set_aside_with_its_reason(more, said: str, tmp_path: Path) -> None:
    (tmp_path / "secret.raw").write_bytes(bytes(512))
    space = more.get("space")
    case(tmp_path / "in", **{key: value for key, value in more.items() if key != "space"})
    if space is not None:
        path = tmp_path / "in" / "images" / "p1.nrrd"
        path.write_bytes(path.read_bytes().replace(b"space: LPS\n", f"space: {space}\n".encode() if space else b""))
    given = source(tmp_path / "in")
    given.identity()
    found = items(given)
    assert not pictures(found) and said in reasons(found)["images/p1.nrrd"], reasons(found)


@pytest.mark.parametrize("spoil", [lambda data: b"", lambda data: b"NRRD", lambda data: data[:-40], lambda d: d[:90]])
def test_a_damaged_file_is_set_aside(spoil, tmp_path: Path) -> None:
    path = case(tmp_path) / "images" / "p1.nrrd"
    path.write_bytes(spoil(path.read_bytes()))
    (reason,) = reasons(items(source(tmp_path))).values()
    assert "not a readable NRRD file" in reason


def test_values_that_unpack_to_more_than_the_header_says_are_not_unpacked(tmp_path: Path) -> None:
    path = case(tmp_path) / "images" / "p1.nrrd"
    header, _ = path.read_bytes().split(b"\n\n", 1)
    path.write_bytes(header + b"\n\n" + gzip.compress(bytes(1 << 20)))
    (reason,) = reasons(items(source(tmp_path))).values()
    assert "unpacks to more than its header says" in reason


def test_values_beside_their_header_are_read_and_are_part_of_the_identity(tmp_path: Path) -> None:
    whole = source(case(tmp_path / "a", np.arange(256, dtype=np.int16).reshape(8, 8, 4)))
    values = np.arange(256, dtype=np.int16).reshape(8, 8, 4)
    write_nrrd(tmp_path / "b" / "images" / "p1.nhdr", values, data_file="p1.raw", encoding="raw")
    raw = tmp_path / "b" / "images" / "p1.raw"
    raw.write_bytes(values.tobytes(order="F"))
    write_nrrd(tmp_path / "b" / "labels" / "p1.nrrd", np.ones((8, 8, 4), np.uint8))
    apart = source(tmp_path / "b")
    for a, b in zip(pictures(items(whole)), pictures(items(apart)), strict=True):
        assert np.array_equal(a.image, b.image)
    before = apart.identity()
    raw.write_bytes(values[::-1].tobytes(order="F"))
    assert source(tmp_path / "b").identity() != before


def test_formats_that_are_not_read_are_named_with_what_to_do(tmp_path: Path) -> None:
    case(tmp_path)
    (tmp_path / "images" / "p2.mha").write_bytes(b"ObjectType = Image\n")
    (tmp_path / "labels" / "p2.mha").write_bytes(b"ObjectType = Image\n")
    found = items(source(tmp_path))
    assert pictures(found)
    said = reasons(found)
    assert set(said) == {"images/p2.mha", "labels/p2.mha"}
    assert all("MetaImage files are not read; convert it to NIfTI or NRRD" in reason for reason in said.values())
    (reason,) = reasons(items(source(tmp_path, pairs={"images/p2.mha": "labels/p2.mha"}))).values()
    assert "MetaImage files are not read" in reason
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no NIfTI or NRRD images"):
        list(source(tmp_path / "empty").units())


def test_the_real_liver_lies_as_in_the_segmentation_beside_it() -> None:
    """The NRRD and the DICOM-SEG of dcmqi's example are one segmentation, written by different programs."""
    folder = need_ct()
    theirs = pictures(items(DicomSource(DicomSettings(kind="dicom", path=folder, slices=ALL))))
    pair = {"segmentations/liver_seg.nrrd": "segmentations/liver_seg.nrrd"}
    ours = pictures(items(source(folder, pairs=pair, labels={1: "liver"}, planes=("axial",))))
    assert [p.origin.slice for p in ours] == [p.origin.slice for p in theirs] == [0, 1, 2]
    for a, b in zip(theirs, ours, strict=True):
        assert np.array_equal(a.targets[0].mask, b.targets[0].mask)
        assert b.spacing == pytest.approx(a.spacing) and b.origin.left == a.origin.left == "right"


def test_real_lesions_are_read_with_all_of_their_voxels() -> None:
    if not REAL.is_dir():
        pytest.skip(f"the real NRRD volumes are not beside the repository ({REAL})")
    for named, counts in (("brain1", 4137), ("breast1", 143)):
        pair = {f"{named}_image.nrrd": f"{named}_label.nrrd"}
        found = pictures(items(source(REAL, pairs=pair, labels={1: "lesion"}, modality="MRI", rule="as-stored")))
        assert sum(int(t.mask.sum()) for p in found for t in p.targets) == counts
