"""Which of several series is meant: what stands beside the images proper, and in what order the rest is listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medreasoner_monai.dicom.slices import Series

_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# Image Type values of pictures that scanners add: screens, and tables of dose or protocol.
_PAGES = ("SCREEN SAVE", "SCREENSAVE", "SCREENSHOT", "DOSE_INFO", "DOSE", "PROTOCOL", "REPORT", "EVIDENCE")


@dataclass(frozen=True)
class Ranked:
    """A series, and why it is left aside when a series is chosen; empty for images proper."""

    series: Series
    aside: str


def rank(found: Sequence[Series]) -> list[Ranked]:
    """Images proper first, those with the most slices in space first among them; then what is left aside."""
    ranked = [Ranked(s, _aside(s)) for s in found]
    return sorted(
        ranked,
        key=lambda r: (bool(r.aside), bool(r.series.problems), not r.series.in_space, -len(r.series), r.series.key),
    )


def listing(ranked: Sequence[Ranked]) -> str:
    """One line a series, best first, with the reason where one is left aside."""
    lines = []
    for each in ranked:
        why = each.aside or ("has files that cannot be used" if each.series.problems else "")
        lines.append(f"  {each.series.summary()}" + (f"  - {why}" if why else ""))
    return "\n".join(lines)


def only(ranked: Sequence[Ranked]) -> tuple[Series, str] | None:
    """The series to take without being told, and why; None where several are images proper."""
    proper = [r for r in ranked if not r.aside]
    if len(ranked) == 1:
        aside = ranked[0].aside
        return ranked[0].series, "the only image series" + (f", though it is {aside}" if aside else "")
    if len(proper) != 1:
        return None
    left = "; ".join(f"{r.series.summary().split()[0]} is {r.aside}" for r in ranked if r.aside)
    return proper[0].series, f"the only series of images proper ({left})"


def best(ranked: Sequence[Ranked]) -> tuple[Series, str]:
    """The first of the ranking, and why; for those who asked for a choice to be made."""
    first = ranked[0]
    others = len(ranked) - 1
    if not others:
        return first.series, "the only image series"
    place = "in space" if first.series.in_space else "without a place in space"
    return first.series, f"automatically: most images {place} ({len(first.series)}) among {len(ranked)} series"


def _aside(series: Series) -> str:
    types = [_words(h.get("ImageType")) for h in series.headers]
    if all("LOCALIZER" in t or "SCOUT" in t for t in types):
        return "a scout (ImageType LOCALIZER)"
    if all(any(page in word for word in t for page in _PAGES) for t in types):
        return "a captured page (ImageType of a screen, dose or protocol page)"
    if all(h.get("PresentationIntentType") == "FOR PROCESSING" for h in series.headers):
        return "raw data of a detector (PresentationIntentType FOR PROCESSING)"
    classes = [str(h.get("SOPClassUID") or "") for h in series.headers]
    if all(c == _CAPTURE or c.startswith(f"{_CAPTURE}.") for c in classes):
        return "a secondary capture (SOP Class)"
    return ""


def _words(value: object) -> list[str]:
    many = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return [str(word).upper() for word in many if word]
