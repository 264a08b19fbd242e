"""How often a chest radiograph shows the body's midline, and how near it is to the middle between the lungs.

    python benchmarks/midline.py FOLDER

FOLDER has `images/` and `masks/` in the names of BiomedParse, with masks of both lungs. The pictures are taken to be
hung as usual, the right lung on the left. Counts are of lungs: side known and right, known and wrong, not known.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medreasoner_monai.dicom.midline import Midline, midline_of
from medreasoner_monai.grounding.sides import side_from


def read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("L"))


def lungs(mask: NDArray[np.uint8]) -> list[NDArray[np.bool_]]:
    """The two large parts of a mask, from left to right; none where there are not two."""
    count, labels, statistics, centres = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
    large = [n for n in range(1, count) if statistics[n, cv2.CC_STAT_AREA] > 0.15 * np.count_nonzero(mask)]
    return [labels == n for n in sorted(large, key=lambda n: centres[n][0])] if len(large) == 2 else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    counts: Counter[str] = Counter()
    off = []
    for path in sorted((folder / "masks").glob("*_lung.png")):
        image, mask = read(folder / "images" / f"{path.stem.rsplit('_', 1)[0]}.png"), read(path)
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        filled = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)  # without the canvas around it
        image, pair = image[filled], lungs(mask[filled])
        between = np.mean([np.nonzero(lung)[1].mean() for lung in pair]) if pair else 0.0
        for lung, truth in zip(pair, ("right", "left"), strict=False):
            found = midline_of(image, "DX", lung, 0, 1)
            if isinstance(found, Midline):
                off.append(abs(found.at - between) / found.half)
                counts["known, right" if side_from(found.offsets(lung)) == truth else "known, wrong"] += 1
            else:
                counts[found] += 1
    print(dict(counts))
    if off:
        print(f"midline to the middle between the lungs: {np.mean(off):.3f} of the half width, at most {max(off):.3f}")


if __name__ == "__main__":
    main()
