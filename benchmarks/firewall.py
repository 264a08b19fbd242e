"""What the firewall finds and what it takes for a copy: changed copies of pictures, and pictures of other patients.

    python -m benchmarks.firewall copies FOLDER        # real sets, each picture against changed copies of itself
    python -m benchmarks.firewall others FOLDER        # all pairs of pictures of different patients
    python -m benchmarks.firewall phantoms CONFIG      # all drawn pictures of a config, by its own splits

A copy is found where a hash is near and the likeness reaches the threshold, as in a data set. ``others`` takes the
patient from the part of a picture's name up to its second dash, as the sets' own statements have it; sets that do not
know their patients list pairs that may be of one. The thresholds are
constants of the modules, chosen by these tables.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.fingerprints import Look, look, mirrored
from medreasoner_monai.data.likeness import SAME, likeness
from medreasoner_monai.data.near_hashes import RADIUS
from medreasoner_monai.data.pictures import read_image

Image = NDArray[np.uint8]


def _affine(image: Image, warp: NDArray[np.float64]) -> Image:
    return np.asarray(cv2.warpAffine(image, warp, image.shape[1::-1]), np.uint8)


def _shift(share: float) -> Callable[[Image], Image]:
    return lambda x: _affine(x, np.array([[1, 0, share * x.shape[1]], [0, 1, share * x.shape[0]]]))


def _turn(degrees: float) -> Callable[[Image], Image]:
    return lambda x: _affine(x, cv2.getRotationMatrix2D((x.shape[1] / 2, x.shape[0] / 2), degrees, 1))


def _resize(share: float) -> Callable[[Image], Image]:
    return lambda x: np.asarray(cv2.resize(x, None, fx=share, fy=share, interpolation=cv2.INTER_AREA), np.uint8)


def _gamma(power: float) -> Callable[[Image], Image]:
    return lambda x: (255 * (x / 255) ** power).astype(np.uint8)


def _window(low: float, high: float) -> Callable[[Image], Image]:
    """Clipped to two percentiles of the pixels that are not black."""

    def change(x: Image) -> Image:
        a, b = np.percentile(x[x > 0], [low, high]) if (x > 0).any() else (0, 1)
        return (255 * np.clip((x.astype(float) - a) / max(b - a, 1), 0, 1)).astype(np.uint8)

    return change


def _crop(share: float) -> Callable[[Image], Image]:
    def change(x: Image) -> Image:
        r, c = int(share * x.shape[0]), int(share * x.shape[1])
        return x[r : x.shape[0] - r, c : x.shape[1] - c]

    return change


def _pad(share: float) -> Callable[[Image], Image]:
    def change(x: Image) -> Image:
        n = int(share * max(x.shape[:2]))
        return np.pad(x, ((n, n), (n, n), *([(0, 0)] if x.ndim == 3 else [])))

    return change


def _jpeg(quality: int) -> Callable[[Image], Image]:
    def change(x: Image) -> Image:
        return np.asarray(cv2.imdecode(cv2.imencode(".jpg", x, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], -1), np.uint8)

    return change


def _noise(x: Image) -> Image:
    return np.clip(x + np.random.default_rng(0).normal(0, 8, x.shape), 0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[Image], Image]] = {
    "JPEG, quality 30": _jpeg(30),
    "half the size": _resize(0.5),
    "a quarter of the size": _resize(0.25),
    "noise, 8 grey values": _noise,
    "gamma 0.6": _gamma(0.6),
    "gamma 1.6": _gamma(1.6),
    "window of percentiles 5 to 95": _window(5, 95),
    "window of percentiles 20 to 90": _window(20, 90),
    "window of percentiles 40 to 99": _window(40, 99),
    "moved by 2 %": _shift(0.02),
    "moved by 5 %": _shift(0.05),
    "moved by 10 %": _shift(0.1),
    "cropped by 2 % a side": _crop(0.02),
    "cropped by 5 % a side": _crop(0.05),
    "turned by 3 degrees": _turn(3),
    "padded by 10 % a side": _pad(0.1),
    "mirrored": lambda x: np.ascontiguousarray(x[:, ::-1]),
}


def bits(a: Look, b: Look) -> int:
    """In how many bits the nearer of two hashes differ."""
    return min((a.whole ^ b.whole).bit_count(), (a.inner ^ b.inner).bit_count())


def alike(a: Look, b: Look) -> float | None:
    """Likeness where a hash is near, of the pictures or of one and the other's mirror image; None where none is."""
    near = [k for k in (a, mirrored(a)) if bits(k, b) <= RADIUS]
    return max((likeness(k, b) for k in near), default=None)


def copies(folder: Path, every: int) -> None:
    """A row per change: how many copies are found, and why the others are not."""
    files = sorted(folder.glob("*/images/*.png"))[::every]
    print(
        f"{len(files)} pictures; radius {RADIUS} bits, likeness {SAME}\n\n"
        "| change | found | hash not near | not alike |"
    )
    print("|---|---|---|---|")
    for name, change in CHANGES.items():
        near = found = 0
        for file in files:
            image = read_image(file.read_bytes())
            a, b = look(image), look(np.ascontiguousarray(change(image)))
            if (value := alike(a, b)) is not None:
                near += 1
                found += value >= SAME
        n = len(files)
        print(f"| {name} | {found / n:.1%} | {(n - near) / n:.1%} | {(near - found) / n:.1%} |", flush=True)


def others(names: Sequence[str], patients: Sequence[str], looks: Sequence[Look], show: int = 20) -> None:
    """Candidates and false alarms among all pairs of different patients, and the pairs most alike."""
    whole, inner = (np.array([getattr(k, n) for k in looks], dtype=np.uint64) for n in ("whole", "inner"))
    turned = [mirrored(k) for k in looks]
    patient = np.unique(patients, return_inverse=True)[1]
    pairs, candidates = 0, []
    for i in range(len(looks)):
        rest = slice(i + 1, None)
        different = patient[rest] != patient[i]
        pairs += int(different.sum())
        for of in (looks[i], turned[i]):
            w, n = np.uint64(of.whole), np.uint64(of.inner)
            near = np.minimum(np.bitwise_count(whole[rest] ^ w), np.bitwise_count(inner[rest] ^ n)) <= RADIUS
            candidates += [(of, i, i + 1 + int(j)) for j in np.flatnonzero(near & different)]
    start = time.perf_counter()
    found = sorted(((likeness(of, looks[j]), of is turned[i], i, j) for of, i, j in candidates), reverse=True)
    each = 1000 * (time.perf_counter() - start) / max(len(found), 1)
    alarms = sum(value >= SAME for value, *_ in found)
    print(
        f"{len(looks)} pictures, {pairs} pairs, {len(candidates)} with near hashes ({each:.1f} ms each), "
        f"{alarms} alarms"
    )
    for value, flipped, i, j in found[:show]:
        print(f"  {value:.3f} {names[i]} {'mirrored ' if flipped else ''}{names[j]}")


def real(folder: Path) -> None:
    """:func:`others` of a folder of sets."""
    files = sorted(folder.glob("*/images/*.png"))
    patients = [f"{f.parts[-3]}/{'-'.join(f.stem.split('-')[:2])}" for f in files]
    others([f.stem for f in files], patients, [look(read_image(f.read_bytes())) for f in files])


def phantoms(config: Path) -> None:
    """:func:`others` of the pictures that a config draws."""
    from medreasoner_monai.data.sources.phantoms import PhantomSource
    from medreasoner_monai.settings.data import PhantomSettings
    from medreasoner_monai.settings.loading import load_settings

    seen: dict[str, Look] = {}
    for settings in load_settings(config).data.sources:
        assert isinstance(settings, PhantomSettings), "phantoms alone"
        source = PhantomSource(settings)
        for unit in source.units():
            for placed in source.read(unit):
                if placed.sample.group not in seen:
                    seen[placed.sample.group] = look(placed.sample.image)
    others(list(seen), list(seen), list(seen.values()))


def main() -> None:
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("copies", "others", "phantoms"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--every", type=int, default=1, help="of the pictures, every n-th (copies)")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    if given.what == "copies":
        copies(given.path, given.every)
    else:
        (real if given.what == "others" else phantoms)(given.path)


if __name__ == "__main__":
    main()
