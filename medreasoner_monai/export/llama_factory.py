"""An export for LLaMA-Factory: pictures, ShareGPT conversations, ``dataset_info.json`` and a training YAML."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from medreasoner_monai import __version__
from medreasoner_monai.data.rejects import Ids, Reject
from medreasoner_monai.export.folder import new_folder, write_rejects
from medreasoner_monai.export.llama_factory_settings import DEEPSPEED, OUTPUT, Machine, sft_settings, write_yaml
from medreasoner_monai.export.mapped import Facts, at_least_one, table, write_record
from medreasoner_monai.export.model import Model
from medreasoner_monai.export.rows import Row, Splits, exported
from medreasoner_monai.files import write_json
from medreasoner_monai.pipeline.progress import ProgressReporter
from medreasoner_monai.settings.config import Settings
from medreasoner_monai.training.deepspeed import deepspeed_config

IMAGES = "images"
SETTINGS = "sft.yaml"
NAME = "medreasoner"
_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}
_LEAST_SIDE, _GREATEST_RATIO, _RATIO_AFTER = 28, 200, 180
_README = """# {name} for LLaMA-Factory

Written by medreasoner_monai {version}. In an environment with LLaMA-Factory (checked with 0.9.5), in this folder:

```
{command}
```

The trained model is then in `{output}/`, a Qwen2.5-VL folder that medreasoner_monai takes as any other:
`medreasoner evaluate --reasoner {output} --prompt {prompt} --data test.parquet --out evaluation`.

{counts}

Pictures are stored as the model sees them, and the answers' coordinates are pixels of these pictures: leave
`image_max_pixels`, `image_min_pixels` and the model's processor as they are, or export again. What was set aside, and
why, stands in `rejects.json`.

## Settings

{table}

## What does not map one to one

- `cold_start.deepspeed`: LLaMA-Factory takes a file of DeepSpeed's own settings; `--zero` writes one.
- `cold_start.validate_samples`: the whole validation split is scored, and the best checkpoint is yours to choose.
- `cold_start.augment`: LLaMA-Factory has no views of its training pictures; each is shown as it is, every time.
- LLaMA-Factory shuffles by its own random numbers: the same seed gives another order of the samples.
- A starter's warm-up of the vision tower has no counterpart; start from a model that went through it.
"""


def handed(width: int, height: int) -> tuple[int, int]:
    """A picture's size after LLaMA-Factory's own step, when its pixel limits are out of the way.

    >>> handed(84, 56), handed(20, 700), handed(30, 6030)
    ((84, 56), (28, 700), (30, 5400))
    """
    width, height = max(width, _LEAST_SIDE), max(height, _LEAST_SIDE)
    if width > _GREATEST_RATIO * height:
        width = _RATIO_AFTER * height
    if height > _GREATEST_RATIO * width:
        height = _RATIO_AFTER * width
    return width, height


def export_llama_factory(
    settings: Settings, model: Model, splits: Splits, out: Path, machine: Machine, watch: ProgressReporter
) -> dict[str, int]:
    """Write the export; returns how many rows each split has, and ``rejects``.

    Raises
    ------
    InputError
        If ``out`` is in use, or a split has no row left.
    ConfigError
        If the batch cannot be shared out over the GPUs.
    """
    machine.share(settings.cold_start.batch)
    model.default_system  # noqa: B018 - refuses a chat template that cannot be had, before any work
    with new_folder(out) as folder:
        (folder / IMAGES).mkdir()
        facts: dict[str, Facts] = {}
        rejects: dict[str, list[Reject]] = {}
        ids = Ids()
        for split in splits.names:
            facts[split], rejects[split] = _write_split(folder, split, splits, model, watch, ids)
            at_least_one(split, facts[split], rejects[split])
        names = {split: f"{NAME}_{split}" for split in splits.names}
        write_json(folder / "dataset_info.json", {names[s]: _described(f"{s}.jsonl") for s in names})
        mapped = sft_settings(settings.cold_start, model, facts, names, machine)
        write_yaml(folder / SETTINGS, mapped)
        if machine.zero_stage is not None:
            write_json(folder / DEEPSPEED, deepspeed_config(machine.zero_stage, gpu=True))
        counts = {split: f.rows for split, f in facts.items()}
        text = _README.format(
            name=settings.name,
            version=__version__,
            command=_command(machine),
            output=OUTPUT,
            prompt=model.prompt.name,
            counts=" ".join(f"{n} samples in {split}." for split, n in counts.items()),
            table=table(mapped),
        )
        (folder / "README.md").write_text(text, encoding="utf-8")
        write_record(folder, "llama-factory", model, splits, facts)
        return {**counts, "rejects": write_rejects(folder, rejects)}


def _write_split(
    folder: Path, split: str, splits: Splits, model: Model, watch: ProgressReporter, ids: Ids
) -> tuple[Facts, list[Reject]]:
    facts, rejects = Facts(), []
    with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as lines:
        for row in exported(splits, split, model, handed, watch, answered=True, ids=ids):
            if isinstance(row, Reject):
                rejects.append(row)
                continue
            lines.write(json.dumps(_line(row, _keep(folder, row.png)), ensure_ascii=False) + "\n")
            facts.add(row)
    return facts, rejects


def _keep(folder: Path, data: bytes) -> str:
    """Write a picture under a name made of its contents (many questions share one); its path in the folder."""
    name = f"{IMAGES}/{hashlib.sha256(data).hexdigest()[:32]}.png"
    if not (folder / name).exists():
        (folder / name).write_bytes(data)
    return name


def _line(row: Row, image: str) -> dict[str, Any]:
    messages = [
        {**m, "content": f"<image>{m['content']}"} if m["role"] == "user" else dict(m) for m in row.conversation
    ]
    return {"id": row.about["id"], "messages": messages, "images": [image]}


def _described(file_name: str) -> dict[str, Any]:
    return {
        "file_name": file_name,
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": _TAGS,
    }


def _command(machine: Machine) -> str:
    devices = ",".join(str(n) for n in range(machine.gpus))
    # Without a launcher DeepSpeed finds no process group, and LLaMA-Factory starts one for several GPUs alone.
    launcher = "FORCE_TORCHRUN=1 " if machine.zero_stage is not None else ""
    return f"CUDA_VISIBLE_DEVICES={devices} {launcher}llamafactory-cli train {SETTINGS}"
