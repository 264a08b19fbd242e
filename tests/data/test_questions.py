"""Questions never name their target; traces say what is true in the picture and end with the name."""

from __future__ import annotations

import numpy as np
import pytest

from medreasoner_monai.data.describe import place_words, size_word
from medreasoner_monai.data.phantoms import SITES, Phantom, render
from medreasoner_monai.data.questions import WORDINGS, ask
from medreasoner_monai.data.traces import brightness_words
from medreasoner_monai.errors import InputError
from medreasoner_monai.task.naming import conclude
from medreasoner_monai.task.taxonomy import TAXONOMY

PICTURES = [render(site, seed) for site in SITES for seed in range(30)]
TARGETS = [(phantom, name) for phantom in PICTURES for name in phantom.masks]


def picture(image: np.ndarray, **masks: np.ndarray) -> Phantom:
    return Phantom(image.astype(np.uint8), masks, "CT", "abdomen", "axial CT, soft-tissue window")


def test_every_category_has_at_least_five_wordings() -> None:
    assert WORDINGS.keys() <= TAXONOMY.keys()
    assert all(len(set(wordings)) >= 5 for wordings in WORDINGS.values())


@pytest.mark.parametrize("name", WORDINGS)
def test_a_question_never_names_its_target(name: str) -> None:
    words_of_the_name = [word for word in name.split() if word not in ("left", "right")]
    for question in WORDINGS[name]:
        for giveaway in (*TAXONOMY[name].giveaways, *words_of_the_name):
            assert giveaway not in question.lower(), question


@pytest.mark.parametrize("name", WORDINGS)
def test_questions_are_short(name: str) -> None:
    for question in WORDINGS[name]:
        assert 6 <= len(question.split()) <= 16, question
        assert question.endswith("?")


def test_no_question_fits_two_categories() -> None:
    everything = [question for wordings in WORDINGS.values() for question in wordings]
    assert len(everything) == len(set(everything))


@pytest.mark.parametrize("name", ["left kidney", "right kidney", "left lung", "right lung"])
def test_the_side_is_told(name: str) -> None:
    side = name.split(maxsplit=1)[0]
    other = {"left": "right", "right": "left"}[side]
    for question in WORDINGS[name]:
        assert f"patient's {side}" in question
        assert other not in question


def test_the_questions_of_the_demonstration_are_there() -> None:
    assert "Which organ processes nutrients arriving from the gut?" in WORDINGS["liver"]


def test_the_trace_names_the_place_where_the_target_is() -> None:
    """The box's middle, computed here from the mask by other means, falls in the named ninth."""
    rng = np.random.default_rng(0)
    for phantom, name in TARGETS:
        _, trace = ask(phantom, name, rng)
        rows, cols = np.nonzero(phantom.masks[name])
        y = (rows.min() + rows.max() + 1) / 2 / phantom.image.shape[0]
        x = (cols.min() + cols.max() + 1) / 2 / phantom.image.shape[1]
        vertical = "upper" if y < 1 / 3 else "lower" if y >= 2 / 3 else "middle"
        horizontal = "left" if x < 1 / 3 else "right" if x >= 2 / 3 else "centre"
        place = "centre" if (vertical, horizontal) == ("middle", "centre") else f"{vertical} {horizontal}"
        assert f" {place} " in trace.replace(",", " ").replace(".", " "), (trace, x, y)


def test_the_trace_ends_with_the_name_and_keeps_its_length() -> None:
    rng = np.random.default_rng(1)
    for phantom, name in TARGETS:
        question, trace = ask(phantom, name, rng)
        assert question in WORDINGS[name]
        assert trace.endswith(f"the {name}.")
        assert 12 <= len(trace.split()) <= 28


def test_a_trace_concludes_on_its_target_for_whoever_names_the_region() -> None:
    rng = np.random.default_rng(3)
    for phantom, name in TARGETS:
        assert conclude(ask(phantom, name, rng)[1]).name == name


def test_the_vocabulary_of_traces_is_small() -> None:
    rng = np.random.default_rng(2)
    words = {word for phantom, name in TARGETS for word in ask(phantom, name, rng)[1].replace(",", "").split()}
    assert len(words) < 90


def test_the_same_generator_state_gives_the_same_words() -> None:
    phantom, name = TARGETS[0]
    assert ask(phantom, name, np.random.default_rng(3)) == ask(phantom, name, np.random.default_rng(3))


def test_a_given_box_decides_the_place() -> None:
    mask = np.zeros((90, 90), dtype=bool)
    mask[5:25, 5:25] = True
    phantom = picture(np.where(mask, 200, 20), liver=mask)
    assert "upper left" in ask(phantom, "liver", np.random.default_rng(0))[1]
    assert "lower right" in ask(phantom, "liver", np.random.default_rng(0), box=(65, 65, 85, 85))[1]


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0, 0, 20, 20), "upper left"),
        ((40, 0, 60, 20), "upper centre"),
        ((40, 40, 60, 60), "centre"),
        ((0, 40, 20, 60), "middle left"),
        ((80, 80, 100, 100), "lower right"),
        ((100, 100, 100, 100), "lower right"),
    ],
)
def test_places_are_ninths_of_the_picture(box: tuple[float, float, float, float], words: str) -> None:
    assert place_words(box, (100, 100)) == words


def test_sizes_are_shares_of_the_picture() -> None:
    assert [size_word(share) for share in (0.01, 0.05, 0.2)] == ["small", "medium", "large"]


@pytest.mark.parametrize(("inside", "words"), [(200, "brighter than"), (10, "darker than"), (105, "as bright as")])
def test_brightness_is_compared_with_the_surroundings(inside: int, words: str) -> None:
    mask = np.zeros((60, 60), dtype=bool)
    mask[20:40, 20:40] = True
    assert brightness_words(picture(np.where(mask, inside, 100), spleen=mask), "spleen") == words


def test_a_lesion_is_compared_with_its_organ() -> None:
    """Darker than the liver around it, although the black lung beside the liver is darker still."""
    liver = np.zeros((60, 60), dtype=bool)
    liver[10:50, 10:30] = True
    lesion = np.zeros((60, 60), dtype=bool)
    lesion[20:30, 20:30] = True
    image = np.where(lesion, 80, np.where(liver, 120, 0))
    phantom = picture(image, **{"liver": liver, "liver tumor": lesion})
    assert brightness_words(phantom, "liver tumor") == "darker than"


def test_asking_for_what_is_not_shown_is_refused() -> None:
    mask = np.ones((60, 60), dtype=bool)
    with pytest.raises(InputError, match="shows spleen, not 'liver'"):
        ask(picture(mask * 100, spleen=mask), "liver", np.random.default_rng(0))
    with pytest.raises(InputError, match="No question is written for 'appendix'"):
        ask(picture(mask * 100, appendix=mask), "appendix", np.random.default_rng(0))
