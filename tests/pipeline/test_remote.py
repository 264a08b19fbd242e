"""A store that machines share: over a real SFTP server, and in memory as object stores behave, without folders."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from medreasoner_monai.errors import ArtifactError, ConfigError
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.remote import Remote
from medreasoner_monai.pipeline.store import Store
from tests.pipeline.sftp import SftpStore, sftp_store

LEASE_SECONDS = 2.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpStore]:
    with sftp_store(tmp_path_factory.mktemp("sftp")) as running:
        yield running


@pytest.fixture(params=["sftp", "memory", "file"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """A fresh store's URL and options."""
    if request.param == "sftp":
        server: SftpStore = request.getfixturevalue("server")
        return f"{server.url}/{uuid4().hex}", server.options
    return (f"memory://{uuid4().hex}" if request.param == "memory" else (tmp_path / "share").as_uri()), {}


@pytest.fixture
def machines(where: tuple[str, dict[str, Any]], tmp_path: Path) -> tuple[Store, Store]:
    """Two machines with workspaces of their own and one store."""
    url, options = where
    one, two = (Store(tmp_path / n, Remote(url, options, lease_seconds=LEASE_SECONDS)) for n in ("one", "two"))
    return one, two


def make(store: Store, key: str = "k", text: str = "one") -> Artifact:
    with store.claim("model", key):
        with store.make("model", key, {}, {}) as draft:
            (draft.path / "sub").mkdir(exist_ok=True)
            (draft.path / "sub" / "weights").write_text(text)
        made = store.find("model", key)
        assert made is not None
        store.push(made)
    return made


def test_what_one_machine_made_the_other_finds(machines: tuple[Store, Store]) -> None:
    one, two = machines
    made = make(one)
    found = two.find("model", "k")
    assert found is not None and found.digest == made.digest and found.path != made.path
    assert (found.path / "sub" / "weights").read_text() == "one"
    Artifact.open(found.path, verify=True)
    assert two.find("model", "other") is None


def test_a_reference_fetches_exactly_its_content(machines: tuple[Store, Store]) -> None:
    one, two = machines
    mine = make(two, text="mine").ref  # made here under the same key, with another result
    theirs = make(one, text="theirs").ref
    assert (two.open(theirs).path / "sub" / "weights").read_text() == "theirs"
    assert (two.open(mine).path / "sub" / "weights").read_text() == "mine"


def test_a_pull_that_was_cut_off_is_not_taken_for_the_whole(
    machines: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = machines
    made = make(one)
    pull = Remote.pull

    def cut(self: Remote, ref: Any, manifest: Any, folder: Path) -> None:
        pull(self, ref, manifest, folder)
        (folder / "sub" / "weights").write_text("o")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Remote, "pull", cut)
        with pytest.raises(KeyboardInterrupt):
            two.find("model", "k")
    assert not (two.root / "model-k").exists()
    found = two.find("model", "k")
    assert found is not None and found.digest == made.digest
    assert not list(two.root.glob("*.pulling"))


def test_an_artifact_half_pushed_is_not_there_yet(
    machines: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = machines
    put = Remote._put

    def die(fs: Any, source: Path, target: str, size: int | None) -> None:
        if target.endswith("current.json"):
            raise KeyboardInterrupt
        put(fs, source, target, size)

    with monkeypatch.context() as patch:
        patch.setattr(Remote, "_put", staticmethod(die))
        with pytest.raises(KeyboardInterrupt):
            make(one)
    assert two.find("model", "k") is None
    again = one.find("model", "k")
    assert again is not None
    one.push(again)
    assert two.find("model", "k") is not None


def test_a_damaged_file_there_is_refused_by_name(machines: tuple[Store, Store]) -> None:
    one, two = machines
    made = make(one)
    assert one.remote is not None
    one.remote.write(f"model-k/{made.digest}/sub/weights", b"ONE")
    with pytest.raises(ArtifactError, match=r"sub/weights is damaged; remove that folder there"):
        two.find("model", "k")
    assert not (two.root / "model-k").exists()


def test_one_machine_makes_it_and_the_other_waits(machines: tuple[Store, Store]) -> None:
    one, two = machines
    notes: list[str] = []
    found: list[Artifact | None] = []

    def wait() -> None:
        with two.claim("model", "k", notes.append):
            found.append(two.find("model", "k"))

    with one.claim("model", "k"):
        assert two.busy("model", "k")
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(LEASE_SECONDS * 1.5)  # a lease that is renewed does not run out
        assert not found
        assert len(notes) == 1 and "waiting for process" in notes[0] and "which is making model-k" in notes[0]
        with one.make("model", "k", {}, {}) as draft:
            (draft.path / "weights").write_text("one")
        made = one.find("model", "k")
        assert made is not None
        one.push(made)
    waiting.join(20)
    assert found[0] is not None and found[0].digest == made.digest


def test_a_machine_that_died_is_not_waited_for_long(machines: tuple[Store, Store]) -> None:
    one, two = machines
    assert one.remote is not None
    one.remote.write("model-k/lease.json", b'{"owner": "dead", "beat": 7, "pid": 1, "host": "gone"}')
    notes: list[str] = []
    started = time.monotonic()
    with two.claim("model", "k", notes.append):
        assert time.monotonic() - started > LEASE_SECONDS
    assert notes == ["waiting for process 1 on gone, which is making model-k"]
    assert not two.busy("model", "k")


def test_a_server_that_is_away_stops_nobody_and_is_caught_up_with(tmp_path: Path, caplog: Any) -> None:
    with sftp_store(tmp_path / "sftp") as server:
        pass  # ended
    store = Store(tmp_path / "one", Remote(server.url, server.options | {"timeout": 5}, lease_seconds=LEASE_SECONDS))
    made = make(store)
    assert made.kind == "model"
    assert f"the store {server.url} could not" in caplog.text and "going on with" in caplog.text
    other = Store(tmp_path / "two", Remote(server.url, server.options | {"timeout": 5}))
    with pytest.raises(ArtifactError, match=r"model-k is not in .*, and the store sftp://.* could not be opened"):
        other.open(made.ref)


def test_a_store_that_is_read_only_is_said_and_worked_without(tmp_path: Path, caplog: Any) -> None:
    with sftp_store(tmp_path / "sftp", read_only=True) as server:
        store = Store(tmp_path / "one", Remote(server.url, server.options, lease_seconds=LEASE_SECONDS))
        assert make(store).kind == "model"
    assert "could not be written" in caplog.text


def test_an_unknown_protocol_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the store nowhere://x cannot be used"):
        Store(tmp_path, Remote("nowhere://x")).find("model", "k")


def test_a_store_that_is_full_is_said_and_worked_without(tmp_path: Path, caplog: Any) -> None:
    share = tmp_path / "share"
    share.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(share)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system cannot be mounted here; it takes root")
    try:
        store = Store(tmp_path / "one", Remote(share.as_uri(), lease_seconds=LEASE_SECONDS))
        assert make(store, text="x" * 1_000_000).kind == "model"
        assert "No space left on device" in caplog.text and "going on with" in caplog.text
        other = Store(tmp_path / "two", Remote(share.as_uri(), lease_seconds=LEASE_SECONDS))
        assert other.find("model", "k") is None, "half of it is not taken for the whole"
    finally:
        subprocess.run(["umount", "-l", str(share)], check=True)
