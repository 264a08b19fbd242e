"""What every object we write says of its making: who answered, with which digests, for what use, in which series."""

from __future__ import annotations

import uuid

from pydicom.uid import generate_uid

from medreasoner_monai import __version__
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.dicom.text import short
from medreasoner_monai.task.findings import Finding, Origin

MANUFACTURER = "medreasoner-monai"
CONTENT_CREATOR = "MedReasoner^MONAI"
UTF_8 = "ISO_IR 192"
"""Questions come in any script; what is copied from a source in another character set is written again in this one."""

_LONG_STRING = 64
_NAMESPACE = uuid.UUID("8e0f2a9c-50f0-4f0b-9d64-3c6f6c2b1c57")


def new_uid() -> str:
    """A UID of its own for an instance or a series (PS3.5 B.2)."""
    return str(generate_uid(prefix=None))


def device_uid(origin: Origin) -> str:
    """The same for the same reasoner, segmenter, prompt and rendering rule: what gives the same answers."""
    names = f"{origin.reasoner.digest} {origin.segmenter.digest} {origin.prompt_digest} {origin.rendering_digest}"
    return f"2.25.{uuid.uuid5(_NAMESPACE, names).int}"


def algorithm_name(origin: Origin) -> str:
    """At most 64 bytes (VR LO)."""
    return short(f"{MANUFACTURER} {origin.segmenter.name}", _LONG_STRING)


def algorithm_version(origin: Origin) -> str:
    """The bundle's version, or ours, and the beginning of the reasoner's digest; at most 64 bytes (VR LO)."""
    return short(f"{origin.model_version or __version__} {origin.reasoner.digest[:12]}", _LONG_STRING)


def serial_number(origin: Origin) -> str:
    """The reasoner's digest; ``none`` where there is not even that, since the attribute may not be empty."""
    return short(origin.reasoner.digest, _LONG_STRING) or "none"


def parameters(origin: Origin) -> dict[str, str]:
    """What made the answer beyond name and version: engines and digests, by what they are."""
    return {
        "package": f"{MANUFACTURER} {__version__}",
        **({"model version": origin.model_version} if origin.model_version else {}),
        "reasoner name": short(origin.reasoner.name, 256),
        "segmenter name": short(origin.segmenter.name, 256),
        **{f"{name} digest": digest for name, digest in origin.digests.items()},
    }


def tracking_id(finding: Finding) -> str:
    """For people; goes with the finding's tracking UID wherever that stands, so it must be the same everywhere."""
    label = finding.codes.label if finding.codes else "Answer"
    return f"{short(label, _LONG_STRING - 10)} {finding.tracking_uid[-8:]}"


def series_number(series: Series, base: int) -> int:
    """A number that tells which source series it belongs to, within what VR IS holds."""
    return base + min(max(series.number or 0, 0), 10**6)
