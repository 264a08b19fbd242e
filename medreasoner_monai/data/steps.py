"""What curation does with one unit of a source: read it, write its questions, and account for every mask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from medreasoner_monai.data.cleaning import Cleaner
from medreasoner_monai.data.entry import enter
from medreasoner_monai.data.labelled import LabelledImage
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.sources.protocol import Item, Placed, Source, Unit
from medreasoner_monai.data.verify import Verifier
from medreasoner_monai.data.writers.absent import Census
from medreasoner_monai.data.writers.by_name import NameWriter
from medreasoner_monai.data.writers.protocol import Writer
from medreasoner_monai.data.writers.spending import Spending, drain
from medreasoner_monai.data.writing import build_verifier, build_writer
from medreasoner_monai.errors import MedReasonerError
from medreasoner_monai.settings.data import DataSettings
from medreasoner_monai.task import taxonomy


@dataclass
class Account:
    """How many masks went in, what became of them, and what a language model charged. Every step is included."""

    masks: int = 0
    kept: int = 0
    rejected: int = 0
    spent: Spending = field(default_factory=Spending)

    def check(self, what: str) -> None:
        """Assert that nothing vanished.

        Raises
        ------
        MedReasonerError
            If masks in are not masks kept and rejected: a defect of this software.
        """
        if self.masks != self.kept + self.rejected:
            raise MedReasonerError(
                f"{what}: {self.masks} masks went in, {self.kept} were kept and {self.rejected} set aside; please "
                "report this"
            )

    def __add__(self, other: Account) -> Account:
        masks, kept, rejected = self.masks + other.masks, self.kept + other.kept, self.rejected + other.rejected
        return Account(masks, kept, rejected, self.spent + other.spent)


@dataclass(frozen=True)
class Steps:
    """The steps between a source and the data set, in order. Sent to workers, so it can be pickled."""

    writer: Writer = field(default_factory=NameWriter)
    cleaner: Cleaner = field(default_factory=Cleaner)
    verifier: Verifier | None = None
    taxonomy: Path | None = None

    @classmethod
    def of(cls, settings: DataSettings, census: Census | None = None) -> Steps:
        """As a config has them, for a data set that shows what the census counts."""
        return cls(
            build_writer(settings.questions, census or Census()),
            Cleaner(settings.clean),
            build_verifier(settings.questions),
            settings.taxonomy or taxonomy.from_environment(),
        )

    def identity(self) -> dict[str, Any]:
        """What decides the result, besides the sources."""
        own = {} if self.taxonomy is None else {"taxonomy": taxonomy.digest(self.taxonomy)}
        return {
            "clean": self.cleaner.identity(),
            "writer": self.writer.identity(),
            "verify": None if self.verifier is None else self.verifier.identity(),
            **own,
        }

    def run(
        self, source: Source, unit: Unit, account: Account, taken: set[str] | None = None
    ) -> Iterator[Placed | Reject]:
        """The samples of a unit, and a reject in the place of everything that was set aside.

        ``taken`` are ids of pictures in earlier units of the source; those of this unit are added.
        """
        if self.taxonomy is not None:
            taxonomy.use(self.taxonomy)
        taken = set() if taken is None else taken  # one for all items
        for item in source.read(unit):
            for made in self._item(item, account, taken):
                if isinstance(made, Reject):
                    account.rejected += made.masks
                elif isinstance(item, LabelledImage):
                    made = replace(made, stored=item.stored, picture=item.id)
                yield made

    def _item(self, item: Item, account: Account, taken: set[str] | None = None) -> Iterator[Placed | Reject]:
        if isinstance(item, Reject):
            account.masks += item.masks
            yield item
        elif isinstance(item, Placed):
            account.masks += item.sample.present
            account.kept += item.sample.present
            yield item
        else:
            account.masks += len(item.targets)
            entered, rejects = enter(item, set() if taken is None else taken)
            yield from rejects
            if entered is not None:
                picture, rejects = self.cleaner.clean(entered)
                yield from rejects
                yield from self._written(picture, account)

    def _written(self, picture: LabelledImage, account: Account) -> Iterator[Placed | Reject]:
        """Questions that pass their checks. A target asked about several times is one mask: kept if one of them is."""
        for key, made in groupby(self.writer.write(picture), key=_asked):
            if key is None:
                yield from (written for written in made if isinstance(written, Reject))
                continue
            several = [self._checked(picture, *written) for written in made if not isinstance(written, Reject)]
            kept = any(isinstance(one, Placed) and one.sample.present for one in several)
            account.kept += kept
            for one in several:
                if isinstance(one, Reject):
                    yield replace(one, masks=one.masks if not kept and one is several[0] else 0)
                else:
                    yield one
        account.spent += drain()

    def _checked(self, picture: LabelledImage, where: str, sample: Sample) -> Placed | Reject:
        reason = self.verifier.reason(picture, sample) if self.verifier else None
        return Placed(sample, where) if reason is None else Reject(where, reason, "verify", masks=int(sample.present))


def _asked(written: tuple[str, Sample] | Reject) -> tuple[str, str, bool] | None:
    """What a written question is about; None for a reject."""
    if isinstance(written, Reject):
        return None
    where, sample = written
    return where, sample.category, sample.present
