"""A small Qwen2.5-VL, built from a config and trained from nothing: real classes, real files, minutes on two cores.

What is written is an ordinary Hugging Face folder (config, safetensors, tokenizer, chat template, processor), and it is
loaded as a 7B folder would be.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medreasoner_monai.settings.starter import StarterSettings

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# The answer's fixed pieces become one token each and a number one token, so that a short completion carries the answer;
# everything else is split into words and merged by BPE over bytes, so any question can be written.
_PIECES = (
    r"</think><answer>\{\"bbox\": \[|\], \"points_[12]\": \[|\]\}</answer>|<think>"
    r"|, ?\d+| ?\d+| ?\p{L}+|[^\s\p{L}\p{N}<]+|<|\s"
)

_NUMBER = re.compile(r"(?:,?Ġ?|,)(\d+)")  # Ġ: a space, in byte-level BPE
_OFTEN = 400
NUMBER_SCALE = 0.2


def train_tokenizer(texts: Iterable[str], vocabulary: int, longest_side: int) -> Any:
    """A byte-level BPE tokenizer of the task's own text, with Qwen's special tokens.

    ``longest_side`` in pixels: every coordinate up to it gets a token of its own.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    # Often enough that every merge they need comes before those of the words.
    numbers = [f"{n}, {n}" for n in range(longest_side + 1)] * _OFTEN
    fixed = ['<think></think><answer>{"bbox": [], "points_1": [], "points_2": []}</answer>'] * (_OFTEN * 10)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*numbers, *fixed, *texts], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL[1:]),
    )
    fast.chat_template = _CHAT
    return fast


def number_code(values: Any, *, side: float, shortest: float, count: int) -> Any:
    """Fourier codes ``(N, 2 * count)`` of pixel coordinates ``(N,)``: sines, then cosines.

    Wavelengths go from ``shortest`` pixels to four sides of the picture, evenly in their logarithm.
    """
    import torch

    wavelengths = torch.logspace(math.log10(shortest), math.log10(4 * side), count)
    phase = 2 * math.pi * values[:, None] / wavelengths
    return torch.cat([torch.sin(phase), torch.cos(phase)], dim=1)


def order_numbers(model: Any, tokenizer: Any, side: int) -> None:
    """Start number tokens with embeddings that say how large they are, near numbers alike.

    A 7B model knows that 57 lies between 56 and 58; one that starts from nothing would have to learn it number by
    number. Each gets the code of its value on top of its random start.
    """
    import torch

    weights = model.get_input_embeddings().weight
    for token, index in tokenizer.get_vocab().items():
        number = _NUMBER.fullmatch(token)
        if number:
            code = number_code(torch.tensor([float(number[1])]), side=side, shortest=8, count=weights.shape[1] // 2)
            weights.data[index] += NUMBER_SCALE * code[0]


def model_config(settings: StarterSettings, ids: Mapping[str, int], vocabulary: int) -> Any:
    """The model's config: ``ids`` of the special tokens, and how many tokens there are."""
    from transformers import Qwen2_5_VLConfig

    head = settings.hidden_size // settings.heads
    # The three sections (time, height, width) share half of a head; time needs the fewest, as in the 7B (16, 24, 24).
    height = (head // 2) * 3 // 8
    return Qwen2_5_VLConfig(
        text_config={
            "hidden_size": settings.hidden_size,
            "num_hidden_layers": settings.layers,
            "num_attention_heads": settings.heads,
            "num_key_value_heads": settings.heads,
            "intermediate_size": settings.hidden_size * 3,
            "vocab_size": vocabulary,
            "max_position_embeddings": 4096,
            "initializer_range": settings.initial_std,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [head // 2 - 2 * height, height, height],
            },
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": settings.vision_layers,
            "hidden_size": settings.vision_hidden_size,
            "intermediate_size": settings.vision_hidden_size * 3,
            "num_heads": settings.vision_heads,
            "out_hidden_size": settings.hidden_size,
            "initializer_range": settings.initial_std,
            "patch_size": settings.patch_size,
            "window_size": settings.patch_size * 8,
            "fullatt_block_indexes": list(range(settings.vision_layers)),
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )


def config_of(settings: StarterSettings) -> dict[str, Any]:
    """The config that a starter will have, its tokenizer not yet trained; for counting parameters."""
    made: dict[str, Any] = model_config(
        settings, {name: n for n, name in enumerate(SPECIAL)}, settings.vocabulary
    ).to_dict()
    return made


def build(folder: Path, texts: Iterable[str], settings: StarterSettings) -> dict[str, int]:
    """Write an untrained starter model into ``folder``.

    Parameters
    ----------
    folder:
        Where to; made if absent.
    texts:
        Questions, traces and answers of the training split, for the tokenizer.
    settings:
        Sizes.

    Returns
    -------
    ``parameters`` and ``vocabulary``.
    """
    import torch
    from transformers import (  # type: ignore[attr-defined]  # the video one is made at run time
        GenerationConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    factor = settings.patch_size * 2
    side = int(settings.image_pixels**0.5)
    tokenizer = train_tokenizer(texts, settings.vocabulary, side * 3 // 2)
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    config = model_config(settings, ids, len(tokenizer))
    torch.manual_seed(settings.seed)
    model = Qwen2_5_VLForConditionalGeneration(config)
    order_numbers(model, tokenizer, side)
    model.generation_config = GenerationConfig(
        eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"], max_new_tokens=256
    )
    pixels = {"shortest_edge": factor * factor * 4, "longest_edge": settings.image_pixels}
    geometry = {"patch_size": settings.patch_size, "merge_size": 2, "temporal_patch_size": 2}
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=pixels, **geometry),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=pixels, **geometry),
        chat_template=_CHAT,
    )
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return {"parameters": sum(p.numel() for p in model.parameters()), "vocabulary": len(tokenizer)}
