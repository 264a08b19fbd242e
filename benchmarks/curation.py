"""Curation: masks a second on one core against a plain loop over files, memory over the number of masks, and Ray nodes.

``python -m benchmarks.curation speed`` makes pictures of 1024 x 1024 with several masks each and turns them into a data
set twice in one run, side by side: by the curate stage in one process, and by the loop that one would write first,
which opens picture and mask for each mask, takes its box and two points and writes a row.

``python -m benchmarks.curation memory`` curates 10,000 and 100,000 made masks in processes of their own and compares
their peak memory.

``python -m benchmarks.curation ray`` curates work that is not bound by the disk on one Ray node and on two (processes
on loopback, one core each).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from medreasoner_monai.data.curate_stage import curate_into
from medreasoner_monai.data.labelled import LabelledImage, Target
from medreasoner_monai.data.sample import SourceRef
from medreasoner_monai.data.schema import SCHEMA, encode_png
from medreasoner_monai.data.sources.protocol import Source, Unit
from medreasoner_monai.pipeline.progress import NoProgress
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.settings.data import DataSettings, FolderSettings, WorkSettings

_NAMES = ("liver", "spleen", "stomach", "aorta", "vertebra")


def ellipse(side: int, rng: np.random.Generator) -> np.ndarray:
    """A filled ellipse, uint8 0/255."""
    mask = np.zeros((side, side), dtype=np.uint8)
    centre = tuple(int(v) for v in rng.integers(side // 4, 3 * side // 4, 2))
    axes = tuple(int(v) for v in rng.integers(side // 24, side // 6, 2))
    cv2.ellipse(mask, centre, axes, float(rng.integers(0, 180)), 0, 360, 255, -1)
    return mask


def picture(side: int, rng: np.random.Generator, masks: list[np.ndarray]) -> np.ndarray:
    """Smooth noise with brighter ellipses."""
    noise = cv2.GaussianBlur(rng.normal(100, 60, (side, side)).astype(np.float32), (0, 0), 3)
    for mask in masks:
        noise[mask > 0] += 40
    return np.clip(noise, 0, 255).astype(np.uint8)


def make_folder(folder: Path, pictures: int, side: int) -> None:
    """A folder in BiomedParse's naming, five masks a picture."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(pictures):
        rng = np.random.default_rng(number)
        masks = [ellipse(side, rng) for _ in _NAMES]
        Image.fromarray(picture(side, rng, masks)).save(folder / "images" / f"{number:05}_CT_abdomen.png")
        for name, mask in zip(_NAMES, masks, strict=True):
            Image.fromarray(mask).save(folder / "masks" / f"{number:05}_CT_abdomen_{name}.png")


def plain_loop(folder: Path, out: Path) -> int:
    """What one would write first: every mask by itself, rows gathered and written."""
    rows: list[dict[str, Any]] = []
    for path in sorted((folder / "masks").iterdir()):
        stem, _, name = path.stem.rpartition("_")
        image = np.asarray(Image.open(folder / "images" / f"{stem}.png"))
        mask = np.asarray(Image.open(path)) > 0
        ys, xs = np.nonzero(mask)
        inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
        first = np.unravel_index(inside.argmax(), inside.shape)
        far = np.argmax(np.where(inside > 2, np.hypot(*(np.indices(mask.shape) - np.reshape(first, (2, 1, 1)))), 0))
        second = np.unravel_index(far, mask.shape)
        box = [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]
        points = [[int(first[1]), int(first[0])], [int(second[1]), int(second[0])]]
        rows.append(
            {
                "data_source": "umrg",
                "prompt": [{"role": "user", "content": f"Where is the {name}?"}],
                "images": [{"bytes": encode_png(image), "path": None}],
                "masks": [{"bytes": encode_png(mask), "path": None}],
                "reward_model": {"ground_truth": json.dumps({"bbox_2d": box, "point_2d": points})},
                "extra_info": {"id": path.stem, "category": name, "group": stem},
            }
        )
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), out)
    return len(rows)


def curated(data: DataSettings, folder: Path, sources: list[Source] | None = None) -> int:
    """Masks kept."""
    folder.mkdir(parents=True)
    draft = Draft(folder / "dataset.partial", folder / "dataset.scratch")
    curate_into(draft, data, NoProgress(), sources=sources)
    return int(draft.facts["masks"]["kept"])


def speed(args: argparse.Namespace) -> None:
    """Both ways over one folder, in turns."""
    with tempfile.TemporaryDirectory() as temporary:
        at = Path(temporary)
        make_folder(at / "set", args.pictures, args.side)
        ours: list[float] = []
        plain: list[float] = []
        data = DataSettings(sources=(FolderSettings(kind="folder", path=at / "set"),), work=WorkSettings(processes=1))
        for turn in range(args.turns):
            start = time.perf_counter()
            kept = curated(data, at / f"ours{turn}")
            ours.append(kept / (time.perf_counter() - start))
            start = time.perf_counter()
            count = plain_loop(at / "set", at / f"plain{turn}.parquet")
            plain.append(count / (time.perf_counter() - start))
            print(f"turn {turn + 1}: {ours[-1]:.1f} masks/s curated, {plain[-1]:.1f} by the plain loop")
        print(f"ratio {np.median(ours) / np.median(plain):.2f} ({kept} masks of {args.side} px, one core)")


@dataclass(frozen=True)
class MadeSource:
    """Ellipses drawn on the spot; ``work`` draws each picture so many times, to have something to compute."""

    masks: int
    side: int = 64
    work: int = 1
    name: ClassVar[str] = "made"
    synthetic: ClassVar[bool] = True
    description: ClassVar[str] = "Made ellipses."
    inline: ClassVar[bool] = False

    def identity(self) -> dict[str, Any]:
        """Its numbers."""
        return {"masks": self.masks, "side": self.side}

    def units(self) -> Iterator[Unit]:
        """Five masks each."""
        return (Unit(str(n), len(_NAMES)) for n in range(self.masks // len(_NAMES)))

    def read(self, unit: Unit) -> Iterator[LabelledImage]:
        """One picture."""
        rng = np.random.default_rng(int(unit.key))
        masks = [ellipse(self.side, rng) for _ in _NAMES]
        for _ in range(self.work):
            image = picture(self.side, rng, masks)
        targets = tuple(Target(n, m > 0, f"{unit.key} {n}") for n, m in zip(_NAMES, masks, strict=True))
        yield LabelledImage(unit.key, image, targets, "CT", "abdomen", f"p{unit.key}", SourceRef(self.name, unit.key))


def memory(args: argparse.Namespace) -> None:
    """Peak resident memory of the process that curates, for the two sizes."""
    if args.masks:
        with tempfile.TemporaryDirectory() as temporary:
            data = DataSettings(work=WorkSettings(processes=1))
            kept = curated(data, Path(temporary) / "out", [MadeSource(args.masks)])
            print(json.dumps({"kept": kept, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
        return
    peaks = {}
    for masks in (args.few, args.many):
        call = [sys.executable, "-m", "benchmarks.curation", "memory", "--masks", str(masks)]
        found = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        peaks[masks] = found["peak"] / 1024
        print(f"{masks} masks: {found['kept']} kept, peak {peaks[masks]:.0f} MB", flush=True)
    print(f"ratio {peaks[args.many] / peaks[args.few]:.2f}")


def ray_nodes(args: argparse.Namespace) -> None:
    """One node, then two."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    store = {"num_cpus": 1, "object_store_memory": 200 * 2**20}
    seconds = {}
    for nodes in (1, 2):
        cluster = Cluster(initialize_head=True, head_node_args={**store, "include_dashboard": False})
        for _ in range(nodes - 1):
            cluster.add_node(**store)
        os.environ["RAY_ADDRESS"] = cluster.address
        with tempfile.TemporaryDirectory() as temporary:
            data = DataSettings(work=WorkSettings(engine="ray"))
            curated(data, Path(temporary) / "warm", [MadeSource(512 * nodes, 64)])
            start = time.perf_counter()
            curated(data, Path(temporary) / "out", [MadeSource(args.masks or 4096, 256, work=20)])
            seconds[nodes] = time.perf_counter() - start
        print(f"{nodes} node(s): {seconds[nodes]:.1f} s", flush=True)
        ray.shutdown()
        cluster.shutdown()
    print(f"ratio {seconds[1] / seconds[2]:.2f}")


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "memory", "ray"])
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument("--masks", type=int, default=0, help="of this process alone (memory), or of the job (ray)")
    args = parser.parse_args()
    {"speed": speed, "memory": memory, "ray": ray_nodes}[args.what](args)


if __name__ == "__main__":
    main()
