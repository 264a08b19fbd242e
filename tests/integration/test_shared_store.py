"""Two machines with one store run a chain between them, and what one leaves when it dies the other finishes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import CONFIG, ROOT, ChainRun, environment
from tests.integration.test_killed import weights
from tests.pipeline.sftp import SftpStore, sftp_store

pytestmark = [pytest.mark.chain, pytest.mark.timeout(1200)]


def shared(server: SftpStore) -> list[str]:
    return [f"store.url={server.url}", f"store.options={json.dumps(server.options)}", "store.lease_seconds=6"]


def start(workspace: Path, *program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *program],
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=(workspace.parent / f"{workspace.name}.log").open("w"),
        text=True,
    )


def test_one_is_killed_and_the_other_finishes(smoke: ChainRun, tmp_path: Path) -> None:
    driver = Path(__file__).with_name("kill_driver.py")
    with sftp_store(tmp_path / "server") as server:
        one, two = tmp_path / "one", tmp_path / "two"
        dying = start(one, str(driver), "grpo", str(CONFIG), str(one), *shared(server))
        while not (one / "artifacts" / "locks").is_dir():  # it makes the first stage
            assert dying.poll() is None, (tmp_path / "one.log").read_text()
        options = [part for setting in shared(server) for part in ("--set", setting)]
        command = ("-m", "medreasoner_monai", "run", "--config", str(CONFIG), "--workspace", str(two), *options)
        lasting = start(two, *command)
        assert dying.wait(600) == -signal.SIGKILL, (tmp_path / "one.log").read_text()
        assert lasting.wait(900) == 0, (tmp_path / "two.log").read_text()

        said = (tmp_path / "two.log").read_text()
        assert "waiting for process" in said and "which is making" in said
        made = {p.name for p in (one / "artifacts").glob("*-*/manifest.json") for p in [p.parent]}
        assert {name.partition("-")[0] for name in made} >= {"dataset", "base", "cold"}
        (record,) = (json.loads(p.read_text()) for p in (two / "runs").glob("*/run.json"))
        reused = {s["ref"]["kind"] + "-" + s["ref"]["key"] for s in record["artifacts"].values() if s["reused"]}
        assert made <= reused, "what the first had finished was made again"
        assert not {n for n in reused if n.startswith(("grpo", "model", "evaluation", "bundle"))}
        last = ChainRun(two, said)
        assert weights(last) == weights(smoke)
        assert last.summary["box_iou"] == smoke.summary["box_iou"]
        there = {p.parent.name for p in server.folder.glob("*/current.json")}
        assert {s["ref"]["kind"] + "-" + s["ref"]["key"] for s in record["artifacts"].values()} <= there
        assert not list(server.folder.glob("*/lease.json"))
