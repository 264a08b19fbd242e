"""A side is given only where the mask lies on it, and what says otherwise is flagged."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from medreasoner_monai.dicom import hanging, midline
from medreasoner_monai.dicom.midline import Midline
from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.grounding.outputs import write_outputs
from medreasoner_monai.grounding.request import Question
from medreasoner_monai.grounding.sides import side_of
from medreasoner_monai.task.findings import Finding
from tests.dicom.made import a_finding
from tests.dicom.turned import SHAPE, SPOT, WAYS, body, radiograph, write_ct, write_radiograph
from tests.grounding.bright import bright_grounder

PLAIN = "Which organ cleans the blood?"
OUTLINE = "by the midline of the body's outline on the key slice"


def found(path: Path, *, question: str = PLAIN, category: str | None = None, trace: str = "A bright area.") -> Finding:
    (finding,) = bright_grounder(trace).ground(choose_series(path), [Question(question, category)]).findings
    return finding


def side(finding: Finding) -> tuple[str, str]:
    assert finding.side is not None
    return finding.side.value, finding.side.how


def coded(finding: Finding) -> tuple[str, str | None]:
    assert finding.codes is not None
    return finding.codes.label, finding.codes.laterality.meaning if finding.codes.laterality else None


def flagged(finding: Finding) -> list[str]:
    assert {flag.kind for flag in finding.flags} <= {"side"}
    return [flag.text for flag in finding.flags]


@pytest.mark.parametrize("mirrored", [False, True], ids=["left", "right"])
def test_a_side_that_the_mask_lies_on_stays(mirrored: bool, tmp_path: Path) -> None:
    name = "right" if mirrored else "left"
    finding = found(
        write_ct(tmp_path, hu=body(mirrored=mirrored)),
        question=f"Which organ on the patient's {name} cleans the blood?",
        category=f"{name} kidney",
        trace=f"In the upper left of the slice. This is the {name} kidney.",
    )
    assert side(finding) == (name, OUTLINE)
    assert coded(finding) == (f"{name} kidney", name.capitalize()) and flagged(finding) == []


@pytest.mark.parametrize("mirrored", [False, True], ids=["left", "right"])
@pytest.mark.parametrize("way", [WAYS[0], WAYS[5], WAYS[19]], ids=["plain", "mirrored", "coronal"])
def test_a_side_that_the_mask_does_not_lie_on_is_flagged_and_not_coded(
    way: object, mirrored: bool, tmp_path: Path
) -> None:
    there, said = ("right", "left") if mirrored else ("left", "right")
    finding = found(
        write_ct(tmp_path, way, body(mirrored=mirrored)),  # type: ignore[arg-type]
        question=f"Which organ on the patient's {said} cleans the blood?",
        category=f"{said} kidney",
        trace=f"This is the {said} kidney.",
    )
    assert side(finding)[0] == there and coded(finding) == ("kidney", None)
    assert flagged(finding) == [
        f"The question speaks of the patient's {said}, but the region lies on the patient's {there}.",
        f"The reasoning speaks of the patient's {said}, but the region lies on the patient's {there}.",
        f"The region is not coded as {said}.",
    ]


def test_a_contradicted_side_is_in_no_output_and_the_flag_in_all(tmp_path: Path) -> None:
    series = choose_series(write_ct(tmp_path / "ct"))
    grounder = bright_grounder("This is the right kidney.")
    contradicted = grounder.ground(series, [Question(PLAIN, "right kidney")])
    paths = write_outputs(contradicted, tmp_path / "out")
    assert paths.seg is not None
    (segment,) = dcmread(paths.seg).SegmentSequence
    assert segment.SegmentLabel == "kidney"
    assert "SegmentedPropertyTypeModifierCodeSequence" not in segment.SegmentedPropertyTypeCodeSequence[0]
    meanings = [e.value for e in dcmread(paths.report).iterall() if e.keyword == "CodeMeaning"]
    assert "Kidney" in meanings and not {"Left", "Right"} & set(meanings)
    (answer,) = json.loads(paths.answer.read_text())["findings"]
    assert answer["codes"]["laterality"] is None and answer["side"] == {"value": "left", "how": OUTLINE}
    assert [flag["kind"] for flag in answer["flags"]] == ["side", "side"]
    fine = write_outputs(bright_grounder().ground(series, [PLAIN]), tmp_path / "fine")
    assert dcmread(paths.capture).Rows > dcmread(fine.capture).Rows, "the picture has lines for the flags"


def test_a_question_without_a_code_is_held_against_the_mask_too(tmp_path: Path) -> None:
    finding = found(write_ct(tmp_path), question="What is the bright area in the patient's right flank?")
    assert finding.codes is None
    assert flagged(finding) == [
        "The question speaks of the patient's right, but the region lies on the patient's left."
    ]


def test_places_in_the_picture_are_no_sides(tmp_path: Path) -> None:
    finding = found(write_ct(tmp_path), trace="In the upper left of the picture. What is on the right is air.")
    assert flagged(finding) == [] and side(finding)[0] == "left"


@pytest.mark.parametrize("x", [-400.0, -10.0, 300.0])
def test_the_midline_is_the_bodys_not_that_of_the_coordinates(x: float, tmp_path: Path) -> None:
    finding = found(write_ct(tmp_path, origin=(x, -24.0, -100.0)), category="left kidney")
    assert side(finding) == ("left", OUTLINE) and coded(finding) == ("left kidney", "Left")


def moved_spot(columns: slice) -> np.ndarray:
    hu = body()
    hu[SPOT] = 40
    hu[SPOT[0], SPOT[1], columns] = 300
    return hu


def test_what_lies_on_the_midline_is_neither_verified_nor_contradicted(tmp_path: Path) -> None:
    finding = found(write_ct(tmp_path, hu=moved_spot(slice(10, 14))), category="left kidney")
    assert side(finding) == ("midline", OUTLINE) and coded(finding) == ("kidney", None)
    assert flagged(finding) == [
        "Left and right could not be verified: the region lies at the midline or reaches across it.",
        "The region is not coded as left.",
    ]


def test_an_organ_that_reaches_across_the_midline_lies_where_most_of_it_lies(tmp_path: Path) -> None:
    across = found(write_ct(tmp_path, hu=moved_spot(slice(5, 13))), trace="A dense area in the patient's right flank.")
    assert side(across) == ("right", OUTLINE) and flagged(across) == []


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda hu: hu[:, :, 6:], midline.CUT),
        (lambda hu: hu[:, :, :20], midline.CUT),
        (lambda hu: np.where(hu < -900, -2000, hu), midline.CUT),  # padding touches the body
        (lambda hu: np.where(np.arange(SHAPE[2]) == 11, -1000, hu), midline.PIECES),
        (lambda hu: np.where(hu < 250, -1000, hu), midline.NO_BODY),
    ],
    ids=["right side cut", "left side cut", "padding", "two halves", "no body"],
)
def test_where_the_outline_is_not_whole_no_side_is_known(change: object, how: str, tmp_path: Path) -> None:
    hu = np.ascontiguousarray(change(body()), dtype=np.int16)  # type: ignore[operator]
    finding = found(write_ct(tmp_path, hu=hu), category="left kidney")
    assert side(finding) == ("unknown", how) and coded(finding) == ("kidney", None)
    assert flagged(finding) == [f"Left and right could not be verified: {how}.", "The region is not coded as left."]


def test_a_field_of_view_smaller_than_the_body_does_not_show_the_midline(tmp_path: Path) -> None:
    """The scanner fills a circle; air beyond it is not air."""
    rows, columns = np.indices((40, 40))
    hu = np.where((rows - 19.5) ** 2 + (columns - 19.5) ** 2 <= 19.5**2, 40, -1000).astype(np.int16)
    hu[15:20, 28:33] = 300
    finding = found(write_ct(tmp_path, hu=np.stack([hu, hu])), trace="This is the left kidney.")
    assert side(finding) == ("unknown", midline.CUT)


def test_nothing_found_has_no_side(tmp_path: Path) -> None:
    hu = body()
    hu[SPOT] = 40
    finding = found(write_ct(tmp_path, hu=hu), category="left kidney")
    assert finding.side is None and finding.flags == () and coded(finding) == ("left kidney", "Left")


@pytest.mark.parametrize("view", ["AP", "PA"])
@pytest.mark.parametrize(("orientation", "mirrored"), [(["L", "F"], False), (["R", "F"], True)])
def test_a_radiograph_has_the_side_that_its_orientation_gives(
    view: str, orientation: list[str], mirrored: bool, tmp_path: Path
) -> None:
    path = write_radiograph(tmp_path / "x", radiograph(mirrored=mirrored), orientation, ViewPosition=view)
    finding = found(path, category="left lung")
    assert side(finding) == ("left", OUTLINE) and coded(finding) == ("left lung", "Left") and flagged(finding) == []
    wrong = found(path, category="right lung")
    assert coded(wrong) == ("lung", None) and len(flagged(wrong)) == 2
    box = finding.shown.grounding
    columns = (12, 17) if mirrored else (33, 38)
    assert box is not None and (box.box.x1, box.box.x2) == columns, "in the stored frame"


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("view", ["AP", "PA", ""])
def test_a_radiograph_that_may_be_mirrored_has_no_side(view: str, mirrored: bool, tmp_path: Path) -> None:
    path = write_radiograph(tmp_path / "x", radiograph(mirrored=mirrored), None, ViewPosition=view)
    finding = found(
        path, question="What is the area on the left?", trace="This is the left lung.", category="left lung"
    )
    assert side(finding) == ("unknown", hanging.NOT_STATED) and coded(finding) == ("lung", None)
    assert flagged(finding) == [
        f"Left and right could not be verified: {hanging.NOT_STATED}.",
        "The region is not coded as left.",
    ]
    paths = write_outputs(bright_grounder().ground(choose_series(path), [PLAIN]), tmp_path / "out")
    assert not dcmread(paths.capture).PatientOrientation
    (answer,) = json.loads(paths.answer.read_text())["findings"]
    assert answer["view"] == {"row": None, "column": None, "orientation_unknown_because": hanging.NOT_STATED}


def test_even_an_ambiguous_side_is_flagged_where_the_orientation_is_unknown(tmp_path: Path) -> None:
    path = write_radiograph(tmp_path / "x", radiograph(), None)
    assert flagged(found(path, question="What is the smooth area on the left?")) == [
        f"Left and right could not be verified: {hanging.NOT_STATED}."
    ]
    assert flagged(found(path)) == []


@pytest.mark.parametrize("orientation", [["P", "F"], ["A", "F"]])
def test_a_lateral_radiograph_shows_no_sides(orientation: list[str], tmp_path: Path) -> None:
    finding = found(write_radiograph(tmp_path / "x", radiograph(), orientation), category="left lung")
    assert side(finding) == ("unknown", midline.OBLIQUE) and coded(finding) == ("lung", None)


STATED = "the images are said to be of one side (Image Laterality or Laterality)"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"ImageLaterality": "L", "BodyPartExamined": "HAND"}, ("left", STATED)),
        ({"ImageLaterality": "R"}, ("right", STATED)),
        ({"Laterality": "L"}, ("left", STATED)),
        ({"ImageLaterality": "B"}, ("unknown", hanging.NOT_STATED)),
        ({"Laterality": "L", "BodyPartExamined": "CHEST"}, ("unknown", hanging.NOT_STATED)),
        (
            {"BodyPartExamined": "KNEE", "PatientOrientation": ["L", "F"]},
            ("unknown", "the images are of one of a pair of parts, and do not say which"),
        ),
    ],
)
def test_images_of_one_side_have_the_side_they_state(
    values: dict[str, object], expected: tuple[str, str], tmp_path: Path
) -> None:
    finding = found(write_radiograph(tmp_path / "x", radiograph(), None, **values), trace="The left hand.")
    assert side(finding) == expected


@given(
    axis=st.integers(0, 1),
    leftwards=st.sampled_from([-1, 1]),
    at=st.floats(5, 25),
    half=st.floats(5, 20),
    place=st.integers(0, 29),
)
def test_an_offset_is_the_signed_share_of_the_half_width(
    axis: int, leftwards: int, at: float, half: float, place: int
) -> None:
    mask = np.zeros((30, 30), dtype=bool)
    mask[(3, place) if axis == 0 else (place, 3)] = True
    (offset,) = Midline(axis, at, half, leftwards).offsets(mask)
    assert offset == pytest.approx(leftwards * (place + 0.5 - at) / half)


VOLUMES = Path(__file__).parents[3] / "shared/data/real_volumes/nifti_totalsegmentator_examples"
SIDED = {
    "left": [1, 3, 6, 9, 10, 11, 86, 88, *range(98, 104)],  # spleen, kidney, stomach, adrenal, lobes, muscles, ribs
    "right": [2, 4, 5, 8, 14, 87, 89, *range(111, 115)],
    "midline": [30, 31, 32, 79],  # vertebrae and spinal cord
}
"""Labels of TotalSegmentator's class map "total", by where anatomy puts them."""


def read_nifti(path: Path) -> np.ndarray:
    """Voxels towards head, back and left; NIfTI-1 counts towards right, front and head by its sform."""
    data = gzip.decompress(path.read_bytes())
    shape, kind = struct.unpack("<3h", data[42:48]), struct.unpack("<h", data[70:72])[0]
    slope, intercept = struct.unpack("<2f", data[112:120])
    start = int(struct.unpack("<f", data[108:112])[0])
    rows = np.array([struct.unpack("<3f", data[280 + 16 * i : 292 + 16 * i]) for i in range(3)])
    assert (np.diag(rows) > 0).all() and np.count_nonzero(rows) == 3, (
        "stored right to left, back to front, feet to head"
    )
    dtype = {2: np.uint8, 4: np.int16, 16: np.float32, 64: np.float64}[kind]
    voxels = np.frombuffer(data, dtype, int(np.prod(shape)), start).reshape(shape, order="F")
    return np.ascontiguousarray((voxels * (slope or 1) + intercept).transpose(2, 1, 0)[:, ::-1, ::-1]).round()


def test_organs_of_a_real_ct_lie_where_anatomy_puts_them(tmp_path: Path) -> None:
    if not VOLUMES.is_dir():
        pytest.skip(f"the real volumes are not beside the repository ({VOLUMES.name})")
    hu, labels = (read_nifti(VOLUMES / f"example_{name}.nii.gz") for name in ("ct_sm", "seg"))
    # Stored mirrored, so that the stored left is not the patient's.
    series = choose_series(write_ct(tmp_path, WAYS[1], hu.astype(np.int16)))
    mirrored = labels[:, :, ::-1]
    for expected, numbers in SIDED.items():
        for number in numbers:
            masks = {i: mask for i in range(len(series)) if (mask := mirrored[i] == number).any()}
            assert side_of(series, a_finding(series, masks)).value == expected, number
