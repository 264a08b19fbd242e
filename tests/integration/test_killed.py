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
from tests.integration.kill_driver import POINTS

pytestmark = [pytest.mark.chain, pytest.mark.timeout(2400)]


def made_at(workspace: Path) -> dict[str, str]:
    """When each finished artifact was made, by its folder's name."""
    manifests = (workspace / "artifacts").glob("*/manifest.json")
    return {m.parent.name: json.loads(m.read_text())["created"] for m in manifests if m.parent.suffix != ".partial"}


def weights(run: ChainRun) -> str:
    (model,) = run.artifacts("model")
    return hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()


def curve(run: ChainRun, kind: str) -> list[tuple[int, float]]:
    (folder,) = run.artifacts(kind)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(r["step"], r.get("loss", r.get("eval_loss", 0.0))) for r in rows]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> ChainRun:
    """A run killed at every point and then let go on; no finished stage may be made twice on the way."""
    workspace = tmp_path_factory.mktemp("killed") / "run"
    finished: dict[str, str] = {}
    for point in POINTS:
        driver = [sys.executable, str(Path(__file__).with_name("kill_driver.py")), point, str(CONFIG), str(workspace)]
        done = subprocess.run(driver, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=600)
        assert done.returncode == -signal.SIGKILL, (point, done.stderr[-2000:])
        now = made_at(workspace)
        assert finished.items() <= now.items(), f"a finished stage was repeated before {point}"
        finished = now

    last = run_chain(workspace)

    assert finished.items() <= made_at(workspace).items(), "a finished stage was repeated"
    return last


def test_killed_at_each_point_it_ends_the_same(smoke: ChainRun, killed: ChainRun) -> None:
    left = [p.name for p in (killed.workspace / "artifacts").iterdir() if p.suffix and p.name != "locks"]
    assert not left, "something half made, or a scratch folder, was left"
    assert killed.summary["decision"] == smoke.summary["decision"]
    assert weights(killed) == weights(smoke)
    for figure in ("box_iou", "grpo_gain", "format_failure_rate", "mask_dice", "test_samples"):
        assert killed.summary[figure] == smoke.summary[figure]
    for kind in ("cold-start", "grpo"):
        assert curve(killed, kind) == curve(smoke, kind), "a curve lost or repeated rows"


def test_every_killed_run_is_listed_as_interrupted(killed: ChainRun) -> None:
    records = [json.loads(p.read_text()) for p in (killed.workspace / "runs").glob("*/run.json")]
    assert len(records) == len(POINTS) + 1
    assert sorted(r["status"] for r in records) == ["finished"] + ["running"] * len(POINTS)
