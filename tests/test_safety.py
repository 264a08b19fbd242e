"""Every test that docs/safety.md names exists, so that no hazard is said to be controlled by a test that is gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "safety.md"
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", PAGE.read_text(encoding="utf-8"))))


def test_the_page_names_tests_for_each_of_its_tables() -> None:
    tables = PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    assert len(tables) >= 8
    for table in tables:
        rows = [line for line in table.splitlines() if line.startswith("| ") and "---" not in line][1:]
        assert rows and all(re.search(r"`[\w/]+\.py", row) for row in rows), table.splitlines()[0]


@pytest.mark.parametrize(("file", "function"), [pair for pair in NAMED if pair[0] != "tests/test_safety.py"])
def test_a_named_test_exists(file: str, function: str) -> None:
    path = TESTS / file
    assert path.is_file(), f"docs/safety.md names {file}"
    if function:
        assert re.search(rf"^def {function}\(", path.read_text(encoding="utf-8"), re.MULTILINE), f"{file}::{function}"
