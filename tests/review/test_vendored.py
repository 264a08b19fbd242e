"""What was vendored is what was published, its licences lie beside it, and the page asks for nothing else."""

from __future__ import annotations

import re

import pytest

from medreasoner_monai.files import file_digest
from medreasoner_monai.review.server import STATIC
from tests.review.vendored import FILES, Vendored


@pytest.mark.parametrize("one", FILES, ids=lambda one: one.package)
def test_a_vendored_file_is_as_it_was_published(one: Vendored) -> None:
    assert file_digest(one.path) == one.sha256
    assert [p for p in one.path.parent.iterdir() if "LICENSE" in p.name]


def test_the_licences_name_each_part_of_the_viewer() -> None:
    text = (STATIC / "vendor/LICENSES.txt").read_text()
    for part in ("@niivue/niivue 0.69.0", "fflate", "gl-matrix", "nifti-reader-js", "zarrita", "numcodecs"):
        assert f"==== {part}" in text
    assert text.count("WITHOUT WARRANTY") + text.count('PROVIDED "AS IS"') > 8


def test_the_page_names_no_address_of_another_place() -> None:
    own = [p for p in STATIC.iterdir() if p.suffix in (".html", ".css", ".js")]
    assert len(own) == 7
    for path in own:
        found = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", path.read_text())
        assert [f for f in found if f != "http://www.w3.org"] == [], path.name
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"\son\w+=|style=|<script>(?!</script>)", page), "nothing inline, which the policy forbids"
