"""What a segmenter makes of an image alone, computed once for all the masks, prompts and runs that need it."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
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

    def __init__(self, segmenter: Segmenter[Any], folder: Path | None = None, *, keep: int = 8) -> None:
        self.segmenter = segmenter
        self.folder = None if folder is None else folder / segmenter.digest[:16]
        self.keep = keep
        self.held: OrderedDict[str, Any] = OrderedDict()
        self.computed = 0

    def of(self, image: Image) -> Any:
        """The image's embedding."""
        (embedding,) = self._all({image_digest(image): image}).values()
        return embedding

    def ahead(self, images: Iterable[Image]) -> None:
        """Have the embeddings of images that are asked for next; those not known yet are computed in one go.

        Only the first ``keep`` different ones are looked at: more than that could not be held.
        """
        wanted: dict[str, Image] = {}
        for image in images:
            if len(wanted) < self.keep:
                wanted.setdefault(image_digest(image), image)
        self._all(wanted)

    def _all(self, wanted: Mapping[str, Image]) -> dict[str, Any]:
        """Embeddings of at most ``keep`` images, by digest, from memory, the disk, or the segmenter."""
        found: dict[str, Any] = {}
        for key in wanted:
            known = self.held[key] if key in self.held else self._stored(key)
            if known is not None:
                found[key] = known
        missing = [key for key in wanted if key not in found]
        for key, embedding in zip(missing, self._compute([wanted[key] for key in missing]), strict=True):
            found[key] = embedding
            self._store(key, embedding)
        for key in wanted:
            self.held[key] = found[key]
            self.held.move_to_end(key)
        while len(self.held) > self.keep:
            self.held.popitem(last=False)
        return found

    def _stored(self, key: str) -> Any | None:
        if self.folder is None or not isinstance(self.segmenter, Storable):
            return None
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return self.segmenter.unpack(load_file(self._file(self.folder, key)))
        except (OSError, SafetensorError):  # not there yet, or cut short: it is computed again
            return None

    def _store(self, key: str, embedding: Any) -> None:
        if self.folder is None or not isinstance(self.segmenter, Storable):
            return
        from safetensors.numpy import save_file

        path = self._file(self.folder, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        save_file(dict(self.segmenter.pack(embedding)), temporary)
        temporary.replace(path)

    @staticmethod
    def _file(folder: Path, key: str) -> Path:
        return folder / f"{key}.safetensors"

    def _compute(self, images: Sequence[Image]) -> list[Any]:
        self.computed += len(images)
        return self.segmenter.embed_many(images) if images else []
