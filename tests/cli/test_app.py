"""The command line as a person meets it: help, mistakes, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import CONFIG, environment, medreasoner


@pytest.mark.parametrize("command", ["run", "merge", "ground", "package", "bundle verify", "ui", "doctor"])
def test_help_teaches(command: str) -> None:
    done = medreasoner(*command.split(), "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout


def test_help_imports_nothing_heavy() -> None:
    heavy = "torch", "transformers", "prefect", "mlflow", "monai", "highdicom", "numpy"
    code = f"import sys, medreasoner_monai.cli.app; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert done.stdout.strip() == "[]"


def refused(*arguments: str) -> str:
    done = medreasoner(*arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_empty_question_is_refused_before_anything_starts(tmp_path: Path) -> None:
    workspace = tmp_path / "run"
    said = refused("run", "--config", str(CONFIG), "--workspace", str(workspace), "--question", "  ")
    assert "question is empty" in said
    assert not workspace.exists()


def test_missing_series_is_refused_before_anything_starts(tmp_path: Path) -> None:
    said = refused(
        "run", "--config", str(CONFIG), "--workspace", str(tmp_path / "run"), "--dicom", str(tmp_path / "no")
    )
    assert "no such file or folder" in said
    assert not (tmp_path / "run").exists()


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no DICOM here")
    said = refused(
        "run",
        "--config",
        str(CONFIG),
        "--workspace",
        str(tmp_path / "run"),
        "--dicom",
        str(tmp_path),
        "--question",
        "Q?",
    )
    assert "DICOM" in said


def test_unknown_setting_names_the_nearest(tmp_path: Path) -> None:
    said = refused("run", "--config", str(CONFIG), "--workspace", str(tmp_path), "--set", "grpo.rollout=4")
    assert "grpo.rollout" in said
    assert "'rollouts'" in said


def test_missing_config_says_where_they_are(tmp_path: Path) -> None:
    assert "configs/" in refused("run", "--config", "no.yaml", "--workspace", str(tmp_path))


def test_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    said = refused(
        "ground",
        "--bundle",
        str(tmp_path),
        "--dicom",
        str(tmp_path),
        "--question",
        "Where?",
        "--out",
        str(tmp_path / "o"),
    )
    assert "is not a bundle" in said
    assert not (tmp_path / "o").exists()


def test_pages_of_an_empty_workspace_are_refused(tmp_path: Path) -> None:
    assert "nothing was run" in refused("ui", "--workspace", str(tmp_path))
