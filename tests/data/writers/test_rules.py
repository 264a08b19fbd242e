"""Questions by rule about made pictures whose answers are known by construction."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from medreasoner_monai.data.describe import describe
from medreasoner_monai.data.labelled import LabelledImage, Target
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.verify import Verifier
from medreasoner_monai.data.writers.absent import Asked, Census
from medreasoner_monai.data.writers.rules import RuleWriter
from medreasoner_monai.settings.data import QuestionSettings
from tests.data.writers.pictures import SIDE, disc, picture

Mask = NDArray[np.bool_]
SPOT = disc(48, 48, 10)


def several(masks: list[tuple[str, Mask]], **more: Any) -> LabelledImage:
    """A picture that may have one name more than once."""
    made = picture({f"t{number}": mask for number, (_, mask) in enumerate(masks)}, **more)
    named = [Target(name, t.mask, t.where) for (name, _), t in zip(masks, made.targets, strict=True)]
    return replace(made, targets=tuple(named))


def written(given_: LabelledImage, **chosen: float) -> list[Sample]:
    return [sample for _, sample in RuleWriter(QuestionSettings(**chosen)).write(given_)]


def pick(question: str, masks: list[Mask]) -> list[int]:
    """Which regions a reader may take a question to mean, by its words about place, size and position alone."""
    boxes = [(np.nonzero(m)[1].min(), np.nonzero(m)[1].max(), *np.nonzero(m)[0][[0, -1]]) for m in masks]
    middle = [((x1 + x2 + 1) / 2, (y1 + y2 + 1) / 2) for x1, x2, y1, y2 in boxes]
    left = list(range(len(masks)))
    if place := re.search(r"(upper|middle|lower) (left|centre|right)|\bcentre\b", question):
        row, col = place.groups() if place[1] else ("middle", "centre")
        ninth = ("left", "centre", "right").index(col), ("upper", "middle", "lower").index(row)
        left = [n for n in left if tuple(int(v * 3 / SIDE) for v in middle[n]) == ninth]
    orders: tuple[tuple[str, Callable[[int], float]], ...] = (
        (r"\b(?:(second|third|fourth|fifth) )?(?:largest|larger)\b", lambda n: -masks[n].sum()),
        (r"\b()(?:smallest|smaller)\b", lambda n: masks[n].sum()),
        (r"\b()leftmost\b", lambda n: middle[n][0]),
        (r"\b()rightmost\b", lambda n: -middle[n][0]),
        (r"\b()uppermost\b", lambda n: middle[n][1]),
        (r"\b()lowest\b", lambda n: -middle[n][1]),
        (r"\b(second|third|fourth|fifth)\b.* from the left\b", lambda n: middle[n][0]),
        (r"\b(second|third|fourth|fifth)\b.* from the top\b", lambda n: middle[n][1]),
    )
    for words, key in orders:
        if found := re.search(words, question):
            wanted = sorted(key(n) for n in left)[("", "second", "third", "fourth", "fifth").index(found[1] or "")]
            left = [n for n in left if key(n) == wanted]
    return left


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        # One in each half: by place.
        ([disc(48, 16, 8), disc(48, 80, 8)], ["in the middle left of", "in the middle right of"]),
        # Both in the upper left, one with twice the other's radius: by size.
        ([disc(12, 9, 8), disc(24, 24, 4)], ["the larger growth in the picture", "the smaller growth in the picture"]),
        # Both in the upper left and alike: by position, the one further left first.
        ([disc(16, 24, 5), disc(16, 8, 5)], ["the rightmost growth in", "the leftmost growth in"]),
        ([disc(8, 16, 5), disc(24, 16, 5)], ["the uppermost growth in", "the lowest growth in"]),
        # Three of three sizes in one place.
        (
            [disc(24, 24, 3), disc(9, 9, 8), disc(9, 25, 5)],
            ["the smallest growth in", "the largest growth in", "the second largest growth in"],
        ),
        # Three alike in a row.
        (
            [disc(16, 5, 4), disc(16, 15, 4), disc(16, 26, 4)],
            ["the leftmost growth in", "the second growth from the left in", "the rightmost growth in"],
        ),
        # Two in one place and a third elsewhere: place and size together.
        (
            [disc(9, 9, 8), disc(24, 24, 4), disc(80, 80, 8)],
            [
                "the larger growth in the upper left of",
                "the smaller growth in the upper left of",
                "in the lower right of",
            ],
        ),
    ],
)
def test_like_lesions_are_told_apart(masks: list[Mask], said: list[str]) -> None:
    samples = written(several([("kidney tumor", mask) for mask in masks]), per_target=12)
    assert len(samples) == 12 * len(masks)
    for sample in samples:
        number = next(n for n, mask in enumerate(masks) if np.array_equal(mask, sample.mask))
        question = sample.question.replace("solid growth", "growth")
        assert said[number] in question or said[number].removeprefix("the ") in question
        assert pick(question, masks) == [number]


def test_a_kidney_is_told_from_the_other_by_its_place() -> None:
    samples = written(several([("kidney", disc(48, 20, 10)), ("kidney", disc(48, 76, 10))]))
    assert [place in s.question for s, place in zip(samples, ("middle left", "middle right"), strict=True)] == [
        True
    ] * 2
    assert [s.id for s in samples] == ["made/p1-kidney", "made/p1-kidney-2"]


def test_one_alone_needs_no_place() -> None:
    for sample in written(several([("kidney", disc(48, 20, 10)), ("liver", disc(48, 76, 10))]), per_target=12):
        assert " of the picture" not in sample.question and " in the picture" not in sample.question


def test_sides_are_those_of_the_patient_in_radiological_convention() -> None:
    """The patient's right is on the picture's left, as DICOM PS3.3 C.7.6.2 views of a supine patient from the feet."""
    right, left = disc(48, 20, 10), disc(48, 76, 10)
    shown = several([("right kidney", right), ("left kidney", left)], left="right")
    assert [describe(shown, target).side for target in shown.targets] == ["right", "left"]
    samples = written(shown, per_target=6)
    assert all(Verifier().reason(shown, sample) is None for sample in samples)
    for sample in samples:
        side = "right" if np.array_equal(sample.mask, right) else "left"
        other = {"left": "right", "right": "left"}[side]
        assert f"patient's {side}" in sample.question and f"patient's {other}" not in sample.question
        assert f"middle {other}" in sample.trace  # the place is the picture's


def test_nothing_sided_is_said_where_only_the_mask_could_tell() -> None:
    """Neither without an orientation nor with one: a side is said for names that have one, and for no other."""
    for left in ("", "right", "posterior"):
        shown = several([("kidney", disc(48, 20, 10)), ("elbow plica", disc(20, 76, 8))], left=left)
        texts = [text for sample in written(shown, per_target=12) for text in (sample.question, sample.trace)]
        assert texts and not [text for text in texts if "patient" in text]
    assert describe(several([("kidney", disc(48, 20, 10))]), Target("kidney", disc(48, 20, 10), "")).side == ""


def test_equal_pictures_have_equal_texts_and_another_seed_others() -> None:
    names = ("liver", "spleen", "left kidney", "pancreas", "stomach", "aorta", "elbow plica")
    shown = picture({name: disc(12 + 12 * n, 30, 6) for n, name in enumerate(names)})

    def texts(**more: int) -> list[tuple[str, str, str]]:
        return [(s.id, s.question, s.trace) for s in written(shown, **more)]

    assert texts() == texts() == texts(seed=0)
    assert texts(seed=1) != texts() and [i for i, _, _ in texts(seed=1)] == [i for i, _, _ in texts()]
    assert texts()[:3] == [
        (s.id, s.question, s.trace) for s in written(replace(shown, targets=shown.targets[:3]))
    ]  # whatever else is outlined


@pytest.mark.parametrize("per_target", [1, 3, 12])
def test_a_target_has_so_many_questions_all_different(per_target: int) -> None:
    samples = written(picture({"liver": disc(20, 20, 10), "elbow plica": disc(70, 70, 8)}), per_target=per_target)
    found = defaultdict(list)
    for sample in samples:
        found[sample.category].append(sample.question)
    assert {name: len(set(asked)) for name, asked in found.items()} == {"liver": per_target, "elbow plica": per_target}
    assert len({sample.id for sample in samples}) == 2 * per_target


def test_what_is_asked_in_vain_is_asked_in_the_words_of_what_is_there() -> None:
    census = Census()
    census.targets[Asked("melanoma", "skin")] = 100
    census.worlds.update({"skin": 100, "trunk": 1})
    writer = RuleWriter(QuestionSettings(absent_share=0.5), census)
    shown = [picture({"liver": disc(30, 30, 12)}, name=f"n{n}") for n in range(20)]
    absent = [(p, s) for p in shown for _, s in writer.write(p) if not s.present]
    assert 3 < len(absent) < 17  # each picture decides by itself, with a chance of one half
    for given_, sample in absent:
        assert (sample.category, sample.supercategory, sample.box) == ("melanoma", "Neoplasm", None)
        assert "spot" in sample.question and Verifier().reason(given_, sample) is None


def test_what_is_asked_decides_the_identity() -> None:
    plain = RuleWriter(QuestionSettings()).identity()
    assert plain == RuleWriter(QuestionSettings(max_grade=9.0)).identity()  # that is the verifier's
    assert RuleWriter(QuestionSettings(seed=2)).identity() != plain
    assert RuleWriter(QuestionSettings(per_target=2)).identity() != plain


NAMES = (
    *("liver", "kidney", "left kidney", "right lung", "liver tumor", "nuclei", "tumor", "vessel", "rib 1", "rib 12"),
    *("intervertebral disc l4-l5", "left heart ventricle", "elbow plica", "left elbow plica", "elbow tumor", "aorta"),
)


@st.composite
def pictures(draw: st.DrawFn) -> LabelledImage:
    """Up to five ellipses or pairs of them; some names more than once; orientation unknown."""
    masks = []
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5)):
        mask = np.zeros((SIDE, SIDE), dtype=bool)
        for _ in range(draw(st.integers(1, 4))):
            row, col = draw(st.integers(0, SIDE - 1)), draw(st.integers(0, SIDE - 1))
            rows, cols = np.mgrid[:SIDE, :SIDE]
            height, width = draw(st.integers(1, 30)), draw(st.integers(1, 30))
            mask |= ((rows - row) / height) ** 2 + ((cols - col) / width) ** 2 <= 1
        masks.append((name, mask))
    modality, site = draw(st.sampled_from([("CT", "abdomen"), ("MRI", "brain"), ("Ultrasound", "breast"), ("", "")]))
    return several(masks, modality=modality, site=site)


@settings(max_examples=60, deadline=None)
@given(shown=pictures(), seed=st.integers(0, 5))
def test_whatever_is_outlined_its_questions_pass_the_checks(shown: LabelledImage, seed: int) -> None:
    samples = written(shown, seed=seed, per_target=2)
    assert len(samples) == 2 * len(shown.targets)
    assert [fault for s in samples if (fault := Verifier().reason(shown, s))] == []


@settings(max_examples=60, deadline=None)
@given(
    spots=st.lists(
        st.tuples(st.integers(4, SIDE - 5), st.integers(4, SIDE - 5), st.integers(2, 12)),
        min_size=2,
        max_size=5,
        unique_by=(lambda spot: spot[0], lambda spot: spot[1]),
    ),
    name=st.sampled_from(["kidney tumor", "elbow plica"]),
)
def test_no_question_fits_two_of_like_regions(spots: list[tuple[int, int, int]], name: str) -> None:
    masks = [disc(*spot) for spot in spots]
    samples = written(several([(name, mask) for mask in masks]))
    for number, sample in enumerate(samples):
        assert pick(sample.question, masks) == [number], sample.question


@pytest.mark.parametrize("per_target", [1, 3])
def test_the_share_in_vain_is_of_questions_however_many_a_target_has(per_target: int) -> None:
    """A fifth of all: within four standard errors of the pictures that are asked, each so many times."""
    census = Census()
    census.targets.update({Asked("liver", "abdomen"): 120, Asked("melanoma", "skin"): 120})
    census.worlds.update({"trunk": 120, "skin": 120})
    writer = RuleWriter(QuestionSettings(absent_share=0.2, per_target=per_target), census)
    liver, spot = picture({"liver": SPOT}), picture({"melanoma": SPOT}, modality="Dermoscopy", site="skin")
    asked = [s for n in range(120) for p in (liver, spot) for _, s in writer.write(replace(p, id=f"{p.site}-{n}"))]
    absent = [s for s in asked if not s.present]
    pictures = 60  # 0.2 / 0.8 of 240
    assert abs(len(absent) / per_target - pictures) < 4 * np.sqrt(pictures)
    assert len(asked) - len(absent) == 240 * per_target
    assert len({s.id for s in asked}) == len(asked)
    again = Counter((re.sub(r"-q\d+$", "", s.id), s.question) for s in absent)
    assert set(again.values()) == {1}  # in different words
