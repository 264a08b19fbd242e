"""What GRPO trains is what was drawn: TRL's forward gives each token the log-probability it was generated with.

Between the two stand left padding, pictures of different sizes, TRL's own making of the batch and its patched forward.
Positions in three dimensions come from ``mm_token_type_ids``: a path that loses them fails no call, and trains on other
probabilities than were drawn from.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import write_split
from medreasoner_monai.reasoners.folder import load_processor
from medreasoner_monai.task.keypoints import key_points, mask_box
from medreasoner_monai.task.prompts import template
from medreasoner_monai.training.dataset import training_set
from medreasoner_monai.training.pictures_once import see_pictures_once
from medreasoner_monai.training.worker import load_model
from tests.samples import sample

TEMPERATURE = 0.7
LENGTH = 24
CLOSE = 1e-4


def tall(number: int, question: str) -> Sample:
    """A sample with a picture of 60 x 100."""
    base = sample(number)
    mask = np.pad(base.mask, ((0, 60), (0, 0)))
    image = np.pad(base.image, ((0, 60), (0, 0)), mode="reflect")
    return sample(number, image=image, mask=mask, box=mask_box(mask), points=key_points(mask), question=question)


@pytest.fixture(scope="module")
def trainer(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """GRPO's trainer as the worker makes it, without DeepSpeed, and two questions that differ in all lengths."""
    folder = tmp_path_factory.mktemp("parity")
    write_split(folder / "train.parquet", [sample(0), tall(1, "Where, among these, is the bright area number 1?")])
    processor = load_processor(tiny_model)
    made: Any = GRPOTrainer(
        model=load_model(str(tiny_model), gpu=False, freeze_vision=True),
        reward_funcs=[lambda completions, **_: [float(len(c[-1]["content"])) for c in completions]],
        args=GRPOConfig(
            output_dir=str(folder / "checkpoints"),
            per_device_train_batch_size=4,
            num_generations=2,
            max_completion_length=LENGTH,
            temperature=TEMPERATURE,
            beta=0.0,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=training_set(folder / "train.parquet", processor, template("brief"), answered=False),
        processing_class=processor,
    )
    see_pictures_once(made.model.model.visual)
    return made


def chosen(logits: tuple[Tensor, ...], tokens: Tensor) -> Tensor:
    """Log-probabilities ``(N, tokens)`` of the drawn tokens ``(N, tokens)`` from each step's logits ``(N, words)``."""
    scores = torch.stack(logits, dim=1).float() / TEMPERATURE
    return scores.log_softmax(-1).gather(2, tokens[:, : scores.shape[1], None])[..., 0]


def trained(trainer: Any, prompts: dict[str, Tensor], completions: Tensor, mask: Tensor) -> Tensor:
    """What the trainer's forward makes of the same tokens ``(N, tokens)``."""
    ids = torch.cat([prompts["input_ids"], completions], dim=1)
    attention = torch.cat([prompts["attention_mask"], mask], dim=1)
    more = {name: value for name, value in prompts.items() if name not in ("input_ids", "attention_mask")}
    if "mm_token_type_ids" in more:
        kinds = more["mm_token_type_ids"]
        more["mm_token_type_ids"] = torch.cat([kinds, kinds.new_zeros(completions.shape)], dim=1)
    with torch.no_grad():
        scores: Tensor = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, attention, completions.shape[1], num_images=[1] * len(ids), **more
        )[0]
    return scores


@pytest.mark.parametrize("sampled", [False, True], ids=["greedy", "sampled"])
def test_training_gives_the_log_probabilities_of_generation(trainer: Any, sampled: bool) -> None:
    processor, rows = trainer.processing_class, [trainer.train_dataset[n] for n in range(2)]
    chats = [
        processor.apply_chat_template(template("brief").messages(r["prompt"][0]["content"]), add_generation_prompt=True)
        for r in rows
    ]
    prompts = dict(processor(images=[r["images"][0] for r in rows], text=chats, padding=True, return_tensors="pt"))
    grids = prompts["image_grid_thw"].tolist()
    assert grids[0] != grids[1] and prompts["attention_mask"].sum(1).unique().numel() == 2
    assert prompts["attention_mask"][:, 0].min() == 0 and prompts["attention_mask"][:, -1].min() == 1  # on the left

    torch.manual_seed(5)
    options = {"do_sample": True, "temperature": TEMPERATURE, "top_k": 0} if sampled else {"do_sample": False}
    with torch.no_grad():
        drawn = trainer.model.generate(
            **prompts,
            **options,
            min_new_tokens=LENGTH,
            max_new_tokens=LENGTH,
            output_logits=True,
            return_dict_in_generate=True,
        )
    completions = drawn.sequences[:, prompts["input_ids"].shape[1] :]
    expected = chosen(drawn.logits, completions)
    # One completion is shorter than the other.
    mask = torch.ones_like(completions)
    mask[0, LENGTH // 2 :] = 0
    completions = completions.where(mask == 1, processor.tokenizer.pad_token_id)

    found = trained(trainer, prompts, completions, mask)
    torch.testing.assert_close(found * mask, expected * mask, rtol=0, atol=CLOSE)

    kinds = prompts.pop("mm_token_type_ids")
    assert kinds.shape == prompts["input_ids"].shape
    without = trained(trainer, prompts, completions, mask)
    assert ((without - expected) * mask).abs().max() > 10 * CLOSE


def test_the_batch_that_trl_makes_has_them_too(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    logits: list[tuple[Tensor, ...]] = []
    generate = trainer.model.generate

    def recorded(**inputs: Any) -> Tensor:
        assert "mm_token_type_ids" in inputs
        settings = copy.deepcopy(inputs.pop("generation_config"))
        settings.output_logits = settings.return_dict_in_generate = True
        out = generate(**inputs, generation_config=settings)
        logits.append(out.logits)
        sequences: Tensor = out.sequences
        return sequences

    monkeypatch.setattr(trainer.model, "generate", recorded)
    one, other = (trainer.train_dataset[n] for n in range(2))

    batch = trainer._generate_and_score_completions([one, one, other, other])

    tokens, mask = batch["completion_ids"], batch["completion_mask"]
    expected = chosen(logits[0], tokens)
    more = {name: batch[name] for name in ("pixel_values", "image_grid_thw", "mm_token_type_ids")}
    with torch.no_grad():
        found = trainer._get_per_token_logps_and_entropies(
            trainer.model,
            torch.cat([batch["prompt_ids"], tokens], dim=1),
            torch.cat([batch["prompt_mask"], mask], dim=1),
            tokens.shape[1],
            num_images=batch["num_images"],
            **more,
        )[0]
    torch.testing.assert_close(found * mask, expected * mask, rtol=0, atol=CLOSE)
    assert not torch.equal(tokens[0], tokens[1])
