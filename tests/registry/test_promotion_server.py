"""The registry on a real MLflow server, which keeps the models itself, and one that does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from medreasoner_monai.errors import ArtifactError, RegistryError
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.store import Store
from medreasoner_monai.pipeline.tracking import Tracking
from medreasoner_monai.registry.promotion import champion, promote, register
from tests.mlflow_server import Door

_NUMBERS = count()


@pytest.fixture
def door(mlflow_url: str) -> Iterator[Door]:
    door = Door(mlflow_url)
    yield door
    door.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def tracking(door: Door) -> Tracking:
    return Tracking(door.url, "registry")


@pytest.fixture
def name() -> str:
    return f"served-{next(_NUMBERS)}"


def model(root: Path, text: str = "weights") -> Artifact:
    store = Store(root / "artifacts")
    with store.make("model", f"key-{text}", {}, {}) as draft:
        (draft.path / "sub").mkdir(exist_ok=True)
        (draft.path / "model.safetensors").write_text(text)
        (draft.path / "sub" / "tokenizer.json").write_text("{}")
    made = store.find("model", f"key-{text}")
    assert made is not None
    return made


def registered(tracking: Tracking, name: str, made: Artifact, run_id: str | None = None) -> Any:
    return register(tracking, name, made.path, made.digest, run_id)


@pytest.mark.parametrize("known_run", [True, False])
def test_a_merged_model_is_kept_by_the_server_and_comes_back_as_champion(
    known_run: bool, tracking: Tracking, name: str, tmp_path: Path
) -> None:
    made = model(tmp_path)
    run_id = None
    if known_run:
        (tmp_path / "scratch").mkdir()
        run_id = tracking.run("evaluation", tmp_path / "scratch", {}).id
    version = registered(tracking, name, made, run_id)
    assert known_run is (tracking.client.get_model_version(name, version.version).run_id == run_id)
    promote(tracking, version)

    elsewhere = champion(Tracking(tracking.uri, "registry"), name, tmp_path / "champions")
    assert elsewhere is not None and elsewhere.digest == made.digest
    assert elsewhere.folder.is_relative_to(tmp_path / "champions")
    assert (elsewhere.folder / "sub" / "tokenizer.json").read_text() == "{}"
    assert Artifact.open(elsewhere.folder, "model", verify=True).digest == made.digest


def test_the_same_model_is_uploaded_once_and_fetched_once(
    door: Door, tracking: Tracking, name: str, tmp_path: Path
) -> None:
    made = model(tmp_path)
    first = registered(tracking, name, made)
    uploads = sum(line.startswith("PUT") for line in door.seen)
    assert registered(tracking, name, made) == first
    assert sum(line.startswith("PUT") for line in door.seen) == uploads == 3
    promote(tracking, first)
    champion(tracking, name, tmp_path / "champions")
    before = len(door.seen)
    assert champion(tracking, name, tmp_path / "champions") is not None
    assert not [line for line in door.seen[before:] if "artifacts" in line]


def test_a_run_that_the_server_does_not_know_is_replaced(tracking: Tracking, name: str, tmp_path: Path) -> None:
    version = registered(tracking, name, model(tmp_path), "0" * 32)
    assert tracking.client.get_model_version(name, version.version).run_id != "0" * 32


def test_a_champion_that_changed_on_the_server_is_refused(
    tracking: Tracking, mlflow_url: str, name: str, tmp_path: Path
) -> None:
    version = registered(tracking, name, model(tmp_path))
    promote(tracking, version)
    found = tracking.client.get_model_version(name, version.version)
    (tmp_path / "model.safetensors").write_text("other weights")
    tracking.client.log_artifact(found.run_id, str(tmp_path / "model.safetensors"), "model")
    with pytest.raises(ArtifactError, match="model.safetensors has changed"):
        champion(tracking, name, tmp_path / "champions")
    assert not [p for p in (tmp_path / "champions").iterdir() if not p.name.endswith(".partial")]


@pytest.mark.parametrize("trouble", ["shut", "refusing"])
def test_a_moments_outage_is_no_missing_champion(
    trouble: str, door: Door, tracking: Tracking, name: str, tmp_path: Path
) -> None:
    promote(tracking, registered(tracking, name, model(tmp_path)))
    door.state = trouble
    with pytest.raises(RegistryError, match=f"registry at {door.url} .*nothing was promoted.*same command"):
        champion(tracking, name, tmp_path / "champions")
    with pytest.raises(RegistryError, match=door.url):
        registered(tracking, name, model(tmp_path, "other"))
    door.state = "open"
    assert champion(tracking, name, tmp_path / "champions") is not None


def test_nobody_is_champion_on_a_new_server(tracking: Tracking, name: str, tmp_path: Path) -> None:
    assert champion(tracking, name, tmp_path) is None
    registered(tracking, name, model(tmp_path))
    assert champion(tracking, name, tmp_path) is None
