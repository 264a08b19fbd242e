"""How SAM 2 carries a mask through a series; the masks are held against the original in ``test_sam2_original.py``."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.segmenters.protocol import Image, Mask
from medreasoner_monai.segmenters.sam2_memory import Memory
from medreasoner_monai.segmenters.sam2_video import Sam2VideoSegmenter
from medreasoner_monai.segmenters.volume import Carried
from medreasoner_monai.task.geometry import Frame
from tests.segmenters.sam2_cases import frame
from tests.segmenters.sam2s import asked, images, videos

SAM2 = videos()
PROMPT = asked("box", Frame(130, 90))


def carried(count: int, key: int, sam2: Sam2VideoSegmenter = SAM2, pictures: Any = None, **other: Any) -> Carried:
    given = {"mask": frame(key)[1] if 0 <= key < count else frame(0)[1], "step": lambda done: None} | other
    return sam2.carry(pictures or (lambda i: frame(i)[0]), count, key, PROMPT, given["mask"], given["step"])


@contextmanager
def presence(*scores: float) -> Iterator[None]:
    """The model's scores for the object's presence: one for the key slice, which has no effect here, then by slice."""
    left = [1.0, *scores]
    hook = SAM2.model.mask_decoder.pred_obj_score_head.register_forward_hook(
        lambda _, __, out: torch.full_like(out, left.pop(0))
    )
    yield
    hook.remove()
    assert not left, "more slices were expected"


def test_a_mask_is_carried_both_ways_and_the_key_slice_is_not_among_what_is_found() -> None:
    found = carried(6, 2)
    assert [s.index for s in found.slices] == [0, 1, 3, 4, 5]
    assert found.stops == ("reached the first slice", "reached the last slice")
    assert all(s.mask.shape == (90, 130) and s.mask.dtype == np.bool_ and s.mask.any() for s in found.slices)
    assert all(0 < s.confidence < 1 for s in found.slices)


def test_each_slice_is_asked_for_once_and_on_the_way() -> None:
    order: list[int] = []
    progress: list[int] = []

    def pictures(index: int) -> Image:
        order.append(index)
        return frame(index)[0]

    carried(6, 2, pictures=pictures, step=progress.append)

    assert order == [2, 1, 0, 3, 4, 5]
    assert progress == [1, 2, 3, 4, 5]


def test_the_search_ends_when_the_object_is_gone_for_as_long_as_patience_lasts() -> None:
    order: list[int] = []

    def pictures(index: int) -> Image:
        order.append(index)
        return frame(index)[0]

    # Down from slice 3 it is gone at 2 and 1; up, it is gone at 5 and back at 6.
    with presence(-0.5, -2, 1, -1, 1, 1):
        found = carried(8, 3, pictures=pictures)

    assert order == [3, 2, 1, 4, 5, 6, 7]
    assert [s.index for s in found.slices] == [4, 6, 7]
    assert found.stops[0] == (
        "stopped before slice 2: the object is gone there and on 1 more behind it (score -0.5 for its presence; above "
        "0.0 and a marked pixel are asked for)"
    )
    assert found.stops[1] == "reached the last slice"


def test_a_higher_score_may_be_asked_for() -> None:
    strict = Sam2VideoSegmenter(SAM2.model, {"variant": "small"}, "cpu", patience=1, least_score=1.5)
    with presence(1, 2, 1.4):
        found = carried(5, 1, strict)
    assert [s.index for s in found.slices] == [2]
    assert found.stops[0].startswith("stopped before slice 0: the object is gone there (score 1.0 for its presence; ab")
    assert found.stops[1].startswith("stopped before slice 3: the object is gone there (score 1.4")


def test_a_slice_without_a_marked_pixel_counts_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Memory.follow

    def empty(memory: Memory, seen: Any) -> Any:
        found = real(memory, seen)
        return type(found)(-found.logits.abs(), found.quality, 5.0)

    monkeypatch.setattr(Memory, "follow", empty)
    found = carried(6, 0)
    assert not found.slices and found.stops[1].startswith("stopped before slice 1: the object is gone there and on 1")


def test_what_lies_above_the_key_slice_does_not_change_what_is_found_below() -> None:
    def changed(index: int) -> Image:
        return frame(index)[0] if index <= 3 else 255 - frame(index)[0]

    one, other = carried(8, 3), carried(8, 3, pictures=changed)
    for s, t in zip(one.slices[:3], other.slices[:3], strict=True):
        np.testing.assert_array_equal(s.mask, t.mask)
        assert s.confidence == t.confidence
    assert one.slices[4].confidence != other.slices[4].confidence


def test_what_is_held_does_not_grow_with_the_series(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Any]] = []
    memories: list[tuple[int, int]] = []
    features: list[weakref.ref[Any]] = []
    real = Memory.follow

    def watched(memory: Memory, seen: Any) -> Any:
        features.append(weakref.ref(seen.fine))
        found = real(memory, seen)
        memories.append((len(memory.features), len(memory.pointers)))
        return found

    def pictures(index: int) -> Image:
        assert sum(ref() is not None for ref in alive) <= 1 and sum(ref() is not None for ref in features) <= 1
        image = frame(index)[0]
        alive.append(weakref.ref(image))
        return image

    monkeypatch.setattr(Memory, "follow", watched)
    carried(24, 0, pictures=pictures)

    assert len(alive) == 24 and memories[-1] == (6, 15)
    assert max(memories) == (6, 15)


def test_a_mask_of_one_pixel_in_a_large_picture_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[torch.Tensor] = []
    import medreasoner_monai.segmenters.sam2_memory as memory

    real = memory.first
    monkeypatch.setattr(memory, "first", lambda model, seen, mask: told.append(mask) or real(model, seen, mask))
    mask = np.zeros((900, 900), dtype=bool)
    mask[450, 450] = True
    carried(2, 0, pictures=lambda i: np.full((900, 900), 90, dtype=np.uint8), mask=mask)
    assert 1 <= told[0].sum() <= 4 and told[0][0, 0, 64, 64] == 1


@pytest.mark.parametrize("key", [-1, 5])
def test_a_key_slice_that_is_not_in_the_series_is_refused(key: int) -> None:
    with pytest.raises(InputError, match=f"the key slice {key} is not in a series of 5"):
        carried(5, key)


@pytest.mark.parametrize("mask", [np.zeros((90, 130), dtype=bool), np.ones((90, 129), dtype=bool)])
def test_an_empty_mask_or_one_of_another_size_is_refused(mask: Mask) -> None:
    with pytest.raises(InputError, match=r"slice 2 has 90 x 130 pixels; a mask of that size .* got \(90, 1\d\d\) with"):
        carried(5, 2, mask=mask)


def test_one_slice_is_a_series() -> None:
    found = carried(1, 0)
    assert found == Carried((), ("reached the first slice", "reached the last slice"))


def test_without_patience_there_is_no_search() -> None:
    with pytest.raises(ConfigError, match="a patience of 1 slice at least, got 0"):
        videos(patience=0)


def test_how_a_search_ends_is_in_the_digest() -> None:
    digests = {SAM2.digest, *(Sam2VideoSegmenter(SAM2.model, {"variant": "small"}, "cpu", p).digest for p in (1, 3))}
    assert len(digests) == 3


def test_only_a_model_with_a_memory_has_its_own_carrier() -> None:
    assert callable(getattr(SAM2, "carry", None)) and getattr(images(), "carry", None) is None
