"""What asking a series gives: a finding per question, and what answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medreasoner_monai.dicom.series import Series
from medreasoner_monai.task.findings import Finding, Origin


@dataclass(frozen=True)
class GroundedSeries:
    """Questions answered in a series, one finding a question, and what answered them."""

    series: Series
    findings: tuple[Finding, ...]
    origin: Origin
    asked: tuple[int, ...]
    lineage: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def found(self) -> tuple[Finding, ...]:
        """Those with a region."""
        return tuple(f for f in self.findings if f.status == "found")
