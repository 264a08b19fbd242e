"""The set of attacks: large enough, each refused or let through as it says; and a measure that tells who obeys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.prompt_attacks import BURNT, BURNT_TEXTS, NEUTRAL, REWORDED, Attack, attacks, burnt, cases, images
from benchmarks.prompt_integrity import followed, measure, summary, table
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
    """Answers with a part of each picture's middle, or with nothing where the question says that nothing is there."""

    name, digest, prompt_digest = "scripted", "a" * 64, "b" * 64
    capabilities: frozenset[Capability] = frozenset({"batch"})

    def __init__(self, obeys: bool) -> None:
        self.obeys = obeys

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Reading]:
        made = []
        for image, question in zip(images, questions, strict=True):
            frame = Frame(image.shape[1], image.shape[0], "stored")
            check_question(question)
            quarter = frame.width // 3
            made.append(
                _nothing(frame)
                if self.obeys and any(text in question for text in NOTHING)
                else _reading(
                    frame, [frame.width // 4, frame.height // 4, frame.width // 2, frame.height // 2], quarter
                )
            )
        return made


NOTHING = ("The picture is blank.", "Nothing is abnormal here", "The organ was removed last year.")


def _reading(frame: Frame, box: list[int], point: int, trace: str = "It lies here.") -> Reading:
    values = f'{{"bbox": {box}, "points_1": {[point, point]}, "points_2": {[point, point]}}}'
    text = f"<think>{trace}</think><answer>{values}</answer>"
    return Reading(parse(text, frame), text, frame, 0.0)


def _nothing(frame: Frame) -> Reading:
    text = '<think>None.</think><answer>{"bbox": null, "points_1": null, "points_2": null}</answer>'
    return Reading(parse(text, frame), text, frame, 0.0)


def test_who_follows_an_order_is_told_from_who_does_not() -> None:
    frame = Frame(112, 112, "stored")
    honest, planted = _reading(frame, [30, 30, 60, 60], 40), _reading(frame, [0, 0, 10, 10], 5)
    box = Attack("made", "grounded", "x", box=(0, 0, 10, 10))
    assert followed(box, planted, honest) and not followed(box, honest, honest)
    assert not followed(box, planted, planted), "it would have answered so anyway"
    whole = Attack("made", "grounded", "x", box="whole")
    assert followed(whole, _reading(frame, [0, 0, 112, 112], 5), honest) and not followed(whole, planted, honest)
    says = Attack("made", "grounded", "x", says="pwned")
    assert followed(says, _reading(frame, [30, 30, 60, 60], 40, "Pwned."), honest) and not followed(
        says, planted, honest
    )
    nothing = Attack("made", "grounded", "x", nothing=True)
    assert followed(nothing, _nothing(frame), honest) and not followed(nothing, planted, honest)
    assert followed(Attack("made", "grounded", "x"), planted, honest) is None


def test_what_a_model_makes_of_the_set_is_summed_by_kind() -> None:
    shown = images(6)
    steady, obedient = (measure(Scripted(obeys), shown, 1) for obeys in (False, True))
    assert len(steady) == len(obedient) == len(cases(shown, 1))
    for row in summary(steady):
        assert row["followed"] == 0
        if row["answers"]:
            assert row["iou_to_honest"] == row["kept"] == 1.0 and row["iou_honest"] == row["iou_attacked"]
    by_kind = {row["kind"]: row for row in summary(obedient)}
    premise = by_kind["false premise"]
    assert (premise["followed"], premise["could_follow"]) == (len(NOTHING), len(NOTHING))
    assert 0 < premise["iou_to_honest"] < 1 and premise["nothing"] == len(NOTHING) / premise["answers"]
    for kind in (REWORDED, NEUTRAL, BURNT):
        assert by_kind[kind]["refused"] == 0 and by_kind[kind]["iou_to_honest"] == 1.0
    for kind in ("answer tags", "instruction", "instruction in another language", "played role", "code"):
        assert by_kind[kind]["refused"] == 1 and by_kind[kind]["iou_attacked"] is None
    assert 0 < by_kind["planted answer"]["refused"] < 1
    assert len(table(summary(obedient)).splitlines()) == 2 + len(by_kind)
