"""The GRPO stage: the cold-started model learns from the rewards of its own answers, under DeepSpeed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medreasoner_monai.errors import StageFailedError
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.context import Context
from medreasoner_monai.pipeline.progress import ProgressReporter, pick
from medreasoner_monai.pipeline.stage import Stage
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.rewards import SUITES
from medreasoner_monai.training.finish import best_checkpoint, keep
from medreasoner_monai.training.launch import COMPLETIONS, METRICS, read_rows, run_worker
from medreasoner_monai.training.track import tracked

WORKER = "medreasoner_monai.training.grpo_worker"
SHARDS = "shards"
STAGE = Stage(
    "grpo",
    "grpo",
    version=2,
    code=("training.grpo_worker", "training.finish"),
    libraries=("torch", "transformers", "trl", "accelerate", "deepspeed", "peft"),
    numeric=True,
)


def grpo(context: Context, dataset: Artifact, start: Artifact) -> Artifact:
    """An artifact with the best checkpoint's ZeRO shards, ``metrics.jsonl`` and a sample of completions."""
    chosen, model = context.settings.grpo, context.settings.model
    settings = chosen.model_dump(mode="json")
    prompt = model.prompt

    def make(draft: Draft, watch: ProgressReporter) -> None:
        job = {
            "model": str(start.path),
            "train": str(dataset.path / "train.parquet"),
            "val": str(dataset.path / "val.parquet"),
            "folder": str(draft.scratch),
            "prompt": prompt,
            "settings": settings,
            "attention": model.attention,
            "threads": context.threads,
        }
        if warning := unrewarded_absence(dataset.facts, chosen.rewards.suite):
            watch.warn(warning)
        with tracked(context, "GRPO", draft, settings, {"dataset": dataset, "start": start}, watch) as run:

            def row(values: dict[str, float]) -> None:
                run.row(values)
                watch.step(int(values["step"]), int(values["total"]), **pick(values, "reward", "eval_reward", "kl"))

            run_worker(WORKER, job, draft.scratch, row, spread=chosen.deepspeed, note=watch.warn)
            keep(METRICS, draft.scratch, draft.path)
            keep(COMPLETIONS, draft.scratch, draft.path)
            if (draft.path / COMPLETIONS).is_file():
                run.file(draft.path / COMPLETIONS)
            run.curves(read_rows(draft.path / METRICS))
        best = best_checkpoint(draft.scratch / "checkpoints")
        draft.facts["step"] = int(best.name.rpartition("-")[2])
        keep_shards(best, draft.path / SHARDS)

    return context.stage(
        STAGE,
        make,
        inputs={"dataset": dataset, "start": start},
        settings={**chosen.deciding(), "prompt": prompt, "attention": model.attention},
        title="GRPO",
    )


def unrewarded_absence(facts: Mapping[str, Any], name: str) -> str | None:
    """What is wrong with learning from absent targets by a suite that pays nothing for finding none; None if nothing.

    Parameters
    ----------
    facts:
        The dataset artifact's.
    name:
        The reward suite's.
    """
    counts: Mapping[str, Any] = (facts.get("splits") or {}).get("train") or {}
    absent, all_of_them = sum((counts.get("absent") or {}).values()), counts.get("samples")
    if not absent or "abstention" in SUITES[name].terms:
        return None
    return (
        f"{absent} of {all_of_them} training questions have no target in their picture, and the rewards {name!r} pay "
        "as much for a region there as for the right answer: the model will unlearn to say that there is nothing; set "
        "grpo.rewards.suite to 'abstain'"
    )


def keep_shards(checkpoint: Path, out: Path) -> None:
    """Keep of a trainer's checkpoint what DeepSpeed sharded: ``latest``, the step folder it names, and adapters.

    Raises
    ------
    StageFailedError
        If the checkpoint is not there.
    """
    latest = checkpoint / "latest"
    if not latest.is_file():
        raise StageFailedError(f"{checkpoint} holds no DeepSpeed checkpoint; run the stage again")
    tag = latest.read_text().strip()
    if out.is_dir():
        shutil.rmtree(out)
    out.mkdir()
    shutil.copytree(checkpoint / tag, out / tag)
    for name in ("latest", "adapter_config.json", "adapter_model.safetensors"):
        if (checkpoint / name).is_file():
            shutil.copy2(checkpoint / name, out)


def sample_completions(folder: Path) -> list[dict[str, object]]:
    """The completions that were written down while training."""
    path = folder / COMPLETIONS
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
