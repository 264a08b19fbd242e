"""What the apps are told, before any server is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.integrations.folders import command, write_app
from medreasoner_monai.integrations.monaideploy.request import Request, find_bundle, read_request, usage
from medreasoner_monai.integrations.monailabel.images import dicom_path
from medreasoner_monai.integrations.monailabel.settings import AppSettings

LABEL = "medreasoner_monai.integrations.monailabel"


def test_the_label_app_is_told_by_conf(tmp_path: Path) -> None:
    told = AppSettings.read({"bundle": str(tmp_path), "slices": "all", "server_mode": "true"})
    assert told.bundle == tmp_path and told.slices == "all" and told.deployment == "retrain/scheduled"


@pytest.mark.parametrize(
    ("conf", "message"),
    [({}, "needs a bundle: --conf bundle FOLDER"), ({"bundel": "b"}, "unknown --conf 'bundel'. Did you mean 'bundle'")],
)
def test_what_the_label_app_cannot_be_told_is_refused(conf: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AppSettings.read(conf)


def test_the_dicom_folder_beside_an_archives_volume_is_read(tmp_path: Path) -> None:
    (tmp_path / "1.2.3").mkdir()
    (tmp_path / "1.2.3.nii.gz").write_bytes(b"")
    assert dicom_path(str(tmp_path / "1.2.3.nii.gz")) == tmp_path / "1.2.3"
    assert dicom_path(str(tmp_path / "1.2.3")) == tmp_path / "1.2.3"


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("", "must be a DICOM series"),
        (None, "must be a DICOM series"),
        ("liver.nii.gz", "liver.nii.gz is not a DICOM file"),
        ("nowhere", "neither in the datastore nor a path"),
    ],
)
def test_an_image_without_dicom_files_is_refused(image: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dicom_path(image)


def test_arguments_stand_above_variables_and_the_sdks_own_are_left_to_it() -> None:
    variables = {"MEDREASONER_QUESTION": "Which?", "MEDREASONER_SLICES": "all", "MEDREASONER_CARRY": ""}
    request, others = read_request(["-i", "in", "--question", "Where?\n\n What? ", "-o", "out"], variables)
    assert request == Request(("Where?", "What?"), slices="all") and others == ["-i", "in", "-o", "out"]
    assert read_request([], variables)[0].questions == ("Which?",)
    with pytest.raises(InputError, match="a question is needed: --question"):
        read_request(["-i", "in"], {"MEDREASONER_QUESTION": " \n"})
    assert read_request(["--help"], {})[1] == ["--help"] and "MEDREASONER_SERIES" in usage()


def test_a_bundle_is_found_alone_or_among_models(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "configs").mkdir(parents=True)
    (tmp_path / "a/configs/inference.json").write_text("{}")
    assert find_bundle(tmp_path / "a") == find_bundle(tmp_path) == tmp_path / "a"
    with pytest.raises(InputError, match="holds no bundle"):
        find_bundle(tmp_path / "b")
    (tmp_path / "b/configs/inference.json").write_text("{}")
    with pytest.raises(InputError, match="holds 2 bundle"):
        find_bundle(tmp_path)


def test_an_apps_folder_is_written_and_written_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "deep/app"
    assert command([str(folder)], LABEL, lambda f: write_app(LABEL, f, {"more.txt": "1"}), "it is in {folder}") == 0
    assert capsys.readouterr().out == f"it is in {folder}\n"
    write_app(LABEL, folder)
    assert sorted(p.name for p in folder.iterdir()) == ["main.py", "more.txt"]
    assert "GroundingApp" in (folder / "main.py").read_text()


def test_a_program_that_is_not_ours_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "main.py").write_text("print('mine')")
    assert command([str(tmp_path)], LABEL, lambda f: write_app(LABEL, f), "") == 2
    assert "main.py is not ours" in capsys.readouterr().err
    assert (tmp_path / "main.py").read_text() == "print('mine')"
    with pytest.raises(InputError, match="is a file"):
        write_app(LABEL, tmp_path / "main.py")
    assert command([], LABEL, lambda f: f, "") == 2 and "usage:" in capsys.readouterr().err
