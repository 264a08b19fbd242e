"""`medreasoner taxonomy`, as a clinician types it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from medreasoner_monai.cli.app import app
from medreasoner_monai.errors import InputError
from medreasoner_monai.task import taxonomy
from tests.data.test_targets import mask


@pytest.fixture(autouse=True)
def _as_shipped(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MEDREASONER_TAXONOMY", raising=False)
    yield
    taxonomy.use(None)


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, ["taxonomy", *words])


def test_the_shipped_file_is_in_order() -> None:
    result = typed("check")
    assert result.exit_code == 0 and "in 15 super-categories, no mistake" in result.stdout


def test_mistakes_are_told_by_line_and_end_with_1(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text("concepts:\n  psoas:\n    super: Musle\n")
    result = typed("check", str(path))
    assert result.exit_code == 1
    assert f"{path}, line 3: psoas: unknown super 'Musle'. Did you mean 'Muscle'?" in result.stderr


def test_targets_that_resolve_to_nothing_are_reported(tmp_path: Path) -> None:
    for name in ("a_CT_abdomen_liver", "b_CT_abdomen_hipocampus", "a_CT_abdomen_liver+flange"):
        mask(tmp_path / "set" / "masks" / f"{name}.png")
    result = typed("check", "--data", str(tmp_path))
    assert result.exit_code == 1 and "1 targets known, 2 unknown" in result.stdout
    assert "unknown: hipocampus in set (1 masks); nearest: hippocampus" in result.stderr
    mask(tmp_path / "fine" / "masks" / "a_MRI_brain_Hippocampi.png")
    assert typed("check", "--data", str(tmp_path / "fine")).exit_code == 0


def test_a_concept_is_shown_with_codes_and_synonyms() -> None:
    result = typed("find", "hepatic tumour", "--limit", "1")
    assert "SCT 108369006 |Neoplasm|" in result.stdout and "SCT 10200004 |Liver|" in result.stdout
    assert "tumor of the liver" in result.stdout
    assert typed("find", "qqqq").exit_code == 1


def test_what_was_added_is_found(tmp_path: Path) -> None:
    ours = str(tmp_path / "ours.yaml")
    made = typed(
        "add", "psoas abscess", "--super", "Non-Neoplasm", "--kind", "finding", "--code", "44132006 |Abscess|",
        "--modality", "CT", "--site", "abdomen", "--label", "clinic=PSA", "--file", ours,
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    assert "SCT 44132006 |Abscess|" in typed("find", "psa", "--file", ours).stdout
    assert typed("check", ours).exit_code == 0


def test_a_wrong_entry_is_refused(tmp_path: Path) -> None:
    result = typed("add", "liver", "--super", "Abdomen", "--label", "liver", "--file", str(tmp_path / "ours.yaml"))
    assert isinstance(result.exception, InputError) and "SOURCE=LABEL is expected" in str(result.exception)
    assert isinstance(typed("add", "x", "--super", "Abdomen").exception, InputError)
    assert not [*tmp_path.iterdir()]
