"""`medreasoner deidentify` as a person meets it."""

from pathlib import Path

from pydicom import dcmread

from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.grounding.outputs import write_outputs
from tests.cli.test_ground import medreasoner, refusal
from tests.dicom.tools import make_ct
from tests.grounding.fakes import grounder


def test_an_answer_and_its_series_are_copied_and_still_belong_together(tmp_path: Path) -> None:
    make_ct(tmp_path / "ct", 2)
    series = choose_series(tmp_path / "ct")
    write_outputs(grounder().ground(series, "Which?"), tmp_path / "ct/answer")
    arguments = ("deidentify", tmp_path / "ct", "--out", tmp_path / "out", "--key-file", tmp_path / "key")
    done = medreasoner(*arguments)
    assert done.exit_code == 1, "the picture may have text in it"
    assert "4 of 5 files copied" in done.stderr and "capture.dcm: its picture may have text in it" in done.stderr
    key = (tmp_path / "key").read_bytes()
    assert len(key) == 32 and (tmp_path / "key").stat().st_mode & 0o077 == 0

    copies = {str(c.SOPInstanceUID): c for c in map(dcmread, (tmp_path / "out").iterdir())}
    assert len(copies) == 4 and all(c.PatientIdentityRemoved == "YES" for c in copies.values())
    assert not {str(h.SOPInstanceUID) for h in series.headers} & set(copies)
    (seg,) = (c for c in copies.values() if c.Modality == "SEG")
    referred = {
        str(e.value) for e in seg.iterall() if e.keyword == "ReferencedSOPInstanceUID"
    }  # the images, by their new UIDs
    assert referred and referred <= set(copies)

    assert "is there already" in refusal(*arguments)
    again = medreasoner(
        "deidentify", tmp_path / "ct", "--out", tmp_path / "all", "--key-file", tmp_path / "key", "--pixels-checked"
    )
    assert again.exit_code == 0 and (tmp_path / "key").read_bytes() == key
    assert set(copies) < {p.stem for p in (tmp_path / "all").iterdir()}, "the same key gives the same UIDs"


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    where = ("--out", tmp_path / "out", "--key-file", tmp_path / "key")
    assert "no such file or folder" in refusal("deidentify", tmp_path / "gone", *where)
    (tmp_path / "in").mkdir()
    assert "no DICOM file found" in refusal("deidentify", tmp_path / "in", *where)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]
