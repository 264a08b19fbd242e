"""What a writer promises: questions about a picture, each with its answer and a trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from medreasoner_monai.data.labelled import LabelledImage
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sample import Sample


class Writer(Protocol):
    """Turns a picture into samples. It is sent to other processes and machines, so it can be pickled."""

    def identity(self) -> dict[str, Any]:
        """What decides its texts, JSON-able: version, settings, digests of word lists or prompts."""
        ...

    def write(self, picture: LabelledImage) -> Iterator[tuple[str, Sample] | Reject]:
        """Samples of a picture, each with the place it is known by (``Target.where``, or the picture's id).

        Each target becomes at least one sample or one reject (``step="ask"``), in the order of the targets; questions
        for what the picture does not show come after them. Equal pictures give equal texts, on whichever machine.
        """
        ...
