"""The command line and the bundle's two workflows ask through the same code: equal answers on a real CT."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from typer.testing import CliRunner

from medreasoner_monai.cli.app import app
from tests.dicom.tools import need_ct
from tests.integrations.answering import QUESTION, answering_bundle

ROOT = Path(__file__).parents[2]
QUESTIONS = [QUESTION, "What is that?"]
RENDERING = "ct-liver"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model, taught one sentence by heart; its masks are the default segmenter's."""
    need_ct()
    return answering_bundle(tmp_path_factory.mktemp("answering"))


@pytest.fixture(scope="module")
def by_command(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("command")
    questions = [part for question in QUESTIONS for part in ("--question", question)]
    arguments = ["ground", "--bundle", str(bundle), "--dicom", str(need_ct()), "--out", str(out), *questions]
    arguments += ["--rendering", RENDERING]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return out


def run(bundle: Path, config: str, out: Path) -> None:
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", f"configs/{config}.json"]
    command += ["--dicom_dir", str(need_ct()), "--question", str(QUESTIONS), "--output_dir", str(out)]
    command += ["--rendering", RENDERING]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=bundle, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def answer(folder: Path) -> dict[str, Any]:
    """answer.json without what differs from run to run: times and new UIDs."""
    record: dict[str, Any] = json.loads((folder / "answer.json").read_text())
    del record["objects"]
    for finding in record["findings"]:
        del finding["tracking_uid"]
        for one in (*finding["slices"], *finding["candidates"]):
            del one["seconds"]
    return record


@pytest.mark.parametrize("config", ["inference", "ground_series"])
def test_the_segmentations_pixels_are_equal_byte_by_byte(
    bundle: Path, by_command: Path, config: str, tmp_path: Path
) -> None:
    run(bundle, config, tmp_path)
    one, other = dcmread(by_command / "seg.dcm"), dcmread(tmp_path / "seg.dcm")
    assert one.PixelData == other.PixelData and one.pixel_array.any()
    assert len(one.SegmentSequence) == len(QUESTIONS)
    assert answer(by_command) == answer(tmp_path), "boxes, measurements and digests too"
    assert answer(tmp_path)["rendering"] == RENDERING
