"""How fast the evaluation is with SAM, against a plain loop over the package's own predictor; both in one run.

    python benchmarks/evaluation.py FOLDER [--images N] [--variant vit_b] [--threads N]

FOLDER holds `images/<id>_<modality>_<site>.png` and `masks/<id>_<modality>_<site>_<target>.png`, as BiomedParse names
them. The reasoner answers with the truth, so that only segmenting is measured; the weights are untrained, which changes
no time. The plain loop embeds a mask's image and then asks for one prompt kind after the other. Image by image both are
run, one right after the other, so that a machine that is busy for a while slows both. Their Dice must agree.
"""

from __future__ import annotations

import argparse
import itertools
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from segment_anything import SamPredictor

from medreasoner_monai.data.sample import Sample
from medreasoner_monai.evaluation.answerers import Truth
from medreasoner_monai.evaluation.embeddings import Embeddings
from medreasoner_monai.evaluation.resolve import Data
from medreasoner_monai.evaluation.scoring import evaluate
from medreasoner_monai.evaluation.surface import overlap
from medreasoner_monai.pipeline.progress import NoProgress
from medreasoner_monai.segmenters.protocol import PROMPT_KINDS
from medreasoner_monai.segmenters.sam_weights import VARIANTS, load

Scores = dict[str, dict[str, float]]
"""Dice by sample and prompt kind."""


@dataclass
class Side:
    """What one of the two took: seconds, MB above where it began, sample by sample, and what it scored."""

    name: str
    embedding: float = 0.0
    rest: float = 0.0
    peaks: list[float] = field(default_factory=list)
    scores: Scores = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Both parts."""
        return self.embedding + self.rest


def resident(peak: bool = False) -> float:
    """MB of this process in memory, now or at the most since :func:`forget_peak`; Linux."""
    found = re.search(rf"{'VmHWM' if peak else 'VmRSS'}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def forget_peak() -> None:
    """Let the peak begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


@contextmanager
def measured(side: Side) -> Iterator[None]:
    """Note the peak of what is done within."""
    forget_peak()
    before = resident()
    yield
    side.peaks.append(resident(peak=True) - before)


def ours(side: Side, samples: list[Sample], embeddings: Embeddings, folder: Path) -> None:
    """The project's evaluation of one image's samples."""
    for sample in samples:
        with measured(side):
            start = time.perf_counter()
            embeddings.of(sample.image)
            embedded = time.perf_counter()
            records = evaluate(Truth(), [sample], 1, {"sam": embeddings}, folder / sample.id, NoProgress())
            side.embedding += embedded - start
            side.rest += time.perf_counter() - embedded
        assert records is not None
        side.scores[sample.id] = {kind: records[0].masks[f"sam/{kind}"] for kind in PROMPT_KINDS}


def plain(side: Side, samples: list[Sample], predictor: Any) -> None:
    """The loop that comes to mind first."""
    for sample in samples:
        with measured(side):
            start = time.perf_counter()
            image = sample.image if sample.image.ndim == 3 else np.stack([sample.image] * 3, axis=-1)
            predictor.set_image(image)
            embedded = time.perf_counter()
            box, points = np.array(sample.box.xyxy), np.array(sample.points.xy)
            prompts: dict[str, dict[str, Any]] = {"box": {"box": box}}
            prompts["points"] = {"point_coords": points, "point_labels": np.ones(2)}
            prompts["both"] = prompts["box"] | prompts["points"]
            found = {}
            for kind in PROMPT_KINDS:
                masks, _, _ = predictor.predict(**prompts[kind], multimask_output=False)
                found[kind] = overlap(masks[0], sample.mask)["dice"]
            side.embedding += embedded - start
            side.rest += time.perf_counter() - embedded
        side.scores[sample.id] = found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, metavar="N", help="the first N images alone")
    parser.add_argument("--variant", choices=VARIANTS, default="vit_b")
    parser.add_argument("--threads", type=int, metavar="N", help="that torch may use; all cores when absent")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    found = Data.open(args.folder).samples()
    groups = [list(group) for _, group in itertools.groupby(found, key=lambda s: s.group)][: args.images]
    segmenter = load(variant=args.variant, random=True)
    embeddings, predictor = Embeddings(segmenter), SamPredictor(segmenter.model)
    sides = Side("evaluation"), Side("plain loop")
    segmenter.embed(groups[0][0].image)  # what torch prepares at first use is no one's time
    with tempfile.TemporaryDirectory() as folder:
        for number, samples in enumerate(groups, 1):
            ours(sides[0], samples, embeddings, Path(folder))
            plain(sides[1], samples, predictor)
            spent = ", ".join(f"{side.name} {side.seconds:.0f} s" for side in sides)
            print(f"image {number} of {len(groups)}: {spent}", flush=True)
    report(sides, len(groups))


def report(sides: tuple[Side, Side], images: int) -> None:
    """Print the table and the ratio.

    Raises
    ------
    SystemExit
        If the two do not agree.
    """
    mine, theirs = sides
    count = len(mine.scores)
    print(f"\n{images} images, {count} masks, {len(PROMPT_KINDS) * count} prompts, {torch.get_num_threads()} threads")
    print(f"{'':12}{'seconds':>9}{'embedding':>11}{'the rest':>10}{'peak MB a sample: mean':>24}{'most':>7}")
    for s in sides:
        memory = f"{np.mean(s.peaks):24.0f}{max(s.peaks):7.0f}"
        print(f"{s.name:12}{s.seconds:9.1f}{s.embedding:11.1f}{s.rest:10.1f}{memory}")
    print(f"ratio {theirs.seconds / mine.seconds:.2f}; embedding each image once alone would give {count / images:.2f}")
    print("mean Dice:", *(f"{kind} {np.mean([v[kind] for v in mine.scores.values()]):.4f}" for kind in PROMPT_KINDS))
    apart = max(abs(mine.scores[i][kind] - theirs.scores[i][kind]) for i in mine.scores for kind in PROMPT_KINDS)
    print(f"largest difference between the two in any Dice: {apart:.1e}")
    if apart > 1e-4:
        raise SystemExit("the two do not agree: their times are not of the same work")


if __name__ == "__main__":
    main()
