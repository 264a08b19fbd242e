"""An image is embedded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from medreasoner_monai.evaluation.embeddings import Embeddings
from medreasoner_monai.segmenters.protocol import Image, Mask, Prompt

IMAGES = [np.full((4, 6), n, dtype=np.uint8) for n in range(6)]


class Mean:
    """Embeds an image as its mean."""

    name = "mean"
    digest = "m" * 64

    def embed(self, image: Image) -> np.ndarray:
        return np.array([image.mean()])

    def segment(self, embedding: np.ndarray, prompts: Sequence[Prompt]) -> list[Mask]:
        raise AssertionError("nothing is segmented here")

    def pack(self, embedding: np.ndarray) -> Mapping[str, np.ndarray]:
        return {"mean": embedding}

    def unpack(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        return arrays["mean"]


def test_the_same_pixels_are_embedded_once() -> None:
    embeddings = Embeddings(Mean())
    assert [embeddings.of(i.copy())[0] for i in (IMAGES[1], IMAGES[2], IMAGES[1])] == [1, 2, 1]
    assert embeddings.computed == 2


def test_the_same_bytes_in_another_shape_are_another_image() -> None:
    embeddings = Embeddings(Mean())
    embeddings.of(IMAGES[1])
    embeddings.of(IMAGES[1].reshape(6, 4))
    assert embeddings.computed == 2


def test_memory_holds_a_few() -> None:
    embeddings = Embeddings(Mean(), keep=2)
    for image in IMAGES:
        embeddings.of(image)
    assert len(embeddings.held) == 2


def test_a_later_run_finds_them_on_disk(tmp_path: Path) -> None:
    Embeddings(Mean(), tmp_path).of(IMAGES[3])
    later = Embeddings(Mean(), tmp_path)
    assert later.of(IMAGES[3])[0] == 3
    assert later.computed == 0


@pytest.mark.parametrize("content", [b"", b"cut short"])
def test_a_broken_file_is_computed_again(tmp_path: Path, content: bytes) -> None:
    Embeddings(Mean(), tmp_path).of(IMAGES[3])
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(content)
    assert Embeddings(Mean(), tmp_path).of(IMAGES[3])[0] == 3
    later = Embeddings(Mean(), tmp_path)
    later.of(IMAGES[3])
    assert later.computed == 0
