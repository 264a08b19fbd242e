"""Train the network of the segmenter `fusion` on folders of pictures and masks, and measure it on others.

    python -m benchmarks.fusion_training FOLDER ... --work WORK [--held-out 0.25] [--epochs 40] [--out FILE]

Each FOLDER is in BiomedParse's naming, or holds such folders. Sets whose SOURCE.json states a licence that restricts
use or derivatives (non-commercial, share-alike, GPL), or none, are left out of training and measured as sets never
seen; `--any-licence` trains on them too, for weights that stay with you. Of the others a share of the patients is held
out. WORK keeps what the two engines made of each image: the slow part (about 2.5 s an image), done once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medreasoner_monai.data.labelled import LabelledImage, Target
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sources.folders import FolderSource, folder_sources
from medreasoner_monai.evaluation.jitter import generator, jittered
from medreasoner_monai.segmenters.fusion import Embedding, FusionSegmenter
from medreasoner_monai.segmenters.fusion_net import FusionNet, load
from medreasoner_monai.segmenters.fusion_view import CLASSICAL, LEARNED, PLANES, SIDE, Window, resampled, sample
from medreasoner_monai.segmenters.lite_medsam import load as load_learned
from medreasoner_monai.segmenters.protocol import Mask, Prompt
from medreasoner_monai.settings.data import FolderSettings
from medreasoner_monai.task.geometry import Box, Points
from medreasoner_monai.task.keypoints import key_points, mask_box

RESTRICTED = re.compile(r"\bNC\b|BY-NC|\bSA\b|BY-SA|GPL|non-?commercial", re.IGNORECASE)
PATIENT = re.compile(r"^[A-Za-z0-9]+-(\w+?)-|(?:^|[-_])[pP](\d+)")
VARIANTS = ("true", "jittered", "box alone", "jittered more")
"""How an example's prompt differs from the mask's own box and points."""


@dataclass(frozen=True, eq=False)
class Example:
    """One mask under every variant of its prompt.

    ``planes`` is float16 ``(variants, planes, SIDE, SIDE)``, ``truth`` the share of each cell that is target,
    ``(variants, SIDE, SIDE)``, ``windows`` what they cover, ``(variants, 4)``.
    """

    set: str
    group: str
    target: str
    planes: NDArray[np.float16]
    truth: NDArray[np.float16]
    windows: NDArray[np.float64]
    mask: Mask


def shaken(points: Points, box: Box, rng: np.random.Generator) -> Points:
    """Points moved by a few hundredths of the box's size."""
    w, h = box.x2 - box.x1, box.y2 - box.y1
    d = rng.normal(0, 0.04, 4) * (w, h, w, h)
    moved = [
        (min(max(x + dx, 0.0), float(box.frame.width)), min(max(y + dy, 0.0), float(box.frame.height)))
        for (x, y), (dx, dy) in zip(points.xy, d.reshape(2, 2), strict=True)
    ]
    return Points(moved[0], moved[1], points.frame)


def prompts_of(mask: Mask, rng: np.random.Generator) -> list[Prompt]:
    """The mask's prompt in each of :data:`VARIANTS`."""
    box, points = mask_box(mask), key_points(mask)
    return [
        Prompt(box, points),
        Prompt(jittered(box, 0.1, rng), points),
        Prompt(box if rng.random() < 0.4 else jittered(box, 0.12, rng)),
        Prompt(jittered(box, 0.16, rng), shaken(points, box, rng)),
    ]


def together(picture: LabelledImage, random: np.random.Generator, count: int = 2) -> Iterator[Target]:
    """Unions of some of a picture's targets, where it has three at least."""
    if len(picture.targets) < 3:
        return
    for k in range(count):
        chosen = random.choice(len(picture.targets), random.integers(2, len(picture.targets) + 1), replace=False)
        mask = np.logical_or.reduce([picture.targets[i].mask for i in chosen])
        yield Target(f"together {k}", mask, picture.id)


def examples_of(
    picture: LabelledImage, name: str, group: str, engine: FusionSegmenter, embedding: Embedding
) -> Iterator[Example]:
    """One per target of a picture, and two of several targets together: what has many parts is rare in most sets."""
    for target in (*picture.targets, *together(picture, generator(name, picture.id))):
        prompts = prompts_of(target.mask, generator(name, picture.id, target.name))
        found = dict(engine.views(embedding, prompts))
        views = [found[i] for i in range(len(prompts))]
        rows, cols = target.mask.shape
        solid = target.mask.astype(np.float32)
        yield Example(
            name,
            group,
            target.name,
            np.stack([v.planes for v in views]).astype(np.float16),
            np.stack([sample(solid, v.window, (0, 0, cols, rows), 0.0) for v in views]).astype(np.float16),
            np.array([(v.window.x1, v.window.y1, v.window.x2, v.window.y2) for v in views]),
            target.mask,
        )


def patient_of(source: FolderSource, picture: LabelledImage) -> str:
    """Who a picture is of, as far as its name says it."""
    found = PATIENT.search(picture.id)
    return f"{source.name}/{next(filter(None, found.groups()))}" if found else picture.group


def collect(
    sources: Sequence[FolderSource],
    work: Path,
    embed: Callable[[FolderSource, str, Any], Embedding],
    engine: FusionSegmenter,
    say: Callable[[str], None],
) -> list[Path]:
    """A file of examples for every picture, made where it is not there yet."""
    done: list[Path] = []
    for source in sources:
        for unit in source.units():
            path = work / source.name / f"{Path(unit.key).stem}.npz"
            if not path.is_file():
                for picture in source.read(unit):
                    if not isinstance(picture, Reject):
                        embedding = embed(source, unit.key, picture.image)
                        found = list(examples_of(picture, source.name, patient_of(source, picture), engine, embedding))
                        save(path, found)
            if path.is_file():
                done.append(path)
        say(f"{source.name}: {len(done)} pictures so far")
    return done


def save(path: Path, found: Sequence[Example]) -> None:
    """Write a picture's examples."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part.npz")
    np.savez(
        temporary,
        about=json.dumps([[e.set, e.group, e.target] for e in found]),
        **{
            f"{name}{i}": getattr(e, name)
            for i, e in enumerate(found)
            for name in ("planes", "truth", "windows", "mask")
        },
    )
    temporary.replace(path)


def read(path: Path) -> list[Example]:
    """A picture's examples."""
    with np.load(path) as kept:
        about = json.loads(str(kept["about"]))
        return [
            Example(*named, *(kept[f"{part}{i}"] for part in ("planes", "truth", "windows", "mask")))
            for i, named in enumerate(about)
        ]


def augmented(planes: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch flipped and turned, with other brightness and contrast, and now and then without one engine's word."""
    n = len(planes)
    if torch.rand(()) < 0.5:
        planes, truth = planes.flip(-1), truth.flip(-1)
    if torch.rand(()) < 0.5:
        planes, truth = planes.flip(-2), truth.flip(-2)
    planes = planes.clone()
    if torch.rand(()) < 0.5:
        planes, truth = planes.transpose(-1, -2).contiguous(), truth.transpose(-1, -2)
        planes[:, PLANES.index("aspect of the box")] *= -1
    standard, grey = PLANES.index("grey, standardised"), PLANES.index("grey")
    inverted = torch.rand(n) < 0.15
    planes[inverted, standard] *= -1
    planes[inverted, grey] = 1 - planes[inverted, grey]
    gain, offset = 1 + 0.2 * torch.randn(n, 1, 1), 0.1 * torch.randn(n, 1, 1)
    planes[:, standard] = planes[:, standard] * gain + offset
    planes[:, grey] = (planes[:, grey] * (1 + 0.15 * torch.randn(n, 1, 1)) + 0.05 * torch.randn(n, 1, 1)).clamp(0, 1)
    planes[:, LEARNED] = planes[:, LEARNED] * (1 + 0.15 * torch.randn(n, 1, 1)) + 0.05 * torch.randn(n, 1, 1)
    planes[torch.rand(n) < 0.06, LEARNED] = 0
    planes[torch.rand(n) < 0.06, CLASSICAL] = 0
    return planes, truth


def loss_of(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross entropy plus soft Dice, per example and averaged."""
    cross = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
    p = torch.sigmoid(logits)
    both, total = (p * truth).sum((1, 2)), (p + truth).sum((1, 2))
    return cross + (1 - (2 * both + 1) / (total + 1)).mean()


def train(
    found: Sequence[Example],
    epochs: float,
    seed: int,
    say: Callable[[str], None],
    begin: FusionNet | None = None,
    batch: int = 24,
) -> FusionNet:
    """A network trained on every variant of some examples; small sets are drawn more often than their share.

    ``begin`` is trained on, at a lower rate, in place of a new one.
    """
    rate = 4e-3 if begin is None else 2e-3
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    counts: dict[str, int] = defaultdict(int)
    for e in found:
        counts[e.set] += 1
    chance = np.array([counts[e.set] ** -0.5 for e in found])
    chance /= chance.sum()
    net = (begin or FusionNet()).requires_grad_(True).train().to(memory_format=torch.channels_last)
    steps = int(epochs * len(found) / batch)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.15)
    mean, start = 0.0, time.monotonic()
    for step in range(steps):
        drawn = rng.choice(len(found), batch, p=chance)
        variants = rng.choice(len(VARIANTS), batch, p=(0.35, 0.3, 0.15, 0.2))
        planes = torch.from_numpy(np.stack([found[i].planes[v] for i, v in zip(drawn, variants, strict=True)])).float()
        truth = torch.from_numpy(np.stack([found[i].truth[v] for i, v in zip(drawn, variants, strict=True)])).float()
        loss = loss_of(*_answered(net, planes, truth))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        mean = loss.item() if not step else 0.98 * mean + 0.02 * loss.item()
        if step % 50 == 49:
            say(f"step {step + 1}/{steps} loss {mean:.4f} {time.monotonic() - start:.0f} s")
    return net.eval()


def _answered(net: FusionNet, planes: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    planes, truth = augmented(planes, truth)
    # Twice as fast on processors that know bfloat16; the weights stay in single precision.
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(planes.contiguous(memory_format=torch.channels_last))
    return logits.float(), truth


def dice(found: Mask, truth: Mask) -> float:
    """``2 I / (A + B)``."""
    return 2 * float((found & truth).sum()) / max(float(found.sum() + truth.sum()), 1.0)


def scores(net: FusionNet, found: Sequence[Example], variant: int) -> list[float]:
    """Dice of every example's mask, drawn from the square alone: a little less than the engine's."""
    done = []
    for start in range(0, len(found), 32):
        group = found[start : start + 32]
        with torch.inference_mode():
            logits = net(torch.from_numpy(np.stack([e.planes[variant] for e in group])).float()).numpy()
        for e, one in zip(group, logits, strict=True):
            window = Window(*e.windows[variant])
            rows, cols = e.mask.shape
            x1, y1 = min(max(round(window.x1), 0), cols - 1), min(max(round(window.y1), 0), rows - 1)
            x2, y2 = min(max(round(window.x2), x1 + 1), cols), min(max(round(window.y2), y1 + 1), rows)
            mask = np.zeros_like(e.mask)
            mask[y1:y2, x1:x2] = resampled(one, window.area, (x1, y1, x2, y2)) > 0
            done.append(dice(mask, e.mask))
    return done


def held_out(example: Example, share: float) -> bool:
    """Whether a patient is kept for measuring: by a hash of the name, so that it stays so as sets grow."""
    return int(hashlib.sha256(example.group.encode()).hexdigest()[:8], 16) / 16**8 < share


def main() -> None:
    """Collect, train, measure, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("fusion.safetensors"))
    parser.add_argument("--held-out", type=float, default=0.25, help="share of the patients; 0 trains on all")
    parser.add_argument("--epochs", type=float, default=40)
    parser.add_argument("--start", type=Path, metavar="FILE", help="weights to go on from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--any-licence", action="store_true")
    parser.add_argument(
        "--also", action="append", default=[], metavar="SET", help="whose licence you have read yourself"
    )
    args = parser.parse_args()
    sources = [s for folder in args.folder for s in folder_sources(FolderSettings(kind="folder", path=folder))]
    net = FusionNet().eval()
    engine = FusionSegmenter(load_learned(), net, {})
    files = collect(sources, args.work, lambda source, key, image: engine.embed(image), engine, print)
    free = {s.name for s in sources if args.any_licence or not RESTRICTED.search(s.description)}
    free -= {s.name for s in sources if s.description == "licence not stated" and not args.any_licence}
    free |= set(args.also)
    every = [e for file in files for e in read(file)]
    known = [e for e in every if e.set in free and not held_out(e, args.held_out)]
    print(f"training on {len(known)} masks of {', '.join(sorted({e.set for e in known}))}")
    net = train(known, args.epochs, args.seed, print, load(args.start) if args.start else None)
    for name, part in (
        ("patients held out", [e for e in every if e.set in free and held_out(e, args.held_out)]),
        ("sets never seen", [e for e in every if e.set not in free]),
    ):
        for variant, kind in enumerate(VARIANTS):
            if part:
                print(f"{name}, {kind}: Dice {np.mean(scores(net, part, variant)):.4f} ({len(part)} masks)")
    write(net, args.out, sorted(free))


def write(net: FusionNet, out: Path, sets: Sequence[str]) -> None:
    """The weights in half precision, with the sets' names beside them, and a look that they can be read."""
    from safetensors.torch import save_file

    state = {n: v.half() if v.is_floating_point() else v for n, v in net.state_dict().items()}
    save_file(state, out, metadata={"trained on": ", ".join(sets), "side": str(SIDE)})
    load(out)
    print(f"{out}: sha256 {hashlib.sha256(out.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
