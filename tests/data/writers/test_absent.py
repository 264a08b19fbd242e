"""What is asked in vain: how often, of which pictures, and of which never."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from medreasoner_monai.data.labelled import LabelledImage
from medreasoner_monai.data.questioning import HEALTHY, OTHER_PART
from medreasoner_monai.data.sources.protocol import Unit
from medreasoner_monai.data.writers.absent import Asked, Census, absent_targets
from medreasoner_monai.data.writers.words import words_of
from medreasoner_monai.data.writers.worlds import certainly_absent, world_of
from tests.data.writers.pictures import disc, picture

SHARE = 0.2
SPOT = disc(48, 48, 10)
PROMISED = frozenset({"liver tumor", "liver"})
KINDS: tuple[
    tuple[int, str, str, tuple[str, ...], frozenset[str]], ...
] = (  # pictures, modality, site, outlined, promised
    (800, "CT", "abdomen", ("liver",), PROMISED),
    (400, "CT", "abdomen", ("liver", "liver tumor"), PROMISED),
    (1500, "Dermoscopy", "skin", ("melanoma",), frozenset()),
    (120, "Fundus", "retinal", ("optic disc",), frozenset()),
)


def data_set() -> list[tuple[Unit, LabelledImage]]:
    made = []
    for kind, (pictures, modality, site, outlined, promised) in enumerate(KINDS):
        shown = picture(dict.fromkeys(outlined, SPOT), modality=modality, site=site, labelled=promised - {*outlined})
        for number in range(pictures):
            name = f"{kind}-{number}"
            unit = Unit(name, len(outlined), outlined, promised, modality, site)
            made.append((unit, replace(shown, id=name)))
    return made


CENSUS = Census.of(unit for unit, _ in data_set())


def test_each_target_is_asked_for_in_vain_in_proportion_to_its_presence() -> None:
    """The wanted share within four standard errors; rare ones are not given away by being absent more often."""
    pictures = [shown for _, shown in data_set()]
    asked = Counter(a.name for p in pictures for a, _ in absent_targets(p, CENSUS, SHARE, 7))
    present = Counter(target.name for p in pictures for target in p.targets)
    assert present == {"liver": 1200, "liver tumor": 400, "melanoma": 1500, "optic disc": 120}
    for name, shown in present.items():
        wanted = SHARE / (1 - SHARE) * shown
        assert abs(asked[name] - wanted) < 4 * np.sqrt(wanted), (name, asked[name], wanted)


def test_a_lesion_is_asked_for_where_the_organ_is_healthy_first() -> None:
    """Three fifths of 100 in the 800 pictures that are promised to show it, the rest in skin and retina."""
    found = Counter(
        (why, shown.site)
        for _, shown in data_set()
        for asked, why in absent_targets(shown, CENSUS, SHARE, 7)
        if asked.name == "liver tumor"
    )
    assert found.keys() == {(HEALTHY, "abdomen"), (OTHER_PART, "skin"), (OTHER_PART, "retinal")}
    assert abs(found[HEALTHY, "abdomen"] - 60) < 4 * np.sqrt(60)


def test_nothing_is_asked_in_vain_that_is_shown_or_could_be() -> None:
    for _, shown in data_set():
        outlined = {target.name for target in shown.targets}
        for asked, _ in absent_targets(shown, CENSUS, 0.5, 3):
            assert asked.name not in outlined
            if shown.site == "abdomen":  # the liver of a promised picture may be missing, the retina surely is
                assert asked.name in {"melanoma", "optic disc", "liver tumor"}
            else:
                assert asked.site != shown.site


def in_vain(shown: LabelledImage, *targets: tuple[str, str], promised: bool = False) -> set[str]:
    """Names that some of 60 copies of a picture are asked for, at the highest chance there is."""
    census = Census()
    for name, site in targets:
        census.targets[Asked(name, site)] = 10_000
        if promised:
            census.known_absent[Asked(name, site)] = 1
    census.worlds[world_of(shown.modality, shown.site)] = 1
    copies = (replace(shown, id=f"copy-{n}") for n in range(60))
    return {asked.name for copy in copies for asked, _ in absent_targets(copy, census, 0.5, 0)}


ABDOMEN = picture({"liver": SPOT})


@pytest.mark.parametrize(
    ("shown", "target", "asked"),
    [
        (ABDOMEN, ("melanoma", "skin"), True),
        (ABDOMEN, ("optic disc", "retinal"), True),
        (ABDOMEN, ("spleen", "abdomen"), False),  # not outlined, which does not mean not there
        (ABDOMEN, ("prostate", "pelvis"), False),  # a long trunk
        (ABDOMEN, ("thyroid gland", "neck"), False),
        (picture({"liver": SPOT}, modality="", site=""), ("melanoma", "skin"), False),  # who knows what it shows
        (picture({"polyp": SPOT}, modality="Pathology", site="colon"), ("cancer", "endoscope"), False),
        (ABDOMEN, ("elbow plica", "arm"), False),  # no words for it
        (picture({"melanoma": SPOT}), ("melanoma", "skin"), False),  # outlined after all
        (replace(picture({}), set_aside=frozenset({"melanoma"})), ("melanoma", "skin"), False),  # outlined, not kept
    ],
)
def test_only_what_is_certain_to_be_absent_is_asked_for(
    shown: LabelledImage, target: tuple[str, str], asked: bool
) -> None:
    assert in_vain(shown, target) == ({target[0]} if asked else set())


def test_a_sources_promise_makes_it_certain() -> None:
    promising = replace(ABDOMEN, labelled=frozenset({"spleen"}))
    assert in_vain(promising, ("spleen", "abdomen"), promised=True) == {"spleen"}
    assert in_vain(ABDOMEN, ("spleen", "abdomen"), promised=True) == set()


def test_a_promise_about_one_organs_tumor_says_nothing_about_anothers() -> None:
    """A source of kidneys that outlines every ``tumor`` does not look for those of the liver."""
    kidneys = replace(picture({"kidney": SPOT}, site="kidney"), labelled=frozenset({"tumor"}))
    assert in_vain(kidneys, ("tumor", "kidney"), promised=True) == {"tumor"}
    assert in_vain(kidneys, ("tumor", "liver"), promised=True) == set()


def test_what_is_shown_under_another_name_is_not_absent() -> None:
    promised = frozenset({"postcava", "kidney", "left kidney", "right kidney"})

    def asked(shown_name: str, name: str) -> bool:
        shown = replace(picture({shown_name: SPOT}), labelled=promised)
        return bool(in_vain(shown, (name, "abdomen"), promised=True))

    assert not asked("inferior vena cava", "postcava")
    assert not asked("kidney", "left kidney") and not asked("left kidney", "kidney")
    assert asked("left kidney", "right kidney")


def test_a_picture_decides_by_itself_and_by_the_seed() -> None:
    pictures = [shown for _, shown in data_set()[:1200:4]]
    alone = {p.id: [*absent_targets(p, CENSUS, SHARE, 7)] for p in reversed(pictures)}
    assert alone == {p.id: [*absent_targets(p, CENSUS, SHARE, 7)] for p in pictures}
    assert alone != {p.id: [*absent_targets(p, CENSUS, SHARE, 8)] for p in pictures}
    assert not any(list(absent_targets(p, CENSUS, 0.0, 7)) for p in pictures)


def test_the_census_counts_pictures_of_units_with_several() -> None:
    """A volume of two names and about 40 masks is about 20 pictures."""
    census = Census.of([Unit("v", 40, ("liver", "spleen"), frozenset({"liver", "spleen", "aorta"}), "CT", "abdomen")])
    assert census.targets == {Asked("liver", "abdomen"): 20, Asked("spleen", "abdomen"): 20}
    assert census.known_absent == {Asked("aorta", "abdomen"): 20} and census.worlds == {"trunk": 20}
    assert Census.of([Unit("u", 9, ())]) == Census()


@pytest.mark.parametrize(
    ("modality", "site", "world"),
    [
        ("MRI-T2", "brain", "head"),
        ("CT", "lung", "trunk"),
        ("Pathology", "kidney", "tissue"),  # the modality says more than the site
        ("Fundus", "", "retina"),
        ("OCT", "retinal", "retina"),
        ("Ultrasound", "fetus", "fetus"),
        ("X-Ray", "dental", "jaw"),
        ("MRI", "spine", "spine"),
        ("CT", "whole body", ""),  # from the skull to the feet
        ("CT", "moon", ""),
    ],
)
def test_pictures_are_of_a_kind(modality: str, site: str, world: str) -> None:
    assert world_of(modality, site) == world


def test_nothing_is_certain_of_an_unknown_kind_or_an_unplaced_concept() -> None:
    assert not certainly_absent(frozenset({"skin"}), "") and not certainly_absent(frozenset(), "trunk")


@pytest.mark.parametrize(
    ("concept", "modality", "site"),
    [
        ("mandible", "Ultrasound", "fetus"),  # the child has one
        ("optic disc", "MRI", "head"),  # the eyes are in it
        ("brainstem", "MRI", "spine"),  # a cervical one
        ("brain", "CT", "whole body"),
        ("vertebra c2", "MRI", "brain"),
        ("thyroid gland", "CT", "chest"),
        ("humerus", "CT", "chest"),
        ("glomeruli", "Pathology", "kidney"),
    ],
)
def test_what_a_reader_might_find_is_never_called_absent(concept: str, modality: str, site: str) -> None:
    found = words_of(concept)
    assert found is not None and not certainly_absent(found[0].worlds, world_of(modality, site))


@pytest.mark.parametrize(
    ("concept", "modality", "site"),
    [
        ("prostate", "MRI", "brain"),
        ("melanoma", "Fundus", "retinal"),
        ("teeth", "Dermoscopy", "skin"),
        ("liver", "OCT", "retinal"),
        ("nuclei", "CT", "abdomen"),
        ("hippocampus", "X-Ray", "chest"),
    ],
)
def test_what_nobody_could_find_is(concept: str, modality: str, site: str) -> None:
    found = words_of(concept)
    assert found is not None and certainly_absent(found[0].worlds, world_of(modality, site))
