"""What a found region is called: as given with the question, or as the reasoning concludes."""

from __future__ import annotations

import re
from dataclasses import replace

from medreasoner_monai.dicom.series import Series
from medreasoner_monai.grounding.request import Question
from medreasoner_monai.task.findings import Finding
from medreasoner_monai.task.taxonomy import TAXONOMY, Category


def with_name(series: Series, question: Question, finding: Finding) -> Finding:
    """The finding with its codes, and with flags that say why it has none where its reasoning names something."""
    if (given := question.codes()) is not None:
        return replace(finding, codes=given, coded_from="given")
    answer = finding.shown.grounding
    named = _named_category((answer.trace if answer else None) or "")
    return finding if named is None else replace(finding, codes=named.codes, coded_from="trace")


def _named_category(trace: str) -> Category | None:
    """The category whose whole name is the only one in the text; None where there are none, or several.

    A longer name that holds a shorter one counts alone: a liver tumor is no liver.
    """
    text = trace.lower()
    found = [name for name in TAXONOMY if re.search(rf"\b{re.escape(name)}s?\b", text)]
    found = [name for name in found if not any(name != other and name in other for other in found)]
    return TAXONOMY[found[0]] if len(found) == 1 else None
