"""The local store: whole or not there, taken up again after a kill between any two steps, one maker per key."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from medreasoner_monai.errors import ArtifactError, InputError
from medreasoner_monai.pipeline import store as store_module
from medreasoner_monai.pipeline.artifacts import Artifact, Ref
from medreasoner_monai.pipeline.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "artifacts")


def make(store: Store, key: str = "k", text: str = "one") -> Artifact:
    with store.make("dataset", key, {"source": "abc"}, {"size": 3}, {"code": "def"}) as draft:
        (draft.path / "a.txt").write_text(text)
        (draft.scratch / "checkpoint").write_text("not kept")
        draft.facts["samples"] = 7
    found = store.find("dataset", key)
    assert found is not None
    return found


def names(store: Store) -> list[str]:
    return sorted(p.name for p in store.root.iterdir() if p.name != "locks")


def test_nothing_but_the_artifact_is_left_behind(store: Store) -> None:
    artifact = make(store)
    assert names(store) == ["dataset-k"]
    assert {p.name for p in artifact.path.iterdir()} == {"a.txt", "manifest.json"}
    assert artifact.facts == {"samples": 7} and artifact.manifest["code"] == "def"


def test_failed_attempt_leaves_no_final_name(store: Store) -> None:
    with pytest.raises(RuntimeError, match="disk"), store.make("dataset", "k", {}, {}) as draft:  # noqa: PT012 - as a stage
        (draft.path / "a.txt").write_text("half")
        raise RuntimeError("disk")
    assert store.find("dataset", "k") is None
    assert names(store) == ["dataset-k.partial", "dataset-k.scratch"]


def test_second_attempt_finds_what_the_first_left_and_adds_up_the_time(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), store.make("dataset", "k", {}, {}) as draft:  # noqa: PT012 - as a stage
        (draft.scratch / "checkpoint").write_text("step 5")
        raise KeyboardInterrupt
    (store.root / "dataset-k.scratch" / "seconds").write_text("100.5")
    with store.make("dataset", "k", {}, {}) as draft:
        assert (draft.scratch / "checkpoint").read_text() == "step 5"
    artifact = store.find("dataset", "k")
    assert artifact is not None and artifact.seconds >= 100.5 and artifact.manifest["files"] == {}


class Killed(BaseException):
    """Stands for a kill: nothing after it runs, but what is unwound would."""


STEPS = ("write_manifest", "rename", "sweep")


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_between_any_two_steps_of_finishing_loses_nothing(
    store: Store, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if step == "write_manifest":
            patch.setattr(store_module, "write_manifest", killed)
        elif step == "rename":
            patch.setattr(Store, "_finish", killed)
        else:
            patch.setattr(Store, "_sweep", killed)
        with pytest.raises(Killed):
            make(store)
    assert (store.root / "dataset-k.scratch" / "checkpoint").is_file(), "checkpoints outlive everything before"
    if step == "sweep":
        found = store.find("dataset", "k")
    elif step == "rename":
        assert store.find("dataset", "k") is None
        found = store.take_up("dataset", "k")  # without the stage being run again
    else:
        assert store.take_up("dataset", "k") is None
        found = make(store)
    assert found is not None and (found.path / "a.txt").read_text() == "one"
    assert names(store) == ["dataset-k"]


def test_full_disk_at_the_manifest_keeps_the_checkpoints(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "write_manifest", full)
        with pytest.raises(OSError, match="No space"):
            make(store)
    assert (store.root / "dataset-k.scratch" / "checkpoint").is_file()
    assert make(store).facts == {"samples": 7}


def test_an_artifact_that_lost_a_file_is_made_again_and_replaced(store: Store, caplog: Any) -> None:
    (make(store).path / "a.txt").unlink()
    assert store.find("dataset", "k") is None
    assert "lacks a.txt" in caplog.text
    assert (make(store, text="two").path / "a.txt").read_text() == "two"
    assert names(store) == ["dataset-k"]


def test_a_dangling_link_counts_as_lost(store: Store, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("weights")
    with store.make("base", "k", {}, {}) as draft:
        (draft.path / "model").symlink_to(tmp_path / "model")
    assert store.find("base", "k") is not None
    (tmp_path / "model").rename(tmp_path / "moved")
    assert store.find("base", "k") is None


def test_a_reference_opens_exactly_that_content(store: Store) -> None:
    artifact = make(store)
    assert store.open(artifact.ref).path == artifact.path
    with pytest.raises(ArtifactError, match="has no dataset-k with digest 000000000000; run its stage again"):
        store.open(artifact.ref.model_copy(update={"digest": "0" * 64}))
    with pytest.raises(ArtifactError, match="has no model-x"):
        store.open(Ref(kind="model", key="x", digest="0" * 64))


HOLDER = """
import sys
from pathlib import Path
from medreasoner_monai.pipeline.store import Store
with Store(Path(sys.argv[1])).claim("dataset", "k"):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(root: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_second_process_on_a_key_waits_and_is_told_for_whom(store: Store) -> None:
    notes: list[str] = []
    with holder(store.root) as process:
        assert store.busy("dataset", "k") and not store.busy("dataset", "other")
        waiting = threading.Thread(target=lambda: claim_and_note(store, notes))
        waiting.start()
        while not notes:
            waiting.join(0.05)
        assert f"waiting for process {process.pid} (" in notes[0] and "which is making dataset-k" in notes[0]
        with store.claim("dataset", "other"):
            pass  # locks are per key
        process.communicate("")
        waiting.join(10)
    assert notes[1:] == ["claimed"] and not store.busy("dataset", "k")


def claim_and_note(store: Store, notes: list[str]) -> None:
    with store.claim("dataset", "k", notes.append):
        notes.append("claimed")


def test_killed_holder_locks_nobody_out(store: Store) -> None:
    with holder(store.root) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        notes: list[str] = []
        with store.claim("dataset", "k", notes.append):
            assert notes == []


def test_scratch_at_work_is_not_swept_away(store: Store) -> None:
    make(store)
    (store.root / "dataset-k.scratch").mkdir()
    with holder(store.root) as process:
        assert store.find("dataset", "k") is not None
        assert (store.root / "dataset-k.scratch").is_dir()
        process.communicate("")
    assert store.find("dataset", "k") is not None
    assert not (store.root / "dataset-k.scratch").exists()


def test_store_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be used"), Store(tmp_path / "file").claim("dataset", "k"):
        pass


def test_store_folder_that_is_gone_is_made_again(store: Store) -> None:
    make(store)
    shutil.rmtree(store.root)
    assert store.find("dataset", "k") is None
    assert make(store).kind == "dataset"
