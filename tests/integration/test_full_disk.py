"""A disk that is full in any stage gives one clear line, and the run goes on when there is room again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.common import STAGES
from tests.integration.conftest import CONFIG, ROOT, ChainRun, environment, run_chain
from tests.integration.disk_driver import BALLAST
from tests.integration.test_killed import made_at, weights

pytestmark = [pytest.mark.chain, pytest.mark.timeout(2400)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, in memory."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(tmp_path)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here (it takes root): {done.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_full_disk_in_each_stage_is_one_line_and_loses_nothing(smoke: ChainRun, small_disk: Path) -> None:
    workspace = small_disk / "run"
    workspace.mkdir()
    finished: dict[str, str] = {}
    for stage in (*STAGES, "report"):
        driver = [sys.executable, str(Path(__file__).with_name("disk_driver.py")), stage, str(CONFIG), str(workspace)]
        done = subprocess.run(driver, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=600)
        assert done.returncode not in (0, -9), (stage, done.stderr[-2000:])
        assert "Traceback" not in done.stderr, (stage, done.stderr[-3000:])
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, (stage, done.stderr[-3000:])
        assert "full" in errors[0] and str(workspace) in errors[0], (stage, errors)
        (workspace / BALLAST).unlink()
        now = made_at(workspace)
        assert finished.items() <= now.items(), f"a finished stage was repeated before {stage}"
        finished = now
    last = run_chain(workspace)
    assert finished.items() <= made_at(workspace).items(), "a finished stage was repeated"
    assert weights(last) == weights(smoke)
    assert last.summary["box_iou"] == smoke.summary["box_iou"]
    records = [json.loads(p.read_text()) for p in (workspace / "runs").glob("*/run.json")]
    assert [r["status"] for r in records].count("finished") == 1
