"""A whole run of the smoke configuration, made once for all the tests that look at it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "smoke.yaml"


@dataclass(frozen=True)
class ChainRun:
    """A finished `medreasoner run`."""

    workspace: Path
    output: str

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.workspace / "summary.json").read_text(encoding="utf-8"))

    def artifacts(self, kind: str) -> list[Path]:
        return sorted(p for p in (self.workspace / "artifacts").glob(f"{kind}-*") if p.suffix != ".partial")


def environment() -> dict[str, str]:
    """Ours, without a Prefect or MLflow that the person running the tests may use."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}


def medreasoner(*arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "medreasoner_monai", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment(),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
    )


def run_chain(workspace: Path) -> ChainRun:
    done = medreasoner("run", "--config", str(CONFIG), "--workspace", str(workspace))
    assert done.returncode == 0, done.stderr[-3000:]
    return ChainRun(workspace, done.stderr)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> ChainRun:
    """The chain, undisturbed."""
    return run_chain(tmp_path_factory.mktemp("smoke") / "run")
