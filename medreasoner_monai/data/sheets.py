"""Contact sheets: a few samples of each source with their outlines, and what was set aside with its reason.

Captions hold what is shown and where its row is (``test 17``, ``rejects 4``), never an id or a file's name, which may
say who the patient is.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from medreasoner_monai.data.census import REJECTS, Census, kind_of, split_files
from medreasoner_monai.data.schema import SampleError, decode_image, decode_mask, encode_png
from medreasoner_monai.data.thumbnails import as_png, outlined

FOLDER = "sheets"
_TILE, _CAPTION, _GAP, _COLUMNS, _LINES = 152, 38, 8, 6, 4
PER_PAGE = _COLUMNS * _LINES
"""Pictures on a page."""
KEPT_PAGES, REJECT_PAGES = 1, 2
"""Pages of a source, at most."""
_PAPER, _INK, _QUIET = (24, 28, 32), (235, 240, 244), (150, 162, 172)
_READ = 16  # rows at a time; each has a picture


@dataclass(frozen=True)
class Sheet:
    """A page.

    Attributes
    ----------
    file:
        Relative to the data set's folder.
    source:
        Whose pictures it shows.
    kind:
        ``kept`` or ``rejected``.
    shown, of:
        How many of how many are on this page.
    """

    file: str
    source: str
    kind: str
    shown: int
    of: int

    def facts(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


@dataclass(frozen=True)
class _Tile:
    picture: bytes | None
    title: str
    place: str


def write_sheets(dataset: Path, census: Census, out: Path) -> list[Sheet]:
    """Write the pages of a data set below ``out/sheets``; equal data sets give equal files.

    Parameters
    ----------
    dataset:
        The folder with ``train.parquet`` and so on.
    census:
        Its census, with :data:`PER_PAGE` times the pages drawn of each source.
    """
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    sheets: list[Sheet] = []
    kept = _kept_tiles(dataset, census)
    rejected = _reject_tiles(dataset / REJECTS, census) if census.drawn_rejects else {}
    for kind, tiles, totals in (
        ("kept", kept, {name: tally.samples for name, tally in census.sources.items()}),
        ("rejected", rejected, {name: r.rejects.total() for name, r in census.rejects.items()}),
    ):
        for number, (source, found) in enumerate(sorted(tiles.items())):
            for page in range(0, len(found), PER_PAGE):
                part = found[page : page + PER_PAGE]
                safe = re.sub(r"[^A-Za-z0-9_-]+", "-", source)[:60]
                name = f"{kind}-{number:03}-{safe}-{page // PER_PAGE + 1}.png"
                title = f"{source}: {len(part)} of {totals[source]} {'samples' if kind == 'kept' else 'set aside'}"
                (folder / name).write_bytes(as_png(_page(title, part)))
                sheets.append(Sheet(f"{FOLDER}/{name}", source, kind, len(part), totals[source]))
    return sheets


def _kept_tiles(dataset: Path, census: Census) -> dict[str, list[_Tile]]:
    wanted: dict[str, dict[int, str]] = {}
    for source, draw in census.drawn.items():
        for place in draw:
            wanted.setdefault(place.split, {})[place.row] = source
    tiles: dict[str, list[_Tile]] = {}
    for split, file in split_files(dataset).items():
        rows = wanted.get(split, {})
        for number, row in _rows(file, rows, ["images", "masks", "extra_info"]):
            info = row["extra_info"] or {}
            what = str(info.get("category") or "?") + (" (absent)" if info.get("absent") else "")
            tiles.setdefault(rows[number], []).append(_Tile(_drawn(row), what, f"{split} {number}"))
    return tiles


def _drawn(row: Mapping[str, Any]) -> bytes | None:
    try:
        image = decode_image(row["images"][0]["bytes"], "image")
        mask = decode_mask(row["masks"][0]["bytes"], "mask")
    except (SampleError, KeyError, TypeError, IndexError):
        return None
    return encode_png(np.asarray(outlined(image, mask if mask.shape == image.shape[:2] else None, _TILE)))


def _reject_tiles(path: Path, census: Census) -> dict[str, list[_Tile]]:
    wanted = {row: source for source, draw in census.drawn_rejects.items() for row in draw}
    tiles: dict[str, list[_Tile]] = {}
    for number, row in _rows(path, wanted, ["reason", "thumbnail", "code"]):
        # With a code the sentence begins with the target's name; without one it may name a file or a sample.
        target = str(row["reason"]).partition(":")[0] if row["code"] else ""
        title = ": ".join(part for part in (kind_of(row["code"], row["reason"]), target) if part)
        tiles.setdefault(wanted[number], []).append(_Tile(row["thumbnail"], title, f"rejects {number}"))
    return tiles


def _rows(path: Path, wanted: Mapping[int, Any], columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Some rows of a file by their numbers; row groups without any are not read."""
    if not wanted:
        return
    with pq.ParquetFile(path, pre_buffer=False) as file:
        first = 0
        for group in range(file.num_row_groups):
            last = first + file.metadata.row_group(group).num_rows
            if any(row in wanted for row in range(first, last)):
                number = first
                for batch in file.iter_batches(_READ, row_groups=[group], columns=list(columns)):
                    for offset in range(len(batch)):
                        if number + offset in wanted:
                            yield number + offset, batch.slice(offset, 1).to_pylist()[0]
                    number += len(batch)
            first = last


def _page(title: str, tiles: Sequence[_Tile]) -> Image.Image:
    lines = -(-len(tiles) // _COLUMNS)
    columns = min(_COLUMNS, max(len(tiles), 3))
    width = columns * (_TILE + _GAP) + _GAP
    page = Image.new("RGB", (width, 30 + lines * (_TILE + _CAPTION + _GAP) + _GAP), _PAPER)
    draw = ImageDraw.Draw(page)
    large, small = ImageFont.load_default(15), ImageFont.load_default(12)
    draw.text((_GAP, 7), _fit(draw, title, width - 2 * _GAP, large), _INK, font=large)
    for number, tile in enumerate(tiles):
        left = _GAP + number % _COLUMNS * (_TILE + _GAP)
        top = 30 + number // _COLUMNS * (_TILE + _CAPTION + _GAP)
        _paste(page, draw, tile, left, top, small)
        for line, (text, colour) in enumerate(((tile.title, _INK), (tile.place, _QUIET))):
            draw.text((left, top + _TILE + 3 + 16 * line), _fit(draw, text, _TILE, small), colour, font=small)
    return page


def _paste(page: Image.Image, draw: ImageDraw.ImageDraw, tile: _Tile, left: int, top: int, font: Any) -> None:
    if tile.picture is None:
        draw.rectangle((left, top, left + _TILE - 1, top + _TILE - 1), outline=_QUIET)
        draw.text((left + 8, top + 8), "no picture", _QUIET, font=font)
        return
    with Image.open(io.BytesIO(tile.picture)) as picture:
        shown = picture.convert("RGB")
    page.paste(shown, (left + (_TILE - shown.width) // 2, top + (_TILE - shown.height) // 2))


def _fit(draw: ImageDraw.ImageDraw, text: str, width: int, font: Any) -> str:
    text = " ".join(text.split())
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(text + "…", font=font) > width:
        text = text[:-1]
    return text.rstrip() + "…"
