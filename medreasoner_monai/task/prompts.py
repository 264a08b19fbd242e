"""The prompt templates: one copy, each with a name, a version and a digest that travels with every result.

A template has a system part and a user part; the user part holds ``{question}`` and is preceded by the image.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from medreasoner_monai.errors import ConfigError, nearest
from medreasoner_monai.task.question_check import MAX_QUESTION as MAX_QUESTION
from medreasoner_monai.task.question_check import check_question as check_question

_FULL = (
    "You localise the region of a medical image that answers a clinical question. First reason about what the image "
    "shows, between <think> and </think>. Then give the region between <answer> and </answer> as a JSON object with "
    'the keys "bbox" ([x1, y1, x2, y2], the smallest box around the region), "points_1" and "points_2" ([x, y] each, '
    "two points well inside the region and apart from each other), in pixels of the image. If the image does not show "
    "what the question asks for, say so in your reasoning and give null for all three keys. "
    'Example: <think>...</think><answer>{"bbox": [12, 30, 96, 88], "points_1": [35, 52], "points_2": [70, 61]}'
    "</answer>"
)
_DIRECT = (
    "You localise the region of a medical image that answers a clinical question. Give the region between <answer> and "
    '</answer> as a JSON object with the keys "bbox" ([x1, y1, x2, y2], the smallest box around the region), '
    '"points_1" and "points_2" ([x, y] each, two points well inside the region and apart from each other), in pixels '
    "of the image. If the image does not show what the question asks for, give null for all three keys. "
    'Example: <answer>{"bbox": [12, 30, 96, 88], "points_1": [35, 52], "points_2": [70, 61]}</answer>'
)


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt template; ``think`` says which of the two answer formats it asks for."""

    name: str
    version: int
    system: str
    user: str
    think: bool

    @property
    def digest(self) -> str:
        """sha256 of everything the model is told besides image and question."""
        text = "\x1f".join([self.name, str(self.version), self.system, self.user, str(self.think)])
        return hashlib.sha256(text.encode()).hexdigest()

    def messages(self, question: str) -> list[dict[str, Any]]:
        """Chat messages with a place for one image, as transformers' chat templates and TRL take them.

        Raises
        ------
        InputError
            If the question cannot reach the model as one
            (:func:`~medreasoner_monai.task.question_check.check_question`).
        """
        user = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": self.user_text(question)}]}
        if not self.system:
            return [user]
        return [{"role": "system", "content": [{"type": "text", "text": self.system}]}, user]

    def plain(self, question: str) -> list[dict[str, str]]:
        """The same messages as strings; TRL puts the image before the user's text, where :meth:`messages` has it."""
        user = {"role": "user", "content": self.user_text(question)}
        return [{"role": "system", "content": self.system}, user] if self.system else [user]

    def user_text(self, question: str) -> str:
        """The user part with the (checked) question in it."""
        return self.user.replace("{question}", check_question(question))


TEMPLATES = {
    t.name: t
    for t in (
        Template("think", 2, _FULL, "{question}", think=True),
        Template("direct", 2, _DIRECT, "{question}", think=False),
        # For a model trained from nothing on this task alone: the format, and how to say that a target is not in the
        # picture, are learnt from the answers and need not be spelt out.
        Template("brief", 1, "", "{question}", think=True),
    )
}


def template(name: str) -> Template:
    """The template of that name.

    Raises
    ------
    ConfigError
        If there is none.
    """
    try:
        return TEMPLATES[name]
    except KeyError:
        known = ", ".join(TEMPLATES)
        raise ConfigError(f"no prompt template {name!r}.{nearest(name, TEMPLATES)} Known: {known}") from None
