"""Run by verl's own interpreter: what its configuration, its data set and its reward loader make of an export.

Arguments, all JSON files: the overrides that ``run.sh`` passes; completions to score, one a row; where to write what
was found.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
import verl
from tensordict import TensorDict
from verl import DataProto
from verl.experimental.reward_loop.reward_loop import migrate_legacy_reward_impl
from verl.trainer.ppo.reward import load_reward_manager
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils import hf_processor, hf_tokenizer
from verl.utils.config import validate_config
from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn
from verl.utils.tokenizer import build_multimodal_processor_inputs


def composed(overrides: list[str]) -> Any:
    """The configuration as verl's entry point has it."""
    folder = Path(verl.__file__).parent / "trainer" / "config"
    with hydra.initialize_config_dir(str(folder), version_base=None):
        config = hydra.compose("ppo_trainer", overrides)
    config = migrate_legacy_reward_impl(config)
    validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
    return config


def main(overrides: Path, completions: Path, out: Path) -> None:
    config = composed(json.loads(overrides.read_text()))
    path = config.actor_rollout_ref.model.path
    tokenizer, processor = hf_tokenizer(path), hf_processor(path)
    data = RLHFDataset(str(config.data.train_files), tokenizer, config.data, processor)
    manager = load_reward_manager(config, tokenizer)
    rows = []
    for row, text in zip(data, json.loads(completions.read_text()), strict=True):
        messages = row["raw_prompt"]
        prompt = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        images, videos, audios = data._process_multi_modal_info(messages, data.image_patch_size, config.data)
        seen = build_multimodal_processor_inputs(processor, text=[prompt], images=images, videos=videos, audio=audios)
        rows.append(
            {
                "input_ids": seen["input_ids"][0].tolist(),
                "grid": seen["image_grid_thw"].tolist(),
                "pixels": seen["pixel_values"].double().sum().item(),
                "reward": asyncio.run(rewarded(manager, row, tokenizer(text)["input_ids"])),
            }
        )
    found = {
        "rows": rows,
        "lr": config.actor_rollout_ref.actor.optim.lr,
        "rollouts": config.actor_rollout_ref.rollout.n,
        "reference": need_reference_policy(config),
        "critic": need_critic(config),
    }
    out.write_text(json.dumps(found))


async def rewarded(manager: Any, row: dict[str, Any], response: list[int]) -> Any:
    manager.loop = asyncio.get_running_loop()
    tokens = torch.tensor([response])
    tensors = TensorDict({"responses": tokens, "attention_mask": torch.ones_like(tokens)}, batch_size=1)
    others = {k: v for k, v in collate_fn([row]).items() if isinstance(v, np.ndarray)}
    return await manager.run_single(DataProto(batch=tensors, non_tensor_batch=others))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
