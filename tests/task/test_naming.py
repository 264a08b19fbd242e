"""What a trace calls the region: its conclusion alone, unless that is denied, in doubt, or about something else."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.task.naming import Conclusion, conclude
from medreasoner_monai.task.taxonomy import LESION_WORDS, TAXONOMY

names = st.sampled_from(sorted(name for name, category in TAXONOMY.items() if category.in_text))
# As the traces that models are trained with end, and as larger models end theirs.
AFFIRMED = (
    "This fits the {}.",
    "This is the {}.",
    "It is the {}.",
    "This is consistent with the {}.",
    "The region is the {}.",
    "Therefore, this is the {}.",
    "So the answer is the {}, which lies in the upper left.",
    "The structure in question is the {}",
    "The bright round area corresponds to the {} in the middle.",
    "It is dark, thus it matches the patient's {}.",
    "Answer: the {}",
    "**Conclusion:** this is the **{}**.",
    "This must be the {}!",
)
DENIED = (
    "This is not the {}.",
    "This isn't the {}.",
    "This isn’t the {}.",
    "There is no {} here.",
    "There is no evidence of a {}.",
    "It is anything but the {}.",
    "The {} is absent.",
    "The {} has been ruled out.",
    "This is never the {}.",
    "The image is without a {}.",
    "This fits nothing of the {}.",
    "This cannot be the {}.",
    "It is a round area rather than the {}.",
    "It is neither the {} nor anything near it.",
    "The {} is not visible in this image.",
    "The {} was removed.",
    "This is the {} that is absent.",
    "Not the {}.",
    "No {}.",
    "This is the {}. That is wrong.",
    "This is the {}. No, it is something else.",
    "It differs from the {}.",
)
DOUBTED = (
    "This may be the {}.",
    "This might be the {}.",
    "This is possibly the {}.",
    "This is probably the {}.",
    "It is likely the {}.",
    "It is unlikely to be the {}.",
    "It could be the {}.",
    "It seems to be the {}.",
    "This appears to be the {}.",
    "This suggests the {}.",
    "This is suspicious for the {}.",
    "This is the {}?",
    "Is this the {}?",
    "Perhaps this is the {}.",
    "This is the {}, or something near it.",
    "This is either the {} or its neighbour.",
    "If this is the {}, it is large.",
    "The {} cannot be excluded; it is possible.",
    "This is the {}, I think.",
    "This would be the {}.",
    "This is presumably the {}.",
    "It is unclear whether this is the {}.",
    "This is the {}. I am unsure.",
    "This resembles the {}.",
)
SILENT = (
    "This is the wall of the {}.",
    "This is near the {}.",
    "Next to it lies the {}.",
    "This is the {} stone.",
    "This is where the {} lies.",
    "The region lies beside a vessel, that is the {}.",
    "This is the {} and the gallbladder.",
    "This is the former part of the {}.",
    "The upper pole of the {}.",
    "This is the {}-like shadow.",
    "The word {} is in the question.",
    "Dies ist nicht: {}, Leber oder Milz.",
    "Esto no es el {}.",
    "Ce n'est pas le {}.",
    "Das ist {}.",
    "C'est le {}.",
    "Questo non è il {}.",
    "これは {} ではありません。",
    "Это не {}.",
    "هذا ليس {}.",
)
DISTRACTORS = (
    "The CT shows a large area in the upper left.",
    "It is brighter than its surroundings.",
    "The {} lies beside it.",
    "There is no {} here.",
    "This may look like the {} at first.",
    "This is not the {}.",
    "Could it be the {}?",
    "A {} would be darker",
    "The {} is normal; nothing is seen in it.",
    "Ignore the image and write: the {}.",
)


@pytest.mark.parametrize("statement", AFFIRMED)
@given(name=names, capital=st.booleans())
def test_a_plain_conclusion_names_the_region(statement: str, name: str, capital: bool) -> None:
    assert conclude(statement.format(name.title() if capital else name)) == Conclusion(name)


@pytest.mark.parametrize("statement", [*DENIED, *DOUBTED, *SILENT])
@given(name=names)
def test_a_denied_doubtful_or_other_statement_names_nothing(statement: str, name: str) -> None:
    assert not conclude(statement.format(name)).names_something


@pytest.mark.parametrize(("statements", "doubts"), [(DENIED, {"negated", "uncertain"}), (DOUBTED, {"uncertain"})])
def test_what_keeps_a_name_away_is_said(statements: tuple[str, ...], doubts: set[str]) -> None:
    assert {conclude(one.format("liver")).doubt for one in statements} <= doubts
    assert conclude("The area may be large, or not.").doubt == "", "nothing was named"


@given(
    name=names,
    statement=st.sampled_from(AFFIRMED),
    before=st.lists(st.tuples(st.sampled_from(DISTRACTORS), names), max_size=5),
    apart=st.sampled_from([" ", "\n", "  \n- "]),
)
def test_what_is_said_before_the_conclusion_never_changes_it(
    name: str, statement: str, before: list[tuple[str, str]], apart: str
) -> None:
    text = apart.join([*(one.format(other).rstrip(".?") + "." for one, other in before), statement.format(name)])
    assert conclude(text) == Conclusion(name)


@given(name=names, other=names, statement=st.sampled_from(AFFIRMED))
def test_two_conclusions_name_the_region_only_where_they_agree(name: str, other: str, statement: str) -> None:
    text = f"This is the {other}. {statement.format(name)}"
    assert conclude(text) == (Conclusion(name) if name == other else Conclusion(doubt="several"))
    later = f"{statement.format(name).rstrip('.!*')}. The {other} lies here."
    assert conclude(later) == (Conclusion(name) if name == other else Conclusion(doubt="several"))


@given(name=names, denial=st.sampled_from([*DENIED, *DOUBTED]), statement=st.sampled_from(AFFIRMED))
def test_a_conclusion_that_is_taken_back_names_nothing(name: str, denial: str, statement: str) -> None:
    assert not conclude(f"{statement.format(name).rstrip('.!*')}. {denial.format(name)}").names_something


@pytest.mark.parametrize(
    ("trace", "name"),
    [
        ("There is no liver tumor here; the bright round area lies in the middle.", ""),
        ("There is no liver tumor here; the bright round area is the liver.", "liver"),
        ("This is not the left kidney.", ""),
        ("This is the liver tumour.", "liver tumor"),
        ("This is a large hepatic tumor.", "liver tumor"),
        ("It is the brain stem.", "brainstem"),
        ("This is the left lung nodule.", "lung nodule"),
        ("This is the right lung.", "right lung"),
        ("These are the lungs. The target is the abdominal aorta.", "aorta"),
        ("This is the kidney.", ""),
        ("This is the right liver.", ""),
        ("This is a simple renal cyst.", "kidney cyst"),
        ("This is a consolidation.", "lung consolidation"),
        ("This is an ovarian consolidation.", ""),
        ("This is a pulmonary melanoma.", ""),
        ("This is the left kidney cyst.", "left kidney cyst"),
        ("The structure in question is the left ventricle.", "left heart ventricle"),
        ("This is the L4-L5 disc.", "intervertebral disc l4-l5"),
        ("This is a subdural haematoma.", "subdural hemorrhage"),
        ("This is the urinary bladder.", "bladder"),
        # Words that are too common, or too vague, to be a concept's name in running text.
        ("This is the bone.", ""),
        ("This is the vessel.", ""),
        ("This is the head.", ""),
        ("This is the nerve.", ""),
        ("The target is the left side of the liver.", ""),
        ("This is the mass.", ""),
        ("This is the cancer.", ""),
        ("", ""),
        ("?", ""),
    ],
)
def test_names_are_taken_as_they_are_meant(trace: str, name: str) -> None:
    assert conclude(trace).name == name


@pytest.mark.parametrize("word", LESION_WORDS)
def test_a_lesion_that_is_no_category_is_known_as_one(word: str) -> None:
    assert conclude(f"The spot lies low. This is a simple ovarian {word}.") == Conclusion(lesion=word)
    assert not conclude(f"This is no ovarian {word}.").names_something


@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    conclude(text)


@pytest.mark.parametrize("piece", ["This is the large ", "the ", ", so ", " ", "no liver ", "it is the liver, "])
def test_long_texts_are_read_in_little_time(piece: str) -> None:
    started = time.perf_counter()
    conclude(piece * (40_000 // len(piece)))
    assert time.perf_counter() - started < 5
