"""The page put together: inputs and pictures into the template, and the file into its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from medreasoner_monai import RESEARCH_USE, __version__
from medreasoner_monai.evaluation.metrics import mistake_rate
from medreasoner_monai.files import object_digest
from medreasoner_monai.report import tables, text
from medreasoner_monai.report.confidence import confidence_svgs, presence_svg
from medreasoner_monai.report.gallery import choose, make_cases, picture
from medreasoner_monai.report.inputs import BASE, BLANK, COLD_START, FINAL, ReportInputs
from medreasoner_monai.training.curves import curve_svgs

_TEMPLATES = Path(__file__).parent
_OVERLAY_WIDTH = 768


def write_report(inputs: ReportInputs, dataset_test: Path, out: Path) -> None:
    """Write the report as one HTML file that needs nothing else.

    Parameters
    ----------
    inputs:
        What is reported.
    dataset_test:
        The test split (parquet) that ``inputs.evaluated`` was scored on; only the cases shown are read from it.
    out:
        The file; its folder is made if absent. It is written beside its name and renamed.

    Raises
    ------
    InputError
        If the split does not exist or lacks a case's sample.
    """
    page = render_page(inputs, dataset_test)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(out.name + ".tmp")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(out)


def render_page(inputs: ReportInputs, dataset_test: Path) -> str:
    """The report as HTML text; see :func:`write_report`."""
    final = inputs.final
    mask = None if final is None else tables.mask_measure(final)
    chosen = choose(final.records) if final is not None else {}
    named = inputs.config.get("evaluate", {}).get("segmenters", ())
    cases = make_cases(chosen, dataset_test, None if mask is None else mask.removeprefix("dice/"), named)
    synthetic = bool(inputs.dataset.get("synthetic"))
    template = environment().get_template("template.html.j2")
    return template.render(
        run=inputs,
        final=final,
        blank=inputs.find(BLANK),
        final_gain=tables.gain(inputs, COLD_START, FINAL),
        over_blank=tables.gain(inputs, BLANK, FINAL),
        mask=mask,
        measures=tables.measures_of(inputs.evaluated),
        forests=tables.forests(inputs),
        supercategories=tables.groups(inputs, "supercategory"),
        categories=tables.groups(inputs, "category"),
        mistakes=tables.mistakes(inputs.evaluated),
        rates={m.key: mistake_rate(final.metrics, m.key) for m in tables.MISTAKES} if final else {},
        answers=tables.answers(final.records) if final else [],
        presence=_presence(inputs),
        failures=tables.failures(inputs.evaluated),
        histograms=[(e, tables.histogram(e.records)) for e in inputs.evaluated if e.records and e.key != BASE],
        curves={
            "Cold start": [Markup(svg) for svg in curve_svgs(inputs.cold_start_curve, "cold-start")],
            "GRPO": [Markup(svg) for svg in curve_svgs(inputs.grpo_curve, "grpo")],
        },
        surety=[Markup(svg) for svg in confidence_svgs(inputs.confidence["confidence"], "confidence")]
        if inputs.confidence and inputs.confidence.get("confidence")
        else [],
        cases=cases,
        typical=next(iter(cases.get("median", [])), None),
        grounding=_grounding(inputs),
        splits=_splits(inputs.dataset),
        config_text=text.without_secrets(yaml.safe_dump(_plain(inputs.config), sort_keys=False, allow_unicode=True)),
        config_digest=object_digest(inputs.config),
        links=[(name, _safe_address(url), text.without_secrets(url)) for name, url in inputs.links.items()],
        seconds=sum(text.finite(s.get("seconds")) or 0.0 for s in inputs.stages),
        slowest=max((text.finite(s.get("seconds")) or 0.0 for s in inputs.stages), default=0.0),
        synthetic=synthetic,
        notice=RESEARCH_USE,
        version=__version__,
    )


def _presence(inputs: ReportInputs) -> Markup | None:
    """The rates about presence over the threshold, where several answers were drawn and targets are absent."""
    curve = ((inputs.confidence or {}).get("absent") or {}).get("curve")
    return Markup(presence_svg(curve, "mistakes")) if curve else None


def environment() -> Environment:
    """Templates and the filters they use."""
    # Everything is escaped, whatever the template is called: questions, traces and completions may hold markup.
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (
        text.number,
        text.signed,
        text.interval,
        text.percent,
        text.count,
        text.duration,
        text.short,
        text.loose,
        text.finite,
    ):
        made.filters[function.__name__] = function
    made.filters["track"] = _track
    return made


def _track(value: Any) -> float | None:
    """Where a value in [0, 1] stands on a track, in percent."""
    found = text.finite(value)
    return None if found is None else round(100 * min(1.0, max(0.0, found)), 2)


def _splits(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Splits by name, and how often each category and super-category stands in each of them."""
    splits: Mapping[str, Mapping[str, Any]] = dataset.get("splits", {})
    table: dict[str, Any] = {"names": list(splits), "by_name": splits}
    for level in ("supercategories", "categories"):
        names = sorted({name for split in splits.values() for name in split.get(level, {})})
        table[level] = [(name, [split.get(level, {}).get(name, 0) for split in splits.values()]) for name in names]
    return table


def _grounding(inputs: ReportInputs) -> dict[str, Any] | None:
    if inputs.grounding is None:
        return None
    answer: Mapping[str, Any] = inputs.grounding.get("answer") or {}
    finding: Mapping[str, Any] = next(iter(answer.get("findings") or []), {})
    slices: Sequence[Mapping[str, Any]] = finding.get("slices") or []
    drawn = None
    if inputs.overlay is not None and inputs.overlay.is_file():
        with Image.open(inputs.overlay) as image:
            drawn = picture(image, _OVERLAY_WIDTH)
    return {
        "answer": answer,
        "picture": drawn,
        "seg": str(inputs.grounding.get("seg") or ""),
        "report": str(inputs.grounding.get("report") or ""),
        "finding": finding,
        "measured": finding.get("measurements") or {},
        "answered": sum(bool(s.get("answered")) for s in slices),
    }


def _plain(value: Any) -> Any:
    """Settings as YAML can write them: mappings, lists and simple values; the rest as text."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _safe_address(url: str) -> str | None:
    """The address if a browser may follow it, without user and password; anything but http(s) is shown, not linked."""
    return text.without_secrets(url) if urlsplit(url).scheme in ("http", "https") else None
