"""How good and how fast the segmenters that need no weights from you are when they are given true prompts.

    python benchmarks/segmenters.py FOLDER [--segmenter classical --segmenter ellipse ...] [--phantoms N]

FOLDER holds `images/<id>_<modality>_<site>.png` and `masks/<id>_<modality>_<site>_<target>.png`, as BiomedParse names
them; a mask PNG may also have its image's exact name, and then each of its colours is a target. `--phantoms N` measures
on N phantoms a site in place of a folder.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from medreasoner_monai.segmenters.protocol import Image, Mask, Prompt, PromptKind, Segmenter
from medreasoner_monai.segmenters.registry import ENGINES, NEED_WEIGHTS, build
from medreasoner_monai.task.keypoints import key_points, mask_box

Sample = tuple[Image, list[Mask]]


def read_image(path: Path) -> Image:
    """uint8, ``(rows, cols)`` or ``(rows, cols, 3)`` RGB."""
    with Pictures.open(path) as picture:
        return np.asarray(picture.convert("L" if picture.mode in ("L", "1", "I;16") else "RGB"))


def read_masks(path: Path, one_target: bool) -> list[Mask]:
    """The targets in a mask file: everything above 0, or one a colour."""
    with Pictures.open(path) as picture:
        colours = np.asarray(picture.convert("RGB")).astype(np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)
    values = np.unique(colours[colours > 0])
    return [colours > 0] if one_target else [colours == value for value in values]


def folder_samples(folder: Path) -> Iterator[Sample]:
    """Each image of a folder with its masks."""
    masks = sorted((folder / "masks").glob("*.png"))
    for path in sorted((folder / "images").glob("*.png")):
        mine = [m for m in masks if m.stem == path.stem or m.stem.startswith(f"{path.stem}_")]
        found = [mask for m in mine for mask in read_masks(m, one_target=m.stem != path.stem) if mask.any()]
        if found:
            yield read_image(path), found


def phantom_samples(count: int) -> Iterator[Sample]:
    """The first ``count`` phantoms of every site with their masks."""
    from medreasoner_monai.data.phantoms import SITES, render

    for site in SITES:
        for seed in range(count):
            phantom = render(site, seed)
            yield phantom.image, list(phantom.masks.values())


def dice(a: Mask, b: Mask) -> float:
    """``2 I / (A + B)``; 1 for two empty masks."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def interval(groups: list[list[float]], rounds: int = 2000) -> tuple[float, float]:
    """Bootstrap 95 % interval of the mean over all values; whole groups (images) are drawn: their masks are alike."""
    rng = np.random.default_rng(0)
    sums, sizes = np.array([sum(g) for g in groups]), np.array([len(g) for g in groups])
    drawn = rng.integers(0, len(groups), (rounds, len(groups)))
    means: NDArray[np.float64] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def measure(segmenter: Segmenter[Any], kind: PromptKind, samples: list[Sample]) -> tuple[list[list[float]], float]:
    """Dice of every mask, one list an image, and milliseconds a mask, each image's one embedding included."""
    scores, spent = [], 0.0
    for image, masks in samples:
        prompts = [Prompt(mask_box(mask), key_points(mask)).only(kind) for mask in masks]
        start = time.perf_counter()
        found = segmenter.segment(segmenter.embed(image), prompts)
        spent += time.perf_counter() - start
        scores.append([dice(mask, truth) for mask, truth in zip(found, masks, strict=True)])
    return scores, 1000 * spent / sum(len(masks) for _, masks in samples)


def main() -> None:
    """Print the table."""
    free = [name for name in ENGINES if name not in NEED_WEIGHTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--phantoms", type=int, metavar="N")
    parser.add_argument("--segmenter", action="append", metavar="NAME", help=f"default: {', '.join(free)}")
    args = parser.parse_args()
    if (args.folder is None) == (args.phantoms is None):
        parser.error("give either a folder or --phantoms N")
    samples = list(folder_samples(args.folder) if args.folder else phantom_samples(args.phantoms))
    if not samples:
        parser.error(f"{args.folder} has no images/*.png with masks/*.png of their names")
    print(f"{len(samples)} images, {sum(len(masks) for _, masks in samples)} masks")
    print(f"{'segmenter':12}{'prompt':8}{'Dice':>7}  {'95 % interval':16}{'ms/mask':>8}")
    for name in args.segmenter or free:
        segmenter = build(name)
        for kind in segmenter.prompt_kinds:
            scores, milliseconds = measure(segmenter, kind, samples)
            mean = np.mean([s for group in scores for s in group])
            low, high = interval(scores)
            print(f"{name:12}{kind:8}{mean:7.3f}  [{low:.3f}, {high:.3f}]  {milliseconds:8.1f}")


if __name__ == "__main__":
    main()
