"""Trained weights in pieces, as every reader presents them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
PROBE = "probe.safetensors"
"""What the live model answered, kept beside the shards."""


class Gathered(Mapping[str, "Tensor"]):
    """Tensors by name, each put together when it is asked for, so that one at a time lies in memory."""

    def __init__(self, makers: Mapping[str, Callable[[], Tensor]]) -> None:
        self._makers = makers

    def __getitem__(self, name: str) -> Tensor:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


@dataclass(frozen=True)
class Source:
    """Trained weights in pieces.

    ``tensors`` has them whole, by the names training gave them. ``half`` says that the training computed in bfloat16.
    """

    kind: Literal["ZeRO", "FSDP", "adapter"]
    folder: Path
    tensors: Mapping[str, Tensor] = field(repr=False)
    ranks: int = 1
    stage: int | None = None
    """Of ZeRO."""
    step: int | None = None
    half: bool = False
    config: Path | None = None
    """A folder with the model's config and tokenizer, where the training left one."""
    adapter: Path | None = None
    """A folder with the adapter's config, where there is one."""

    def __str__(self) -> str:
        if self.kind == "adapter":
            return "a LoRA adapter"
        return (
            f"{self.kind}{f'-{self.stage}' if self.stage else ''} shards of {self.ranks} rank{'s' * (self.ranks > 1)}"
        )
