"""Studies of a DICOMweb archive: the series that have DICOM-SEG or RTSTRUCT, fetched study by study."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydicom import Dataset

from medreasoner_monai.data.labelled import LabelledImage
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sources.dicom_index import OUTLINED, masks_of, target_series
from medreasoner_monai.data.sources.licences import NOT_STATED
from medreasoner_monai.data.sources.outlined_series import Made, SeriesReader
from medreasoner_monai.data.sources.protocol import Unit
from medreasoner_monai.data.sources.pseudonyms import Pseudonyms
from medreasoner_monai.dicom.dicomweb import UnavailableError, open_dicomweb
from medreasoner_monai.errors import ConfigError, DicomError, InputError
from medreasoner_monai.settings.sources import DicomwebSettings

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

_ANY_SYNTAX = (("application/dicom", "*"),)
_GUESS = 8
"""Masks of a study, before it has been looked at."""
_STUDY, _SERIES, _MODALITY = "0020000D", "0020000E", "00080060"
_INSTANCES = "00201209"


@dataclass(frozen=True)
class DicomwebSource:
    """An archive; a unit is a study."""

    settings: DicomwebSettings
    inline: ClassVar[bool] = False
    synthetic: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """As the config names it."""
        return self.settings.name or "dicomweb"

    @property
    def description(self) -> str:
        """Licence and number of studies; the address stays out of it."""
        return (
            f"{self.name}: {len(self._studies)} studies of a DICOMweb archive; {self.settings.licence or NOT_STATED}."
        )

    @property
    def _client(self) -> DICOMwebClient:
        return _client(self.settings.url, self.settings.token_env)

    @cached_property
    def _patients(self) -> Pseudonyms:
        return Pseudonyms(self.name, self.settings)

    @cached_property
    def _studies(self) -> tuple[str, ...]:
        """Study Instance UIDs, in order.

        Raises
        ------
        InputError
            If the archive does not answer, or has no study that the query matches.
        """
        if self.settings.studies:
            return tuple(dict.fromkeys(self.settings.studies))
        try:
            found = _pages(partial(self._client.search_for_studies, search_filters=self.settings.query), _STUDY)
        except (OSError, ValueError) as error:
            raise _unavailable("the query for studies", error) from None
        uids = sorted({uid for item in found if (uid := _value(item, _STUDY))})
        if not uids:
            raise InputError(f"source {self.name}: the archive has no study that matches the query; widen it")
        return tuple(uids)

    def identity(self) -> dict[str, Any]:
        """Settings, and the series of each study with their numbers of instances: a UID's content does not change."""
        settings = self.settings.model_dump(mode="json", exclude={"url", "token_env", "aliases"})
        series = {uid: self._series(uid) for uid in self._studies}
        return {**settings, "name": self.name, "patients": self._patients.identity(), "series": series}

    def _series(self, study: str) -> list[tuple[str, str, str]]:
        """UID, modality and number of instances of each series of a study, by UID."""
        try:
            search = partial(self._client.search_for_series, study, fields=["NumberOfSeriesRelatedInstances"])
            found = _pages(search, _SERIES)
        except (OSError, ValueError) as error:
            if _status(error) == 404:
                return []
            raise _unavailable(f"study …{study[-12:]}", error) from None
        return sorted((_value(i, _SERIES), _value(i, _MODALITY), _value(i, _INSTANCES)) for i in found)

    def units(self) -> Iterator[Unit]:
        """One per study."""
        for uid in self._studies:
            yield Unit(uid, _GUESS)

    def read(self, unit: Unit) -> Iterator[LabelledImage | Reject]:
        """The chosen slices of the study's series that have outlines, after the rejects.

        Raises
        ------
        InputError, DicomError
            If the archive does not answer: nothing is rejected for that, and the run can go on later.
        """
        study = unit.key
        series = self._series(study)
        images = [uid for uid, modality, _ in series if modality not in OUTLINED]
        where = f"study …{study[-12:]}"
        if not any(modality in OUTLINED for _, modality, _ in series):
            yield Reject(where, "it has no DICOM-SEG and no RTSTRUCT, or is not there", masks=0)
            return
        made: dict[str, list[Made]] = {}
        for uid in (uid for uid, modality, _ in series if modality in OUTLINED):
            for dataset in self._fetch(study, uid):
                one = Made(dataset, f"{where} instance …{str(dataset.SOPInstanceUID)[-12:]}", masks_of(dataset))
                target, why = target_series(dataset, images)
                if target is None:
                    yield Reject(one.where, why, masks=one.masks)
                else:
                    made.setdefault(target, []).append(one)
        reader = SeriesReader(self.name, self.settings.licence or NOT_STATED, self.settings, self._patients)
        for uid, own in sorted(made.items()):
            try:
                found = open_dicomweb(self._client, study, uid)
            except UnavailableError:
                raise
            except DicomError as error:
                yield Reject(f"series …{uid[-12:]}", str(error), masks=sum(m.masks for m in own))
                continue
            yield from reader.read(found, own)

    def _fetch(self, study: str, series: str) -> list[Dataset]:
        try:
            return self._client.retrieve_series(study, series, media_types=_ANY_SYNTAX)
        except (OSError, ValueError) as error:
            raise _unavailable(f"series …{series[-12:]}", error) from None


@lru_cache(maxsize=4)
def _client(url: str, token_env: str) -> DICOMwebClient:
    """One per process: connections are not sent from one to another."""
    try:
        from dicomweb_client import DICOMwebClient
    except ImportError:
        raise ConfigError(
            "a DICOMweb source needs dicomweb-client: pip install 'medreasoner-monai[dicomweb]'"
        ) from None
    headers = {}
    if token_env:
        if not os.environ.get(token_env):
            raise ConfigError(f"the environment variable {token_env} (token_env) is empty; set it to the token")
        headers["Authorization"] = f"Bearer {os.environ[token_env]}"
    return DICOMwebClient(url, headers=headers)


def _pages(search: Callable[..., list[dict[str, Any]]], tag: str) -> list[dict[str, Any]]:
    """All results of a query, page by page; ``tag`` is their UID's.

    An archive may ignore the offset and send the same page for ever, so a page without anything new is the last.
    """
    found: dict[str, dict[str, Any]] = {}
    while True:
        known = len(found)
        for item in search(offset=known):
            found.setdefault(_value(item, tag), item)
        if len(found) == known:
            return list(found.values())


def _value(item: dict[str, Any], tag: str) -> str:
    values = (item.get(tag) or {}).get("Value") or [""]
    return str(values[0])


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _unavailable(what: str, error: Exception) -> InputError:
    """Without the address, which may hold who asked."""
    why = f"status {_status(error)}" if _status(error) else type(error).__name__
    return InputError(
        f"{what} cannot be had from the archive ({why}); check its address and the permission to read, then run again: "
        "what is finished is kept"
    )
