"""A CT from folder to SEG, report and picture: time by stage, and the memory it takes at most.

The series is made: a body with an organ that begins and ends inside it. The reasoner is one that answers with the
organ's true box on the slices it is asked, so that what is measured is everything but the model.

    python -m benchmarks.volume --slices 300 --side 512
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.made_ct import write_ct
from medreasoner_monai.dicom.report import build_report
from medreasoner_monai.dicom.saving import save
from medreasoner_monai.dicom.seg import build_seg
from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.grounding.grounder import Grounder
from medreasoner_monai.grounding.outputs import draw, write_outputs
from medreasoner_monai.grounding.request import GroundingSettings
from medreasoner_monai.reasoners.protocol import Capability, Image, Reading
from medreasoner_monai.segmenters.registry import Choice
from medreasoner_monai.task.answer import Grounding, NoAnswer, Reason
from medreasoner_monai.task.geometry import Frame
from medreasoner_monai.task.keypoints import key_points, mask_box


def organ(index: int, slices: int, side: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The organ on a slice, boolean ``(side, side)``."""
    y, x = np.ogrid[:side, :side]
    depth = ((index - slices / 2) / (slices * 0.3)) ** 2
    return ((y - side * 0.5) / (side * 0.22)) ** 2 + ((x - side * 0.36) / (side * 0.18)) ** 2 + depth <= 1


def make_series(folder: Path, slices: int, side: int) -> None:
    """Write the CT, one file a slice."""
    write_ct(folder, (_slice(i, slices, side) for i in range(slices)), gap=1.0)


def _slice(index: int, slices: int, side: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    y, x = np.ogrid[:side, :side]
    values = np.where(((y - side / 2) / (side * 0.45)) ** 2 + ((x - side / 2) / (side * 0.47)) ** 2 <= 1, 1004.0, 24.0)
    values[organ(index, slices, side)] = 1114
    return np.clip(values + np.random.default_rng(index).normal(0, 12, (side, side)), 0, 4095)


class Knowing:
    """Answers with the organ's box on slices that show it, which it tells by their brightness."""

    name, digest, prompt_digest = "knowing", "0" * 64, "0" * 64
    capabilities: frozenset[Capability] = frozenset({"batch"})

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Reading]:
        """One reading an image."""
        return [self._read(image) for image in images]

    def _read(self, image: Image) -> Reading:
        frame = Frame(image.shape[1], image.shape[0])
        mask = np.zeros(image.shape, dtype=bool)
        # The organ is the brightest of three levels; noise is below half of its distance to the next.
        smooth = image.reshape(image.shape[0] // 4, 4, image.shape[1] // 4, 4).mean(axis=(1, 3))
        mask[::4, ::4] = smooth > 140
        if mask.sum() < 10:
            return Reading(NoAnswer(Reason.NOTHING_FOUND), "", frame, 0.0)
        return Reading(
            Grounding("It is bright.", mask_box(mask), key_points(np.kron(smooth > 140, np.ones((4, 4))) > 0)),
            "",
            frame,
            0.0,
        )


class Peak:
    """The most resident memory while it watches, in MB."""

    def __init__(self) -> None:
        self.most = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.most = max(self.most, resident())


def resident() -> float:
    """Resident memory now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


@contextmanager
def stage(name: str, rows: list[tuple[str, float, float]], base: float) -> Iterator[None]:
    """Note a stage's seconds and its peak above ``base``."""
    started = time.perf_counter()
    with Peak() as peak:
        yield
    rows.append((name, time.perf_counter() - started, peak.most - base))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--segmenter", default="classical")
    chosen = parser.parse_args()
    rows: list[tuple[str, float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        ct, out = Path(folder) / "ct", Path(folder) / "out"
        ct.mkdir()
        out.mkdir()
        make_series(ct, 2, chosen.side)
        grounder = Grounder(Knowing(), Choice.read(chosen.segmenter).build())
        # Once through, so that what is imported and compiled on first use is not counted.
        write_outputs(grounder.ground(choose_series(ct), "Which?"), out)
        for file in ct.iterdir():
            file.unlink()
        make_series(ct, chosen.slices, chosen.side)
        base = resident()
        with stage("headers read, series chosen, slices ordered", rows, base):
            series = choose_series(ct)
        with stage("candidates asked, mask carried", rows, base):
            result = grounder.ground(series, "Which?", settings=GroundingSettings(carry="on"))
        with stage("SEG", rows, base):
            seg = build_seg(series, result.findings, result.origin)
            save(seg, out / "seg.dcm")
        with stage("report, with measuring", rows, base):
            save(build_report(series, result.findings, result.origin, seg=seg), out / "report.dcm")
        with stage("picture", rows, base):
            draw(result)
        (finding,) = result.findings
        truth = [organ(i, chosen.slices, chosen.side) for i in range(chosen.slices)]
        marked = finding.marked
        both = sum(int((marked[i] & truth[i]).sum()) for i in marked)
        dice = 2 * both / (finding.voxels + sum(int(t.sum()) for t in truth))
    volume = chosen.slices * chosen.side**2 * 4 / 1e6
    print(f"{chosen.slices} slices of {chosen.side} x {chosen.side}; the volume as float32 is {volume:.0f} MB")
    print(f"{len(marked)} slices marked, Dice with the truth {dice:.3f}")
    print(f"{'stage':45} {'seconds':>8} {'peak MB above the start':>24}")
    for name, seconds, peak in rows:
        print(f"{name:45} {seconds:8.2f} {peak:24.0f}")
    most = max(peak for _, _, peak in rows)
    print(f"{'all':45} {sum(s for _, s, _ in rows):8.2f} {most:24.0f}  ({most / volume:.2f} x the volume)")
    print(f"resident at the start, libraries loaded: {base:.0f} MB")


if __name__ == "__main__":
    main()
