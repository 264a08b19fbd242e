"""The card of a data set: what it holds, where it came from, what it lacks. As HTML, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.data.census import Census, take
from medreasoner_monai.data.gaps import find_gaps, unknown_targets
from medreasoner_monai.data.sheets import FOLDER, KEPT_PAGES, PER_PAGE, REJECT_PAGES, Sheet, write_sheets
from medreasoner_monai.files import write_json
from medreasoner_monai.task.taxonomy import resolve

CARD = "card.json"
PAGES = {"card.html": "card.html.j2", "card.md": "card.md.j2"}
_TEMPLATES = Path(__file__).parent


def write_card(dataset: Path, facts: Mapping[str, Any], out: Path | None = None) -> dict[str, Any]:
    """Write the contact sheets and the card of a data set; equal data sets give equal files.

    Parameters
    ----------
    dataset:
        A folder with ``train.parquet`` and so on, or one U-MRG Parquet file.
    facts:
        What its manifest states; ``sources``, ``synthetic``, ``masks`` and ``leaks`` (found by the split firewall,
        by kind) are used where they are there.
    out:
        Folder for ``card.html``, ``card.md``, ``card.json`` and ``sheets``; the data set's own by default.

    Returns
    -------
    dict
        The content of ``card.json``.

    Raises
    ------
    InputError
        If there is no data set.
    """
    out = dataset if out is None else out
    census = take(dataset, shown=KEPT_PAGES * PER_PAGE, shown_rejects=REJECT_PAGES * PER_PAGE)
    out.mkdir(parents=True, exist_ok=True)
    for old in (out / FOLDER).glob("*.png"):
        old.unlink()
    card = describe(census, facts, write_sheets(dataset, census, out))
    for name, template in PAGES.items():
        _replace(out / name, environment().get_template(template).render(card=card))
    write_json(out / CARD, card)
    return card


def describe(census: Census, facts: Mapping[str, Any], sheets: list[Sheet]) -> dict[str, Any]:
    """The content of a card, JSON-able; it names no patient, sample or file."""
    described = {source["name"]: source for source in facts.get("sources", ())}
    synthetic = frozenset(name for name, source in described.items() if source.get("synthetic"))
    names = sorted({*census.sources, *census.rejects} - {""})
    return {
        "notice": RESEARCH_USE,
        "synthetic": bool(facts.get("synthetic")),
        "samples": census.samples,
        "masks": facts.get("masks"),
        "splits": {name: tally.facts() for name, tally in census.splits.items()},
        "sources": [_source(name, census, described.get(name, {}), sheets) for name in names],
        "modalities": {name or "not stated": tally.facts() for name, tally in sorted(census.modalities.items())},
        "supercategories": _table(census, "supercategory"),
        "categories": _table(census, "category"),
        "absent": dict(sorted(census.absent.items())),
        "rejects": _rejects(census),
        "leaks": None if facts.get("leaks") is None else dict(facts["leaks"]),
        "unknown_targets": unknown_targets(census, is_known),
        "gaps": list(find_gaps(census, is_known, synthetic)),
    }


def is_known(category: str) -> bool:
    """Whether the taxonomy has a category."""
    return resolve(category) is not None


def _source(name: str, census: Census, described: Mapping[str, Any], sheets: list[Sheet]) -> dict[str, Any]:
    tally = census.sources[name].facts() if name in census.sources else None
    licences = sorted(census.licences.get(name, set()) - {""})
    return {
        "name": name,
        "kind": described.get("kind", ""),
        "description": described.get("description", ""),
        "synthetic": bool(described.get("synthetic")),
        "licences": licences,
        "holds": tally,
        "rejected": dict(sorted(census.rejects[name].rejects.items())) if name in census.rejects else {},
        "sheets": [sheet.facts() for sheet in sheets if sheet.source == name],
    }


def _table(census: Census, level: str) -> list[dict[str, Any]]:
    """Samples of each name by split, the most frequent first."""
    counters = census.names[level]
    totals = {name: sum(c[name] for c in counters.values()) for c in counters.values() for name in c}
    order = sorted(totals, key=lambda name: (-totals[name], name))
    return [
        {"name": name or "not stated", "samples": totals[name], **{s: counters[s][name] for s in census.splits}}
        for name in order
    ]


def _rejects(census: Census) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for source, tally in census.rejects.items():
        for reason, count in tally.rejects.items():
            entry = found.setdefault(reason, {"reason": reason, "rejects": 0, "masks": 0, "sources": 0})
            entry["rejects"] += count
            entry["masks"] += tally.masks[reason]
            entry["sources"] += bool(source)
    return sorted(found.values(), key=lambda entry: (-entry["rejects"], entry["reason"]))


def environment() -> Environment:
    """Templates and their filters."""
    # Names come from files and configs: all is escaped for HTML. In Markdown a table's cell must stay one.
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=lambda name: bool(name) and ".html" in str(name),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["number"] = lambda value: f"{value:,}".replace(",", "\u202f")
    made.filters["share"] = lambda part, whole: f"{part / whole:.1%}" if whole else "–"
    made.filters["cell"] = lambda text: " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")
    return made


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
