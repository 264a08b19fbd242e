"""Phantoms asked about what they show and about what they do not."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache

import numpy as np
import pytest

from medreasoner_monai.data.phantoms import SITES, render
from medreasoner_monai.data.questioning import HEALTHY, OTHER_PART, REMOVED, phantom_samples
from medreasoner_monai.data.questions import WORDINGS
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.task.taxonomy import TAXONOMY

SHARE = 0.25


@cache
def samples() -> tuple[Sample, ...]:
    return tuple(phantom_samples("train", 600, sites=SITES, per_phantom=2, seed=5, absent_share=SHARE))


def absent(*kinds: str) -> list[Sample]:
    return [s for s in samples() if s.absent in kinds]


def drawn(sample: Sample) -> tuple[str, int]:
    site, _, number = sample.group.rpartition("-")
    return site, int(number)


def test_without_absent_targets_the_samples_are_as_they_ever_were() -> None:
    """The same questions in the same order, whatever was added for absent ones."""
    plain = phantom_samples("train", 12, sites=SITES, per_phantom=2, seed=5)
    ct, chest, brain = "ct_abdomen-50000000", "chest_xray-50000000", "brain_mr-50000000"
    assert [s.id for s in plain] == [
        f"{ct}0-aorta", f"{ct}0-vertebra", f"{chest}0-heart", f"{chest}0-right-lung", f"{brain}0-lateral-ventricles",
        f"{ct}1-stomach", f"{ct}1-liver-tumor", f"{chest}1-lung-opacity", f"{chest}1-left-lung",
        f"{brain}1-brainstem", f"{brain}1-cerebellum", f"{ct}2-right-kidney",
    ]  # fmt: skip


def test_about_the_share_of_the_questions_is_in_vain_and_of_all_three_kinds() -> None:
    kinds = Counter(s.absent for s in samples() if not s.present)
    assert kinds.keys() == {OTHER_PART, REMOVED, HEALTHY}
    assert abs(sum(kinds.values()) / len(samples()) - SHARE) < 0.05
    assert min(kinds.values()) > 0.1 * sum(kinds.values())


def test_no_category_tells_whether_its_target_is_there() -> None:
    """Each is absent about as often as any other: four standard errors of its own share, and no more."""
    asked: dict[str, list[bool]] = defaultdict(list)
    for s in samples():
        asked[s.category].append(s.present)
    assert asked.keys() == WORDINGS.keys()
    for name, present in asked.items():
        error = np.sqrt(SHARE * (1 - SHARE) / len(present))
        assert any(present) and not all(present), name
        assert abs(1 - np.mean(present) - SHARE) < max(4 * error, 0.1), name


def test_the_words_are_those_of_questions_with_a_target() -> None:
    assert all(s.question in WORDINGS[s.category] for s in absent(OTHER_PART, REMOVED, HEALTHY))


def test_what_is_asked_in_vain_is_not_in_the_picture_at_all() -> None:
    """Drawn again: not even a part of it that would be too small to ask about."""
    for s in absent(OTHER_PART, HEALTHY):
        phantom = render(*drawn(s))
        if not np.array_equal(phantom.image, s.image):  # the other question of a picture with something taken out
            continue
        assert not phantom.shows(s.category), s.id


def test_what_was_removed_is_shown_by_the_same_patient_before() -> None:
    for s in absent(REMOVED):
        before = render(*drawn(s))
        assert s.category in before.masks
        region = before.masks[s.category]
        assert not np.array_equal(s.image[region], before.image[region])
        assert np.array_equal(render(*drawn(s), (s.category,)).image, s.image)


def test_healthy_pictures_are_of_the_kind_that_shows_the_lesion() -> None:
    for s in absent(HEALTHY):
        assert s.modality in TAXONOMY[s.category].modalities


def test_lungs_at_the_top_of_a_ct_are_not_said_to_be_absent() -> None:
    """They belong to no category there, but a reader sees them."""
    asked = [s for s in absent(OTHER_PART) if s.category in ("left lung", "right lung") and s.modality == "CT"]
    assert all((render(*drawn(s)).image == s.image).all() and "left lung" not in render(*drawn(s)).shown for s in asked)
    shown = [p for p in (render("ct_abdomen", n) for n in range(40)) if "left lung" in p.shown]
    assert shown and all("left lung" not in p.masks for p in shown)


def test_the_trace_denies_the_target_in_its_last_sentence() -> None:
    for s in absent(OTHER_PART, REMOVED, HEALTHY):
        first, last = s.trace.rstrip(".").split(". ")
        site = {"CT": "abdomen", "X-Ray": "chest", "MRI": "brain"}[s.modality]
        assert last == f"No area of the {site} fits the {s.category}"
        assert s.category in first and " no " not in f" {first.lower()} "


def test_traces_with_and_without_a_target_begin_alike_and_part_at_one_word() -> None:
    words: dict[bool, set[str]] = {True: set(), False: set()}
    openings: dict[bool, set[str]] = {True: set(), False: set()}
    for s in samples():
        first, _, last = s.trace.partition(". ")
        openings[s.present].add(first.replace(s.category, "*").split("*")[0].split()[0])
        words[s.present].add(last.split()[0])
    assert openings[True] == openings[False] and len(openings[True]) > 1
    assert words == {True: {"A"}, False: {"No"}}


def test_ids_name_the_kind_and_are_unique() -> None:
    ids = [s.id for s in samples()]
    assert len(set(ids)) == len(ids)
    assert all(s.absent.replace(" ", "-") in s.id for s in samples() if s.absent)


def test_samples_are_the_same_each_time() -> None:
    again = list(phantom_samples("train", 60, sites=SITES, per_phantom=2, seed=5, absent_share=SHARE))
    assert len(again) == 60
    for one, other in zip(again, samples(), strict=False):
        assert np.array_equal(one.image, other.image) and np.array_equal(one.mask, other.mask)
        assert (one.id, one.question, one.trace, one.box, one.points) == (
            other.id, other.question, other.trace, other.box, other.points
        )  # fmt: skip


@pytest.mark.parametrize("per_phantom", [1, 3])
def test_as_many_as_asked_for(per_phantom: int) -> None:
    made = list(phantom_samples("val", 50, sites=SITES, per_phantom=per_phantom, seed=0, absent_share=SHARE))
    assert len(made) == 50 and any(not s.present for s in made)
    assert max(Counter(s.group for s in made).values()) <= per_phantom
