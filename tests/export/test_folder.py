"""The folder of an export is whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.errors import InputError
from medreasoner_monai.export.folder import new_folder, write_rejects


@pytest.mark.parametrize("made", [False, True])
def test_a_new_or_empty_folder_is_filled(tmp_path: Path, made: bool) -> None:
    out = tmp_path / "a" / "out"
    if made:
        out.mkdir(parents=True)
    with new_folder(out) as folder:
        (folder / "x").write_text("y")
        assert not (out / "x").exists()
    assert [p.name for p in out.iterdir()] == ["x"]
    assert [p.name for p in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_there_is_left_alone(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    if kind == "folder":
        out.mkdir()
        (out / "mine").write_text("1")
    else:
        out.write_text("1")
    with pytest.raises(InputError, match="no empty folder"), new_folder(out):
        pytest.fail("nothing may be written")
    assert sorted(p.name for p in tmp_path.rglob("*")) == (["mine", "out"] if kind == "folder" else ["out"])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("1")
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_filled_meanwhile_is_left_alone(tmp_path: Path) -> None:
    def fill() -> None:
        with new_folder(tmp_path / "out"):
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "mine").write_text("1")

    with pytest.raises(InputError, match="came into use"):
        fill()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_place_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"), new_folder(tmp_path / "file" / "out"):
        pytest.fail("nothing may be written")


def test_rejects_are_listed_by_split(tmp_path: Path) -> None:
    assert write_rejects(tmp_path, {"train": [Reject("row 1", "bad")], "val": []}) == 1
    listed = json.loads((tmp_path / "rejects.json").read_text(encoding="utf-8"))
    assert listed == {"train": [{"where": "row 1", "reason": "bad", "step": "read"}], "val": []}
