"""How many images a second the segmenters with an encoder embed, eight at a time against one by one; in one run.

    python benchmarks/encoding.py [--engine sam --engine sam-med2d] [--batch 8] [--rounds N] [--threads N]

The weights are untrained, which changes no time; the images are noise of a CT slice's size, 512 x 512. Both ways are
taken by turns, so that a machine that is busy for a while slows both, and the median round counts. Processor seconds an
image stand beside the clock's, since other work disturbs them less. SAM ViT-B looks at 1024 x 1024 pixels, seconds an
image on a CPU: by default it has one round, SAM-Med2D five. The engine would not take several such pictures at a time
on a CPU; here it does, to see why. What the two ways give must agree.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from medreasoner_monai.segmenters import sam
from medreasoner_monai.segmenters.registry import build

ROUNDS = {"sam": 1, "sam-med2d": 5}
SIZE = 512


def seconds(work: Callable[[], Any], device: torch.device) -> tuple[tuple[float, float], Any]:
    """What something takes by the clock, work queued on a GPU included, and of processors; and what it gives."""
    start, busy = time.perf_counter(), time.process_time()
    found = work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start, time.process_time() - busy), found


def measure(name: str, batch: int, rounds: int) -> None:
    """Print an engine's row.

    Raises
    ------
    SystemExit
        If the two ways do not agree.
    """
    sam._TOKENS_ON_CPU = sys.maxsize  # the limit is what is being asked about
    segmenter: Any = build(name, random=True)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (SIZE, SIZE), dtype=np.uint8) for _ in range(batch)]
    segmenter.embed(images[0])  # what torch prepares at first use is no one's time
    alone, together, apart = [], [], 0.0
    for _ in range(rounds):
        spent, singly = seconds(lambda: [segmenter.embed(image) for image in images], segmenter.device)
        alone.append(spent)
        spent, at_once = seconds(lambda: segmenter.embed_many(images), segmenter.device)
        together.append(spent)
        for one, other in zip(singly, at_once, strict=True):
            difference = (one.features - other.features).abs().max() / one.features.abs().max()
            apart = max(apart, float(difference))
    (one, one_busy), (many, many_busy) = (np.median(spent, axis=0) / batch for spent in (alone, together))
    precision = "half" if segmenter.half else "single"
    print(
        f"{name:11}{precision:>10}{rounds:>8}{1 / one:>10.3f}{1 / many:>10.3f}{one / many:>8.2f}"
        f"{one_busy:>13.2f}{many_busy:>8.2f}{apart:>12.1e}",
        flush=True,
    )
    if apart > (1e-2 if segmenter.half else 1e-4):
        raise SystemExit("the two do not agree: their times are not of the same work")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", action="append", choices=tuple(ROUNDS), help="default: all")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, metavar="N", help="of each way; default: 1 for sam, 5 for sam-med2d")
    parser.add_argument("--threads", type=int, metavar="N", help="that torch may use; all cores when absent")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"{args.batch} images of {SIZE} x {SIZE} at once; {where}")
    print(
        f"{'':11}{'precision':>10}{'rounds':>8}{'alone/s':>10}{'batch/s':>10}{'ratio':>8}"
        f"{'CPU s: alone':>13}{'batch':>8}{'difference':>12}"
    )
    for name in args.engine or ROUNDS:
        measure(name, args.batch, args.rounds or ROUNDS[name])


if __name__ == "__main__":
    main()
