"""A run that is killed anywhere goes on where it was and ends as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import CONFIG, ROOT, ChainRun, environment, run_chain

pytestmark = [pytest.mark.chain, pytest.mark.timeout(1800)]
STAGES = ("curate", "cold start", "GRPO", "evaluate", "package")


def made_at(workspace: Path) -> dict[str, str]:
    """When each finished artifact was made, by its folder's name."""
    manifests = (workspace / "artifacts").glob("*/manifest.json")
    return {m.parent.name: json.loads(m.read_text())["created"] for m in manifests}


def weights(run: ChainRun) -> str:
    (model,) = run.artifacts("model")
    return hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> ChainRun:
    """A run killed once in each stage and then let go on; no finished stage may be made twice on the way."""
    workspace = tmp_path_factory.mktemp("killed") / "run"
    finished: dict[str, str] = {}
    for stage in STAGES:
        driver = [sys.executable, str(Path(__file__).with_name("kill_driver.py")), stage, str(CONFIG), str(workspace)]
        done = subprocess.run(driver, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=600)
        assert done.returncode == -signal.SIGKILL, (stage, done.stderr[-2000:])
        now = made_at(workspace)
        assert finished.items() <= now.items(), f"a finished stage was repeated before {stage}"
        finished = now

    last = run_chain(workspace)

    assert finished.items() <= made_at(workspace).items(), "a finished stage was repeated"
    return last


def test_killed_in_each_stage_it_ends_the_same(smoke: ChainRun, killed: ChainRun) -> None:
    assert not list((killed.workspace / "artifacts").glob("*.partial"))
    assert killed.summary["decision"] == smoke.summary["decision"]
    assert weights(killed) == weights(smoke)
    for figure in ("box_iou", "grpo_gain", "format_failure_rate", "mask_dice", "test_samples"):
        assert killed.summary[figure] == smoke.summary[figure]
