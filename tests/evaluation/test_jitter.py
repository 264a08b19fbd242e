"""True boxes that are off by a known amount."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.evaluation.answerers import Truth
from medreasoner_monai.evaluation.jitter import generator, jittered
from medreasoner_monai.evaluation.resolve import build_answerer
from medreasoner_monai.task.geometry import Box, Frame

FRAME = Frame(200, 100)


@given(
    x=st.floats(0, 190), y=st.floats(0, 90), w=st.floats(1, 200), h=st.floats(1, 100),
    amount=st.floats(0, 0.49), seed=st.integers(0, 2**31),
)  # fmt: skip
def test_each_side_moves_by_no_more_than_its_share_and_the_box_stays_on_the_picture(
    x: float, y: float, w: float, h: float, amount: float, seed: int
) -> None:
    box = Box(x, y, min(x + w, 200), min(y + h, 100), FRAME)
    moved = jittered(box, amount, generator(seed))
    assert moved == jittered(box, amount, generator(seed))
    assert 0 <= moved.x1 < moved.x2 <= 200 and 0 <= moved.y1 < moved.y2 <= 100
    assert moved.x2 - moved.x1 >= 1 - 1e-9 and moved.y2 - moved.y1 >= 1 - 1e-9
    # A box under a pixel is widened to one.
    for before, after, side in zip(box.xyxy, moved.xyxy, (box.x2 - box.x1, box.y2 - box.y1) * 2, strict=True):
        assert abs(before - after) <= amount * side + 1 + 1e-9


def test_the_moves_are_evenly_distributed() -> None:
    random = generator("even")
    box = Box(50, 40, 150, 60, FRAME)
    moves = np.array([jittered(box, 0.1, random).xyxy for _ in range(2000)]) - box.xyxy
    shares = moves / (100, 20, 100, 20)
    assert np.abs(shares).max() <= 0.1
    # Of an even distribution on ±a: mean 0, standard deviation a / sqrt(3).
    np.testing.assert_allclose(shares.mean(axis=0), 0, atol=0.005)
    np.testing.assert_allclose(shares.std(axis=0), 0.1 / np.sqrt(3), rtol=0.05)


def test_truth_with_jitter_is_named_so_and_keyed_by_it() -> None:
    plain, off = build_answerer("truth"), build_answerer("truth:jitter=0.1,seed=3")
    assert off == Truth(0.1, 3) and off.name == "truth, boxes off by up to 0.1"
    assert len({plain.digest, off.digest, Truth(0.1, 4).digest, Truth(0.2, 3).digest}) == 4
    for wrong, message in (("size=1", "unknown size"), ("jitter=0.5", "from 0 to 0.5"), ("jitter=much", "much")):
        with pytest.raises(ConfigError, match=message):
            build_answerer(f"truth:{wrong}")
