"""Artifacts: opened, checked against their manifest, and handed on by reference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medreasoner_monai.errors import ArtifactError
from medreasoner_monai.files import object_digest, remembered_digest, tree_digest, write_json
from medreasoner_monai.pipeline.artifacts import Artifact, Ref, write_manifest


def made(path: Path, text: str = "one", kind: str = "dataset") -> Artifact:
    (path / "sub").mkdir(parents=True)
    (path / "sub" / "a.txt").write_text(text)
    write_manifest(
        path, kind, key="k", inputs={"source": "abc"}, settings={"size": 3}, facts={"samples": 7}, seconds=1.5
    )
    return Artifact.open(path)


def test_manifest_says_what_it_was_made_from(tmp_path: Path) -> None:
    artifact = made(tmp_path / "x")
    assert (artifact.kind, artifact.key, artifact.facts, artifact.seconds) == ("dataset", "k", {"samples": 7}, 1.5)
    expected = {"inputs": {"source": "abc"}, "settings": {"size": 3}, "schema_version": 2}
    assert {name: artifact.manifest[name] for name in expected} == expected
    assert list(artifact.manifest["files"]) == ["sub/a.txt"] and "numpy" in artifact.manifest["packages"]


def test_digest_is_of_the_files_alone(tmp_path: Path) -> None:
    one, same, other = made(tmp_path / "1"), made(tmp_path / "2", kind="model"), made(tmp_path / "3", "two")
    assert one.digest == same.digest != other.digest


def test_reference_means_the_same_after_json(tmp_path: Path) -> None:
    ref = made(tmp_path / "x").ref
    assert Ref.model_validate_json(ref.model_dump_json()) == ref and ref.name == "dataset-k"


def test_opening_what_is_not_an_artifact_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is not an artifact: it has no manifest.json"):
        Artifact.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{half")
    with pytest.raises(ArtifactError, match=r"manifest.json cannot be read"):
        Artifact.open(tmp_path)


def test_opening_another_kind_says_which(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is a 'dataset' artifact, expected 'model'"):
        Artifact.open(made(tmp_path / "x").path, "model")


def test_manifest_changed_by_hand_is_noticed(tmp_path: Path) -> None:
    path = made(tmp_path / "x").path / "manifest.json"
    manifest = json.loads(path.read_text())
    for change in ({"files": {}}, {"digest": "0" * 64}):
        write_json(path, manifest | change)
        with pytest.raises(ArtifactError, match="was changed after the artifact was made"):
            Artifact.open(path.parent)
    del manifest["facts"]
    write_json(path, manifest)
    with pytest.raises(ArtifactError, match="not a whole manifest: facts missing"):
        Artifact.open(path.parent)


def test_verification_notices_a_changed_and_a_missing_file(tmp_path: Path) -> None:
    path = made(tmp_path / "x").path
    Artifact.open(path, verify=True)
    (path / "sub" / "a.txt").write_text("ONE")
    Artifact.open(path)
    with pytest.raises(ArtifactError, match=r"a.txt has changed since the artifact was made"):
        Artifact.open(path, verify=True)
    (path / "sub" / "a.txt").unlink()
    assert Artifact.open(path).missing == ["sub/a.txt"]
    with pytest.raises(ArtifactError, match=r"a.txt is missing, though manifest.json lists it"):
        Artifact.open(path, verify=True)


def test_digest_of_an_object_does_not_depend_on_the_order_of_its_keys() -> None:
    assert object_digest({"a": 1, "b": [2, 3]}) == object_digest({"b": [2, 3], "a": 1}) != object_digest({"a": 1})


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"word": "Größe"})
    with pytest.raises(TypeError):
        write_json(path, {"word": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"word": "Größe"}


def test_a_folders_digest_stays_when_it_is_moved(tmp_path: Path) -> None:
    made(tmp_path / "here")
    before = tree_digest(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    assert tree_digest(tmp_path / "there") == before
    (tmp_path / "there" / "sub" / "a.txt").write_text("two")
    assert tree_digest(tmp_path / "there") != before


def test_a_large_files_digest_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from medreasoner_monai import files

    monkeypatch.setenv("MEDREASONER_CACHE", str(tmp_path / "cache"))
    read = []
    digest = files.file_digest
    monkeypatch.setattr(files, "file_digest", lambda path: read.append(path) or digest(path))
    weights = tmp_path / "weights"
    weights.write_bytes(b"one")
    os.utime(weights, (1_000_000, 1_000_000))
    assert remembered_digest(weights) == remembered_digest(weights) == digest(weights)
    assert len(read) == 1
    weights.write_bytes(b"two")  # of the same size, and modified just now: never taken from memory
    assert remembered_digest(weights) == digest(weights)


def test_digests_are_computed_where_the_cache_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MEDREASONER_CACHE", str(tmp_path / "file"))
    assert remembered_digest(tmp_path / "file") == remembered_digest(tmp_path / "file")
