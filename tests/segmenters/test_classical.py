from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pictures

from medreasoner_monai.segmenters.baselines import EllipseInBox
from medreasoner_monai.segmenters.classical import ClassicalSegmenter, Settings
from medreasoner_monai.segmenters.protocol import Image, Mask, Prompt, PromptKind, Segmenter
from medreasoner_monai.task.geometry import Box, Frame, Points
from medreasoner_monai.task.keypoints import key_points, mask_box

DEMO = Path(__file__).parents[3] / "shared" / "data" / "biomedparse_demo"


def dice(a: Mask, b: Mask) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def noisy(mask: Mask, inside: float = 170, outside: float = 90) -> Image:
    """A picture of the mask with noise, as uint8."""
    noise = np.random.default_rng(0).normal(0, 12, mask.shape)
    return np.clip(np.where(mask, inside, outside) + noise, 0, 255).astype(np.uint8)


def drawn(*outlines: list[tuple[int, int]]) -> Mask:
    """Filled polygons of ``(x, y)`` corners on 200 x 160 pixels."""
    canvas = np.zeros((160, 200), np.uint8)
    cv2.fillPoly(canvas, [np.array(corners, np.int32) for corners in outlines], 1)
    return canvas > 0


def segment(image: Image, prompt: Prompt) -> Mask:
    segmenter = ClassicalSegmenter()
    (mask,) = segmenter.segment(segmenter.embed(image), [prompt])
    return mask


TRIANGLE = drawn([(40, 130), (150, 120), (120, 30)])
BAR = drawn([(40, 40), (56, 28), (160, 120), (144, 132)])
TWO_PIECES = drawn([(20, 40), (60, 40), (60, 110), (20, 110)], [(140, 40), (180, 40), (180, 110), (140, 110)])


@pytest.mark.parametrize("inside", [30, 170], ids=["dark", "bright"])
@pytest.mark.parametrize("kind", ["box", "both"])
def test_a_shape_that_is_no_ellipse_is_found_by_its_intensity(inside, kind: PromptKind):
    prompt = Prompt(mask_box(TRIANGLE), key_points(TRIANGLE)).only(kind)

    assert dice(segment(noisy(TRIANGLE, inside), prompt), TRIANGLE) > 0.93


def test_colour_tells_apart_what_grey_does_not():
    # Equal luminance, other hue.
    image = np.where(TRIANGLE[..., None], (200, 60, 60), (60, 124, 90)).astype(np.uint8)

    assert dice(segment(image, Prompt(mask_box(TRIANGLE))), TRIANGLE) > 0.93


def test_without_contrast_a_box_falls_back_to_about_the_ellipse_in_it():
    prompt = Prompt(Box(40, 30, 160, 130, Frame(200, 160)))
    flat = np.full((160, 200), 100, np.uint8)
    baseline = EllipseInBox()
    (ellipse,) = baseline.segment(baseline.embed(flat), [prompt])

    assert dice(segment(flat, prompt), ellipse) > 0.9


def test_points_tilt_the_shape_in_the_box():
    flat = np.full(BAR.shape, 100, np.uint8)
    box, points = mask_box(BAR), key_points(BAR)

    assert dice(segment(flat, Prompt(box, points)), BAR) > dice(segment(flat, Prompt(box)), BAR) + 0.15


def test_points_alone_find_the_rest_of_the_target():
    assert dice(segment(noisy(TRIANGLE), Prompt(points=key_points(TRIANGLE))), TRIANGLE) > 0.8


def test_points_on_one_piece_find_the_other_one_in_the_box():
    found = segment(noisy(TWO_PIECES), Prompt(mask_box(TWO_PIECES), key_points(TWO_PIECES)))

    assert dice(found, TWO_PIECES) > 0.93


def test_the_mask_stays_in_its_box():
    image = noisy(TRIANGLE)
    half = Box(60, 60, 110, 100, Frame(200, 160))

    mask = segment(image, Prompt(half, Points((80, 80), (95, 90), half.frame)))

    assert mask.any()
    mask[60:100, 60:110] = False
    assert not mask.any()


def test_points_outside_the_box_are_left_out():
    box = mask_box(TRIANGLE)
    astray = Points((5, 5), (190, 150), box.frame)

    np.testing.assert_array_equal(segment(noisy(TRIANGLE), Prompt(box, astray)), segment(noisy(TRIANGLE), Prompt(box)))


def test_a_grey_image_stored_as_rgb_gives_the_same_mask():
    image, prompt = noisy(TRIANGLE), Prompt(mask_box(TRIANGLE))

    np.testing.assert_array_equal(segment(np.dstack([image] * 3), prompt), segment(image, prompt))


def test_a_batch_equals_its_prompts_one_by_one_and_repeats_exactly():
    image, box = noisy(TRIANGLE), mask_box(TRIANGLE)
    asked = [Prompt(box), Prompt(points=key_points(TRIANGLE)), Prompt(box, key_points(TRIANGLE))]
    segmenter = ClassicalSegmenter()

    together = segmenter.segment(segmenter.embed(image), asked)

    for mask, prompt in zip(together, asked, strict=True):
        np.testing.assert_array_equal(mask, segment(image, prompt))


def test_an_embedding_keeps_its_own_image():
    image, segmenter = noisy(TRIANGLE), ClassicalSegmenter()
    embedding = segmenter.embed(image)
    (before,) = segmenter.segment(embedding, [Prompt(mask_box(TRIANGLE))])

    image[:] = 0

    np.testing.assert_array_equal(segmenter.segment(embedding, [Prompt(mask_box(TRIANGLE))])[0], before)


def test_the_digest_follows_the_settings():
    assert ClassicalSegmenter().digest == ClassicalSegmenter(Settings()).digest
    assert ClassicalSegmenter().digest != ClassicalSegmenter(Settings(trust=0.5)).digest


@pytest.mark.skipif(not DEMO.is_dir(), reason="needs ../shared/data/biomedparse_demo beside the repository")
def test_on_real_images_it_beats_the_prompts_own_shape_by_a_clear_margin():
    engines: dict[str, Segmenter[Any]] = {"classical": ClassicalSegmenter(), "ellipse": EllipseInBox()}
    scores: dict[tuple[str, str], list[float]] = {}
    for path in sorted((DEMO / "masks").glob("*.png"))[::2]:
        image_path = next(p for p in (DEMO / "images").glob("*.png") if path.stem.startswith(f"{p.stem}_"))
        image = np.asarray(Pictures.open(image_path).convert("RGB").resize((512, 512)))
        truth = np.asarray(Pictures.open(path).convert("L").resize((512, 512), Pictures.Resampling.NEAREST)) > 0
        prompt = Prompt(mask_box(truth), key_points(truth))
        kinds: tuple[PromptKind, ...] = ("points", "box", "both")
        for name, engine in engines.items():
            masks = engine.segment(engine.embed(image), [prompt.only(kind) for kind in kinds])
            for kind, mask in zip(kinds, masks, strict=True):
                scores.setdefault((name, kind), []).append(dice(mask, truth))
    gain = {kind: np.mean(scores["classical", kind]) - np.mean(scores["ellipse", kind]) for kind in kinds}

    assert gain["box"] > 0.02
    assert gain["both"] > 0.06
    assert gain["points"] > 0.2
