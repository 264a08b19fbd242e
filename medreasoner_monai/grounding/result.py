"""What grounding gives: a finding per question with its measurements, and what made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from medreasoner_monai.dicom.measures import Measures, measure
from medreasoner_monai.dicom.rules import AS_STORED, Rule
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.task.findings import Finding, Origin


@dataclass(frozen=True)
class GroundingResult:
    """Questions answered in a series.

    Attributes
    ----------
    series:
        What was asked.
    findings:
        One per question, in their order.
    origin:
        What made them.
    asked:
        Numbers of the asked slices, counted from 0 in series order.
    lineage:
        What the bundle notes of the model.
    rendering:
        The rule by which slices were shown to the model; pictures of the answer use it too.
    """

    series: Series
    findings: tuple[Finding, ...]
    origin: Origin
    asked: tuple[int, ...]
    lineage: Mapping[str, Any] = field(default_factory=dict, repr=False)
    rendering: Rule = AS_STORED

    @property
    def found(self) -> tuple[Finding, ...]:
        """Those with a region."""
        return tuple(f for f in self.findings if f.status == "found")

    @cached_property
    def measures(self) -> Mapping[str, Measures]:
        """Measurements by tracking UID of the finding; each finding is measured once.

        Raises
        ------
        DicomError
            If a key slice's pixels cannot be read.
        """
        return {f.tracking_uid: measure(self.series, f) for f in self.findings}
