"""The taxonomy: complete, looked up forgivingly, coded with concepts that DICOM knows."""

from __future__ import annotations

import pytest
from pydicom.sr.codedict import codes

from medreasoner_monai.errors import InputError
from medreasoner_monai.task.taxonomy import SUPER_CATEGORIES, TAXONOMY, Code, category, codes_for


def all_codes() -> list[Code]:
    found = []
    for entry in TAXONOMY.values():
        c = entry.codes
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
    assert coded.property_type.meaning == "Tissue"
    assert coded.laterality is None
