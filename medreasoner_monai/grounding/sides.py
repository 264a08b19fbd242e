"""Left and right: what question, reasoning and codes say of a finding's side, held against where its mask lies."""

from __future__ import annotations

from medreasoner_monai.dicom.series import Series
from medreasoner_monai.task.findings import Finding


def with_sides_checked(series: Series, finding: Finding) -> Finding:
    """The finding with a side only where its mask lies on it, and flags where something says otherwise."""
    return finding
