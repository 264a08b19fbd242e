"""Patients of DICOM sources by a pseudonym: a digest of Patient ID and its issuer, never the value.

Without a key the digest of a short number can be found again by trying them all; with a secret in the environment
(``pseudonym_key_env``) it cannot. A patient has one pseudonym in all DICOM sources with one key, so that the same
patient from a folder and from an archive is one group.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydicom import Dataset

from medreasoner_monai.data.sources.patients import read_table
from medreasoner_monai.errors import ConfigError
from medreasoner_monai.files import file_digest
from medreasoner_monai.settings.sources import OutlineSettings

_LENGTH = 16


@dataclass(frozen=True)
class Pseudonyms:
    """The groups of a DICOM source.

    Attributes
    ----------
    source:
        Its name, for the table of aliases.
    """

    source: str
    settings: OutlineSettings

    def identity(self) -> dict[str, Any]:
        """What decides the groups; of the key only a digest that shows a change."""
        aliases = self.settings.aliases
        return {"key": self._digest("", "identity"), "aliases": file_digest(aliases) if aliases else ""}

    def group(self, header: Dataset) -> str:
        """``patient-<digest>``; ``study-<digest>`` where there is no Patient ID; or what the table of aliases says.

        The table's column ``patient`` may hold the Patient ID or the pseudonym.
        """
        patient, issuer = (str(header.get(k) or "").strip() for k in ("PatientID", "IssuerOfPatientID"))
        if patient:
            made = f"patient-{self._digest(patient, issuer)}"
            return self._aliases.get(made) or self._aliases.get(patient) or made
        return f"study-{self._digest(str(header.get('StudyInstanceUID') or ''), 'study')}"

    def _digest(self, value: str, context: str) -> str:
        text = f"{context}\n{value}".encode()
        if not self._key:
            return hashlib.sha256(text).hexdigest()[:_LENGTH]
        return hmac.new(self._key.encode(), text, hashlib.sha256).hexdigest()[:_LENGTH]

    @property
    def _key(self) -> str:
        name = self.settings.pseudonym_key_env
        if not name:
            return ""
        if not os.environ.get(name):
            raise ConfigError(f"the environment variable {name} (pseudonym_key_env) is empty; set it to the secret")
        return os.environ[name]

    @cached_property
    def _aliases(self) -> Mapping[str, str]:
        aliases = self.settings.aliases
        return {} if aliases is None else read_table(aliases, self.source, "patient", "group")
