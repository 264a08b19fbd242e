"""What every engine promises, asked of each one that needs no weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.segmenters.protocol import Image, Prompt
from medreasoner_monai.segmenters.registry import ENGINES, NEED_WEIGHTS, build
from medreasoner_monai.task.geometry import Box, Frame, Points

NAMES = sorted(ENGINES.keys() - NEED_WEIGHTS)
LEARNED = ("fusion", "lite-medsam")

NEAR = st.floats(-20, 80)
ANYWHERE = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    """Any prompt that can be made: in some frame, on, across or far off the picture, the points also in one place."""
    frame = Frame(draw(st.integers(1, 60)), draw(st.integers(1, 60)), "model")
    coordinate = draw(st.sampled_from([NEAR, NEAR, NEAR, ANYWHERE]))
    box = points = None
    if draw(st.booleans()):
        xs, ys = (sorted(draw(st.tuples(coordinate, coordinate))) for _ in range(2))
        if xs[0] < xs[1] and ys[0] < ys[1]:
            box = Box(xs[0], ys[0], xs[1], ys[1], frame)
    if box is None or draw(st.booleans()):
        first = draw(st.tuples(coordinate, coordinate))
        second = draw(st.one_of(st.just(first), st.tuples(coordinate, coordinate)))
        points = Points(first, second, frame)
    return Prompt(box, points)


@st.composite
def images(draw: st.DrawFn) -> Image:
    """Constant or noise, grey or RGB, down to a single pixel."""
    rows, cols = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    shape = (rows, cols, 3) if draw(st.booleans()) else (rows, cols)
    if draw(st.booleans()):
        return np.full(shape, draw(st.integers(0, 255)), np.uint8)
    return np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_any_prompt_on_any_image_gives_a_boolean_mask_of_the_images_size(name):
    segmenter = build(name)

    # A learned engine takes a second an image on one core.
    @settings(max_examples=12 if name in LEARNED else 200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(image=images(), asked=st.lists(prompts(), min_size=1, max_size=3))
    def holds(image, asked):
        masks = segmenter.segment(segmenter.embed(image), asked)
        assert len(masks) == len(asked)
        for mask in masks:
            assert mask.dtype == np.bool_ and mask.shape == image.shape[:2]

    holds()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(16, 16), (16, 900), (3000, 4000), (700, 16, 3)])
def test_very_small_large_and_long_images(name, shape):
    rows, cols = shape[:2]
    frame = Frame(cols, rows)
    segmenter = build(name)
    prompt = Prompt(Box(cols * 0.2, rows * 0.2, cols * 0.8, rows * 0.8, frame))

    (mask,) = segmenter.segment(segmenter.embed(np.full(shape, 90, np.uint8)), [prompt])

    assert mask.shape == (rows, cols)
    if name == "lite-medsam":  # it was trained to find edges, and here is none: whatever it says, it says about the box
        ys, xs = np.nonzero(mask)
        assert len(xs) and 0.05 * cols <= xs.mean() <= 0.95 * cols and 0.05 * rows <= ys.mean() <= 0.95 * rows
    else:
        assert 0.2 < mask.mean() < 0.4  # The box is 0.36 of the picture.


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"lite-medsam"}))  # which has no such pixel at 256 a side
def test_a_box_of_one_pixel_is_that_pixel(name):
    segmenter = build(name)

    (mask,) = segmenter.segment(segmenter.embed(np.zeros((20, 30), np.uint8)), [Prompt(Box(7, 4, 8, 5, Frame(30, 20)))])

    assert np.argwhere(mask).tolist() == [[4, 7]]


@pytest.mark.parametrize("seed", range(5))
def test_a_prompt_on_the_picture_never_gives_an_empty_mask(seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (48, 64), dtype=np.uint8)
    x, y = rng.uniform(0, 60), rng.uniform(0, 44)
    asked = [Prompt(Box(x, y, x + size, y + size, Frame(64, 48))) for size in (0.01, 0.7, 3, 300)]
    segmenter = build("classical")

    assert all(mask.any() for mask in segmenter.segment(segmenter.embed(image), asked))


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_off_the_picture_gives_an_empty_mask(name):
    frame = Frame(30, 20)
    segmenter = build(name)
    asked = [Prompt(Box(40, 5, 50, 15, frame)), Prompt(points=Points((-5, 5), (90, 3), frame))]

    assert not any(mask.any() for mask in segmenter.segment(segmenter.embed(np.zeros((20, 30), np.uint8)), asked))


@pytest.mark.parametrize("name", NAMES)
def test_prompts_may_be_counted_in_another_frame(name):
    segmenter = build(name)
    embedding = segmenter.embed(np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8))
    stored = Prompt(Box(10, 8, 40, 30, Frame(60, 40)), Points((20, 15), (30, 22), Frame(60, 40)))
    model = Frame(120, 120, "model")
    asked = Prompt(Box(20, 24, 80, 90, model), Points((40, 45), (60, 66), model))

    one, other = segmenter.segment(embedding, [stored, asked])

    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_several_images_are_embedded_as_each_by_itself(name):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((40, 60), (30, 30, 3), (7, 90))]
    asked = [Prompt(Box(5, 3, 25, 6, Frame(image.shape[1], image.shape[0]))) for image in images]
    segmenter = build(name)

    together = segmenter.embed_many(images)

    assert len(together) == 3 and segmenter.embed_many([]) == []
    for image, embedding, prompt in zip(images, together, asked, strict=True):
        expected = segmenter.segment(segmenter.embed(image), [prompt])
        np.testing.assert_array_equal(segmenter.segment(embedding, [prompt]), expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "image",
    [np.zeros((8, 8)), np.zeros((8, 8, 4), np.uint8), np.zeros(8, np.uint8), np.zeros((0, 8), np.uint8)],
    ids=["float", "rgba", "flat", "empty"],
)
def test_an_image_of_the_wrong_kind_is_refused(name, image):
    with pytest.raises(InputError, match=r"takes a uint8 image.*got \w+ of shape"):
        build(name).embed(image)


def test_each_engine_has_its_own_stable_digest():
    digests = {name: build(name).digest for name in NAMES}

    assert digests == {name: build(name).digest for name in NAMES}
    assert len(set(digests.values())) == len(NAMES)
    assert all(len(digest) == 64 for digest in digests.values())


def test_an_unknown_engine_is_refused_with_a_hint():
    with pytest.raises(ConfigError, match=r"no segmenter 'clasical'.*Did you mean 'classical'\?"):
        build("clasical")


def test_an_unknown_option_is_refused_with_what_is_taken():
    with pytest.raises(ConfigError, match=r"'classical' has no option 'setings'; it takes settings\."):
        build("classical", setings=None)
