"""The taxonomy: complete, looked up forgivingly, coded with concepts that DICOM knows."""

from __future__ import annotations

import pytest
from pydicom.sr.codedict import codes

from medreasoner_monai.dicom import concepts
from medreasoner_monai.errors import InputError
from medreasoner_monai.task.taxonomy import (
    ABNORMAL_STRUCTURE,
    ANATOMICAL_STRUCTURE,
    GENERIC,
    LESION_WORDS,
    SUPER_CATEGORIES,
    TAXONOMY,
    Code,
    category,
    codes_for,
)


def all_codes() -> list[Code]:
    found = []
    for c in [*(entry.codes for entry in TAXONOMY.values()), GENERIC, codes_for("cyst")]:
        found += [code for code in (c.property_category, c.property_type, c.region, c.laterality) if code is not None]
    return sorted(set(found))


def test_every_super_category_has_a_category() -> None:
    assert {entry.super_category for entry in TAXONOMY.values()} == set(SUPER_CATEGORIES)
    assert len(TAXONOMY) >= 12


@pytest.mark.parametrize("code", all_codes(), ids=lambda code: code.meaning)
def test_codes_are_the_ones_that_dicom_lists(code: Code) -> None:
    known = {
        (entry.value, entry.scheme_designator)
        for keyword in getattr(codes, code.scheme).dir(code.meaning.split()[0])
        if (entry := getattr(getattr(codes, code.scheme), keyword, None))
    }
    assert (code.value, code.scheme) in known


def test_sides_are_coded_as_laterality() -> None:
    for name in ("left kidney", "right kidney", "left lung", "right lung"):
        laterality = codes_for(name).laterality
        assert laterality is not None
        assert laterality.meaning.lower() == name.split()[0]


def test_a_lesion_names_the_organ_it_lies_in() -> None:
    assert codes_for("liver tumor").region == codes_for("liver").property_type
    assert codes_for("liver tumor").property_category.meaning == "Morphologically Abnormal Structure"


@pytest.mark.parametrize("spelling", ["left kidney", "Left  Kidney", "left+kidney", "left_kidney"])
def test_file_name_spellings_are_understood(spelling: str) -> None:
    assert category(spelling).name == "left kidney"


def test_an_unknown_category_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="Did you mean 'spleen'"):
        category("splen")


def test_a_category_outside_of_the_taxonomy_still_gets_codes() -> None:
    coded = codes_for("optic+disc")
    assert coded.label == "optic disc"
    assert coded.property_type.meaning == "Selected region"
    assert coded.laterality is None


def test_what_nobody_named_is_coded_alike_everywhere_and_never_as_anatomy() -> None:
    assert concepts.GENERIC is GENERIC
    unknown = codes_for("gallbladder")
    assert (unknown.property_category, unknown.property_type) == (GENERIC.property_category, GENERIC.property_type)
    assert GENERIC.property_category not in (ANATOMICAL_STRUCTURE, ABNORMAL_STRUCTURE)
    in_cid_7150 = {getattr(codes.cid7150, keyword).value for keyword in codes.cid7150.dir()}
    assert GENERIC.property_category.value in in_cid_7150


@pytest.mark.parametrize("word", LESION_WORDS)
def test_a_lesion_of_no_category_is_coded_as_one_without_its_kind(word: str) -> None:
    for name in (word, f"adrenal+{word}", f"Kidney_{word}s"):
        coded = codes_for(name)
        assert coded.property_category == ABNORMAL_STRUCTURE and coded.property_type.meaning == "Lesion"
        assert (
            coded.region is None and coded.label == " ".join(name.replace("+", " ").replace("_", " ").split()).lower()
        )


def test_a_synonym_means_one_category() -> None:
    spellings = [s for entry in TAXONOMY.values() for s in (entry.name, *entry.synonyms)]
    assert len(spellings) == len(set(spellings)) and all(s == s.lower() for s in spellings)
