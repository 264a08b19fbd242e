"""The templates: what they ask for is what the answer format reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.task.answer import KEYS, Grounding, parse
from medreasoner_monai.task.geometry import Frame
from medreasoner_monai.task.prompts import MAX_QUESTION, TEMPLATES, check_question, template


@pytest.mark.parametrize("name", ["think", "direct"])
def test_example_in_the_prompt_is_readable(name: str) -> None:
    chosen = template(name)
    example = chosen.system.partition("Example: ")[2]
    assert isinstance(parse(example, Frame(112, 112, "model"), think=chosen.think), Grounding)


@pytest.mark.parametrize("name", ["think", "direct"])
def test_prompt_says_how_to_answer_where_the_target_is_absent(name: str) -> None:
    chosen = template(name)
    assert "does not show what the question asks for" in chosen.system
    assert f"null for all {['', 'one', 'two', 'three'][len(KEYS)]} keys" in chosen.system
    assert all(f'"{key}"' in chosen.system for key in KEYS)
    # Models remember a prompt by its digest: one that says more is another prompt.
    assert chosen.version == 2 and chosen.digest != replace(chosen, version=1).digest


def test_messages_hold_one_image_before_the_question() -> None:
    system, user = template("think").messages("Which organ\n stores bile?")
    assert system["role"] == "system"
    assert user["content"] == [{"type": "image"}, {"type": "text", "text": "Which organ stores bile?"}]


@pytest.mark.parametrize("name", TEMPLATES)
def test_plain_messages_say_the_same(name: str) -> None:
    texts = [m["content"][-1]["text"] for m in template(name).messages("Where?")]
    assert [m["content"] for m in template(name).plain("Where?")] == texts


def test_template_without_a_system_part_sends_none() -> None:
    assert [m["role"] for m in template("brief").messages("Where?")] == ["user"]


def test_question_with_a_placeholder_in_it_stays_as_it_is() -> None:
    assert template("brief").user_text("{question} {0}?") == "{question} {0}?"


@pytest.mark.parametrize("question", ["", " \n\t"])
def test_empty_question_is_refused(question: str) -> None:
    with pytest.raises(InputError, match="the question is empty; ask about something"):
        template("brief").messages(question)


def test_long_question_is_refused_by_its_length() -> None:
    assert check_question("x" * MAX_QUESTION)
    with pytest.raises(InputError, match=f"has {MAX_QUESTION + 1} characters, at most {MAX_QUESTION}"):
        check_question("x" * (MAX_QUESTION + 1))


def test_every_change_of_a_template_changes_its_digest() -> None:
    first = template("think")
    changed = [
        replace(first, version=first.version + 1),
        replace(first, system="."),
        replace(first, user="?"),
        replace(first, think=False),
    ]
    assert len({t.digest for t in (*changed, *TEMPLATES.values())}) == len(changed) + len(TEMPLATES)


def test_unknown_template_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no prompt template 'thnk'. Did you mean 'think'\? Known: think"):
        template("thnk")
