"""The smoke run's bundle, asked by hand: it cannot answer, and says so in a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from tests.dicom.tools import dciodvfy_errors
from tests.integration.conftest import ChainRun, medreasoner

pytestmark = [pytest.mark.chain, pytest.mark.timeout(900)]


def test_an_unreadable_answer_is_reported_without_a_segmentation(smoke: ChainRun, tmp_path: Path) -> None:
    out = tmp_path / "answer"
    done = medreasoner(
        *("ground", "--bundle", str(smoke.workspace / "bundle"), "--dicom", str(get_testdata_file("CT_small.dcm"))),
        *("--question", "Which bone carries the weight of the trunk?", "--out", str(out)),
    )
    assert done.returncode == 0, done.stderr
    assert "1: nothing found (" in done.stderr
    assert sorted(p.name for p in out.iterdir()) == ["answer.json", "capture.dcm", "overlay.png", "report.dcm"]
    assert dciodvfy_errors(out / "report.dcm") == []


def test_the_chains_bundle_passes_every_check(smoke: ChainRun) -> None:
    done = medreasoner("bundle", "verify", str(smoke.workspace / "bundle"), "--json")
    checks = json.loads(done.stdout)
    assert done.returncode == 0 and not [c for c in checks if c["state"] == "failed"], checks
