"""What a segmenter makes of an image alone, computed once for all the masks, prompts and runs that need it."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.segmenters.protocol import Image, Segmenter


@runtime_checkable
class Storable(Protocol):
    """A segmenter whose embeddings are worth keeping on disk, and can be."""

    def pack(self, embedding: Any) -> Mapping[str, NDArray[Any]]:
        """The embedding as arrays."""
        ...

    def unpack(self, arrays: Mapping[str, NDArray[Any]]) -> Any:
        """The embedding that :meth:`pack` was given."""
        ...


def image_digest(image: Image) -> str:
    """sha256 of an image's shape and pixels."""
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


class Embeddings:
    """A segmenter's embeddings, known by the image's content.

    Parameters
    ----------
    segmenter:
        Who embeds.
    folder:
        Where embeddings are kept from run to run, if the segmenter's can be (:class:`Storable`); the folder is shared
        by all segmenters and may be deleted at any time.
    keep:
        How many are held in memory.
    """

    def __init__(self, segmenter: Segmenter[Any], folder: Path | None = None, *, keep: int = 4) -> None:
        self.segmenter = segmenter
        self.folder = None if folder is None else folder / segmenter.digest[:16]
        self.keep = keep
        self.held: OrderedDict[str, Any] = OrderedDict()
        self.computed = 0

    def of(self, image: Image) -> Any:
        """The image's embedding."""
        key = image_digest(image)
        if key in self.held:
            self.held.move_to_end(key)
            return self.held[key]
        embedding = self._stored(key, image)
        self.held[key] = embedding
        if len(self.held) > self.keep:
            self.held.popitem(last=False)
        return embedding

    def _stored(self, key: str, image: Image) -> Any:
        if self.folder is None or not isinstance(self.segmenter, Storable):
            return self._compute(image)
        from safetensors import SafetensorError
        from safetensors.numpy import load_file, save_file

        path = self.folder / f"{key}.safetensors"
        try:
            return self.segmenter.unpack(load_file(path))
        except (OSError, SafetensorError):  # not there yet, or cut short: it is computed again
            embedding = self._compute(image)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        save_file(dict(self.segmenter.pack(embedding)), temporary)
        temporary.replace(path)
        return embedding

    def _compute(self, image: Image) -> Any:
        self.computed += 1
        return self.segmenter.embed(image)
