"""The review page in a real browser: what a reader does is in the store, whatever happens to the server meanwhile."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from medreasoner_monai.data.review.events import Event, Heads
from medreasoner_monai.data.review.store import ReviewStore
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import decode_mask
from medreasoner_monai.pipeline.prefect_server import free_port
from medreasoner_monai.review.board import Plan
from medreasoner_monai.review.dataset import ReviewedData
from tests.review.served import FLAGS, Process, Running, dataset, serving
from tests.samples import sample

AXE = Path(__file__).with_name("vendor") / "axe.min.js"
OPTIONS = ("--reviewer", "ann", "--reviewer", "bob", "--adjudicator", "cyd", "--readings", "2")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield made
        made.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("review") / "dataset")


class Desk:
    """A reader's page, and what the store says."""

    def __init__(self, browser: Browser, address: str, store: Path, reviewer: str) -> None:
        self.context = browser.new_context(viewport={"width": 1440, "height": 900})
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.errors: list[str] = []
        self.outside: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda m: self.errors.append(m.text) if "Content Security" in m.text else None)
        self.page.on("request", lambda r: self.outside.append(r.url) if _outside(r.url) else None)
        self.store, self.reviewer = ReviewStore(store), reviewer
        self.go(address)

    def go(self, address: str) -> None:
        self.page.goto(address)
        self.page.locator("body[data-open]").wait_for()

    @property
    def sample(self) -> str:
        return str(self.page.locator("#identifier").inner_text())

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def drag(self, start: tuple[float, float], end: tuple[float, float], of: Sample) -> None:
        """From one place of the picture to another, (column, row) in its pixels."""
        (ax, ay), (bx, by) = self.at(start, of), self.at(end, of)
        self.page.mouse.move(ax, ay)
        self.page.mouse.down()
        self.page.mouse.move(bx, by, steps=6)
        self.page.mouse.up()

    def at(self, place: tuple[float, float], of: Sample) -> tuple[float, float]:
        """Where a pixel is on the screen: the picture fills the stage, centred, as large as it fits."""
        stage = self.page.locator("#stage").bounding_box()
        assert stage is not None
        scale = min(stage["width"] / of.frame.width, stage["height"] / of.frame.height)
        left = stage["x"] + (stage["width"] - scale * of.frame.width) / 2
        top = stage["y"] + (stage["height"] - scale * of.frame.height) / 2
        return left + place[0] * scale, top + place[1] * scale

    def saved(self) -> None:
        expect(self.page.locator("#saved")).to_contain_text("All saved", timeout=20_000)

    def changed(self) -> None:
        """An edit is saved when the hand rests."""
        expect(self.page.locator("#saved")).to_have_text("Editing…")
        self.saved()

    def said(self, sample: str) -> dict[str, Event]:
        heads = Heads(self.store.events()).of(sample)
        return {e.field: e for e in heads if e.reviewer == self.reviewer}

    def close(self) -> None:
        self.context.close()
        assert self.errors == [] and self.outside == []


def _outside(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "data:", "blob:"))


def mask_of(desk: Desk, sample: str) -> np.ndarray:
    return decode_mask(desk.store.value(desk.said(sample)["mask"].seq), "mask")


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


@pytest.mark.timeout(240)
def test_two_readers_a_kill_and_an_adjudicator(browser: Browser, data: Path, tmp_path: Path) -> None:
    store, port = tmp_path / "reviews.sqlite", free_port()
    samples = ReviewedData(data)
    server = Process(data, store, port, *OPTIONS)
    try:
        ann = Desk(browser, server.addresses["ann"], store, "ann")
        assert "/open/" not in ann.page.url, "the token does not stay in the address"

        # Accept all by keyboard.
        assert ann.sample == "s0"
        ann.press("a", "a", "a")
        ann.saved()
        assert {f: e.verdict for f, e in ann.said("s0").items()} == dict.fromkeys(
            ("question", "mask", "trace"), "accept"
        )

        # A coloured picture: brush, erase and undo.
        ann.press("Enter")
        expect(ann.page.locator("#identifier")).to_have_text("s1")
        one = samples.get("s1")
        assert one is not None and one.image.ndim == 3
        ann.press("b")
        ann.drag((3, 36), (20, 36), one)
        ann.saved()
        painted = mask_of(ann, "s1")
        stroke = painted & ~one.mask
        assert (painted | one.mask == painted).all() and stroke[36, 4:20].all()
        left, top, right, bottom = box(stroke)
        assert abs(left - 3 + 4) <= 2 and abs(right - 20 - 4) <= 2 and top >= 30 and bottom <= 40, box(stroke)
        ann.press("x")
        ann.drag((3, 36), (12, 36), one)
        ann.saved()
        assert not mask_of(ann, "s1")[36, 4:12].any() and mask_of(ann, "s1")[36, 18]
        ann.press("Control+z")
        ann.changed()
        assert (mask_of(ann, "s1") == painted).all()

        # A box: keep only what is inside it.
        x1, y1, _, y2 = box(one.mask)
        ann.press("d")
        ann.drag((x1 - 1, y1 - 1), (x1 + 10, y2 + 1), one)
        ann.press("k")
        ann.changed()
        kept = mask_of(ann, "s1")
        assert box(kept)[0] == x1 and abs(box(kept)[2] - (x1 + 10)) <= 1 and not (kept & ~painted).any()

        # Edited words, and a rejection with its reason.
        ann.press("1", "e")
        ann.page.get_by_label("Question, corrected").fill("Which part is brightest?")
        ann.press("Escape")
        ann.changed()
        ann.press("3")
        ann.page.get_by_label("Comment on the reasoning").fill("It says nothing.")
        ann.press("Escape", "r")
        ann.saved()
        said = ann.said("s1")
        assert ann.store.value(said["question"].seq) == b"Which part is brightest?"
        assert (said["trace"].verdict, said["trace"].comment) == ("reject", "It says nothing.")

        # The server is killed; what is judged meanwhile waits in the browser.
        ann.press("Enter")
        expect(ann.page.locator("#identifier")).to_have_text("s2")
        server.kill()
        ann.press("r")
        expect(ann.page.locator("#saved")).to_contain_text("does not answer; 1 verdict(s) kept")
        assert "question" not in ann.said("s2")
        server = Process(data, store, port, *OPTIONS)
        ann.go(server.addresses["ann"])
        ann.saved()
        assert ann.said("s2")["question"].verdict == "reject"
        assert ann.sample == "s2", "it goes on where it was"
        ann.press("a")
        ann.saved()

        # The second reader sees nothing of this.
        bob = Desk(browser, server.addresses["bob"], store, "bob")
        assert bob.sample == "s0"
        expect(bob.page.locator("[aria-pressed=true][data-verdict]")).to_have_count(0)
        bob.press("a", "r", "a")
        bob.saved()
        assert bob.said("s0")["mask"].verdict == "reject" and ann.said("s0")["mask"].verdict == "accept"
        bob.press("u")
        expect(bob.page.locator("#saved")).to_contain_text("taken back")
        assert "trace" not in bob.said("s0")
        bob.press("3", "a")
        bob.saved()

        # The adjudicator is given what the two disagree on.
        cyd = Desk(browser, server.addresses["cyd"], store, "cyd")
        assert cyd.sample == "s0"
        expect(cyd.page.get_by_text("Reading A: accepted")).to_have_count(3)
        expect(cyd.page.locator("[data-field=mask]")).to_contain_text("Reading B: rejected")
        cyd.page.get_by_role("button", name="Take reading B").click()
        cyd.saved()
        assert (cyd.said("s0")["mask"].verdict, cyd.said("s0")["mask"].role) == ("reject", "adjudicator")
        for desk in (ann, bob, cyd):
            desk.close()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def running(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(data, tmp_path_factory.mktemp("store") / "reviews.sqlite", Plan(("ann", "bob"))) as made:
        yield made


@pytest.fixture
def desk(browser: Browser, running: Running) -> Iterator[Desk]:
    made = Desk(browser, running.addresses["ann"], running.board.store.path, "ann")
    yield made
    made.close()


@pytest.mark.timeout(120)
def test_nothing_serious_for_the_accessibility_checker(desk: Desk) -> None:
    desk.press("r", "2", "d")
    states: dict[str, tuple[str, ...]] = {"judging": (), "help": ("?",), "editing": ("Escape", "1", "e")}
    desktop = desk.page.viewport_size
    assert desktop is not None
    for name, keys in states.items():
        desk.press(*keys)
        for size in (desktop, ViewportSize(width=1024, height=768), ViewportSize(width=768, height=1024)):
            desk.page.set_viewport_size(size)
            found = _axe(desk.page)
            kinds = [(v["id"], v["impact"], v["nodes"]) for v in found["violations"]]
            assert [v for v in kinds if v[1] in ("serious", "critical")] == [], (name, size)
            assert len(found["passes"]) > 10, "the checker ran"
        desk.page.set_viewport_size(desktop)


def test_zoom_keeps_what_is_under_the_pointer_and_moving_moves_it(desk: Desk) -> None:
    stage, before = desk.page.locator("#stage").bounding_box(), _derived(desk.page)
    assert stage is not None
    desk.page.mouse.move(stage["x"] + before[0], stage["y"] + before[1])
    for _ in range(3):
        desk.page.mouse.wheel(0, -100)
    expect(desk.page.locator("#zoom")).to_have_text("173 %")
    after = _derived(desk.page)
    assert after[:2] == pytest.approx(before[:2], abs=2), "the corner of the mask stays"
    assert after[2:] == pytest.approx([side * 1.2**3 for side in before[2:]], rel=0.01)
    desk.page.mouse.down()
    desk.page.mouse.move(stage["x"] + before[0] + 40, stage["y"] + before[1] + 30, steps=4)
    desk.page.mouse.up()
    assert _derived(desk.page)[:2] == pytest.approx([after[0] + 40, after[1] + 30], abs=2)
    desk.press("f")
    assert _derived(desk.page) == pytest.approx(before, abs=1)


def test_the_window_of_grey_and_of_colour(desk: Desk) -> None:
    """What is shown of the picture's corner, against the formula of a linear window."""
    for name in ("s0", "s1"):
        expect(desk.page.locator("#identifier")).to_have_text(name)
        desk.page.get_by_label("Mask opacity").fill("0")
        one = sample(int(name[1:]))
        seen = {}
        for width in ("256", "100"):
            desk.page.get_by_label("Width").fill(width)
            seen[width] = _colour(desk, 30, 20, one)
        low, high = 128 - 50, 128 + 50
        wanted = [min(max((value - low) / (high - low) * 255, 0), 255) for value in seen["256"]]
        assert seen["100"] == pytest.approx(wanted, abs=6), name
        desk.press("Enter")


def _derived(page: Page) -> list[float]:
    names = ("x", "y", "width", "height")
    return [float(page.locator("#derived").get_attribute(name) or "nan") for name in names]


def _colour(desk: Desk, column: int, row: int, of: Sample) -> list[int]:
    x, y = desk.at((column + 0.5, row + 0.5), of)
    shot = Image.open(io.BytesIO(desk.page.screenshot(clip={"x": x, "y": y, "width": 1, "height": 1})))
    return [int(v) for v in np.asarray(shot.convert("RGB"))[0, 0]]


def _axe(page: Page) -> dict[str, list[dict[str, object]]]:
    page.evaluate(AXE.read_text())  # by the debugger, which the page's own policy does not bind
    return dict(page.evaluate("() => axe.run(document)"))
