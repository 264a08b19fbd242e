"""What a question may hold so that it reaches the model as a question, and reads to people as it reads to the model.

A tokenizer takes some strings for control tokens wherever they stand in a text: ``<|im_end|>`` ends the user's turn,
``<tool_call>`` opens a call, ``<|image_pad|>`` is a picture. Nothing that could be one is let through, in any spelling
that Unicode makes equal (NFKC), nor the tags and keys of our answer format. Characters that people cannot see, or that
turn text around, are refused too, and so are orders to the model (:mod:`medreasoner_monai.task.orders`). What gets past
all this is the model's to withstand, and how well it does is measured (docs/prompt-integrity.md).
"""

from __future__ import annotations

import re
import unicodedata

from medreasoner_monai.errors import InputError
from medreasoner_monai.task.orders import find_order

MAX_QUESTION = 2000
"""Characters. Longer questions are refused: they would be cut off, or push the image out of the context."""

MAX_MARKS = 5
"""Combining marks on one letter; the scripts that stack the most need fewer."""

# Look-alikes of the characters that marks are made of, which NFKC leaves as they are.
_LOOK_ALIKES = str.maketrans(
    {
        **dict.fromkeys("\u2039\u3008\u27e8\u276c\u276e\u02c2\u1438\u226e", "<"),
        **dict.fromkeys("\u203a\u3009\u27e9\u276d\u276f\u02c3\u1433\u226f", ">"),
        **dict.fromkeys("\u2502\u2503\u2223\u01c0\u2758\u2759", "|"),
        **dict.fromkeys("\u2215\u2044\u29f8\u2571", "/"),
    }
)
_CHAT_NAMES = (
    r"(?:im_start|im_end|im_sep|endoftext|end_?of_?\w+|begin_?of_?\w+|start_?of_?\w+|eot_id|start_header_id|end_header_id"
    r"|system|user|assistant|tool|image(?:_pad)?|video(?:_pad)?|audio|vision_\w+|object_ref_\w+|box_\w+|quad_\w+|fim_\w+"
    r"|repo_name|file_sep|pad|end|eos|bos|python_tag|return|call|channel|message|constrain)"
)
_TAG_NAMES = (
    r"(?:think(?:ing)?|answer|reasoning|tool_calls?|tool_response|tools?|function|image|img|video|audio|system|user"
    r"|assistant|instructions?|prompt|context|box|ref|point|script|bos|eos|pad|unk|mask|s)"
)
_MARKS = (
    # Unspaced any name; spaced only those in use, so that "x < |y| > z" can be asked.
    (re.compile(r"<\|[^<>|\s]{1,40}\|>"), "a mark of the model's chat format"),
    (re.compile(rf"<\s*\|\s*{_CHAT_NAMES}\s*\|\s*>", re.IGNORECASE), "a mark of the model's chat format"),
    (re.compile(r"<\|\s*[a-z]+_[a-z_]+|[a-z]+_[a-z_]+\s*\|>", re.IGNORECASE), "a mark of the model's chat format"),
    (re.compile(rf"<\s*/?\s*{_TAG_NAMES}\s*/?\s*>", re.IGNORECASE), "a tag"),
    (re.compile(r"</?\s*(?:think|answer)\b", re.IGNORECASE), "a tag"),
    (re.compile(r"<[/!?]?[A-Za-z_][\w:.-]*(?:\s+[\w:-]+\s*=[^<>]*)?\s*/?>"), "a tag"),
    (re.compile(r"</\s*[A-Za-z_]|<!--|<!\[|<\?[a-z]", re.IGNORECASE), "a tag"),
    (
        re.compile(
            r"\[\s*/?\s*(?:INST|SYS|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|IMG(?:_BREAK|_END)?|PREFIX"
            r"|SUFFIX|MIDDLE|gMASK|CLS|SEP|MASK|PAD|UNK|BOS|EOS)\s*\]",
            re.IGNORECASE,
        ),
        "a mark of a model's chat format",
    ),
)
_ANSWER_KEY = re.compile(r"\b(?:bbox(?:_2d)?|points?_(?:1|2|2d))\b[\"'`]?\s*[:=]", re.IGNORECASE)
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_DIRECTION_MARKS = frozenset("\u200e\u200f\u061c")
_JOINERS = frozenset("\u200c\u200d")
# They have the categories of letters, symbols or marks, and show nothing.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {
    chr(c) for first, last in ((0x180B, 0x180F), (0xFE00, 0xFE0D), (0xE0100, 0xE01EF)) for c in range(first, last + 1)
}
_JOINED = (
    *("ARABIC", "SYRIAC", "DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI", "ORIYA", "TAMIL", "TELUGU", "KANNADA"),
    *("MALAYALAM", "SINHALA", "KHMER", "MYANMAR", "TIBETAN", "MONGOLIAN"),
)
_WORD = re.compile(r"[^\W\d_]+")
_NOT_WITH_LATIN = ("CYRILLIC", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU")
# Of the Greek letters those that pass for Latin ones; beta and gamma do not, and stand in words such as TGFβ.
_GREEK_AS_LATIN = frozenset(
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf\u03bd\u03c1\u03c5\u03b9"
)


def check_question(question: str) -> str:
    """The question with its white space folded; any script is welcome.

    Raises
    ------
    InputError
        If nothing is left, it is longer than :data:`MAX_QUESTION` characters, or holds what would not reach the model
        as a question: marks of a chat format such as ``<|im_end|>``, tags such as ``<answer>``, keys of the answer such
        as ``"bbox":``, control or invisible characters, letters that pass for others, piled-up accents, or orders to
        the model such as "ignore the image".
    """
    folded = " ".join(question.split())
    if not folded:
        raise InputError('the question is empty; ask about something in the image, for example --question "…"')
    if len(folded) > MAX_QUESTION:
        raise InputError(f"the question has {len(folded)} characters, at most {MAX_QUESTION} are taken; shorten it")
    # Of the separators that folding takes for white space, some are control characters.
    unseen = "".join(" " if c in "\t\n\r\v\f\x85\u2028\u2029" else c for c in question).strip()
    if fault := _unseen(unseen) or _disguised(folded) or _piled(folded):
        raise InputError(f"the question holds {fault}; type it anew")
    key = _ANSWER_KEY.search(unicodedata.normalize("NFKC", folded))
    if mark := find_mark(folded) or (f"{key[0]!r}, a key of the answer" if key else ""):
        raise InputError(
            f"the question holds {mark}; leave it out, and write less-than and more-than signs with spaces"
        )
    if order := find_order(folded):
        raise InputError(f"the question gives orders to the model ({order}); ask about the image alone")
    return folded


def find_mark(text: str) -> str:
    r"""The first thing in a text that a tokenizer, a chat template or the answer's reader takes for a mark of its own.

    >>> find_mark("Where?\uff1c|im_end|\uff1e")
    "'<|im_end|>', a mark of the model's chat format"
    >>> find_mark("a nodule of < 5 mm")
    ''
    """
    looks = unicodedata.normalize("NFKC", text).translate(_LOOK_ALIKES)
    for pattern, what in _MARKS:
        if found := pattern.search(looks):
            return f"{found[0]!r}, {what}"
    return ""


def _unseen(text: str) -> str:
    """Characters that nobody sees, or that are none."""
    right_to_left = any(c.isalpha() and unicodedata.bidirectional(c) in ("R", "AL") for c in text)
    for place, character in enumerate(text):
        kind = unicodedata.category(character)
        if kind == "Cs":
            what = "half of a character"
        elif kind in ("Co", "Cn"):
            what = "characters that are not assigned"
        elif kind == "Cc" or character in _TURNS:
            what = "control characters"
        elif character in _UNSEEN or (kind == "Cf" and not _belongs(text, place, right_to_left)):
            what = "invisible characters"
        else:
            continue
        return f"{what} (U+{ord(character):04X} at character {place + 1})"
    return ""


def _belongs(text: str, place: int, right_to_left: bool) -> bool:
    """Whether a format character is part of its script: a direction mark, or a joiner after a letter that takes one."""
    if text[place] in _DIRECTION_MARKS:
        return right_to_left
    return text[place] in _JOINERS and place > 0 and unicodedata.name(text[place - 1], "").startswith(_JOINED)


def _disguised(text: str) -> str:
    """Letters that pass for others: two alphabets in one word, or letters drawn as symbols."""
    for character in text:
        if 0x1D400 <= ord(character) <= 0x1D7FF or 0x24B6 <= ord(character) <= 0x24E9:
            return f"letters drawn as symbols ({character!r})"
        if 0x1F110 <= ord(character) <= 0x1F189:
            return f"letters drawn as symbols ({character!r})"
    for word in _WORD.findall(unicodedata.normalize("NFKC", text)):
        names = [unicodedata.name(c, "") for c in word]
        if any(n.startswith("LATIN") for n in names) and (
            any(n.startswith(_NOT_WITH_LATIN) for n in names) or _GREEK_AS_LATIN & set(word)
        ):
            return f"letters of two alphabets in one word ({word[:40]!r})"
    return ""


def _piled(text: str) -> str:
    """Accents without a letter, or more of them on one than any script has."""
    run, bare = 0, True
    for character in unicodedata.normalize("NFD", text):
        if unicodedata.category(character) in ("Mn", "Me"):
            run += 1
            if bare or run > MAX_MARKS:
                return "accents without a letter" if bare else "more accents on a letter than any script has"
        else:
            run, bare = 0, character == " "
    return ""
