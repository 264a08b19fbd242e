"""Cleaning: what is set aside and why, what is not, and that nothing set aside is called absent."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medreasoner_monai.data.cleaning import Cleaner
from medreasoner_monai.data.labelled import LabelledImage, Target
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sample import SourceRef
from medreasoner_monai.data.sources.protocol import Unit
from medreasoner_monai.data.steps import Account, Steps
from medreasoner_monai.settings.data import CleanSettings

ROWS, COLS = 120, 160
OFF = CleanSettings(
    min_pixels=None, min_share=None, max_share=None, max_border=None, min_largest=None, max_overlap=None,
    model_side=None, min_contrast=None, min_range=None,
)  # fmt: skip


def blank() -> np.ndarray:
    return np.zeros((ROWS, COLS), dtype=bool)


def box(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = blank()
    mask[top : top + height, left : left + width] = True
    return mask


def picture(masks: dict[str, np.ndarray], *, image: np.ndarray | None = None, **changes: Any) -> LabelledImage:
    """Noise with each mask a little brighter, so that every target is visible."""
    if image is None:
        image = np.random.default_rng(1).integers(60, 120, (ROWS, COLS)).astype(np.uint8)
        for n, mask in enumerate(masks.values()):
            image[mask] += np.uint8(60 + 10 * n)
    targets = tuple(Target(name, mask, f"p1_{name}.png") for name, mask in masks.items())
    return LabelledImage("p1", image, targets, "CT", "abdomen", "g1", SourceRef("made"), **changes)


def codes(masks: dict[str, np.ndarray], settings: CleanSettings | None = None, **changes: Any) -> dict[str, str]:
    _, rejects = Cleaner(settings or CleanSettings()).clean(picture(masks, **changes))
    return {reject.where.removeprefix("p1_").removesuffix(".png"): reject.code for reject in rejects}


GOOD = box(30, 40, 40, 50)


def scattered() -> np.ndarray:
    mask = blank()
    for row in range(10, 110, 14):
        for col in range(10, 150, 14):
            mask[row : row + 7, col : col + 7] = True
    return mask


def test_a_good_mask_is_left_alone() -> None:
    given_ = picture({"liver": GOOD})
    cleaned, rejects = Cleaner().clean(given_)
    assert cleaned is given_ and rejects == []


@pytest.mark.parametrize(
    ("mask", "code", "field"),
    [
        (blank(), "empty", None),
        (box(30, 40, 3, 5), "tiny", "min_pixels"),
        (box(0, 0, ROWS, 158), "huge", "max_share"),
        (box(0, 0, 40, 40), "cut off", "max_border"),
        (scattered(), "fragmented", "min_largest"),
    ],
)
def test_each_fault_has_its_code_and_its_switch(mask: np.ndarray, code: str, field: str | None) -> None:
    assert codes({"liver": mask}) == {"liver": code}
    if field is not None:
        only = OFF.model_copy(update={field: getattr(CleanSettings(), field)})
        assert codes({"liver": mask}, only) == {"liver": code}
        assert codes({"liver": mask}, OFF) == {}


def test_a_small_share_of_a_large_picture_is_tiny() -> None:
    image = np.random.default_rng(2).integers(0, 99, (1500, 1500)).astype(np.uint8)
    mask = np.zeros_like(image, dtype=bool)
    mask[700:706, 700:707] = True  # 42 of 2,250,000 pixels, less than 0.002 %
    image[mask] = 250
    assert codes({"nodule": mask}, image=image) == {"nodule": "tiny"}


def test_a_target_that_a_model_would_not_see_is_not_asked_about() -> None:
    image = np.random.default_rng(2).integers(0, 99, (1024, 1024)).astype(np.uint8)
    mask = np.zeros_like(image, dtype=bool)
    mask[500:509, 500:700] = True  # 9 pixels thin, 1.97 at 224
    image[mask] = 250
    assert codes({"catheter": mask}, image=image) == {"catheter": "not visible"}
    finer = CleanSettings(model_side=448)
    assert codes({"catheter": mask}, finer, image=image) == {}


def test_many_parts_by_nature_are_not_fragmented() -> None:
    assert codes({"cell nuclei": scattered()}) == {}
    assert codes({"liver": scattered()}, CleanSettings(many_parts=("liver",))) == {}


def test_a_target_that_looks_like_its_surroundings_has_low_contrast() -> None:
    image = np.tile(np.arange(COLS, dtype=np.uint8) % 2 * 90, (ROWS, 1))
    assert codes({"lung tumor": GOOD}, image=image) == {"lung tumor": "low contrast"}
    edged = image.copy()
    edged[GOOD] += 20
    assert codes({"lung tumor": GOOD}, image=edged) == {}


def test_nothing_can_be_asked_about_a_blank_picture() -> None:
    image = np.full((ROWS, COLS), 3, dtype=np.uint8)
    image[GOOD] = 6
    given_ = picture({"liver": GOOD}, image=image, labelled=frozenset({"liver", "spleen"}))
    cleaned, (reject,) = Cleaner().clean(given_)
    assert reject.code == "blank picture" and "within 3 grey levels" in reject.reason
    assert cleaned.targets == () and cleaned.labelled == frozenset(), "nor can anything be said to be absent from it"


def test_of_two_names_for_one_mask_the_more_general_is_kept() -> None:
    masks = {"covid-19 lung infection": GOOD, "lung": GOOD.copy(), "heart": box(80, 100, 30, 40)}
    cleaned, (reject,) = Cleaner().clean(picture(masks))
    assert [t.name for t in cleaned.targets] == ["lung", "heart"]
    assert reject.code == "duplicate" and "its mask is that of lung in p1_lung.png (IoU 1.000" in reject.reason


def test_a_reason_says_found_expected_and_which_setting() -> None:
    _, (reject,) = Cleaner().clean(picture({"liver": box(30, 40, 3, 5)}))
    assert reject.reason == "liver: the mask has 15 pixels, expected at least 16 (clean.min_pixels)"
    assert reject.step == "clean" and reject.masks == 1


def test_a_reject_shows_its_picture_with_the_outline() -> None:
    _, (reject,) = Cleaner().clean(picture({"liver": scattered()}))
    assert reject.thumbnail is not None and len(reject.thumbnail) < 30_000
    with Image.open(io.BytesIO(reject.thumbnail)) as shown:
        assert shown.size == (128, 96) and not shown.info.get("exif")
        pixels = np.asarray(shown.convert("RGB")).astype(int)
    yellow = (pixels[..., 0] > 200) & (pixels[..., 1] > 160) & (pixels[..., 2] < 80)
    assert yellow.sum() > 100


def test_what_is_set_aside_is_not_called_absent() -> None:
    given_ = picture({"liver": GOOD, "spleen": box(10, 120, 2, 3)}, labelled=frozenset({"liver", "spleen", "kidney"}))
    cleaned, _ = Cleaner().clean(given_)
    assert cleaned.set_aside == {"spleen"} and cleaned.labelled == {"liver", "kidney"}


class Pictures:
    """A source of pictures that a test made."""

    name, synthetic, description, inline = "made", True, "", True

    def __init__(self, *items: LabelledImage) -> None:
        self.items = items

    def identity(self) -> dict[str, Any]:
        return {}

    def units(self) -> Any:
        yield Unit("all", sum(len(item.targets) for item in self.items))

    def read(self, unit: Unit) -> Any:
        yield from self.items


@given(st.lists(st.sampled_from(["good", "empty", "tiny", "scattered", "same"]), min_size=0, max_size=6))
def test_masks_in_are_masks_kept_and_rejected(kinds: list[str]) -> None:
    makers = {"good": box(10, 10, 50, 60), "empty": blank(), "tiny": box(0, 0, 2, 2), "scattered": scattered()}
    masks = {f"{kind} {n}": makers.get(kind, GOOD) for n, kind in enumerate(kinds)}
    source, account = Pictures(picture(masks)), Account()
    made = list(Steps().run(source, Unit("all"), account))
    account.check("the test")
    rejects = [m for m in made if isinstance(m, Reject)]
    assert account.masks == len(kinds) == account.kept + len(rejects)
    assert all(reject.code for reject in rejects)


def test_structures_of_one_label_map_share_a_file_and_count_each() -> None:
    shared = picture({"structure 1": GOOD, "structure 2": box(80, 100, 30, 40)})
    targets = tuple(Target(t.name, t.mask, "labels.png") for t in shared.targets)
    account = Account()
    one_file = LabelledImage("p1", shared.image, targets, "CT", "abdomen", "g1", SourceRef("made"))
    assert len(list(Steps().run(Pictures(one_file), Unit("all"), account))) == 2
    account.check("the test")
    assert account.kept == 2
