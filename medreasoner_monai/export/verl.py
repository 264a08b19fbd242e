"""An export for verl: parquet as its RLHFDataset reads it, a reward file, and the command line."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medreasoner_monai import __version__
from medreasoner_monai.data.rejects import Ids, Reject
from medreasoner_monai.data.schema import DATA_SOURCE
from medreasoner_monai.export.folder import new_folder, write_rejects
from medreasoner_monai.export.mapped import Facts, Mapped, at_least_one, table, write_record
from medreasoner_monai.export.model import Model
from medreasoner_monai.export.rows import Row, Splits, exported
from medreasoner_monai.export.verl_settings import Cluster, check, grpo_settings, override
from medreasoner_monai.pipeline.progress import ProgressReporter
from medreasoner_monai.rewards import RewardSuite, suite
from medreasoner_monai.settings.config import Settings
from medreasoner_monai.settings.training import RewardSettings

REWARD = "reward.py"
RUN = "run.sh"
BATCH = 64
SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        (
            "images",
            pa.list_(pa.struct([("bytes", pa.binary()), ("min_pixels", pa.int64()), ("max_pixels", pa.int64())])),
        ),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        (
            "extra_info",
            pa.struct(
                [
                    ("split", pa.string()),
                    ("index", pa.int64()),
                    ("id", pa.string()),
                    ("category", pa.string()),
                    ("supercategory", pa.string()),
                    ("frame_width", pa.int64()),
                    ("frame_height", pa.int64()),
                ]
            ),
        ),
    ]
)
_REWARD = '''"""verl's custom reward function: the suite {suite!r} of medreasoner_monai {version}.

Its terms: {terms}.
"""

from medreasoner_monai.export.verl_reward import scorer

_score = scorer({suite!r}, weights={weights!r}, point_overlap={point_overlap!r}, think={think!r})


def compute_score(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    """The weighted sum as ``score``, and each term unweighted under its name."""
    return _score(solution_str, ground_truth, extra_info)
'''
_RUN = """#!/usr/bin/env bash
# GRPO with verl, as `medreasoner export verl` mapped it. Arguments are further overrides, such as trainer.nnodes=2;
# MODEL is another model folder to start from, PYTHON another interpreter.
set -euo pipefail
here="$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd)"
default={model}
model="${{MODEL:-$default}}"

exec "${{PYTHON:-python3}}" -m verl.trainer.main_ppo \\
  "data.train_files='$here/train.parquet'" \\
  "data.val_files='$here/{val}.parquet'" \\
  "custom_reward_function.path='$here/reward.py'" \\
  "actor_rollout_ref.model.path='$model'" \\
  "trainer.default_local_dir='$here/checkpoints'" \\
{overrides} \\
  "$@"
"""
_README = """# {name} for verl

Written by medreasoner_monai {version}. Where verl with vLLM is installed (checked against verl 0.9.1), install
medreasoner_monai beside it without its dependencies, of which the rewards need none but numpy
(`pip install --no-deps medreasoner-monai`, or the path of its source), then:

```
bash {run}
```

It starts from `{model}`,
or by `MODEL=folder bash {run}` from another, which must have the same processor: GRPO is meant to start from a
cold-started model. The checkpoints are verl's; a Qwen2.5-VL folder that
`medreasoner evaluate --reasoner` takes is made of one by
`python3 -m verl.model_merger merge --backend fsdp --local_dir checkpoints/global_step_N/actor --target_dir merged`.

{counts}

Pictures are stored as the model sees them, each with its own pixel limits so that nothing resizes it on the
way, and `reward_model.ground_truth` is counted in them. `{reward}` scores by the suite `{suite}`: {terms}. What was
set aside, and why, stands in `rejects.json`.

## Settings

{table}

## What does not map one to one

- `grpo.freeze_vision`: verl 0.9.1 takes `freeze_vision_tower`, and no line of it acts on it; the vision tower is
  trained. Earlier versions with FSDP workers froze it.
- `grpo.deepspeed.zero_stage`: verl shards by FSDP, all of it by default, as ZeRO-3 does.
- verl keeps the trained weights in 32 bits and computes in 16; GRPO here has 16-bit weights beside DeepSpeed's 32-bit
  copy.
- `grpo.loss.mask_truncated`: verl has no counterpart; `grpo.validate_samples`: it scores the whole validation split.
- `grpo.generation.engine`: verl always generates with vLLM in the training's GPUs.
- `grpo.steps` x `grpo.prompts` rows are drawn here before training; verl shuffles the whole split.
{no_val}"""
_NO_VAL = "- There is no validation split: verl insists on a file and is given train, which is never scored.\n"


def handed(width: int, height: int) -> tuple[int, int]:
    """A picture's size after verl's own step (qwen-vl-utils), when its pixel limits are out of the way.

    >>> handed(84, 56), handed(30, 700), handed(10, 41)
    ((84, 56), (28, 700), (28, 28))
    """
    return max(28, round(width / 28) * 28), max(28, round(height / 28) * 28)


def export_verl(
    settings: Settings, model: Model, splits: Splits, out: Path, cluster: Cluster, watch: ProgressReporter
) -> dict[str, int]:
    """Write the export; returns how many rows each split has, and ``rejects``.

    Raises
    ------
    InputError
        If ``out`` is in use, or a split has no row left.
    ConfigError
        If verl could not share out a round's prompts.
    """
    check(settings.grpo, cluster)
    rewards = settings.grpo.rewards
    chosen = suite(
        rewards.suite, weights=rewards.weights, point_overlap=rewards.point_overlap, think=model.prompt.think
    )
    with new_folder(out) as folder:
        facts: dict[str, Facts] = {}
        rejects: dict[str, list[Reject]] = {}
        ids = Ids()
        for split in splits.names:
            facts[split], rejects[split] = Facts(), []
            with pq.ParquetWriter(folder / f"{split}.parquet", SCHEMA) as writer:
                for batch in _batches(splits, split, model, watch, facts[split], rejects[split], ids):
                    writer.write_table(pa.Table.from_pylist(batch, SCHEMA))
            at_least_one(split, facts[split], rejects[split])
        mapped = grpo_settings(settings.grpo, model, facts, cluster, settings.name)
        (folder / REWARD).write_text(_reward(rewards, chosen), encoding="utf-8")
        (folder / RUN).write_text(_run(mapped, model, "val" if "val" in facts else "train"), encoding="utf-8")
        counts = {split: f.rows for split, f in facts.items()}
        text = _README.format(
            name=settings.name,
            version=__version__,
            run=RUN,
            model=model.folder,
            counts=" ".join(f"{n} prompts in {split}." for split, n in counts.items()),
            reward=REWARD,
            suite=rewards.suite,
            terms=_terms(chosen),
            table=table(mapped),
            no_val="" if "val" in facts else _NO_VAL,
        )
        (folder / "README.md").write_text(text, encoding="utf-8")
        reward = {"suite": rewards.suite, "point_overlap": rewards.point_overlap, "digest": chosen.digest}
        write_record(folder, "verl", model, splits, facts, rewards=reward)
        return {**counts, "rejects": write_rejects(folder, rejects)}


def _batches(
    splits: Splits, split: str, model: Model, watch: ProgressReporter, facts: Facts, rejects: list[Reject], ids: Ids
) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in exported(splits, split, model, handed, watch, answered=False, ids=ids):
        if isinstance(row, Reject):
            rejects.append(row)
            continue
        batch.append(_stored(row, split, facts.rows))
        facts.add(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _stored(row: Row, split: str, index: int) -> dict[str, Any]:
    width, height = handed(*row.picture.size)
    # With its own size as both limits a picture is only brought to whole tokens, whatever verl's defaults are.
    image = {"bytes": row.png, "min_pixels": width * height, "max_pixels": width * height}
    prompt = [{**m, "content": f"<image>{m['content']}"} if m["role"] == "user" else m for m in row.conversation]
    return {
        "data_source": DATA_SOURCE,
        "prompt": prompt,
        "images": [image],
        "ability": "grounding",
        "reward_model": {"style": "rule", "ground_truth": row.truth},
        "extra_info": {
            "split": split,
            "index": index,
            "id": row.about["id"],
            "category": row.about["category"],
            "supercategory": row.about["supercategory"],
            "frame_width": row.frame.width,
            "frame_height": row.frame.height,
        },
    }


def _reward(rewards: RewardSettings, chosen: RewardSuite) -> str:
    return _REWARD.format(
        suite=rewards.suite,
        version=__version__,
        terms=_terms(chosen),
        weights=dict(rewards.weights),
        point_overlap=rewards.point_overlap,
        think=chosen.think,
    )


def _terms(chosen: RewardSuite) -> str:
    return ", ".join(f"{name} x {chosen.weight(name):g}" for name in chosen.terms)


def _run(mapped: list[Mapped], model: Model, val: str) -> str:
    quoted = [f'  "{_shell(override(m.name, m.value))}"' for m in mapped]
    return _RUN.format(model=shlex.quote(str(model.folder)), val=val, overrides=" \\\n".join(quoted))


def _shell(text: str) -> str:
    """For between double quotes in bash."""
    for character in '\\"$`':
        text = text.replace(character, "\\" + character)
    return text
