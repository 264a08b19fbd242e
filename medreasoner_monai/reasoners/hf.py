"""The transformers engine: any Qwen2.5-VL class folder, the starter model and a 7B alike."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from medreasoner_monai.errors import InputError
from medreasoner_monai.files import object_digest
from medreasoner_monai.reasoners.folder import check_folder, folder_digest, load_processor, read_note, seen_frame
from medreasoner_monai.reasoners.protocol import Capability, Image, Reading
from medreasoner_monai.task.answer import Grounding, parse
from medreasoner_monai.task.geometry import Frame
from medreasoner_monai.task.prompts import Template, template


class HuggingFaceReasoner:
    """Greedy answers of a Qwen2.5-VL class model.

    ``model`` is the torch module, ``processor`` its Qwen2.5-VL processor. Build one with :meth:`load`.
    """

    capabilities: frozenset[Capability] = frozenset({"batch", "sample", "seed"})

    def __init__(self, model: Any, processor: Any, prompt: Template, *, name: str, digest: str, max_new_tokens: int):
        self.model = model
        self.processor = processor
        self.prompt = prompt
        self.name = name
        self.max_new_tokens = max_new_tokens
        self._weights = digest

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        prompt: str | None = None,
        device: str = "cpu",
        max_new_tokens: int = 512,
        file_digests: Mapping[str, str] | None = None,
    ) -> HuggingFaceReasoner:
        """Load a model folder.

        Parameters
        ----------
        folder:
            Config, safetensors, tokenizer and processor.
        prompt:
            Name of the prompt template; by default the one the folder says it was trained with, else ``think``.
        device:
            Where to run; on a GPU weights are loaded in bfloat16.
        max_new_tokens:
            Longest completion.
        file_digests:
            sha256 of the folder's files by name, where they were just verified; they are not hashed again.

        Raises
        ------
        InputError
            If the folder is not a Qwen2.5-VL model folder.
        """
        import torch
        from transformers import Qwen2_5_VLForConditionalGeneration

        folder = Path(folder)
        check_folder(folder)
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32 if device == "cpu" else torch.bfloat16,
        )
        model.to(device).eval()  # type: ignore[arg-type]  # its decorator hides the signature
        chosen = template(prompt or read_note(folder).get("prompt", "think"))
        return cls(
            model,
            load_processor(folder),
            chosen,
            name=folder.name,
            digest=folder_digest(folder, file_digests),
            max_new_tokens=max_new_tokens,
        )

    @property
    def digest(self) -> str:
        """sha256 over the model folder, the prompt template and the generation limit."""
        return object_digest([self._weights, self.prompt.digest, self.max_new_tokens])

    @property
    def prompt_digest(self) -> str:
        """sha256 of the prompt template."""
        return self.prompt.digest

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Reading]:
        """See :class:`~medreasoner_monai.reasoners.protocol.Reasoner`."""
        self._check(images, questions)
        if not images:
            return []
        return [readings[0] for readings in self._read(images, questions, 1, None)]

    def sample(
        self, images: Sequence[Image], questions: Sequence[str], count: int, *, temperature: float, seed: int
    ) -> list[list[Reading]]:
        """``count`` readings per question, drawn at ``temperature``; the same seed and batch draw the same."""
        import torch

        self._check(images, questions)
        if not images:
            return []
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self._read(images, questions, count, temperature)

    def _check(self, images: Sequence[Image], questions: Sequence[str]) -> None:
        if len(images) != len(questions):
            raise InputError(f"{len(images)} images but {len(questions)} questions; give one question an image")

    def _read(
        self, images: Sequence[Image], questions: Sequence[str], count: int, temperature: float | None
    ) -> list[list[Reading]]:
        started = time.perf_counter()
        pictures = [as_rgb(image) for image in images]
        texts = self._generate(pictures, questions, count, temperature)
        each = (time.perf_counter() - started) / len(texts)
        out = []
        for i, picture in enumerate(pictures):
            frame = Frame(picture.shape[1], picture.shape[0], "stored")
            seen = seen_frame(self.processor, frame)
            readings = []
            for text in texts[i * count : (i + 1) * count]:
                answer = parse(text, seen, think=self.prompt.think)
                if isinstance(answer, Grounding):
                    answer = answer.to(frame)
                readings.append(Reading(answer, text, seen, each))
            out.append(readings)
        return out

    def _generate(
        self, pictures: list[Image], questions: Sequence[str], count: int, temperature: float | None
    ) -> list[str]:
        import torch

        chats = [
            self.processor.apply_chat_template(self.prompt.messages(q), add_generation_prompt=True, tokenize=False)
            for q in questions
        ]
        # The processor also returns mm_token_type_ids, without which Qwen2.5-VL answers wrongly and silently.
        # As pictures, not arrays: of an array with one or three rows the processor takes the rows for the colours.
        shown = [Picture.fromarray(p) for p in pictures]
        inputs = self.processor(images=shown, text=chats, padding=True, return_tensors="pt").to(self.model.device)
        with torch.inference_mode():
            drawn: dict[str, Any] = (
                {"do_sample": False}
                if temperature is None
                else {"do_sample": True, "temperature": temperature, "top_k": 0, "num_return_sequences": count}
            )
            out = self.model.generate(**inputs, **drawn, max_new_tokens=self.max_new_tokens)
        completions = out[:, inputs["input_ids"].shape[1] :]
        texts: list[str] = self.processor.batch_decode(completions, skip_special_tokens=True)
        return texts


def as_rgb(image: Image) -> Image:
    """The picture as the model takes it: uint8 RGB ``(rows, cols, 3)``.

    Raises
    ------
    InputError
        If it is not uint8, or of another shape than ``(rows, cols)`` or ``(rows, cols, 3)``.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise InputError(f"an image is uint8 (rows, cols) or (rows, cols, 3), got {image.dtype} {image.shape}")
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image
