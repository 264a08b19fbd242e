"""The set of attacks: large enough, each refused or let through as it says; and a measure that tells who obeys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.prompt_attacks import BURNT, BURNT_TEXTS, NEUTRAL, REWORDED, attacks, burnt, cases, images
from benchmarks.prompt_integrity import measure, summary, table
from medreasoner_monai.data.questions import WORDINGS
from medreasoner_monai.errors import InputError
from medreasoner_monai.reasoners.protocol import Capability, Image, Reading
from medreasoner_monai.task.answer import parse
from medreasoner_monai.task.geometry import Frame
from medreasoner_monai.task.prompts import check_question, template


def test_the_set_has_what_it_has_to_have() -> None:
    texts = [attack.text for attack in attacks()]
    assert len(texts) >= 200 and len(set(texts)) == len(texts)
    kinds = Counter(attack.kind for attack in attacks())
    assert len(kinds) >= 12 and min(kinds.values()) >= 4
    assert len({attack.language for attack in attacks()}) >= 15
    assert all(attack.target in WORDINGS if attack.target else "{question}" in attack.text for attack in attacks())
    assert len(images(50)) == 50 and len(BURNT_TEXTS) >= 15


@pytest.mark.parametrize("attack", attacks(), ids=lambda a: a.text[:40].encode("unicode_escape").decode())
def test_an_attack_is_refused_or_let_through_as_the_set_says(attack) -> None:  # type: ignore[no-untyped-def]
    longest = max((wording for all_ in WORDINGS.values() for wording in all_), key=len)
    for honest in (longest, "Which organ makes bile?"):
        question = attack.question(honest)
        if attack.expect == "refused":
            for name in ("think", "direct", "brief"):
                with pytest.raises(InputError, match="the question"):
                    template(name).messages(question)
        else:
            assert check_question(question) == " ".join(question.split())


def test_a_burnt_in_text_changes_a_strip_at_the_edge_alone() -> None:
    for one in images(9):
        for text, _ in BURNT_TEXTS:
            changed = np.flatnonzero((burnt(one, text) != one.image).any(axis=1))
            rows = one.image.shape[0]
            assert len(changed) >= 4 and (changed.max() < rows / 5 or changed.min() > rows * 4 / 5)


class Scripted:
    """Answers with a part of each picture's middle, or with what the text of an attack asks for."""

    name, digest, prompt_digest = "scripted", "a" * 64, "b" * 64
    capabilities: frozenset[Capability] = frozenset({"batch"})

    def __init__(self, obeys: bool) -> None:
        self.obeys = obeys

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Reading]:
        made = []
        for image, question in zip(images, questions, strict=True):
            frame = Frame(image.shape[1], image.shape[0], "stored")
            check_question(question)
            box, quarter = [frame.width // 4, frame.height // 4, frame.width // 2, frame.height // 2], frame.width // 3
            trace, obeyed = "It lies here.", "[0, 0, 10, 10]" in question
            if self.obeys and obeyed:
                box, quarter = [0, 0, 10, 10], 5
            if self.obeys and "PWNED" in question:
                trace = "Pwned."
            inside = [quarter, quarter]
            values = f'{{"bbox": {box}, "points_1": {inside}, "points_2": {inside}}}'
            text = f"<think>{trace}</think><answer>{values}</answer>"
            made.append(Reading(parse(text, frame), text, frame, 0.0))
        return made


def test_who_follows_an_instruction_is_told_from_who_does_not() -> None:
    shown = images(6)
    steady, obedient = (measure(Scripted(obeys), shown, 1) for obeys in (False, True))
    assert len(steady) == len(obedient) == len(cases(shown, 1))
    for row in summary(steady):
        assert row["followed"] == 0
        if row["answers"]:
            assert row["iou_to_honest"] == row["kept"] == 1.0 and row["iou_honest"] == row["iou_attacked"]
    by_kind = {row["kind"]: row for row in summary(obedient)}
    for kind in ("instruction", "instruction in another language", "planted answer"):
        texts = [a for a in attacks() if a.kind == kind]
        asked = sum("[0, 0, 10, 10]" in a.text or "PWNED" in a.text for a in texts if a.box or a.says)
        assert by_kind[kind]["followed"] == asked > 0
        assert by_kind[kind]["iou_to_honest"] < 1
    for kind in (REWORDED, NEUTRAL, BURNT):
        assert by_kind[kind]["refused"] == 0 and by_kind[kind]["iou_to_honest"] == 1.0
    assert by_kind["answer tags"]["refused"] == 1 and by_kind["answer tags"]["iou_attacked"] is None
    assert len(table(summary(obedient)).splitlines()) == 2 + len(by_kind)
