"""A small test split of real phantoms, and answers made up to fit: some good, some bad, one unreadable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medreasoner_monai.data.questioning import phantom_samples
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import write_split
from medreasoner_monai.evaluation.presence import presence_report
from medreasoner_monai.evaluation.records import Record
from medreasoner_monai.evaluation.sides import sides_report, target_midline
from medreasoner_monai.report.inputs import Evaluated, ReportInputs
from medreasoner_monai.task.answer import Reason
from medreasoner_monai.task.geometry import box_iou, circle_dice

SITES = ("ct_abdomen", "chest_xray", "brain_mr")
MASKS = tuple(f"classical/{kind}" for kind in ("points", "box", "both"))
HOSTILE = '<script>alert("model")</script><think>no end'


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    shown = list(phantom_samples("test", 24, sites=SITES, per_phantom=2, seed=0))
    # The same pictures, asked for what they do not show.
    return shown + [
        replace(s, id=f"{s.id}-absent", mask=np.zeros_like(s.mask), box=None, points=None, absent=kind)
        for s, kind in zip(shown, ("removed", "healthy", "other part", "removed"), strict=False)
    ]


@pytest.fixture(scope="session")
def split(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dataset") / "test.parquet"
    write_split(path, samples)
    return path


@pytest.fixture(scope="session")
def inputs(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    return made_inputs(samples, tmp_path_factory.mktemp("ground"))


def made_record(sample: Sample, spread: float, rng: np.random.Generator, *, readable: bool = True) -> Record:
    """An answer as far from the truth as ``spread``, a share of the target's size."""
    facts = (sample.id, sample.category, sample.supercategory, sample.modality, sample.question)
    if not readable:
        return Record(*facts, HOSTILE, False, Reason.BLOCKS.value, "", None, None, 0.0, 0.0, dict.fromkeys(MASKS, 0.0))
    about = {"present": sample.present, "absent": sample.absent, "picture": sample.id.removesuffix("-absent")}
    if sample.truth is None:
        if rng.random() < 0.5:
            nothing = Reason.NOTHING_FOUND.value
            return Record(*facts, "Nothing of that kind.", False, nothing, "", None, None, 0.0, 0.0, **about)
        box, points = [8.0, 9.0, 60.0, 70.0], [[20.0, 30.0], [40.0, 50.0]]
        return Record(*facts, "text", True, "", "It is there.", box, points, 0.0, 0.0, **about)
    truth_box, truth_points = sample.truth
    about |= {"truth": list(truth_box.xyxy), "midline": target_midline(sample)}
    x1, y1, x2, y2 = truth_box.xyxy
    size = np.array([x2 - x1, y2 - y1, x2 - x1, y2 - y1])
    box = (np.array(truth_box.xyxy) + rng.normal(0, spread, 4) * size).round(1)
    box = np.array([min(box[0], box[2] - 2), min(box[1], box[3] - 2), box[2], box[3]])
    points = (np.array(truth_points.xy) + rng.normal(0, spread, (2, 2)) * size[:2]).round(1)
    iou = float(box_iou(box, truth_box.xyxy)[0])
    dice = float(circle_dice(points, truth_points.xy)[0])
    text = f"<think>{sample.trace}</think><answer>{json.dumps({'bbox': box.tolist()})}</answer>"
    masks = {name: 0.9 * iou + 0.02 * n for n, name in enumerate(MASKS)}
    return Record(*facts, text, True, "", sample.trace, box.tolist(), points.tolist(), iou, dice, masks, **about)


def made_evaluated(key: str, title: str, records: Sequence[Record]) -> Evaluated:
    """Metrics as an evaluation would have them, with a rough interval."""

    def measures(part: Sequence[Record]) -> dict[str, Any]:
        columns = {"box_iou": [r.box_iou for r in part], "point_dice": [r.point_dice for r in part]}
        columns |= {f"dice/{name}": [r.masks[name] for r in part] for name in MASKS}
        out = {}
        for name, values in columns.items():
            mean, error = float(np.mean(values)), 1.96 * float(np.std(values)) / len(values) ** 0.5
            out[name] = {"mean": mean, "low": max(0.0, mean - error), "high": mean + error, "n": len(values)}
        return out

    def by(field: str) -> dict[str, Any]:
        names = sorted({getattr(r, field) for r in present})
        return {name: measures([r for r in present if getattr(r, field) == name]) for name in names}

    present = [r for r in records if r.present]
    unreadable = [r.reason for r in records if r.unreadable]
    metrics = {
        "samples": len(records),
        "failure_rate": len(unreadable) / len(records),
        "failures": {reason: unreadable.count(reason) for reason in unreadable},
        "present": len(present),
        "absent": presence_report(records),
        "left_right": sides_report(records),
        "overall": measures(present),
        "by_supercategory": by("supercategory"),
        "by_category": by("category"),
    }
    return Evaluated(key, title, metrics, records)


def made_inputs(samples: list[Sample], folder: Path) -> ReportInputs:
    rng = np.random.default_rng(3)
    plan = (("blank_image", "Blank image", 0.5), ("base", "Base", 2.0), ("cold_start", "Cold start", 0.17),
            ("grpo", "GRPO", 0.14))  # fmt: skip
    evaluated = []
    for key, title, spread in plan:
        readable = [key == "blank_image" or n % 12 > 0 or not s.present for n, s in enumerate(samples)]
        records = [made_record(s, spread, rng, readable=r) for s, r in zip(samples, readable, strict=True)]
        evaluated.append(made_evaluated(key, title, records))

    def compared(a: int, b: int) -> dict[str, Any]:
        names = evaluated[a].metrics["overall"]
        gaps = {m: evaluated[b].measure(m)["mean"] - evaluated[a].measure(m)["mean"] for m in names}
        return {
            "a": plan[a][0],
            "b": plan[b][0],
            "measures": {
                m: {"difference": gap, "low": gap - 0.03 - 0.02 * n, "high": gap + 0.03 + 0.02 * n, "n": len(samples)}
                for n, (m, gap) in enumerate(gaps.items())
            },
        }

    def counted(field: str, times: int) -> dict[str, int]:
        names = [getattr(s, field) for s in samples]
        return {name: times * names.count(name) for name in sorted(set(names))}

    Image.effect_noise((768, 900), 40).convert("RGB").save(folder / "overlay.png")
    return ReportInputs(
        title="Starter reasoner",
        created="2025-11-22T13:40:00+00:00",
        config={"name": "starter", "grpo": {"steps": 30}, "tracking": {"mlflow_uri": "http://me:secret@host:5000"}},
        config_path="configs/starter.yaml",
        packages={"torch": "2.9.0", "trl": "1.10.0", "monai": "1.6.0"},
        dataset={
            "digest": "3fa1c2d4e5f60718" * 4,
            "description": "Procedural CT abdomen, chest X-ray and brain MR.",
            "synthetic": True,
            "rejects": 0,
            "splits": {
                name: {
                    "samples": times * len(samples),
                    "groups": times * len({s.group for s in samples}),
                    "categories": counted("category", times),
                    "supercategories": counted("supercategory", times),
                    "modalities": counted("modality", times),
                }
                for name, times in (("train", 100), ("val", 5), ("test", 1))
            },
        },
        evaluated=evaluated,
        comparisons=[compared(2, 3), compared(0, 3), compared(1, 2)],
        cold_start_curve=[
            {"step": s, "loss": 3 * 0.98**s + 0.4 + rng.normal(0, 0.05), "learning_rate": 2e-3 * (1 - s / 250)}
            for s in range(1, 251, 5)
        ],
        grpo_curve=[
            {
                "step": s,
                "loss": rng.normal(0, 0.01),
                "reward": 3 + 0.01 * s + rng.normal(0, 0.05),
                "reward_std": 0.3,
                "rewards/think_format/mean": 1.0,
                "rewards/think_format/std": 0.0,
                "rewards/answer_format/mean": 0.99 + rng.normal(0, 0.002),
                "rewards/box_iou/mean": 0.6 + 0.004 * s + rng.normal(0, 0.02),
                "rewards/points_dice/mean": 0.5 + 0.003 * s + rng.normal(0, 0.02),
                "kl": float("nan") if s == 1 else 0.0005 * s,
                "entropy": 0.8 - 0.01 * s,
                "completions/mean_length": 70 + rng.normal(0, 1),
                "learning_rate": 2e-4,
            }
            for s in range(1, 31)
        ],
        decision={
            "decision": "promote",
            "reasons": ["No champion yet, and every check passed."],
            "checks": [
                {"name": "unreadable answers", "passed": True, "value": 0.0833, "limit": 0.1, "text": "share of all"},
                {"name": "over blank image", "passed": True, "value": 0.31, "limit": 0.05, "text": "box IoU"},
            ],
            "model_name": "medreasoner",
            "version": 1,
            "alias": "champion",
            "champion": None,
        },
        grounding={"answer": made_answer(), "overlay": folder / "overlay.png", "seg": "ground/seg.dcm"},
        stages=[
            {"name": "curate", "seconds": 21.4, "digest": "aa11" * 16, "path": "dataset-aa11", "reused": True},
            {"name": "cold start", "seconds": 203.0, "digest": "bb22" * 16, "path": "checkpoint-bb22", "reused": False,
             "inputs": {"dataset": "aa11" * 16}},
        ],
        links={"MLflow": "http://127.0.0.1:5000/#/experiments/1", "Prefect": "http://127.0.0.1:4200/runs"},
        how_to_open="medreasoner ui --workspace runs/demo",
        completions=[{"step": 10, "text": HOSTILE, "reward": 0.4}],
        model={"class": "Qwen2_5_VLForConditionalGeneration", "parameters": 3_912_448, "prompt": "brief, version 1"},
    )  # fmt: skip


def made_answer() -> dict[str, Any]:
    finding = {
        "question": "Which bone carries the weight of the trunk?",
        "status": "found",
        "reason": "",
        "trace": "In the lower middle lies a bright area.",
        "codes": {"label": "vertebra"},
        "coded_from": "trace",
        "key_slice": 0,
        "voxels": 812,
        "mask_covers": "the whole series",
        "measurements": {"volume_ml": 4.321},
        "slices": [{"index": 0, "answered": True, "trace": "In the lower middle lies a bright area.", "voxels": 812}],
    }
    return {
        "slices_in_series": 1,
        "slices_asked": [0],
        "findings": [finding],
        "reasoner": {"name": "medreasoner", "digest": "cc33" * 16},
        "segmenter": {"name": "classical", "digest": "dd44" * 16},
        "digests": {"prompt": "ee55" * 16},
        "repairs": [],
    }
