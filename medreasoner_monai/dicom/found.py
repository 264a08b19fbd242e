"""What was found in a place: its image series, headers read once, to choose from as often as there are questions."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from medreasoner_monai.dicom import choice, placement
from medreasoner_monai.dicom.identity import patients
from medreasoner_monai.dicom.parts import crowded
from medreasoner_monai.dicom.slices import Series
from medreasoner_monai.dicom.spacing import pixel_spacing
from medreasoner_monai.errors import DicomError

logger = logging.getLogger(__name__)

AUTOMATIC = "auto"
"""Given in place of a UID: take the first of the ranking."""
_SAME_SPACING = 1e-3


@dataclass(frozen=True)
class Found:
    """Image series of one place.

    Attributes
    ----------
    where:
        Names the place in messages: the path that was given.
    series:
        By Series Instance UID; parts of one series that share places one by one.
    """

    where: str
    series: tuple[Series, ...]

    def choose(self, uid: str | None = None) -> Series:
        """The one series to ask about.

        Without ``uid``, scouts, secondary captures and pages that a scanner adds are excluded; if one series of
        diagnostic images remains, it is taken, and :meth:`Series.explain` says why.

        Parameters
        ----------
        uid:
            Series Instance UID, or an ending of it that only one series has; ``UID#2`` for a part; ``auto`` for the
            series with the most images.

        Raises
        ------
        DicomError
            If there are several series and ``uid`` is not given, ``uid`` fits none, ``uid`` is ``auto`` and there are
            images of several patients, too much of the series is damaged, its files contradict each other
            (:mod:`~medreasoner_monai.dicom.identity`), or the slices do not belong together (sizes or orientations
            differ, two lie in one place).
        """
        ranked = choice.rank(self.series)
        several = patients(s.headers[0] for s in self.series)
        requested = None if uid is None else uid.strip().removeprefix("…")
        candidates = patients(r.series.headers[0] for r in ranked if not r.aside)
        if requested == AUTOMATIC and candidates > 1:
            raise DicomError(
                f"{self.where}: holds images of {candidates} patients (PatientID), and --series {AUTOMATIC} would "
                f"answer about whoever has most of them:\n{choice.listing(ranked)}\nChoose one with --series UID"
            )
        if requested == AUTOMATIC:
            series, because = choice.best(ranked)
        elif requested is not None:
            fitting = [r.series for r in ranked if r.series.key == requested] or [
                r.series for r in ranked if requested and r.series.key.endswith(requested)
            ]
            if len(fitting) != 1:
                many = "no series has" if not fitting else "several series have"
                raise DicomError(
                    f"{self.where}: {many} the UID {uid!r}. There are:\n{choice.listing(ranked)}\n"
                    "Choose one with --series UID"
                )
            series, because = fitting[0], "asked for by its UID"
        elif chosen := choice.only(ranked):
            series, because = chosen
        else:
            raise DicomError(
                f"{self.where}: holds {len(ranked)} image series:\n{choice.listing(ranked)}\n"
                f"Choose one with --series UID (the end of the UID is enough); --series {AUTOMATIC} takes the first"
            )
        if series.problems:
            raise DicomError("; ".join(series.problems))
        for fault in _faults(series):
            raise DicomError(f"{self.where}: {fault}")
        for what in series.repairs:
            logger.warning("repaired in memory: %s", what)
        for what in series.notes:
            logger.info("noticed: %s", what)
        for what in series.set_aside:
            logger.warning("set aside: %s", what)
        if several > 1:
            because += f"; the place holds images of {several} patients, and this series is of one of them"
        return replace(series, because=because)


def _faults(series: Series) -> Iterator[str]:
    """Why the slices do not belong together, or are not meant to be looked at."""
    if raw := sum(h.get("PresentationIntentType") == "FOR PROCESSING" for h in series.headers):
        yield (
            f"{raw} of {len(series.headers)} image(s) are FOR PROCESSING (PresentationIntentType): raw values of the "
            "detector, which no viewer shows; give the image FOR PRESENTATION that was made from it"
        )
    sizes = Counter((int(h.Columns), int(h.Rows)) for h in series.headers)
    if len(sizes) > 1:
        found = ", ".join(f"{n} of {w} x {h}" for (w, h), n in sizes.items())
        yield f"the series mixes image sizes ({found}); give one file, or export the parts separately"
    orientations = placement.groups_of(series.planes)
    if len(orientations) > 1:
        found = ", ".join(f"{len(members)} of one" for members in sorted(orientations, key=len, reverse=True))
        scouts = sum("LOCALIZER" in str(h.get("ImageType")) for h in series.headers)
        scout = f"; {scouts} file(s) say that they are scouts" if scouts else " (a scout image?)"
        yield (f"the series mixes slice orientations ({found}){scout}; give one file, or export separately")
    spacings = [pixel_spacing(series.headers[p.file], p.frame) for p in series.planes]
    known = np.asarray([s for s in spacings if s is not None])
    if len(known) and (np.abs(known / known[0] - 1) > _SAME_SPACING).any():
        yield "the series mixes pixel spacings; give one file, or export the parts separately"
    if pair := crowded(series.planes):
        yield (
            f"slices {pair[0]} and {pair[1]} (counted from 0) lie in one place, and nothing in the headers tells what "
            "they are; remove what does not belong, or give one file"
        )
