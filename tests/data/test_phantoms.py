"""Phantoms: reproducible, exact, varied enough that a model has to look."""

from __future__ import annotations

from collections import defaultdict
from functools import cache

import cv2
import numpy as np
import pytest

from medreasoner_monai.data.phantoms import REMOVABLE, SITES, Phantom, render
from medreasoner_monai.data.phantoms.canvas import MIN_AREA_FRACTION, Canvas, View
from medreasoner_monai.data.phantoms.shapes import blob, smooth
from medreasoner_monai.data.questions import WORDINGS
from medreasoner_monai.errors import InputError
from medreasoner_monai.task.taxonomy import TAXONOMY

SEEDS = range(80)
LESIONS = {
    "liver tumor": {"liver"},
    "lung nodule": {"left lung", "right lung"},
    "lung opacity": {"left lung", "right lung"},
}


@cache
def phantoms(site: str) -> tuple[Phantom, ...]:
    return tuple(render(site, seed) for seed in SEEDS)


def box_of(mask: np.ndarray) -> np.ndarray:
    """x1, y1, x2, y2 as fractions of the image."""
    rows, cols = np.nonzero(mask)
    x = np.array([cols.min(), cols.max() + 1]) / mask.shape[1]
    y = np.array([rows.min(), rows.max() + 1]) / mask.shape[0]
    return np.array([x[0], y[0], x[1], y[1]])


def iou(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    area = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - np.prod(sides)
    return float(np.prod(sides) / area)


@pytest.mark.parametrize("site", SITES)
def test_the_same_seed_gives_the_same_pixels(site: str) -> None:
    first, second, other = render(site, 7), render(site, 7), render(site, 8)
    assert np.array_equal(first.image, second.image)
    assert first.masks.keys() == second.masks.keys()
    assert all(np.array_equal(first.masks[name], second.masks[name]) for name in first.masks)
    assert first.image.shape != other.image.shape or not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("site", SITES)
def test_images_and_masks_have_the_promised_type_and_size(site: str) -> None:
    for phantom in phantoms(site):
        assert phantom.image.dtype == np.uint8
        assert phantom.image.ndim == 2
        assert all(160 <= side <= 256 for side in phantom.image.shape)
        assert phantom.image.std() > 10  # something is to be seen
        for mask in phantom.masks.values():
            assert mask.dtype == np.bool_
            assert mask.shape == phantom.image.shape


@pytest.mark.parametrize("site", SITES)
def test_a_mask_is_never_a_sliver(site: str) -> None:
    for phantom in phantoms(site):
        for name, mask in phantom.masks.items():
            x1, y1, x2, y2 = box_of(mask)
            assert mask.mean() >= MIN_AREA_FRACTION, name
            assert min(x2 - x1, y2 - y1) * 112 >= 6, name


@pytest.mark.parametrize("site", SITES)
def test_organs_exclude_each_other_and_a_lesion_lies_in_its_organ(site: str) -> None:
    for phantom in phantoms(site):
        organs = [mask for name, mask in phantom.masks.items() if name not in LESIONS]
        assert not organs or np.sum(organs, axis=0).max() == 1
        for name in LESIONS.keys() & phantom.masks.keys():
            hosts = [phantom.masks[host] for host in LESIONS[name] & phantom.masks.keys()]
            assert not hosts or (phantom.masks[name] & np.any(hosts, axis=0)).any()


def test_every_category_that_has_questions_occurs_and_no_other() -> None:
    shown = {name for site in SITES for phantom in phantoms(site) for name in phantom.masks}
    assert shown == set(WORDINGS) and shown <= set(TAXONOMY)


@pytest.mark.parametrize("site", SITES)
def test_modality_agrees_with_the_taxonomy(site: str) -> None:
    for phantom in phantoms(site):
        assert all(phantom.modality in TAXONOMY[name].modalities for name in phantom.masks)


def test_left_and_right_follow_radiological_convention() -> None:
    """The patient's right is on the image's left."""
    for site, right, left in (("ct_abdomen", "right kidney", "left kidney"), ("chest_xray", "right lung", "left lung")):
        both = [p.masks for p in phantoms(site) if {right, left} <= p.masks.keys()]
        assert both
        for masks in both:
            assert np.nonzero(masks[right])[1].mean() < np.nonzero(masks[left])[1].mean()


def test_masks_show_where_brightness_changes() -> None:
    """An exact mask of a bright bone: inside and just outside differ clearly, in every picture."""
    for phantom in phantoms("ct_abdomen"):
        if (bone := phantom.masks.get("vertebra")) is None:
            continue
        ring = cv2.dilate(bone.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool) & ~bone
        assert phantom.image[bone].mean() > phantom.image[ring].mean() + 15


def test_a_box_cannot_be_guessed_without_looking() -> None:
    """The best constant answer, each category's median box, overlaps little with the true boxes."""
    boxes: dict[str, list[np.ndarray]] = defaultdict(list)
    for site in SITES:
        for phantom in phantoms(site):
            for name, mask in phantom.masks.items():
                boxes[name].append(box_of(mask))
    baseline = {name: float(np.mean([iou(b, np.median(all_, axis=0)) for b in all_])) for name, all_ in boxes.items()}
    for name, value in sorted(baseline.items()):
        print(f"{name:20s} {value:.2f} of {len(boxes[name])}")
    assert max(baseline.values()) < 0.5
    assert np.mean(list(baseline.values())) < 0.25


def test_what_is_drawn_later_hides_what_lies_below() -> None:
    canvas = Canvas(View(100, 100, np.array([[40.0, 0, 50], [0, 40.0, 50]])), background=0.0)
    square = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    canvas.fill(square, 1.0, "below")
    canvas.fill(square + np.array([0.5, 0.0]), 2.0, "above")
    masks = canvas.masks()
    assert not (masks["below"] & masks["above"]).any()
    assert (canvas.image[masks["below"]] == 1.0).all()
    assert (canvas.image[masks["above"]] == 2.0).all()


def test_a_structure_outside_of_the_view_has_no_mask() -> None:
    canvas = Canvas(View(100, 100, np.array([[40.0, 0, 50], [0, 40.0, 50]])), background=0.0)
    square = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    canvas.fill(square + np.array([9.0, 0.0]), 1.0, "far away")
    canvas.fill(square + np.array([1.6, 0.0]), 1.0, "a fifth of it")
    assert canvas.masks() == {}


def test_outlines_are_arrays_of_x_and_y() -> None:
    outline = blob(np.random.default_rng(0), (3.0, -1.0), (2.0, 1.0), wobble=0.0)
    assert outline.shape == (48, 2)
    assert np.allclose(outline.mean(0), (3.0, -1.0))
    assert np.allclose(np.ptp(outline, axis=0), (4.0, 2.0))
    assert smooth(outline, steps=5).shape == (240, 2)


def test_an_unknown_site_is_refused_with_a_hint() -> None:
    with pytest.raises(InputError, match="Did you mean 'brain_mr'"):
        render("brain_mri", 0)
    with pytest.raises(InputError, match="zero or more, found -1"):
        render("brain_mr", -1)


def outlined(image: np.ndarray, mask: np.ndarray) -> float:
    """Share of a mask's outline along which the picture changes by over 15 grey values within a few pixels."""
    whole = mask.astype(np.uint8)
    wide, narrow = np.ones((5, 5), np.uint8), np.ones((3, 3), np.uint8)

    def beside(ring: np.ndarray) -> np.ndarray:
        weight = cv2.blur(ring.astype(np.float32), (9, 9))
        return cv2.blur(image.astype(np.float32) * ring, (9, 9)) / np.maximum(weight, 1e-6)

    step = beside(cv2.dilate(whole, wide) - whole) - beside(whole - cv2.erode(whole, wide))
    return float((np.abs(step) > 15)[(cv2.dilate(whole, narrow) - whole).astype(bool)].mean())


@pytest.mark.parametrize(("site", "name"), [(site, name) for site in SITES for name in REMOVABLE[site]])
def test_a_removed_organ_leaves_no_hole_in_its_shape(site: str, name: str) -> None:
    """Its outline is seen nearly all around while it is there, and in no patient once it is gone."""
    before, after = [], []
    for seed in SEEDS:
        phantom = render(site, seed)
        if name in phantom.masks:
            without = render(site, seed, (name,))
            assert not without.shows(name)
            before.append(outlined(phantom.image, phantom.masks[name]))
            after.append(outlined(without.image, phantom.masks[name]))
    assert len(after) >= 10
    assert np.mean(before) > 0.9
    assert np.mean(after) < 0.5 and max(after) < 0.9


@pytest.mark.parametrize("name", REMOVABLE["ct_abdomen"])
def test_the_rest_of_the_patient_stays_as_it_was(name: str) -> None:
    """Far from the organ, but for scanner noise, which is drawn the same: pixel by pixel."""
    for seed in range(40):
        before = render("ct_abdomen", seed)
        if name not in before.masks:
            continue
        after = render("ct_abdomen", seed, (name,))
        size = 2 * round(0.25 * max(before.image.shape)) + 1
        near = cv2.dilate(before.masks[name].astype(np.uint8), np.ones((size, size), np.uint8)).astype(bool)
        assert np.array_equal(before.image[~near], after.image[~near])
        assert before.shown - after.shown <= {name}


def test_only_what_one_can_live_without_is_removed() -> None:
    with pytest.raises(
        InputError, match="ct_abdomen phantom cannot be drawn without 'liver'; what can be removed is spl"
    ):
        render("ct_abdomen", 0, ("liver",))
    with pytest.raises(InputError, match="what can be removed is nothing"):
        render("brain_mr", 0, ("cerebellum",))


@pytest.mark.parametrize("site", SITES)
def test_all_that_can_be_asked_about_is_shown(site: str) -> None:
    assert all(set(p.masks) <= p.shown for p in phantoms(site))
