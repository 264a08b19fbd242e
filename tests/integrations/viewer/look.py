"""Open a study in OHIF with a real browser, load its segmentation, and tell what the viewer made of it.

    python look.py ADDRESS OUT

Runs in an environment of its own with Playwright and nothing else; writes pictures and `seen.json` to OUT.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Error, Page, sync_playwright  # type: ignore[import-not-found,unused-ignore]

SIZE = {"width": 1400, "height": 900}
FLAGS = [
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-sandbox",
    "--no-proxy-server",
]
SECONDS = 60
ASIDE = (300, 20)  # where the mouse opens no hint
LOADED = "() => window.services.segmentationService.getSegmentations().length > 0"

SEGMENTS = """() => window.services.segmentationService.getSegmentations().map(s => ({
  label: s.label,
  segments: Object.values(s.segments).map(one => [one.segmentIndex, one.label]),
  frames: (s.representationData.Labelmap.imageIds || []).map(id => {
    const image = window.cornerstone.cache.getImage(id);
    const values = new Uint8Array(image.voxelManager.getScalarData());
    let text = '';
    for (let i = 0; i < values.length; i += 8192) text += String.fromCharCode(...values.subarray(i, i + 8192));
    return {source: image.referencedImageId, rows: image.rows, columns: image.columns, values: btoa(text)};
  }),
}))"""

# Where the shown image's corner, the end of its first row and the end of its first column lie on the page.
PLACE = """() => {
  const {activeViewportId} = window.services.viewportGridService.getState();
  const viewport = window.services.cornerstoneViewportService.getCornerstoneViewport(activeViewportId);
  const id = viewport.getCurrentImageId();
  const {rows, columns} = window.cornerstone.metaData.get('imagePlaneModule', id);
  const {left, top} = viewport.canvas.getBoundingClientRect();
  const on = at => {
    const [x, y] = viewport.worldToCanvas(window.cornerstone.utilities.imageToWorldCoords(id, at));
    return [x + left, y + top];
  };
  return {source: id, rows, columns, corner: on([0, 0]), right: on([columns, 0]), down: on([0, rows])};
}"""


class RefusedError(Exception):
    """The viewer said that it cannot."""


def look(address: str, out: Path) -> dict[str, Any]:
    """What is seen of a study with one segmentation, one report and one capture; each is opened afresh."""
    seen: dict[str, Any] = {"outside": [], "errors": [], "shown": {}}
    with sync_playwright() as playwright:
        playwright.selectors.set_test_id_attribute("data-cy")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        seen["browser"] = browser.version
        for name, step in (
            ("segmentation", _segmentation),
            ("report", _report),
            ("text", _text),
            ("capture", _capture),
        ):
            page = browser.new_page(viewport=SIZE)
            page.set_default_timeout(SECONDS * 1000)
            page.on("request", lambda r: seen["outside"].append(r.url) if _outside(r.url) else None)
            page.on("console", lambda m: seen["errors"].append(m.text) if m.type == "error" else None)
            page.goto(address)
            try:
                page.get_by_text("Skip all", exact=True).click()
                page.get_by_text("Confirm and hide", exact=True).click()
                seen[name] = step(page, seen["errors"])
                seen["shown"][name] = True
            except (RefusedError, Error) as error:
                seen["shown"][name] = False
                seen["errors"].append(str(error).splitlines()[0])
            page.screenshot(path=out / f"{name}.png")
            page.close()
        browser.close()
    return seen


def _segmentation(page: Page, errors: list[str]) -> dict[str, Any]:
    page.get_by_text("Research use only: region").first.dblclick()
    agree, deadline = page.get_by_test_id("yes-hydrate-btn"), time.monotonic() + SECONDS
    while not agree.is_visible() and time.monotonic() < deadline:
        if errors:
            page.wait_for_timeout(2000)
            raise RefusedError("the viewer gave up on the segmentation")
        page.wait_for_timeout(200)
    agree.click()
    page.wait_for_function(LOADED)
    page.get_by_test_id("panelSegmentation-btn").click()
    _settle(page)
    return {"objects": page.evaluate(SEGMENTS), "place": page.evaluate(PLACE)}


def _report(page: Page, errors: list[str]) -> dict[str, Any]:
    page.get_by_text("Research use only: report on").first.dblclick()
    page.locator("svg.svg-layer text").first.wait_for()
    _settle(page)
    shapes = page.locator("svg.svg-layer polyline, svg.svg-layer path, svg.svg-layer line")
    texts = page.locator("svg.svg-layer tspan").all_text_contents()
    return {"place": page.evaluate(PLACE), "texts": texts, "shapes": shapes.count()}


def _text(page: Page, errors: list[str]) -> dict[str, Any]:
    page.get_by_text("As text: research use only").first.dblclick()
    shown = page.get_by_text("Imaging Measurement Report").locator("xpath=ancestor::div[3]").first
    shown.wait_for()
    _settle(page)
    return {"text": shown.inner_text()}


def _capture(page: Page, errors: list[str]) -> dict[str, Any]:
    page.get_by_text("Research use only: picture").first.dblclick()
    page.get_by_text("1/1", exact=True).wait_for()
    _settle(page)
    return {"place": page.evaluate(PLACE)}


def _settle(page: Page) -> None:
    """Until nothing moves: four pictures the same, half a second apart."""
    page.mouse.move(*ASIDE)
    before, same, deadline = b"", 0, time.monotonic() + SECONDS
    while same < 4 and time.monotonic() < deadline:
        page.wait_for_timeout(500)
        now = page.screenshot()
        same, before = (same + 1, now) if now == before else (0, now)


def _outside(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "data:", "blob:"))


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "seen.json").write_text(json.dumps(look(sys.argv[1], folder)))
