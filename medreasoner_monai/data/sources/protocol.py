"""What a source promises: pictures with masks, or finished samples, in units that can be read apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from medreasoner_monai.data.labelled import LabelledImage
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sample import Sample


@dataclass(frozen=True)
class Unit:
    """A piece of a source that is read at once: a picture with its masks, a volume, a range of rows.

    Attributes
    ----------
    key:
        Unique in its source; says which piece it is and stays the same as the source grows.
    masks:
        About how many masks it holds; units are gathered into shards by it.
    names:
        What its pictures outline, where the source knows it without reading them. Questions for absent targets are
        shared out by it; a source that says nothing gets none of its targets asked for in vain.
    labelled:
        As in :class:`~medreasoner_monai.data.labelled.LabelledImage`.
    modality, site:
        Of its pictures, as in :class:`~medreasoner_monai.data.labelled.LabelledImage`.
    """

    key: str
    masks: int = 1
    names: tuple[str, ...] = ()
    labelled: frozenset[str] = frozenset()
    modality: str = ""
    site: str = ""


@dataclass(frozen=True)
class Placed:
    """A finished sample of a source that asks its own questions.

    Attributes
    ----------
    where:
        The row or file it came from, for people.
    split:
        The split that the source puts it into; None leaves it to the split by group.
    named:
        Whether the source gave it its id. An id made of the place in a file may be changed if it is taken.
    stored:
        The picture's values before windowing, as :class:`~medreasoner_monai.data.labelled.LabelledImage` has them.
    picture:
        The id of the picture it asks about; empty for a sample that its source had finished.
    """

    sample: Sample
    where: str
    split: str | None = None
    named: bool = True
    stored: NDArray[Any] | None = None
    picture: str = ""


Item = LabelledImage | Placed | Reject


class Source(Protocol):
    """Streams what a data set is made of. It is sent to other processes and machines, so it can be pickled.

    Attributes
    ----------
    name:
        Unique among the sources of a data set; part of every sample's origin.
    synthetic:
        Whether no patient was involved.
    description:
        One sentence for the data card.
    inline:
        Whether its units are read one after the other by the process that curates, because it starts its own workers.
    """

    @property
    def name(self) -> str:  # noqa: D102
        ...

    @property
    def synthetic(self) -> bool:  # noqa: D102
        ...

    @property
    def description(self) -> str:  # noqa: D102
        ...

    @property
    def inline(self) -> bool:  # noqa: D102
        ...

    def identity(self) -> dict[str, Any]:
        """What decides its items, JSON-able: settings, and digests of its files."""
        ...

    def units(self) -> Iterator[Unit]:
        """Its pieces in a stable order, without reading pictures.

        Raises
        ------
        InputError
            If the source is not there or is not of its kind.
        """
        ...

    def read(self, unit: Unit) -> Iterator[Item]:
        """The items of a unit in a stable order; what cannot be used is a reject in its place."""
        ...
