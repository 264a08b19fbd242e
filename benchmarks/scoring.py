"""How many completions a second the rewards score on one core, and what share of it is reading them.

python benchmarks/scoring.py [--count 20000]
"""

from __future__ import annotations

import argparse
import json
import random
import time

from medreasoner_monai.rewards import SUITES, suite
from medreasoner_monai.task.answer import parse, render
from medreasoner_monai.task.geometry import Box, Frame, Points

FRAME = Frame(840, 840, "model")


def completions(count: int) -> tuple[list[str], list[str]]:
    """Answers around their truths with a trace of sixty words, a tenth of them cut off; and the truths."""
    rng = random.Random(0)
    trace = " ".join(["The area is brighter than what surrounds it."] * 8)
    texts, truths = [], []
    for _ in range(count):
        x, y, w, h = (rng.randint(10, 400) for _ in range(4))
        truths.append(
            json.dumps({"bbox_2d": [x, y, x + w, y + h], "point_2d": [[x + 3, y + 3], [x + w // 2, y + h // 2]]})
        )
        dx, dy = rng.randint(-9, 9), rng.randint(-9, 9)
        box = Box(x + dx, y + dy, x + dx + w, y + dy + h, FRAME)
        text = render(trace, box, Points((x + 5, y + 6), (x + w / 2, y + h / 2), FRAME))
        texts.append(text[: rng.randrange(len(text))] if rng.random() < 0.1 else text)
    return texts, truths


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=20_000)
    count: int = options.parse_args().count
    texts, truths = completions(count)
    frames = [FRAME] * count
    started = time.process_time()
    for text in texts:
        parse(text, FRAME)
    reading = time.process_time() - started
    print(f"reading alone: {count / reading:,.0f} a second")
    for name in SUITES:
        started = time.process_time()
        suite(name).score(texts, truths, frames)
        spent = time.process_time() - started
        print(f"{name:>8}: {count / spent:,.0f} a second, {reading / spent:.0%} of it reading")


if __name__ == "__main__":
    main()
