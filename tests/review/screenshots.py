"""The pictures in docs/review.md, of drawn phantoms.

python -m tests.review.screenshots docs/images
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from medreasoner_monai.data.questioning import phantom_samples
from medreasoner_monai.data.schema import write_split
from medreasoner_monai.review.board import Plan
from tests.review.served import FLAGS, Running, serving

SITES = ("ct_abdomen", "chest_xray", "brain_mr")
DESKTOP, TABLET = (1440, 900), (1024, 768)


def take(out: Path) -> None:
    """Write the pictures into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "phantoms.parquet"
        write_split(data, phantom_samples("train", 24, sites=SITES, per_phantom=2, seed=0))
        plan = Plan(("ann", "bob"), ("cyd",), readings=2)
        with serving(data, Path(folder) / "reviews.sqlite", plan) as running, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            for reviewer, size in (("ann", DESKTOP), ("bob", TABLET), ("cyd", DESKTOP)):
                context = browser.new_context(viewport={"width": size[0], "height": size[1]})
                page = context.new_page()
                page.goto(running.addresses[reviewer])
                page.locator("body[data-open]").wait_for()
                name = {"ann": _editing, "bob": _rejecting, "cyd": _adjudicating}[reviewer](page, running)
                page.wait_for_timeout(1500)
                page.screenshot(path=out / f"review-{name}.png")
                context.close()
            browser.close()


def _editing(page: Page, _: Running) -> str:
    """A mask under the brush, the question accepted before."""
    page.keyboard.press("a")
    stage = page.locator("#stage").bounding_box()
    assert stage is not None
    derived = [float(page.locator("#derived").get_attribute(name) or 0) for name in ("x", "y", "width", "height")]
    x, y = stage["x"] + derived[0] + derived[2], stage["y"] + derived[1] + derived[3] / 2
    for key in ("b", "[", "]", "]"):
        page.keyboard.press(key)
    page.mouse.move(x, y - derived[3] / 4)
    page.mouse.down()
    page.mouse.move(x + 6, y + derived[3] / 4, steps=8)
    page.mouse.up()
    page.get_by_label("Comment on the mask").fill("The right border was missing.")
    page.mouse.move(stage["x"] + 20, stage["y"] + 20)
    return "desktop"


def _rejecting(page: Page, _: Running) -> str:
    page.keyboard.press("a")
    page.keyboard.press("r")
    page.keyboard.press("2")
    page.get_by_label("Comment on the mask").fill("This is the oedema, not the tumour.")
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    return "tablet"


def _adjudicating(page: Page, _: Running) -> str:
    return "adjudication"


if __name__ == "__main__":
    take(Path(sys.argv[1]))
