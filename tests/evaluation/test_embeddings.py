"""An image is embedded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from medreasoner_monai.evaluation.embeddings import Embeddings
from medreasoner_monai.segmenters.protocol import Image, Mask, OneByOne, Prompt

IMAGES = [np.full((4, 6), n, dtype=np.uint8) for n in range(6)]


class Mean(OneByOne[np.ndarray]):
    """Embeds an image as its mean, and notes how many it was given at a time."""

    name = "mean"
    digest = "m" * 64

    def __init__(self) -> None:
        self.given: list[int] = []

    def embed(self, image: Image) -> np.ndarray:
        return np.array([image.mean()])

    def embed_many(self, images: Sequence[Image]) -> list[np.ndarray]:
        self.given.append(len(images))
        return super().embed_many(images)

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


def test_images_asked_for_next_are_embedded_in_one_go() -> None:
    embeddings = Embeddings(Mean())
    embeddings.of(IMAGES[1])
    embeddings.ahead([IMAGES[0], IMAGES[1], IMAGES[2], IMAGES[0], IMAGES[3]])
    assert [embeddings.of(image)[0] for image in IMAGES[:4]] == [0, 1, 2, 3]
    assert embeddings.segmenter.given == [1, 3] and embeddings.computed == 4


def test_no_more_are_embedded_ahead_than_are_held() -> None:
    embeddings = Embeddings(Mean(), keep=2)
    embeddings.ahead(IMAGES)
    assert embeddings.segmenter.given == [2] and len(embeddings.held) == 2
    assert embeddings.of(IMAGES[1])[0] == 1 and embeddings.computed == 2


def test_nothing_ahead_asks_nothing_of_the_segmenter() -> None:
    embeddings = Embeddings(Mean())
    embeddings.ahead([])
    assert embeddings.segmenter.given == []


def test_only_what_is_not_on_disk_is_embedded_ahead(tmp_path: Path) -> None:
    Embeddings(Mean(), tmp_path).ahead(IMAGES[:2])
    later = Embeddings(Mean(), tmp_path)
    later.ahead(IMAGES[:4])
    assert later.segmenter.given == [2]
    assert [later.of(image)[0] for image in IMAGES[:4]] == [0, 1, 2, 3]
    assert len(list(tmp_path.rglob("*.safetensors"))) == 4 and not list(tmp_path.rglob("*.tmp"))
