"""The cold start stage: the base model learns the format and a first idea of the task from traces and answers."""

from __future__ import annotations

from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.context import Context
from medreasoner_monai.pipeline.progress import ProgressReporter, pick
from medreasoner_monai.pipeline.stage import Stage
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.reasoners.folder import write_note
from medreasoner_monai.training.finish import best_checkpoint, keep, save_whole
from medreasoner_monai.training.launch import METRICS, read_rows, run_worker
from medreasoner_monai.training.track import tracked

WORKER = "medreasoner_monai.training.sft_worker"
STAGE = Stage(
    "cold-start",
    "cold-start",
    version=2,
    code=("training.sft_worker", "training.finish"),
    libraries=("torch", "transformers", "trl", "accelerate", "deepspeed", "peft"),
    numeric=True,
)


def cold_start(context: Context, dataset: Artifact, base: Artifact) -> Artifact:
    """A checkpoint artifact: the fine-tuned model folder and its ``metrics.jsonl``."""
    chosen, model = context.settings.cold_start, context.settings.model
    settings = chosen.model_dump(mode="json")
    prompt = model.prompt

    def make(draft: Draft, watch: ProgressReporter) -> None:
        job = {
            "model": str(base.path),
            "train": str(dataset.path / "train.parquet"),
            "val": str(dataset.path / "val.parquet"),
            "folder": str(draft.scratch),
            "prompt": prompt,
            "settings": settings,
            "attention": model.attention,
            "threads": context.threads,
        }
        with tracked(context, "cold start", draft, settings, {"dataset": dataset, "base": base}, watch) as run:

            def row(values: dict[str, float]) -> None:
                run.row(values)
                watch.step(
                    int(values["step"]),
                    int(values["total"]),
                    **pick(values, "loss", "eval_loss", "mean_token_accuracy"),
                )

            run_worker(WORKER, job, draft.scratch, row, spread=chosen.deepspeed, note=watch.warn)
            keep(METRICS, draft.scratch, draft.path)
            run.curves(read_rows(draft.path / METRICS))
        best = best_checkpoint(draft.scratch / "checkpoints")
        draft.facts["step"] = int(best.name.rpartition("-")[2])
        save_whole(best, base.path, draft.path)
        write_note(draft.path, prompt=prompt, stage="cold start", dataset=dataset.digest, base=base.digest)

    return context.stage(
        STAGE,
        make,
        inputs={"dataset": dataset, "base": base},
        settings={**chosen.deciding(), "prompt": prompt, "attention": model.attention},
        title="cold start",
    )
