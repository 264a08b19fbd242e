"""The taxonomy: complete, looked up forgivingly, coded with concepts that DICOM knows."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sr.codedict import Collection, codes

from medreasoner_monai.dicom import concepts
from medreasoner_monai.errors import InputError
from medreasoner_monai.task.taxonomy import (
    ABNORMAL_STRUCTURE,
    ANATOMICAL_STRUCTURE,
    GENERIC,
    LEFT,
    LESION_WORDS,
    RIGHT,
    SUPER_CATEGORIES,
    TAXONOMY,
    Code,
    category,
    codes_for,
    modality_of,
    resolve,
    unknown,
)


def all_codes() -> list[Code]:
    found = []
    for c in [*(entry.codes for entry in TAXONOMY.values()), GENERIC, codes_for("elbow cyst")]:
        found += [code for code in (c.property_category, c.property_type, c.region, c.laterality) if code is not None]
    return sorted(set(found))


def test_every_super_category_has_a_category() -> None:
    assert {entry.super_category for entry in TAXONOMY.values()} == set(SUPER_CATEGORIES)
    assert len(TAXONOMY) >= 12


NOT_IN_PYDICOM = {
    "74281007": "Myocardium, as TotalSegmentator's DICOM mapping has it; PS3.16 codes the ventricles' walls alone",
}


def test_every_code_is_one_that_dicom_lists() -> None:
    """pydicom's dictionary is generated from PS3.16 and its context groups."""
    listed = {scheme: {c.value for c in Collection(scheme).concepts.values()} for scheme in ("SCT", "DCM")}
    strange = [code for code in all_codes() if code.value not in listed[code.scheme] | NOT_IN_PYDICOM.keys()]
    assert strange == [] and len(all_codes()) > 150


def test_a_code_means_in_dicom_what_the_file_says() -> None:
    """A word of the meaning stands in one of the meanings that pydicom has for the code."""
    meanings: dict[str, set[str]] = defaultdict(set)
    for scheme in ("SCT", "DCM"):
        for concept in Collection(scheme).concepts.values():
            meanings[concept.value] |= set(re.findall(r"\w+", concept.meaning.lower()))
    for code in all_codes():
        if code.value not in NOT_IN_PYDICOM:
            assert set(re.findall(r"\w+", code.meaning.lower())) & meanings[code.value], code


def test_the_property_categories_are_those_of_the_context_group() -> None:
    listed = {getattr(codes.cid7150, keyword).value for keyword in codes.cid7150.dir()}
    assert {c.codes.property_category.value for c in TAXONOMY.values()} <= listed


def test_the_codes_of_the_nineteen_that_phantoms_show_stay_as_they_were() -> None:
    """What earlier objects in an archive were coded with: property type, region and side, by name."""
    held = {
        "liver": ("10200004", None, None),
        "spleen": ("78961009", None, None),
        "stomach": ("69695003", None, None),
        "left kidney": ("64033007", None, "7771000"),
        "right kidney": ("64033007", None, "24028007"),
        "aorta": ("15825003", None, None),
        "vertebra": ("51282000", None, None),
        "heart": ("80891009", None, None),
        "left lung": ("39607008", None, "7771000"),
        "right lung": ("39607008", None, "24028007"),
        "lateral ventricles": ("66720007", None, None),
        "cerebellum": ("113305005", None, None),
        "brainstem": ("119238007", None, None),
        "liver tumor": ("108369006", "10200004", None),
        "brain tumor": ("108369006", "12738006", None),
        "lung nodule": ("27925004", "39607008", None),
        "lung opacity": ("112001", "39607008", None),
        "pleural effusion": ("60046008", "3120008", None),
        "brain edema": ("79654002", "12738006", None),
    }
    supers = {"Abdomen": 7, "Heart": 1, "Lung": 2, "Brain": 3, "Neoplasm": 3, "Non-Neoplasm": 3}
    for name, (kind, region, side) in held.items():
        c = codes_for(name)
        assert c.label == name
        assert (c.property_type.value, c.region and c.region.value, c.laterality and c.laterality.value) == (
            kind, region, side
        )  # fmt: skip
    assert Counter(TAXONOMY[name].super_category for name in held) == supers


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


@pytest.mark.parametrize(
    ("name", "source", "site", "concept"),
    [
        ("kidney_left", "", "", "left kidney"),
        ("vertebrae_L1", "totalsegmentator", "", "vertebra l1"),
        ("rib_left_7", "totalsegmentator", "", "left rib 7"),
        ("heart_ventricle_left", "", "", "left heart ventricle"),
        ("lung_upper_lobe_right", "", "", "right upper lung lobe"),
        ("Edema", "", "brain", "brain edema"),
        ("Edema", "", "retinal", "retinal edema"),
        ("edema", "Task01_BrainTumour", "", "brain edema"),
        ("tumor", "", "breast", "breast tumor"),
        ("tumour", "", "", "tumor"),
        ("cancer", "Task07_Pancreas", "", "pancreas tumor"),
        ("cancer", "Task06_Lung", "", "lung tumor"),
        ("cancer", "", "", "malignant tumor"),
        ("Barrett's Oesophagus", "", "", "barrett's esophagus"),
        ("glomerulus", "", "", "glomeruli"),
        ("Nuclei", "", "", "nuclei"),
        ("vertebrae", "", "", "vertebrae"),
        ("lateral ventricle", "", "", "lateral ventricles"),
        ("livers", "", "", "liver"),
        ("public+symphysis", "", "transperineal", "pubic symphysis"),
    ],
)
def test_what_sources_write_is_resolved(name: str, source: str, site: str, concept: str) -> None:
    found = resolve(name, source, site)
    assert found is not None and found.name == concept


PAIRED = """
kidney adrenal_gland lung_upper_lobe lung_lower_lobe kidney_cyst subclavian_artery common_carotid_artery
brachiocephalic_vein iliac_artery iliac_vena humerus scapula clavicula femur hip gluteus_maximus
gluteus_medius gluteus_minimus autochthon iliopsoas
""".split()  # noqa: SIM905 - a list of 20 lines says no more
SINGLE = """
spleen gallbladder liver stomach pancreas lung_middle_lobe_right esophagus trachea thyroid_gland small_bowel
duodenum colon urinary_bladder prostate sacrum vertebrae_S1 heart aorta pulmonary_vein brachiocephalic_trunk
atrial_appendage_left superior_vena_cava inferior_vena_cava portal_vein_and_splenic_vein spinal_cord brain
skull sternum costal_cartilages
""".split()  # noqa: SIM905 - a list of 20 lines says no more


def test_the_classes_of_totalsegmentator_are_known_each_as_one_concept_with_its_side() -> None:
    """All 117 of its task ``total``, version 2."""
    spines = [f"vertebrae_{part}{n}" for part, last in (("C", 7), ("T", 12), ("L", 5)) for n in range(1, last + 1)]
    sided = {f"{name}_{side}": side for name in PAIRED for side in ("left", "right")}
    sided |= {f"rib_{side}_{n}": side for side in ("left", "right") for n in range(1, 13)}
    labels = [*SINGLE, *spines, *sided]
    found = {label: resolve(label, "totalsegmentator") for label in labels}
    assert len(labels) == 117 and None not in found.values()
    assert len({c.name for c in found.values() if c}) == 117
    assert {label: c.side for label, c in found.items() if c and c.side} == sided


def test_the_labels_of_the_decathlon_are_known() -> None:
    known = {
        "Task01_BrainTumour": {"edema": "brain edema", "enhancing tumour": "enhancing tumor"},
        "Task02_Heart": {"left atrium": "left heart atrium"},
        "Task03_Liver": {"liver": "liver", "cancer": "liver tumor"},
        "Task04_Hippocampus": {"Anterior": "anterior hippocampus", "Posterior": "posterior hippocampus"},
        "Task05_Prostate": {"PZ": "prostate peripheral zone", "TZ": "prostate transitional zone"},
        "Task06_Lung": {"cancer": "lung tumor"},
        "Task07_Pancreas": {"pancreas": "pancreas", "cancer": "pancreas tumor"},
        "Task08_HepaticVessel": {"Vessel": "hepatic vessel", "Tumour": "liver tumor"},
        "Task09_Spleen": {"spleen": "spleen"},
        "Task10_Colon": {"colon cancer primaries": "colon tumor"},
    }
    for task, labels in known.items():
        assert {label: getattr(resolve(label, task), "name", None) for label in labels} == labels, task


@given(st.sampled_from(sorted(TAXONOMY)), st.sampled_from("+_ "), st.booleans())
def test_every_concept_is_found_by_its_own_name(name: str, space: str, capital: bool) -> None:
    found = resolve((name.title() if capital else name).replace(" ", space))
    assert found is not None and found.name == name


@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_any_text_resolves_to_a_concept_or_to_nothing(name: str, source: str, site: str) -> None:
    assert resolve(name, source, site) in (None, *TAXONOMY.values())


def test_the_two_sides_of_a_pair_differ_by_their_laterality_alone() -> None:
    pairs = [c for c in TAXONOMY.values() if c.sides]
    assert len(pairs) > 30
    for pair in pairs:
        left, right = TAXONOMY[f"left {pair.name}"], TAXONOMY[f"right {pair.name}"]
        assert (left.side, right.side, pair.side) == ("left", "right", "")
        assert pair.codes.laterality is None and left.codes.laterality == LEFT and right.codes.laterality == RIGHT
        assert replace(left.codes, label="", laterality=None) == replace(pair.codes, label="")


def test_a_chamber_of_the_heart_has_no_side_of_the_patient() -> None:
    assert TAXONOMY["left heart ventricle"].side == "" and codes_for("left ventricle").laterality is None


def test_many_parts_are_marked() -> None:
    many = {name for name, c in TAXONOMY.items() if c.many_parts}
    assert {"nuclei", "prostate glands", "glomeruli", "retinal vessel", "teeth", "hepatic vessel", "vertebrae"} <= many
    assert not many & {"liver", "kidney", "lung", "mandible", "brain tumor", "aorta"}


def test_the_stems_of_a_question_cover_the_name() -> None:
    for c in TAXONOMY.values():
        assert c.giveaways, c.name
        assert any(stem in c.name for stem in c.giveaways), c.name


@pytest.mark.parametrize(
    ("word", "modality"), [("MR", "MRI"), ("MRI-T1-Gd", "MRI"), ("dx", "X-Ray"), ("US", "Ultrasound")]
)
def test_modalities_are_known_by_what_files_call_them(word: str, modality: str) -> None:
    assert modality_of(word) == modality


def test_unknown_targets_are_counted() -> None:
    targets = [("liver", "", ""), ("plica", "", "knee"), ("Plica", "", ""), ("blob", "", "")]
    assert unknown(targets) == {"plica": 2, "blob": 1}


def test_an_unknown_category_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="Did you mean 'spleen'"):
        category("splen")


def test_a_category_outside_of_the_taxonomy_still_gets_codes() -> None:
    coded = codes_for("elbow+plica")
    assert coded.label == "elbow plica"
    assert coded.property_type.meaning == "Selected region"
    assert coded.laterality is None


def test_what_nobody_named_is_coded_alike_everywhere_and_never_as_anatomy() -> None:
    assert concepts.GENERIC is GENERIC
    unknown = codes_for("elbow plica")
    assert (unknown.property_category, unknown.property_type) == (GENERIC.property_category, GENERIC.property_type)
    assert GENERIC.property_category not in (ANATOMICAL_STRUCTURE, ABNORMAL_STRUCTURE)
    in_cid_7150 = {getattr(codes.cid7150, keyword).value for keyword in codes.cid7150.dir()}
    assert GENERIC.property_category.value in in_cid_7150


@pytest.mark.parametrize("word", LESION_WORDS)
def test_a_lesion_of_no_category_is_coded_as_one_without_its_kind(word: str) -> None:
    for name in (f"adrenal+{word}", f"Elbow_{word}s"):
        coded = codes_for(name)
        assert coded.property_category == ABNORMAL_STRUCTURE and coded.property_type.meaning == "Lesion"
        assert (
            coded.region is None and coded.label == " ".join(name.replace("+", " ").replace("_", " ").split()).lower()
        )


def test_a_synonym_means_one_category() -> None:
    spellings = [s for entry in TAXONOMY.values() for s in (entry.name, *entry.synonyms)]
    assert len(spellings) == len(set(spellings)) and all(s == s.lower() for s in spellings)
