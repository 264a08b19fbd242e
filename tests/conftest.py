"""Settings for all tests, and one small model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from medreasoner_monai.reasoners.starter import build
from medreasoner_monai.settings.starter import StarterSettings
from medreasoner_monai.task.answer import render
from tests.mlflow_server import mlflow_server
from tests.samples import sample

# A busy machine may take its time over an example; how long a test takes is never what is tested.
settings.register_profile("here", deadline=None, max_examples=60)
settings.load_profile("here")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Qwen2.5-VL of two thin layers that knows the words of the samples."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    samples = [sample(n) for n in range(8)]
    texts = [f"{s.question}\n{render(s.trace, s.box, s.points)}" for s in samples]
    sizes = StarterSettings(hidden_size=32, layers=2, heads=2, vision_hidden_size=32, vision_layers=2, vision_heads=2)
    build(folder, texts, sizes.model_copy(update={"vocabulary": 700}))
    return folder


@pytest.fixture(scope="session")
def untrained_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle around an untrained model of the real class: it loads and generates, and answers nothing readable."""
    from medreasoner_monai.bundle.packaging import package_bundle

    folder = tmp_path_factory.mktemp("bundle")
    build(folder / "model", ["Which part is bright?"], StarterSettings())
    package_bundle(folder / "model", folder / "bundle", {"version": "1.0.0"})
    return folder / "bundle"


@pytest.fixture(scope="session")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server; each test takes an experiment of its own."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow-server")) as url:
        yield url
