"""What every object we write says of its making: who answered, with which digests, for what use, in which series."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medreasoner_monai import RESEARCH_USE, __version__
from medreasoner_monai.dicom.concepts import PROCESSING_EQUIPMENT
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.dicom.text import short
from medreasoner_monai.dicom.uids import derived_uid
from medreasoner_monai.task.findings import Finding, Origin

if TYPE_CHECKING:
    from highdicom import ContributingEquipment

MANUFACTURER = "medreasoner-monai"
CONTENT_CREATOR = "MedReasoner^MONAI"
UTF_8 = "ISO_IR 192"
"""Questions come in any script; what is copied from a source in another character set is written again in this one."""

_LONG_STRING = 64


CONFIDENCE = {
    "agreement": "agreement of several answers on the slice, not calibrated",
    "calibrated": "calibrated on validation data to the overlap that it predicts",
}
"""How a confidence was made, by :attr:`~medreasoner_monai.task.findings.Finding.confidence_kind`."""
_NAMED_BY = {"given": "given with the question", "trace": "taken from the reasoning trace"}


def device_uid(origin: Origin) -> str:
    """The same for the same reasoner, segmenter, prompt and rendering rule: what gives the same answers.

    A model that was trained on has another digest, and so is another device.
    """
    return derived_uid(
        "device",
        origin.reasoner.digest,
        origin.segmenter.digest,
        origin.prompt_digest,
        origin.rendering_digest,
        origin.model_version,
    )


def contributing_equipment(origin: Origin) -> list[ContributingEquipment]:
    """Items of Contributing Equipment Sequence (PS3.3 C.12.1): reasoner and segmenter, each with a UID of its own.

    The UIDs change whenever a model does. highdicom adds the scanner and itself.
    """
    import highdicom as hd

    reasoner, segmenter = origin.reasoner, origin.segmenter
    parts = (
        (device_uid(origin), reasoner, algorithm_version(origin), "Reads image and question"),
        (
            derived_uid("segmenter", segmenter.name, segmenter.digest),
            segmenter,
            segmenter.digest,
            "Marks the region that the answer's box and points prompt",
        ),
    )
    out = []
    for uid, engine, version, what in parts:
        item = hd.ContributingEquipment(
            MANUFACTURER,
            hd.sr.CodedConcept(*PROCESSING_EQUIPMENT),
            manufacturer_model_name=short(engine.name, _LONG_STRING) or "not named",
            software_versions=short(version, _LONG_STRING) or __version__,
            device_serial_number=short(engine.digest, _LONG_STRING) or "none",
            contribution_description=f"{what}. {RESEARCH_USE}",
        )
        item.DeviceUID = uid
        out.append(item)
    return out


def algorithm_name(origin: Origin) -> str:
    """At most 64 bytes (VR LO)."""
    return short(f"{MANUFACTURER} {origin.segmenter.name}", _LONG_STRING)


def algorithm_version(origin: Origin) -> str:
    """The bundle's version, or ours, and the beginning of the reasoner's digest; at most 64 bytes (VR LO)."""
    return short(f"{origin.model_version or __version__} {origin.reasoner.digest[:12]}", _LONG_STRING)


def serial_number(origin: Origin) -> str:
    """The reasoner's digest; ``none`` where there is not even that, since the attribute may not be empty."""
    return short(origin.reasoner.digest, _LONG_STRING) or "none"


def parameters(origin: Origin, finding: Finding | None = None) -> dict[str, str]:
    """What made the answer beyond name and version: engines and digests, by what they are.

    Parameters
    ----------
    finding:
        Adds how its confidence was made and where its name comes from.
    """
    own = {}
    if finding is not None and finding.confidence_kind:
        own["confidence"] = CONFIDENCE[finding.confidence_kind]
    if finding is not None and finding.coded_from:
        own["name"] = _NAMED_BY[finding.coded_from]
    return {
        **own,
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
