"""Artifacts: whole or not there, taken up again, and checked against their manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medreasoner_monai.errors import ArtifactError
from medreasoner_monai.files import object_digest, write_json
from medreasoner_monai.pipeline.artifacts import Artifact, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "artifacts")


def made(store: Store, key: str = "k", text: str = "one") -> Artifact:
    with store.make("dataset", key, {"source": "abc"}, {"size": 3}, {"code": "def"}) as draft:
        (draft.path / "sub").mkdir(exist_ok=True)
        (draft.path / "sub" / "a.txt").write_text(text)
        (draft.scratch / "half").write_text("not kept")
        draft.facts["samples"] = 7
    found = store.find("dataset", key)
    assert found is not None
    return found


def test_finished_artifact_says_what_it_was_made_from(store: Store) -> None:
    artifact = made(store)
    assert artifact.kind == "dataset" and artifact.facts == {"samples": 7} and artifact.seconds >= 0
    wanted = {"key": "k", "inputs": {"source": "abc"}, "settings": {"size": 3}, "code": "def", "schema_version": 1}
    assert {k: artifact.manifest[k] for k in wanted} == wanted
    assert list(artifact.manifest["files"]) == ["sub/a.txt"]
    assert "numpy" in artifact.manifest["packages"]


def test_nothing_but_the_artifact_is_left_behind(store: Store) -> None:
    artifact = made(store)
    assert [p.name for p in store.root.iterdir()] == ["dataset-k"]
    assert {p.name for p in artifact.path.iterdir()} == {"sub", "manifest.json"}


def test_digest_is_of_the_files_alone(store: Store) -> None:
    assert made(store, "k").digest == made(store, "l").digest != made(store, "m", "two").digest


def test_failed_attempt_leaves_only_a_partial_directory(store: Store) -> None:
    with pytest.raises(RuntimeError, match="disk"), store.make("dataset", "k", {}, {}) as draft:  # noqa: PT012 - as a stage
        (draft.path / "a.txt").write_text("half")
        raise RuntimeError("disk")
    assert store.find("dataset", "k") is None
    assert [p.name for p in store.root.iterdir()] == ["dataset-k.partial"]
    assert not (store.root / "dataset-k.partial" / "manifest.json").exists()


def test_second_attempt_finds_what_the_first_left_and_adds_up_the_time(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), store.make("dataset", "k", {}, {}) as draft:  # noqa: PT012 - as a stage
        (draft.scratch / "checkpoint").write_text("step 5")
        raise KeyboardInterrupt
    (store.root / "dataset-k.partial" / ".seconds").write_text("100.5")
    with store.make("dataset", "k", {}, {}) as draft:
        assert (draft.scratch / "checkpoint").read_text() == "step 5"
    artifact = store.find("dataset", "k")
    assert artifact is not None and artifact.seconds >= 100.5
    assert artifact.manifest["files"] == {}


def test_opening_what_is_no_artifact_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is no artifact: it has no manifest.json"):
        Artifact.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{half")
    with pytest.raises(ArtifactError, match=r"manifest.json cannot be read"):
        Artifact.open(tmp_path)


def test_opening_another_kind_says_which(store: Store) -> None:
    with pytest.raises(ArtifactError, match="is a 'dataset' artifact, expected 'model'"):
        Artifact.open(made(store).path, "model")


def test_verification_notices_a_changed_and_a_missing_file(store: Store) -> None:
    path = made(store).path
    Artifact.open(path, verify=True)
    (path / "sub" / "a.txt").write_text("ONE")
    Artifact.open(path)
    with pytest.raises(ArtifactError, match=r"a.txt has changed since the artifact was made"):
        Artifact.open(path, verify=True)
    (path / "sub" / "a.txt").unlink()
    with pytest.raises(ArtifactError, match=r"a.txt is missing, though manifest.json lists it"):
        Artifact.open(path, verify=True)


def test_key_follows_kind_inputs_settings_and_code(store: Store) -> None:
    keys = [
        store.key("model", {"data": "a"}, {"steps": 1}, "c"),
        store.key("dataset", {"data": "a"}, {"steps": 1}, "c"),
        store.key("model", {"data": "b"}, {"steps": 1}, "c"),
        store.key("model", {"other": "a"}, {"steps": 1}, "c"),
        store.key("model", {"data": "a"}, {"steps": 2}, "c"),
        store.key("model", {"data": "a"}, {"steps": 1}, "d"),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == store.key("model", {"data": "a"}, {"steps": 1}, "c")


def test_digest_of_an_object_does_not_depend_on_the_order_of_its_keys() -> None:
    assert object_digest({"a": 1, "b": [2, 3]}) == object_digest({"b": [2, 3], "a": 1}) != object_digest({"a": 1})


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"word": "Größe"})
    with pytest.raises(TypeError):
        write_json(path, {"word": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"word": "Größe"}
