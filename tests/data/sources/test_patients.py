"""Whose picture it is: by a table, by a pattern, by the set's own statement, or nobody's that is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from medreasoner_monai.data.sample import is_image_group
from medreasoner_monai.data.sources.folders import FolderSource, folder_sources
from medreasoner_monai.data.sources.patients import Patients, habit
from medreasoner_monai.errors import InputError
from medreasoner_monai.settings.data import FolderSettings

REAL = Path(__file__).parents[4] / "shared" / "data" / "real_sets"
IMAGE = np.zeros((4, 4), dtype=np.uint8)


def table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def folder(path: Path, stems: list[str], **about: object) -> Path:
    for kind, pixels in (("images", IMAGE), ("masks", np.eye(4, dtype=np.uint8))):
        (path / kind).mkdir(parents=True)
        for stem in stems:
            Image.fromarray(pixels).save(path / kind / (f"{stem}.png" if kind == "images" else f"{stem}_liver.png"))
    (path / "SOURCE.json").write_text(json.dumps(about), encoding="utf-8")
    return path


def patients(source: FolderSource) -> set[str | None]:
    return {source.patients.patient(Path(unit.key).stem) for unit in source.units()}


@given(
    tag=st.from_regex(r"[A-Za-z]{2,8}[0-9]?", fullmatch=True),
    patient=st.from_regex(r"[a-z]?[0-9]{1,8}", fullmatch=True),
    rest=st.sampled_from(["", "L", "R", "-179", "-f01-s03", "VAS-slice-12"]),
)
def test_the_patient_stands_behind_the_sets_tag(tag: str, patient: str, rest: str) -> None:
    names = [f"{tag}-{patient}{rest}_CT_abdomen"]
    assert Patients("set", habit(names, None)).patient(names[0]) == patient


def test_a_patient_is_named_with_its_source() -> None:
    assert Patients("a", r"p(\d+)").group("x-p7-3", IMAGE) == "a/7"
    assert is_image_group(Patients("a", r"p(\d+)").group("x-3", IMAGE))


def test_the_stated_number_of_patients_chooses_the_reading(tmp_path: Path) -> None:
    packed = [f"set-{patient}{slice_:03}_CT_brain" for patient in (159, 162) for slice_ in (1, 2, 3)]
    named = [f"set-1000{n}-spleen-{n % 2}_CT_abdomen" for n in range(6)]
    for name, stems, found in (("packed", packed, {"159", "162"}), ("named", named, {"spleen-0", "spleen-1"})):
        folder(tmp_path / name, stems, grouping_rule="by name", counts={"groups": 2})
        (source,) = folder_sources(FolderSettings(kind="folder", path=tmp_path / name))
        assert patients(source) == found


@pytest.mark.parametrize("rule", [None, "none known: every image is its own group"])
def test_a_set_that_knows_no_patients_is_believed_and_says_so(tmp_path: Path, rule: str | None) -> None:
    folder(tmp_path / "set", ["set-1-1_CT_brain", "set-1-2_CT_brain"], grouping_rule=rule, licence="CC0")
    (source,) = folder_sources(FolderSettings(kind="folder", path=tmp_path / "set"))
    assert patients(source) == {None}
    assert "CC0; patient unknown for 2 of 2 pictures" in source.description


def test_a_set_in_a_folder_of_sets_has_a_pattern_of_its_own(tmp_path: Path) -> None:
    for name in ("eyes", "lungs"):
        folder(tmp_path / name, [f"{name}-1-L_X-Ray_x", f"{name}-1-R_X-Ray_x"], grouping_rule="yes")
    given = FolderSettings(kind="folder", path=tmp_path, patients={"eyes": r"-(\d+-[LR])"})
    assert [patients(s) for s in folder_sources(given)] == [{"1-L", "1-R"}, {"1"}]
    with pytest.raises(InputError, match="patients names the set 'eye', which is not there. Did you mean 'eyes'"):
        folder_sources(given.model_copy(update={"patients": {"eye": "(x)"}}))


def test_a_pattern_that_fits_nothing_is_an_error(tmp_path: Path) -> None:
    folder(tmp_path / "set", ["a-1_CT_x"])
    (source,) = folder_sources(FolderSettings(kind="folder", path=tmp_path / "set", patient=r"patient(\d+)"))
    with pytest.raises(InputError, match="fits none of 1 picture ids, such as 'a-1_CT_x'"):
        list(source.units())


def test_a_pattern_that_gives_more_patients_than_there_are_is_an_error(tmp_path: Path) -> None:
    folder(tmp_path / "set", ["a-1-1_CT_x", "a-1-2_CT_x"], grouping_rule="yes", counts={"groups": 1})
    (source,) = folder_sources(FolderSettings(kind="folder", path=tmp_path / "set", patient=r"-(\d)_"))
    with pytest.raises(InputError, match="2 patients are recognised in the picture ids, and SOURCE.json counts 1"):
        list(source.units())


@pytest.mark.parametrize(("pattern", "said"), [(r"p\d+", "needs a group"), ("(", "not a regular expression")])
def test_a_pattern_without_a_group_is_refused_in_the_config(tmp_path: Path, pattern: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        FolderSettings(kind="folder", path=tmp_path, patient=pattern)


def test_a_table_names_patients_that_ids_do_not(tmp_path: Path) -> None:
    rows = table(tmp_path / "p.csv", "source,id,patient", "a,cov-1,93", "b,cov-1,7", ",cov-2,93")
    known = Patients("a", table=rows)
    assert known.patient("cov-1_X-Ray_chest") == known.patient("cov-2") == "93"
    assert known.patient("cov-3") is None and known.unknown(["cov-1", "cov-3"]) == 1
    with pytest.raises(InputError, match="p.csv fits none of 1 picture ids"):
        known.unknown(["other"])


def test_one_patient_under_two_ids_is_one_group(tmp_path: Path) -> None:
    aliases = table(tmp_path / "a.csv", "source,patient,group", "ct,17,shared-1", "mr,P0017,shared-1")
    ct, mr = (Patients(name, r"^(\w+)-", aliases=aliases) for name in ("ct", "mr"))
    assert ct.group("17-1", IMAGE) == mr.group("P0017-4", IMAGE) == "shared-1"
    assert mr.group("P0018-4", IMAGE) == "mr/P0018"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["id,name", "a,b"], "no column patient"),
        (["id,patient", "a,"], "line 2: id or patient is empty"),
        (["id,patient", "a,1", "a,2"], "line 3: a second patient"),
    ],
)
def test_a_table_with_mistakes_is_refused_by_its_line(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Patients("a", table=table(tmp_path / "p.csv", *lines)).patient("a")


def test_a_change_of_a_table_changes_the_identity(tmp_path: Path) -> None:
    path = table(tmp_path / "p.csv", "id,patient", "a,1")
    before = Patients("a", table=path).identity()
    table(path, "id,patient", "a,2")
    assert Patients("a", table=path).identity() != before


def test_real_sets_have_the_patients_they_state() -> None:
    if not REAL.is_dir():
        pytest.skip("the real sets are not beside the repository (../shared/data/real_sets)")
    for source in folder_sources(FolderSettings(kind="folder", path=REAL)):
        about = json.loads((REAL / source.name / "SOURCE.json").read_text(encoding="utf-8"))
        names = [Path(unit.key).stem for unit in source.units()]
        stated = about["counts"].get("groups")
        unknown = source.patients.unknown(names)
        found = len({source.patients.patient(n) for n in names} - {None})
        assert (found + unknown == stated) if stated else (found, unknown) == (0, len(names)), source.name
