"""A mask carried from slice to slice follows the structure, and ends where it ends."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from medreasoner_monai.segmenters.baselines import EllipseInBox
from medreasoner_monai.segmenters.carry import Limits, PromptCarrier, carrier_of
from medreasoner_monai.segmenters.protocol import Mask, Prompt
from medreasoner_monai.segmenters.registry import build
from medreasoner_monai.segmenters.volume import Carried
from medreasoner_monai.task.geometry import Frame
from medreasoner_monai.task.keypoints import key_points, mask_box
from tests.segmenters.volumes import organ_volume


def carried(volume: NDArray[np.uint8], truth: NDArray[np.bool_], key: int, limits: Limits | None = None) -> Carried:
    prompt = Prompt(mask_box(truth[key]), key_points(truth[key]))
    carrier = PromptCarrier(build("classical"), limits)
    return carrier.carry(lambda i: volume[i], len(volume), key, prompt, truth[key], lambda _: None)


@pytest.mark.parametrize("key", [12, 20, 27])
def test_an_organ_is_followed_to_both_its_ends(key: int) -> None:
    volume, truth = organ_volume()
    result = carried(volume, truth, key)
    found = np.zeros_like(truth)
    found[key] = truth[key]
    for one in result.slices:
        found[one.index] = one.mask
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.95
    inside = np.flatnonzero(truth.any(axis=(1, 2)))
    reached = np.flatnonzero(found.any(axis=(1, 2)))
    assert abs(reached[0] - inside[0]) <= 1 and abs(reached[-1] - inside[-1]) <= 1
    assert key not in [one.index for one in result.slices]
    assert all(0 < one.confidence <= 1 for one in result.slices)
    assert [stop.startswith("stopped before slice") for stop in result.stops] == [True, True]


def test_the_ends_of_the_series_are_said() -> None:
    volume, truth = organ_volume()
    result = carried(volume[14:27], truth[14:27], 6)
    assert result.stops == ("reached the first slice", "reached the last slice")
    assert sorted(one.index for one in result.slices) == [i for i in range(13) if i != 6]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda v, i: np.roll(v, 60, axis=1), "overlap|likeness|grew|shrank"),
        (lambda v, i: np.full_like(v, 30), "likeness 0.00"),
    ],
)
def test_a_slice_that_shows_something_else_ends_it(change: object, why: str) -> None:
    volume, truth = organ_volume()
    volume = volume.copy()
    volume[24] = change(volume[24], 24)  # type: ignore[operator]
    result = carried(volume, truth, 20)
    assert max(one.index for one in result.slices) == 23
    assert result.stops[1].startswith("stopped before slice 24: ")
    assert any(word in result.stops[1] for word in why.split("|"))


def test_pictures_are_asked_for_one_by_one_and_steps_are_counted() -> None:
    volume, truth = organ_volume(slices=12)
    seen: list[int] = []
    steps: list[int] = []

    def picture(index: int) -> NDArray[np.uint8]:
        seen.append(index)
        return volume[index]

    prompt = Prompt(mask_box(truth[6]), None)
    result = PromptCarrier(build("classical")).carry(picture, 12, 6, prompt, truth[6], steps.append)
    assert steps == list(range(1, len(result.slices) + 1))
    assert len(seen) == len(set(seen)), "no slice is decoded twice"


def test_a_segmenter_with_a_way_of_its_own_is_asked_itself() -> None:
    class Follower:
        name = digest = "follower"

        def carry(self) -> None: ...

    follower = Follower()
    assert carrier_of(follower) is follower  # type: ignore[arg-type, comparison-overlap]
    assert isinstance(carrier_of(build("ellipse")), PromptCarrier)


def test_a_segmenter_trained_on_boxes_alone_is_sent_no_points() -> None:
    class BoxOnly(EllipseInBox):
        prompt_kinds = ("box",)

        def segment(self, embedding: Frame, prompts: Sequence[Prompt]) -> list[Mask]:
            assert all(p.points is None for p in prompts), "points were sent"
            return super().segment(embedding, prompts)

    volume, truth = organ_volume(slices=6)
    prompt = Prompt(mask_box(truth[3]), key_points(truth[3]))
    result = PromptCarrier(BoxOnly()).carry(volume.__getitem__, 6, 3, prompt, truth[3], lambda _: None)
    assert result.slices
