"""Reasoners as a person names them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from medreasoner_monai.errors import ArtifactError, ConfigError, InputError
from medreasoner_monai.reasoners.endpoint import EndpointReasoner
from medreasoner_monai.reasoners.folder import folder_digest
from medreasoner_monai.reasoners.packaged import MODEL
from medreasoner_monai.reasoners.protocol import sampler
from medreasoner_monai.reasoners.registry import ReasonerOptions, build, kind_of, preview
from medreasoner_monai.task.geometry import Frame

URL = "http://127.0.0.1:9/v1"


def test_a_folder_a_bundle_and_a_url_are_told_apart(tiny_model: Path, untrained_bundle: Path, tmp_path: Path) -> None:
    named = [str(tiny_model), str(untrained_bundle), URL, URL.replace("http", "https"), str(tmp_path / "gone")]
    assert [kind_of(text) for text in named] == ["folder", "bundle", "endpoint", "endpoint", None]


def test_a_folder_draws_several_answers_by_seed(tiny_model: Path) -> None:
    reasoner = build(str(tiny_model), ReasonerOptions(prompt="brief", max_new_tokens=8, device="cpu"))
    assert reasoner.capabilities == {"batch", "sample", "seed"} and sampler(reasoner) is reasoner
    assert reasoner.prompt_digest != build(str(tiny_model), ReasonerOptions(device="cpu")).prompt_digest


def test_an_endpoint_takes_the_options_that_are_about_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "secret")
    options = ReasonerOptions(
        prompt="brief", max_new_tokens=77, model="tiny", reader="lenient-1000", key_variable="THE_KEY", seeded=True
    )
    made = build(URL, options)
    assert isinstance(made, EndpointReasoner)
    expected = EndpointReasoner(URL, "tiny", prompt="brief", reader="lenient-1000", resize=None, max_tokens=77)
    assert made.digest == expected.digest and made.service.key_variable == "THE_KEY" and "seed" in made.capabilities


def test_what_names_no_reasoner_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no reasoner '.*gone'; give a model folder, a bundle folder or an endpoint"):
        build(str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match="may serve several models; say which with --model"):
        preview(URL)
    with pytest.raises(InputError, match="has no config.json"):
        build(str(tmp_path))


def test_a_bundles_model_is_hashed_once_when_it_is_opened(
    untrained_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    digest = hashlib.file_digest

    def counting(file: Any, name: str) -> Any:
        hashed.append(Path(file.name).name)
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counting)
    reasoner = build(str(untrained_bundle), ReasonerOptions(device="cpu"))
    assert sorted(hashed) == sorted({*hashed}) and "model.safetensors" in hashed
    unverified = build(str(untrained_bundle / MODEL), ReasonerOptions(device="cpu"))
    assert reasoner.digest == unverified.digest, "the digest is the same, however it was come by"
    assert folder_digest(untrained_bundle / MODEL, {"model.safetensors": "0"}) != folder_digest(
        untrained_bundle / MODEL
    )


def test_a_bundle_whose_model_was_changed_is_not_opened(untrained_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(untrained_bundle, tmp_path / "bundle")
    (tmp_path / "bundle" / MODEL / "config.json").write_text("{}")
    with pytest.raises(ArtifactError, match="config.json has changed since the bundle was made"):
        build(str(tmp_path / "bundle"))


def test_a_preview_shows_prompt_and_frame_and_where_pictures_would_go(untrained_bundle: Path) -> None:
    here = preview(str(untrained_bundle))
    assert here.address == "" and here.prompt.name == "think"
    assert here.seen_frame(Frame(512, 512)) == preview(str(untrained_bundle / MODEL)).seen_frame(Frame(512, 512))
    there = preview(URL, ReasonerOptions(model="tiny", prompt="brief"))
    assert there.address == URL and there.prompt.name == "brief"
    assert there.seen_frame(Frame(60, 40)) == Frame(84, 56, "model")
