"""A hundred thousand hostile completions: nothing raises, nothing but a number comes out, nothing malformed is paid."""

from __future__ import annotations

import json
import random

import numpy as np

from medreasoner_monai.rewards import suite
from medreasoner_monai.task.answer import Grounding, NoAnswer, parse
from medreasoner_monai.task.answer_lenient import READERS
from medreasoner_monai.task.geometry import Frame

FRAME = Frame(112, 84, "model")
TRUTH = json.dumps({"bbox_2d": [20, 10, 80, 60], "point_2d": [[30, 20], [60, 50]]})
GEOMETRIC = ("bbox_iou", "bbox_align", "bbox_scale", "points_dice", "points_align", "points_angle")
TOTAL, CHUNK = 100_000, 5_000

NUMBERS = (
    *("0", "-0", "1", "-1", "12", "56", "83.5", "112", "113", "1e3", "1e308", "1e309", "-1e309", "1E-400", "0x10"),
    *("07", "1_000", "+3", ".5", "5.", "NaN", "Infinity", "-Infinity", "null", "true", "false", '"12"', '""', "[]"),
    *("{}", "[1]", "9007199254740993", "12345678901234567890123456789", "\u0663", "1e", "1.2.3"),
)
KEYS = ("bbox", "points_1", "points_2", "bbox_2d", "BBOX", "bbox ", "", "points_3", "\\u0062box", "__proto__")
TAGS = ("<think>", "</think>", "<answer>", "</answer>", "<THINK>", "< answer>", "<answer", "<|im_end|>", "<think/>")
NOISE = (
    "",
    " ",
    "\n",
    "\x00",
    "why",
    "é",
    "\ud83d\ude00",
    "{",
    "}",
    "[",
    "]",
    '"',
    "\\",
    "```json",
    "// x",
    "\u202e",
    "￿",
)


def value(rng: random.Random, count: int) -> str:
    what = rng.random()
    if what < 0.85:  # right, or near enough to get past the first checks
        low, high = (0, 84) if what < 0.75 else (-20, 130)
        numbers = [round(rng.uniform(low, high), rng.choice([0, 0, 2])) for _ in range(count)]
        if count == 4 and what < 0.75:
            numbers = [
                *(min(p) for p in zip(numbers[:2], numbers[2:], strict=True)),
                *(max(p) + 1 for p in zip(numbers[:2], numbers[2:], strict=True)),
            ]
        return "[" + ", ".join(map(str, numbers)) + "]"
    if rng.random() < 0.5:
        return "[" + rng.choice([", ", ","]).join(rng.choice(NUMBERS) for _ in range(rng.choice([count, 3, 0]))) + "]"
    return rng.choice(NUMBERS)


def answer(rng: random.Random) -> str:
    keys = ["bbox", "points_1", "points_2"]
    if rng.random() < 0.2:
        keys[rng.randrange(3)] = rng.choice(KEYS)
    if rng.random() < 0.1:
        keys.append(rng.choice(KEYS))
    if rng.random() < 0.1:
        rng.shuffle(keys)
    body = ", ".join(f'"{k}": {value(rng, 4 if "bbox" in k else 2)}' for k in keys)
    if rng.random() < 0.05:
        body += rng.choice(NOISE)
    if rng.random() < 0.02:
        return "[" * rng.choice([10, 5_000]) + body
    return "{" + body + "}"


def completion(rng: random.Random) -> str:
    parts = ["<think>", "why", "</think>", "<answer>", answer(rng), "</answer>"]
    for _ in range(rng.choice([0, 0, 0, 1, 2, 4])):
        at = rng.randrange(len(parts))
        what = rng.random()
        if what < 0.3:
            parts.insert(at, rng.choice(TAGS))
        elif what < 0.6:
            parts.insert(at, rng.choice(NOISE))
        elif what < 0.75:
            parts.pop(at)
            parts = parts or [""]
        elif what < 0.9:
            other = rng.randrange(len(parts))
            parts[at], parts[other] = parts[other], parts[at]
        else:
            parts += parts[at:]
    text = "".join(parts)
    if rng.random() < 0.05:
        cut = rng.randrange(len(text) + 1)
        text = text[:cut]
    return text


def test_nothing_hostile_is_paid_for_its_geometry() -> None:
    rng = random.Random(0)
    hard, base = suite("hard"), suite("base")
    read = 0
    for _ in range(TOTAL // CHUNK):
        texts = [completion(rng) for _ in range(CHUNK)]
        found = hard.score(texts, [TRUTH] * CHUNK, [FRAME] * CHUNK)
        values = np.array(list(found.values()))
        assert np.isfinite(values).all()
        assert values.min() >= 0
        assert found["score"].max() <= 8
        assert max(values[:-1].max(axis=1)) <= 1
        answers = [parse(t, FRAME) for t in texts]
        malformed = np.array([isinstance(a, NoAnswer) for a in answers])
        assert not np.array([found[n] for n in GEOMETRIC])[:, malformed].any()
        assert base.score(texts, [TRUTH] * CHUNK, [FRAME] * CHUNK)["score"].max() <= 5
        for a in answers:
            if isinstance(a, Grounding):
                read += 1
                assert a.box.within() and a.box.area > 0
    assert 0.05 < read / TOTAL < 0.95, "the grammar must make both kinds"


def test_no_reader_raises_or_leaves_the_image() -> None:
    rng = random.Random(1)
    for _ in range(4_000):
        text = completion(rng)
        for read in READERS.values():
            found = read(text, FRAME)
            if isinstance(found, Grounding):
                assert found.box.within()
                assert all(0 <= x <= 112 and 0 <= y <= 84 for x, y in found.points.xy)
