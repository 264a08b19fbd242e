"""The base stage: the model that training starts from, either a folder the user has or a starter built from nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from medreasoner_monai.data import schema
from medreasoner_monai.files import write_json
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.context import Context
from medreasoner_monai.pipeline.progress import ProgressReporter, pick
from medreasoner_monai.pipeline.stage import Stage
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.reasoners.folder import check_folder, folder_digest, load_processor, write_note
from medreasoner_monai.reasoners.starter import build
from medreasoner_monai.training.dataset import answer_text
from medreasoner_monai.training.finish import keep
from medreasoner_monai.training.launch import METRICS, read_rows, run_worker
from medreasoner_monai.training.track import tracked

WORKER = "medreasoner_monai.training.vision_worker"
STAGE = Stage(
    "base",
    "base",
    version=3,
    code=("training.vision_worker", "reasoners.starter"),
    libraries=("torch", "transformers", "tokenizers"),
    numeric=True,
)
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


def base_model(context: Context, dataset: Artifact) -> Artifact:
    """The base model artifact. A folder from elsewhere is linked file by file, not copied."""
    model = context.settings.model
    if model.path is not None:
        return adopt(context, model.path)
    settings = {
        "starter": model.starter.model_dump(mode="json"),
        "vision": model.vision.model_dump(mode="json"),
    }

    def make(draft: Draft, watch: ProgressReporter) -> None:
        raw = draft.scratch / "raw"
        if not (raw / "built.json").is_file():
            size = build(raw, texts(dataset.path / "train.parquet"), model.starter)
            write_json(raw / "built.json", size)
        draft.facts.update(json.loads((raw / "built.json").read_text()))
        job = {
            "model": str(raw),
            "train": str(dataset.path / "train.parquet"),
            "folder": str(draft.scratch),
            "out": str(draft.path),
            "settings": settings["vision"],
            "threads": context.threads,
        }
        with tracked(context, "vision warm-up", draft, settings, {"dataset": dataset}, watch) as run:

            def row(values: dict[str, float]) -> None:
                run.row(values)
                watch.step(int(values["step"]), int(values["total"]), **pick(values, "loss"))

            run_worker(WORKER, job, draft.scratch, row, note=watch.warn)
            keep(METRICS, draft.scratch, draft.path)
            run.curves(read_rows(draft.path / METRICS))
        write_note(draft.path, prompt=model.prompt, stage="base", dataset=dataset.digest)

    return context.stage(STAGE, make, inputs={"dataset": dataset}, settings=settings)


def adopt(context: Context, folder: Path) -> Artifact:
    """An artifact of links to a model folder's files, so that large weights lie on the disk once.

    With ``model.max_pixels`` the processor's own files are written anew, with that limit.
    """
    check_folder(folder)
    limit = context.settings.model.max_pixels

    def make(draft: Draft, watch: ProgressReporter) -> None:
        for path in sorted(folder.iterdir()):
            link = draft.path / path.name
            if path.is_file():
                link.unlink(missing_ok=True)  # of an attempt before this one
                link.symlink_to(path.resolve())
        if limit is not None:
            limited = draft.scratch / "processor"
            processor = limited_processor(folder, limit)
            processor.save_pretrained(limited)
            processor.image_processor.save_pretrained(limited)  # older readers look for a file of its own
            for name in PROCESSOR_FILES:
                if (limited / name).is_file():
                    (draft.path / name).unlink(missing_ok=True)  # the link, not what it leads to
                    shutil.copy2(limited / name, draft.path / name)
        watch.step(1, 1)

    settings = {"model": folder_digest(folder), "max_pixels": limit}
    return context.stage(STAGE, make, inputs={}, settings=settings)


def limited_processor(folder: Path, max_pixels: int | None) -> Any:
    """A folder's processor, which shrinks pictures of more than ``max_pixels`` square pixels."""
    processor = load_processor(folder)
    if max_pixels is not None:
        images = processor.image_processor
        images.size = {"shortest_edge": min(images.size["shortest_edge"], max_pixels), "longest_edge": max_pixels}
        images.max_pixels = max_pixels
    return processor


def texts(split: Path) -> list[str]:
    """Everything a starter's tokenizer is to know: questions, traces and answers of a split."""
    found = []
    for where, row in schema.read_rows(split):
        _, question, truth = schema.read_task(row, where)
        found.append(f"{question}\n{answer_text(row['extra_info']['trace'], truth)}")
    return found
