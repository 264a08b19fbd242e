"""The frame that the model sees: what a real processor makes of a picture, and what rounding in it costs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from medreasoner_monai.reasoners.folder import load_processor, resized, seen_frame
from medreasoner_monai.task.answer import Grounding, parse, render
from medreasoner_monai.task.geometry import Box, Frame, Points, convert

QWEN_7B = Path(__file__).parents[3] / "shared" / "data" / "qwen25vl_tokenizer"
LIMITS = {"starter": (4 * 28 * 28, 112 * 112), "7B": (3136, 12_845_056)}
PROMPT = "<|vision_start|><|image_pad|><|vision_end|>"


@pytest.fixture(scope="module", params=["starter", "7B"])
def processor(request: pytest.FixtureRequest, tiny_model: Path) -> Any:
    if request.param == "7B" and not QWEN_7B.is_dir():
        pytest.skip("Qwen2.5-VL-7B's processor is not beside the repository (../shared/data/qwen25vl_tokenizer)")
    loaded = load_processor(QWEN_7B if request.param == "7B" else tiny_model)
    size = loaded.image_processor.size
    assert (size["shortest_edge"], size["longest_edge"]) == LIMITS[request.param]
    return loaded


def random_sizes(count: int, seed: int) -> list[tuple[int, int]]:
    """(width, height) with areas of 10 to a million pixels and aspects up to 1 : 150, both even in their logarithm."""
    rng = np.random.default_rng(seed)
    areas, aspects = np.exp(rng.uniform(np.log(10), np.log(1e6), count)), np.exp(rng.uniform(-5, 5, count))
    sides = np.sqrt([areas * aspects, areas / aspects]).T
    sizes = [(max(1, round(w)), max(1, round(h))) for w, h in sides]
    return [(w, h) for w, h in sizes if max(w, h) <= 200 * min(w, h)]


def test_the_processor_sees_what_seen_frame_says(processor: Any) -> None:
    sizes = [*random_sizes(240, seed=0)[:198], (1, 1), (28, 28)]
    assert len(sizes) == 200
    for width, height in sizes:
        assert shown(processor, width, height) == seen_frame(processor, Frame(width, height)), (width, height)


def test_a_picture_above_the_largest_is_made_smaller(processor: Any) -> None:
    largest = processor.image_processor.size["longest_edge"]
    width, height = math.ceil(1.2 * largest**0.5), math.ceil(1.1 * largest**0.5)
    seen = seen_frame(processor, Frame(width, height))

    assert seen.width * seen.height <= largest < width * height
    assert shown(processor, width, height) == seen


def shown(processor: Any, width: int, height: int) -> Frame:
    """The frame of what the processor really made, by its patches; one image token stands for each merged square."""
    out = processor(images=[Image.new("RGB", (width, height))], text=[PROMPT], return_tensors="pt")
    (time, rows, cols), images = out["image_grid_thw"][0].tolist(), processor.image_processor
    assert time == 1 and len(out["pixel_values"]) == rows * cols
    tokens = int((out["input_ids"] == processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")).sum())
    assert tokens == rows * cols // images.merge_size**2
    return Frame(cols * images.patch_size, rows * images.patch_size, "model")


@st.composite
def frames(draw: st.DrawFn) -> tuple[Frame, Frame]:
    """A stored frame and what a processor with the limits of the starter or the 7B makes of it."""
    width, height = draw(st.integers(1, 4000)), draw(st.integers(1, 4000))
    assume(max(width, height) <= 200 * min(width, height))
    least, most = LIMITS[draw(st.sampled_from(sorted(LIMITS)))]
    rows, cols = resized(height, width, factor=28, min_pixels=least, max_pixels=most)
    return Frame(width, height), Frame(cols, rows, "model")


@given(frames(), st.data())
def test_an_answer_comes_back_within_half_a_pixel_of_the_model_s_frame(
    pair: tuple[Frame, Frame], data: st.DataObject
) -> None:
    """An answer is in whole pixels of the model's frame. One of those is ``stored.width / seen.width`` stored pixels

    wide, so each x comes back within half of that, and each y within half of ``stored.height / seen.height``: under
    half a stored pixel where the processor enlarges, more where it shrinks.
    """
    stored, seen = pair
    wide, high = stored.width / seen.width, stored.height / seen.height

    def inside(extent: float) -> float:
        return data.draw(st.floats(0, extent))

    # Wider than one pixel of the model, or rounding could leave nothing of it.
    x1, y1 = inside(stored.width - 2 * wide), inside(stored.height - 2 * high)
    x2 = data.draw(st.floats(x1 + 1.01 * wide, stored.width))
    y2 = data.draw(st.floats(y1 + 1.01 * high, stored.height))
    box = Box(x1, y1, x2, y2, stored)
    points = Points(
        (inside(stored.width), inside(stored.height)), (inside(stored.width), inside(stored.height)), stored
    )

    answer = parse(render("t", convert(box, seen), convert(points, seen)), seen)

    assert isinstance(answer, Grounding)
    back = answer.to(stored)
    slack = 1 + 1e-9
    differences = np.abs(np.subtract(back.box.xyxy, box.xyxy)).reshape(2, 2)
    assert (differences <= np.array([wide, high]) / 2 * slack).all()
    assert (np.abs(np.subtract(back.points.xy, points.xy)) <= np.array([wide, high]) / 2 * slack).all()


@given(frames(), st.data())
def test_unrounded_coordinates_come_back_as_they_were(pair: tuple[Frame, Frame], data: st.DataObject) -> None:
    stored, seen = pair
    x, y = data.draw(st.floats(0, stored.width)), data.draw(st.floats(0, stored.height))
    points = Points((x, y), (stored.width, stored.height), stored)

    back = convert(convert(points, seen), stored)

    assert back.first == pytest.approx((x, y), rel=1e-12, abs=1e-300)
    assert back.second == pytest.approx((stored.width, stored.height), rel=1e-12)
