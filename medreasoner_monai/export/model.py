"""The model that an export is for: what its processor makes of a picture, and how it is spoken to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.reasoners.folder import ARCHITECTURE, load_processor, seen_frame
from medreasoner_monai.settings.training import ModelSettings
from medreasoner_monai.task.geometry import Frame
from medreasoner_monai.task.prompts import Template, template

PLACEHOLDERS = ("<image>", "<video>", "<audio>")
"""What both neighbours read as the place of a picture, a film or a sound, wherever it stands in a text."""
_QUESTION = "?"


@dataclass(frozen=True)
class Model:
    """A model folder (its weights are not looked at), its processor, and the prompt template it is asked by."""

    folder: Path
    processor: Any
    prompt: Template

    @classmethod
    def open(cls, settings: ModelSettings, folder: Path | None = None) -> Model:
        """The model of a config, or the one in ``folder``.

        Raises
        ------
        ConfigError
            If the config names no folder and none is given, or an unknown prompt template.
        InputError
            If the folder has no processor, or holds another architecture.
        """
        path = folder or settings.path
        if path is None:
            raise ConfigError("the config builds a starter: name the folder of a built one by --model")
        prompt = template(settings.prompt)
        if not any((path / n).is_file() for n in ("processor_config.json", "preprocessor_config.json")):
            raise InputError(f"{path} is no model folder: it has no processor (preprocessor_config.json)")
        try:
            processor = load_processor(path)
        except (OSError, ValueError) as error:
            raise InputError(f"the processor in {path} cannot be loaded: {error}") from None
        found = type(processor).__name__
        if found != "Qwen2_5_VLProcessor":
            raise InputError(f"{path} has a {found}, expected that of {ARCHITECTURE} (Qwen2.5-VL, Lingshu…)")
        return cls(path.resolve(), processor, prompt)

    @property
    def factor(self) -> int:
        """Pixels a side of one image token."""
        images = self.processor.image_processor
        return int(images.patch_size * images.merge_size)

    @property
    def max_pixels(self) -> int:
        """Pixels of the largest picture that is not made smaller."""
        return int(self.processor.image_processor.size["longest_edge"])

    def sees(self, width: int, height: int) -> Frame:
        """The frame that the processor makes of a picture of that size."""
        return seen_frame(self.processor, Frame(width, height))

    def tokens(self, conversation: list[dict[str, str]], frame: Frame) -> int:
        """Tokens of a conversation with one picture; without an answer, up to where the answer begins."""
        text = self._text(conversation)
        count = len(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"])
        return count - 1 + frame.width * frame.height // self.factor**2

    @property
    def default_system(self) -> str:
        """What the model's chat template says as the system where nobody does; empty where it says nothing.

        Raises
        ------
        InputError
            If the chat template is no ChatML, which is all that LLaMA-Factory's ``qwen2_vl`` writes.
        """
        rendered = self._text([{"role": "user", "content": _QUESTION}])
        bare = _chat("")
        system = rendered.removesuffix(bare).removeprefix("<|im_start|>system\n").removesuffix("<|im_end|>\n")
        if rendered != _chat(system):
            raise InputError(
                f"the chat template in {self.folder} writes a question as {rendered!r}; only ChatML as Qwen2.5-VL has "
                "it can be had by LLaMA-Factory's template qwen2_vl"
            )
        return system

    def _text(self, conversation: list[dict[str, str]]) -> str:
        messages = [
            {"role": m["role"], "content": [*([{"type": "image"}] if m["role"] == "user" else []), _part(m)]}
            for m in conversation
        ]
        answered = conversation[-1]["role"] == "assistant"
        return str(self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=not answered))


def _part(message: dict[str, str]) -> dict[str, str]:
    return {"type": "text", "text": message["content"]}


def _chat(system: str) -> str:
    before = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    picture = "<|vision_start|><|image_pad|><|vision_end|>"
    return f"{before}<|im_start|>user\n{picture}{_QUESTION}<|im_end|>\n<|im_start|>assistant\n"
