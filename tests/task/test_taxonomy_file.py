"""A file of one's own: laid over the shipped one, with every mistake told by its line and the nearest right word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sr.codedict import Collection

from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.task import taxonomy
from medreasoner_monai.task.naming import conclude
from medreasoner_monai.task.taxonomy_add import add_entry
from medreasoner_monai.task.taxonomy_build import Built
from medreasoner_monai.task.taxonomy_codes import code_of, sctid_is_valid
from medreasoner_monai.task.taxonomy_search import search

OURS = """\
version: 1
concepts:
  # The clinic's own.
  psoas abscess:
    super: Non-Neoplasm
    kind: finding
    code: 44132006 |Abscess|
    modalities: [CT]
    sites: [abdomen]
    giveaways: [psoas, absc]
    labels: {clinic: [PSA]}
  liver:
    synonyms: [hepar]
"""


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Path]:
    """A file of two entries; whatever a test puts to use is taken out of use after it."""
    path = tmp_path / "ours.yaml"
    path.write_text(OURS)
    yield path
    taxonomy.use(None)


def built(tmp_path: Path, text: str) -> Built:
    path = tmp_path / "tried.yaml"
    path.write_text(text)
    return taxonomy.built_from(path)


def test_concepts_of_ones_own_are_laid_over_the_shipped_ones(ours: Path) -> None:
    before = dict(taxonomy.TAXONOMY)
    taxonomy.use(ours)
    assert taxonomy.TAXONOMY["psoas abscess"].codes.property_type.value == "44132006"
    assert taxonomy.category("hepar").name == "liver"
    assert taxonomy.TAXONOMY["liver"].codes == before["liver"].codes
    assert taxonomy.TAXONOMY.keys() - before.keys() == {"psoas abscess"}
    found = taxonomy.resolve("psa", "Clinic 2024")
    assert found is not None and found.name == "psoas abscess"
    taxonomy.use(None)
    assert before == taxonomy.TAXONOMY


def test_traces_are_read_with_the_taxonomy_in_use(ours: Path) -> None:
    assert conclude("This is the psoas abscess.").name == ""
    taxonomy.use(ours)
    assert conclude("This is the psoas abscess.").name == "psoas abscess"
    assert conclude("This is the hepar.").name == "liver"
    taxonomy.use(None)
    assert conclude("This is the hepar.").name == ""


def test_the_digest_is_of_what_a_file_says(ours: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(OURS.replace("# The clinic's own.", "# Ours."))
    assert taxonomy.digest(other) == taxonomy.digest(ours)
    other.write_text(OURS.replace("hepar", "jecur"))
    assert taxonomy.digest(other) != taxonomy.digest(ours)


MISTAKES = [
    # the entry's lines from line 3 on, the line of the mistake, and what is told
    ("  x:\n    supper: Abdomen\n", 4, "unknown field 'supper'. Did you mean 'super'?"),
    ("  x:\n    code: 10200004 |Liver|\n", 3, "super is missing; one of Abdomen"),
    ("  x:\n    super: Abdome\n", 4, "unknown super 'Abdome'. Did you mean 'Abdomen'?"),
    ("  x:\n    super: Abdomen\n    code: 10200040 |Liver|\n", 5, "its check digit does not fit"),
    ("  x:\n    super: Abdomen\n    code: liver\n", 5, "write it as 10200004 |Liver|"),
    ("  x:\n    super: Abdomen\n    code: ICD:K74 |Cirrhosis|\n", 5, "unknown coding scheme 'ICD'"),
    ("  x:\n    super: Abdomen\n    code: 10200004\n", 5, "code: Input should be a valid string"),
    ("  x:\n    super: Abdomen\n    kind: organs\n", 5, "Did you mean 'organ'?"),
    (
        "  x:\n    super: Abdomen\n    modalities: [CT, MRT]\n",
        5,
        "unknown word 'MRT' in modalities. Did you mean 'MRI'?",
    ),
    ("  x:\n    super: Abdomen\n    sites:\n      - abdomen\n      - abdomn\n", 7, "Did you mean 'abdomen'?"),
    ("  x:\n    super: Abdomen\n    sites: abdomen\n", 5, "write a list: [abdomen]"),
    ("  x:\n    super: Abdomen\n    in: livr\n", 5, "there is no concept 'livr'. Did you mean 'liver'?"),
    ("  x:\n    super: Abdomen\n    in: optic cup\n", 5, "has no code to place others by"),
    ("  x:\n    super: Abdomen\n    synonyms: [spleen]\n", 5, "'spleen' is already a name of 'spleen'"),
    ("  x:\n    super: Abdomen\n    giveaways: [Liv]\n", 5, "is to be lower case"),
    ("  x:\n    super: Abdomen\n    sides: perhaps\n", 5, "sides: Input should be a valid boolean"),
    ("  x {}:\n    super: Abdomen\n", 3, "each with its members"),
    ("  Psoas:\n    super: Abdomen\n", 3, "is to be lower case"),
    ("  x: Abdomen\n", 3, "fields such as super and code are expected"),
    ("  x:\n    super: Abdomen\n  x:\n    super: Lung\n", 5, "'x' stands here a second time"),
    ("  x:\n    super: [Abdomen\n", 5, "not YAML"),
    ("concept:\n", 3, "unknown section 'concept'. Did you mean 'concepts'?"),
]


@pytest.mark.parametrize(("entry", "line", "told"), MISTAKES)
def test_a_mistake_is_told_by_its_line(tmp_path: Path, entry: str, line: int, told: str) -> None:
    problems = built(tmp_path, f"version: 1\nconcepts:\n{entry}").problems
    assert [p.line for p in problems] == [line] and told in problems[0].what, problems
    with pytest.raises(ConfigError, match=f"tried.yaml, line {line}"):
        taxonomy.use(tmp_path / "tried.yaml")
    assert "liver" in taxonomy.TAXONOMY, "the taxonomy in use stays"


def test_every_mistake_is_told_at_once_and_the_other_entries_are_read(tmp_path: Path) -> None:
    made = built(tmp_path, "concepts:\n  a:\n    super: X\n  b:\n    super: Lung\n  c:\n    supr: Lung\n")
    assert [p.line for p in made.problems] == [3, 7] and "b" in made.categories


@given(st.text(max_size=300))
def test_any_text_is_read_or_told_to_be_wrong(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8")
    assert "liver" in taxonomy.built_from(path).categories


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        taxonomy.use(tmp_path / "nowhere.yaml")


def test_families_and_sides_are_spelled_out(tmp_path: Path) -> None:
    made = built(
        tmp_path,
        "concepts:\n"
        "  finger {}:\n"
        "    super: Skeleton\n"
        "    sides: true\n"
        '    synonyms: ["{} finger"]\n'
        '    labels: {scan: ["f{}_{side}"]}\n'
        "    each: {index: 51282000 |Vertebra|}\n",
    )
    assert not made.problems
    left = made.categories["left finger index"]
    assert (left.side, left.synonyms, left.labels) == ("left", ("left index finger",), (("scan", ("findex_left",)),))
    assert made.categories["finger index"].sides and made.categories["finger index"].labels == ()


def test_the_check_digit_holds_for_every_code_of_dicoms_dictionary() -> None:
    values = {c.value for c in Collection("SCT").concepts.values() if c.value.isdecimal()}
    wrong = {v for v in values if not sctid_is_valid(v)}
    assert len(values) > 8000 and wrong == {"115347700"}, "one identifier of the dictionary is mistyped"


@given(st.sampled_from(["10200004", "64033007", "24028007", "1162635006"]), st.data())
def test_a_mistyped_identifier_is_seen(value: str, data: st.DataObject) -> None:
    """Verhoeff's digit finds every single wrong digit and every swap of two neighbours."""
    at = data.draw(st.integers(0, len(value) - 1))
    digit = data.draw(st.sampled_from([d for d in "0123456789" if d != value[at]]))
    assert not sctid_is_valid(value[:at] + digit + value[at + 1 :])
    if at and value[at] != value[at - 1]:
        assert not sctid_is_valid(value[: at - 1] + value[at] + value[at - 1] + value[at + 1 :])


def test_codes_are_written_as_snomed_expressions() -> None:
    code = code_of("DCM:112001 |Opacity|")
    assert not isinstance(code, str) and (code.value, code.scheme, code.meaning) == ("112001", "DCM", "Opacity")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hipocampus", "hippocampus"),
        ("64033007", "kidney"),
        ("postcava", "inferior vena cava"),
        ("peripheral", "prostate peripheral zone"),
    ],
)
def test_concepts_are_found_by_what_people_type(text: str, name: str) -> None:
    assert search(text, taxonomy.TAXONOMY.values())[0].name == name


@given(st.sampled_from(sorted(taxonomy.TAXONOMY)))
def test_a_concept_is_the_first_that_its_name_finds(name: str) -> None:
    assert search(name, taxonomy.TAXONOMY.values())[0].name == name


def test_nothing_is_near_nonsense() -> None:
    assert search("qqqqq zzz", taxonomy.TAXONOMY.values()) == [] == search("", taxonomy.TAXONOMY.values())


def test_an_entry_is_added_and_all_else_stays(ours: Path) -> None:
    ours.write_text(OURS + "\n# Words of ours.\nlesion_words: [plaque]\n")
    add_entry(ours, "psoas muscle", {"super": "Muscle", "sides": True, "synonyms": ["psoas"]})
    text = ours.read_text()
    assert all(line in text.splitlines() for line in OURS.splitlines()) and "lesion_words: [plaque]" in text
    made = taxonomy.built_from(ours)
    assert not made.problems and "left psoas muscle" in made.categories and "plaque" in made.lesion_words


def test_a_wrong_entry_leaves_the_file_as_it_was(ours: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'Muscle'"):
        add_entry(ours, "psoas muscle", {"super": "Musle"})
    with pytest.raises(InputError, match="has 'psoas abscess' already"):
        add_entry(ours, "psoas abscess", {"super": "Muscle"})
    assert ours.read_text() == OURS and [*ours.parent.iterdir()] == [ours]


def test_the_first_entry_makes_the_file(tmp_path: Path) -> None:
    add_entry(tmp_path / "new.yaml", "psoas muscle", {"super": "Muscle"})
    assert "psoas muscle" in taxonomy.built_from(tmp_path / "new.yaml").categories
