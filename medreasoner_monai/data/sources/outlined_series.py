"""Pictures of DICOM series with the segmentations and structure sets that were made on them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from medreasoner_monai.data.labelled import LabelledImage, Target
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sample import SourceRef
from medreasoner_monai.data.sources.modality import modality_of
from medreasoner_monai.data.sources.outlines import Outline, Places
from medreasoner_monai.data.sources.pseudonyms import Pseudonyms
from medreasoner_monai.data.sources.rendering import described
from medreasoner_monai.data.sources.rt_outlines import RtReader
from medreasoner_monai.data.sources.seg_outlines import SegReader
from medreasoner_monai.data.sources.slicing import choose
from medreasoner_monai.dicom.body_part import sites
from medreasoner_monai.dicom.dicomweb import UnavailableError
from medreasoner_monai.dicom.found import Found
from medreasoner_monai.dicom.rules import parse_rule
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.errors import DicomError
from medreasoner_monai.settings.sources import OutlineSettings

_BROKEN = (ValueError, TypeError, AttributeError, LookupError, NotImplementedError, RuntimeError, OSError)


@dataclass(frozen=True, eq=False)
class Made:
    """A segmentation or structure set; ``where`` names it for people, ``masks`` is how many structures it describes."""

    dataset: Dataset
    where: str
    masks: int


@dataclass(frozen=True)
class SeriesReader:
    """Makes pictures of series.

    Attributes
    ----------
    source, licence:
        Of the source.
    """

    source: str
    licence: str
    settings: OutlineSettings
    patients: Pseudonyms

    def read(self, found: Found, made: Sequence[Made]) -> Iterator[LabelledImage | Reject]:
        """The chosen slices of the series, after the rejects of what cannot be used.

        Parameters
        ----------
        found:
            One series, or its parts.
        made:
            What was made on it.
        """
        for part in found.series:
            own = [m for m in made if len(found.series) == 1 or _refers(m.dataset, part)]
            if not own:
                continue
            try:
                series = found.choose(part.key)
            except DicomError as error:
                yield Reject(found.where, str(error), masks=sum(m.masks for m in own))
                continue
            yield from self._series(series, own, found.where)
        if len(found.series) > 1:
            for m in made:
                if not any(_refers(m.dataset, part) for part in found.series):
                    yield Reject(m.where, "it refers to no image of the series, which has several parts", masks=m.masks)

    def _series(self, series: Series, made: Sequence[Made], where: str) -> Iterator[LabelledImage | Reject]:
        places = Places(series)
        outlines: list[Outline] = []
        for one in made:
            try:
                for item in _outlines(one, places, self.settings):
                    if isinstance(item, Reject):
                        yield item
                    else:
                        outlines.append(item)
            except DicomError as error:
                yield Reject(one.where, str(error), masks=one.masks)
        size = (series.spacing or (1.0, 1.0))[0] * (series.spacing or (1.0, 1.0))[1]
        areas = {str(n): _areas(outline, len(series)) * size for n, outline in enumerate(outlines)}
        chosen = choose(areas, places.heights, self.settings.slices)
        for number, area in chosen.lost.items():
            yield Reject(
                outlines[int(number)].where,
                f"no slice shows at least {self.settings.slices.min_area_mm2:g} mm² of it; the largest area is "
                f"{area:.1f} mm² (slices.min_area_mm2)",
            )
        names = frozenset(outline.name for outline in outlines)
        for index in chosen.indices:
            yield from self._picture(series, index, outlines, names, where)

    def _picture(
        self, series: Series, index: int, outlines: Sequence[Outline], names: frozenset[str], where: str
    ) -> Iterator[LabelledImage | Reject]:
        shown = [o for o in outlines if index in o.pixels]
        try:
            view = series.view(index, parse_rule(self.settings.rule), values=True)
        except UnavailableError:
            raise  # no fault of the picture, which may be had later
        except DicomError as error:
            yield Reject(f"{where} slice {index}", str(error), masks=len(shown))
            return
        targets: list[Target] = []
        for outline in shown:
            place = f"{outline.where} slice {index}"
            if first := next((t for t in targets if t.name == outline.name), None):
                yield Reject(place, f"{first.where} has the target {outline.name!r} of this slice already")
                continue
            mask = np.ascontiguousarray(view.orientation.turn(outline.draw(index)))
            targets.append(Target(outline.name, mask, place))
        header = series.headers[series.locate(index)[0]]
        modality, sequence = modality_of(series.modality)
        spacing = view.spacing
        assert view.source is not None
        origin = SourceRef(
            self.source,
            where,
            self.licence,
            study=str(header.get("StudyInstanceUID") or ""),
            series=series.uid,
            instance=view.source.sop_instance_uid,
            frame=view.source.frame + 1,
            sequence=sequence,
        )
        yield LabelledImage(
            id=f"{hashlib.sha256(series.key.encode()).hexdigest()[:12]}-{index:04}",
            image=view.pixels,
            targets=tuple(targets),
            modality=modality,
            site=self.settings.site or _site(header),
            group=self.patients.group(header),
            origin=described(origin, view),
            spacing=(spacing.row, spacing.column) if spacing else None,
            labelled=names if self.settings.complete else frozenset(),
            stored=view.values,
        )


def _outlines(made: Made, places: Places, settings: OutlineSettings) -> Iterator[Outline | Reject]:
    """What a segmentation or structure set outlines.

    Raises
    ------
    DicomError
        If it is damaged.
    """
    try:
        if str(made.dataset.Modality) == "RTSTRUCT":
            yield from RtReader(made.dataset, places, made.where, settings.names).outlines()
            return
        import highdicom as hd

        seg = (
            made.dataset
            if isinstance(made.dataset, hd.seg.Segmentation)
            else hd.seg.Segmentation.from_dataset(made.dataset, copy=False)
        )
        yield from SegReader(seg, places, made.where, settings.names).outlines()
    except _BROKEN as error:  # pydicom and highdicom raise many kinds on damaged objects
        raise DicomError(
            f"what it outlines cannot be read ({type(error).__name__}: {str(error)[:120]}); export it again"
        ) from error


def references(dataset: Dataset) -> set[str]:
    """UIDs of the instances that a segmentation or structure set refers to, however deep."""
    return {
        str(element.value)
        for element in dataset.iterall()
        if element.keyword == "ReferencedSOPInstanceUID" and element.value
    }


def _refers(dataset: Dataset, part: Series) -> bool:
    return bool(references(dataset) & {str(h.SOPInstanceUID) for h in part.headers})


def _areas(outline: Outline, slices: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    out = np.zeros(slices)
    for index, count in outline.pixels.items():
        out[index] = count
    return out


def _site(header: Dataset) -> str:
    known = sites(header) or frozenset()
    return next(iter(known)) if len(known) == 1 else ""
