"""One process at a time in a workspace, and none locked out by a dead one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from medreasoner_monai.errors import InputError, WorkspaceBusyError
from medreasoner_monai.pipeline.workspace import Workspace

HOLDER = """
import sys
from pathlib import Path
from medreasoner_monai.pipeline.workspace import Workspace
with Workspace(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(root: Path) -> subprocess.Popen[str]:
    """A process that holds the workspace until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_second_process_is_told_who_holds_it(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with (
            pytest.raises(
                WorkspaceBusyError, match=rf"is in use by process {process.pid} \(.*\) on .* since 20.*; wait"
            ),
            Workspace(tmp_path).held(),
        ):
            pass
        process.communicate("")
    with Workspace(tmp_path).held():
        pass


def test_killed_holder_locks_nobody_out(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert (tmp_path / "holder.json").is_file()
        with Workspace(tmp_path).held():
            assert json.loads((tmp_path / "holder.json").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "holder.json").exists()


def test_error_inside_lets_go_of_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Workspace(tmp_path).held():
        raise RuntimeError
    with Workspace(tmp_path).held():
        pass


def test_holder_s_note_may_be_unreadable(tmp_path: Path) -> None:
    with Workspace(tmp_path).held():
        (tmp_path / "holder.json").write_text("{half")
        with pytest.raises(WorkspaceBusyError, match="in use by another process"), Workspace(tmp_path).held():
            pass


def test_folder_that_cannot_be_made_is_the_user_s_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be used"), Workspace(tmp_path / "file" / "run").held():
        pass


def test_paths_lie_below_the_root(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "run")
    assert space.relative(space.report) == "report.html"
    assert space.mlflow_uri == f"sqlite:///{tmp_path.resolve()}/run/mlflow/mlflow.db"
    assert space.mlflow_artifacts.startswith("file:///")
