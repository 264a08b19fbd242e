"""The project's exceptions. Each message names the file or sample, what was expected, what was found and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MedReasonerError(Exception):
    """Anything this project raises on purpose. Exit code 1 on the command line."""

    exit_code = 1


class InputError(MedReasonerError):
    """The user's input is wrong: a file, a question, an option. Exit code 2."""

    exit_code = 2


class ConfigError(InputError):
    """A configuration file or override is wrong."""


class DicomError(InputError):
    """A DICOM file or folder cannot be used as it is."""


class ArtifactError(MedReasonerError):
    """An artifact is missing, damaged or not of the expected kind."""


class RemoteStoreError(MedReasonerError):
    """The store that machines share cannot be reached, read or written."""


class DiskFullError(InputError):
    """A disk or a quota is full. Nothing is lost: the same command goes on when there is room."""


class StageFailedError(MedReasonerError):
    """A stage's own process ended with an error."""


class StoppedError(MedReasonerError):
    """A training was asked to end, and has saved where it was. Exit code 143, as after SIGTERM."""

    exit_code = 143


class RegistryError(MedReasonerError):
    """The model registry does not answer or refuses; nothing is known about what it holds."""


class EndpointError(MedReasonerError):
    """A model that is served elsewhere stays away, or sends what is no completion."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as ``" Did you mean 'spleen'?"``, or an empty string when nothing is near.

    >>> nearest("splen", ["liver", "spleen"])
    " Did you mean 'spleen'?"
    >>> nearest("xyz", ["liver"])
    ''
    """
    match = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {match[0]!r}?" if match else ""
