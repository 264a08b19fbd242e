"""The smoke run's bundle, asked by hand: it cannot answer, and says so without leaving half a result."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from tests.integration.conftest import ChainRun, medreasoner

pytestmark = [pytest.mark.chain, pytest.mark.timeout(900)]


def test_unreadable_answer_is_told_and_nothing_is_left(smoke: ChainRun, tmp_path: Path) -> None:
    out = tmp_path / "answer"
    done = medreasoner(
        *("ground", "--bundle", str(smoke.workspace / "bundle"), "--dicom", str(get_testdata_file("CT_small.dcm"))),
        *("--question", "Which bone carries the weight of the trunk?", "--out", str(out)),
    )
    assert done.returncode == 1
    assert "no region found" in done.stderr
    assert not list(out.glob("*")) if out.exists() else True
