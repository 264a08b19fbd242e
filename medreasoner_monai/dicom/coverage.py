"""How far a region was looked for, and whether it is known to be whole: what its measurements may claim."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.dicom import placement
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.segmenters.volume import ENDED, REACHED
from medreasoner_monai.task.answer import Reason
from medreasoner_monai.task.findings import Finding, Flag, SliceResult

End = Literal["empty", "ended", "edge", "stopped", "unseen"]
"""What is known of a stack's slice next to a region.

``empty``: it was asked, and nothing is there. ``ended``: the carried mask vanished there. ``edge``: there is none, the
region lies on the series' first or last slice. ``stopped``: carrying stopped for another reason. ``unseen``: nobody
looked, or the answer could not be read.
"""
_UNEVEN = 0.05
_ENDS = {
    "edge": ("it reaches the first slice of the series", "it reaches the last slice of the series"),
    "stopped": (
        "following it towards the first slice stopped before it ended",
        "following it towards the last slice stopped before it ended",
    ),
    "unseen": ("the slice before it was not looked at", "the slice behind it was not looked at"),
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far a region was looked for.

    Attributes
    ----------
    slices:
        In the series.
    asked:
        Slices that the reasoner was asked about.
    carried:
        Slices that the mask was carried to.
    marked:
        Slices with a marked pixel.
    extent:
        The first and the last marked slice, counted from 0 in series order; None without a region.
    ends:
        What is known of the slices next to the extent, towards the first and towards the last slice; None where the
        slices are no stack in space (a radiograph, a clip, photographs), or there is no region.
    stops:
        Why carrying ended each way; empty where nothing was carried.
    cut:
        Marked slices on which the region touches the picture's edge, and so may go on beyond it.
    gaps:
        Slices within the extent without a readable answer.
    uneven:
        Whether the slices of the extent are not evenly spaced: one is missing, or their distances differ by more than
        five percent.
    """

    slices: int
    asked: int
    carried: int
    marked: int
    extent: tuple[int, int] | None
    ends: tuple[End, End] | None
    stops: tuple[str, ...]
    cut: tuple[int, ...]
    gaps: tuple[int, ...]
    uneven: bool

    @property
    def complete(self) -> bool:
        """Whether all of the region is known to be marked.

        In a stack it must be enclosed: on both sides a slice that was asked and has nothing of it, or on which the
        carried mask vanished; with an answer on every slice between, evenly spaced, none cut by the picture's edge. A
        single picture must not be cut by its edge. Never true without a region.
        """
        return self.extent is not None and not self.reasons

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why a region is not known to be whole; empty where it is, or where there is none."""
        return () if self.extent is None else tuple(self._reasons())

    def _reasons(self) -> Iterator[str]:
        if self.ends and self.slices == 1:
            yield "the series has a single slice"
        for side, end in enumerate(self.ends or ()):
            if end in _ENDS and self.slices > 1:
                yield _ENDS[end][side]
        if self.cut:
            yield f"it touches the picture's edge on {_count(len(self.cut))}"
        if self.gaps:
            yield f"within it {_count(len(self.gaps))} gave no answer"
        if self.uneven:
            yield "its slices are unevenly spaced, or one is missing"

    @property
    def line(self) -> str:
        """A few words for a heading."""
        if self.slices == 1:
            return "may go on beyond the picture's edge" if self.cut else ""
        looked = f"{self.asked} of {self.slices} slices asked"
        if self.carried:
            looked += f", {self.carried} carried to"
        return f"{looked}: may not be whole" if self.reasons else looked

    @property
    def text(self) -> str:
        """A sentence or two for a report."""
        parts = f"Asked on {self.asked} of {_count(self.slices)}"
        if self.carried:
            parts += f", carried to {self.carried} more"
        if self.extent is None:
            return f"{parts}."
        parts += f", marked on {self.marked}."
        if not self.reasons:
            return f"{parts} The region ends within what was looked at."
        return f"{parts} The region may not be whole: {'; '.join(self.reasons)}."


def coverage(series: Series, finding: Finding) -> Coverage:
    """How far a finding's region was looked for, in the series it was made on.

    Parameters
    ----------
    series:
        What the finding was made on.
    finding:
        Its slices are numbers of the series' slices; its masks ``(rows, columns)``.
    """
    marked = sorted(finding.marked)
    asked = {s.index for s in (*finding.slices, *finding.candidates) if not s.carried}
    carried = {s.index for s in finding.slices if s.carried}
    extent = (marked[0], marked[-1]) if marked else None
    stacked = series.in_space and extent is not None
    answered = {s.index for s in finding.slices if s.mask is not None or _is_empty(s)}
    gaps = (
        () if extent is None or not stacked else tuple(i for i in range(extent[0], extent[1] + 1) if i not in answered)
    )
    return Coverage(
        slices=len(series),
        asked=len(asked - carried),
        carried=len(carried),
        marked=len(marked),
        extent=extent,
        ends=_ends(series, finding, extent) if stacked and extent is not None else None,
        stops=finding.stops,
        cut=tuple(i for i in marked if _touches_edge(finding.marked[i])),
        gaps=gaps,
        uneven=stacked and extent is not None and _is_uneven(series, extent),
    )


def with_coverage(series: Series, finding: Finding) -> Finding:
    """The finding with a flag that says why its region may not be whole, where that is so."""
    found = coverage(series, finding)
    if not found.reasons:
        return finding
    left_out = []
    if series.in_space:
        left_out.append("its volume is left out")
    if finding.key in found.cut:
        left_out.append("its area and diameters are left out")
    text = f"The region may not be whole: {'; '.join(found.reasons)}"
    if left_out:
        text += f". So {' and '.join(left_out)}"
    return replace(finding, flags=(*finding.flags, Flag("coverage", f"{text}.")))


def _ends(series: Series, finding: Finding, extent: tuple[int, int]) -> tuple[End, End]:
    return _end(series, finding, extent[0] - 1, 0), _end(series, finding, extent[1] + 1, 1)


def _end(series: Series, finding: Finding, index: int, side: int) -> End:
    """What is known of the slice ``index``, the region's neighbour on one side (0: towards the first slice)."""
    if not 0 <= index < len(series):
        return "edge"
    # Where the mask was carried, the answers given up for it still say where nothing is.
    if any(s.index == index and _is_empty(s) for s in (*finding.slices, *finding.candidates)):
        return "empty"
    if len(finding.stops) != 2:
        return "unseen"
    stop = finding.stops[side]
    # A carrier that reached the end of the series without marking this slice saw nothing on it.
    return "ended" if stop.startswith(REACHED) or any(phrase in stop for phrase in ENDED) else "stopped"


def _is_empty(one: SliceResult) -> bool:
    """Whether a readable answer says that nothing is there; a region withheld as unsure does not say so."""
    if one.unsure or one.voxels:
        return False
    return one.mask is not None or one.reason.startswith(Reason.NOTHING_FOUND)


def _touches_edge(mask: NDArray[np.bool_]) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _is_uneven(series: Series, extent: tuple[int, int]) -> bool:
    """Whether distances within the extent and to its neighbours differ from the series' by more than five percent."""
    along, middle = placement.heights(series.planes), series.slice_distance
    if along is None or not middle:
        return True
    steps = np.diff(along[max(extent[0] - 1, 0) : extent[1] + 2])
    return bool((np.abs(steps - middle) > _UNEVEN * middle).any())


def _count(number: int) -> str:
    return f"{number} slice" if number == 1 else f"{number} slices"
