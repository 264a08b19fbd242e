"""Run by LLaMA-Factory's own interpreter: what its loader makes of an export, as JSON in the file named second."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer


def main(folder: Path, out: Path) -> None:
    values = yaml.safe_load((folder / "sft.yaml").read_text(encoding="utf-8"))
    # bfloat16 is refused without a GPU.
    values |= {"bf16": False, "use_cpu": True, "output_dir": str(folder / "output"), "dataset_dir": str(folder)}
    model, data, training, *_ = get_train_args(values)
    loaded = load_tokenizer(model)
    tokenizer, processor = loaded["tokenizer"], loaded["processor"]
    template = get_template_and_fix_tokenizer(tokenizer, data)
    made = get_dataset(template, model, data, training, stage="sft", tokenizer=tokenizer, processor=processor)
    rows = []
    for row in made["train_dataset"]:
        seen = template.mm_plugin.get_mm_inputs(row["images"], [], [], [1], [0], [0], [row["input_ids"]], processor)
        rows.append(
            {
                "input_ids": row["input_ids"],
                "labels": row["labels"],
                "grid": seen["image_grid_thw"].tolist(),
                "pixels": seen["pixel_values"].double().sum().item(),
            }
        )
    out.write_text(json.dumps({"rows": rows, "eval": len(made["eval_dataset"])}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
