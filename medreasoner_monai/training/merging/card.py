"""The model card: what the folder holds, where it comes from, how it was checked and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medreasoner_monai import RESEARCH_USE

CARD = "README.md"

_HEAD = """---
library_name: transformers
pipeline_tag: image-text-to-text
tags: [medical, grounding, research-use-only]
---

# {name}

A Qwen2.5-VL class model that answers a clinical question about an image with a reasoning trace, a box and two points.
{research_use}

The licence of the weights is that of the base model they were trained from.
"""

_USE = """
## Use

```
medreasoner evaluate --reasoner {name} --data test.parquet --out evaluation
```

It loads like any folder of its class (`Qwen2_5_VLForConditionalGeneration.from_pretrained`). Prompt template:
`{prompt}`. Answers are in the pixels of the image as the processor resized it. They can be wrong and sound sure.
"""

_ROWS = (
    ("source", "merged from"),
    ("step", "training step"),
    ("dtype", "stored as"),
    ("parameters", "parameters"),
    ("base", "base model (digest)"),
    ("start", "started from (artifact)"),
    ("dataset", "data (artifact)"),
    ("config", "training settings (digest)"),
    ("shards", "shards (artifact)"),
)


def write_card(folder: Path, name: str, facts: Mapping[str, Any]) -> None:
    """Write ``README.md`` from a merge's facts; what is not known is left out."""
    text = _HEAD.format(name=name, research_use=RESEARCH_USE)
    text += _table("Lineage", [(label, facts[key]) for key, label in _ROWS if facts.get(key) is not None])
    text += f"\n## Check\n\n{_checked(facts)}\n"
    figures = facts.get("figures") or {}
    if figures:
        rows = [(name.replace("_", " "), f"{value:.4g}") for name, value in figures.items()]
        text += _table("At the last step logged while training", rows)
        text += "\nThese are on training data; they say nothing about how good the model is.\n"
    text += _USE.format(name=name, prompt=facts.get("prompt") or "not recorded")
    (folder / CARD).write_text(text, encoding="utf-8")


def _checked(facts: Mapping[str, Any]) -> str:
    text = "The folder was loaded again and every parameter compared with its source, bit for bit."
    probe = facts.get("probe")
    if probe is None:
        return f"{text} No probe of the live model was kept, so its logits were not compared."
    return (
        f"{text} Its logits on a probe differ from those of the live model ({probe['dtype']}, {probe['device']}) by at "
        f"most {probe['max_abs_difference']:.3g}; {probe['tolerance']:.3g} was allowed."
    )


def _table(title: str, rows: list[tuple[str, Any]]) -> str:
    lines = "\n".join(f"| {label} | {_cell(value)} |" for label, value in rows)
    return f"\n## {title}\n\n| | |\n|---|---|\n{lines}\n"


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")
