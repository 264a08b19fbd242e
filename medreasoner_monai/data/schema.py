"""The U-MRG parquet schema: one row per question, read and written exactly as the released files have it.

Columns: ``data_source``, ``prompt`` (one user message, the question), ``images`` and ``masks`` (one PNG each; in a mask
any value above 0 is foreground), ``reward_model.ground_truth`` (JSON with ``bbox_2d`` and ``point_2d`` in stored
pixels) and ``extra_info`` (``id``, ``supercategory``, ``category``, …). Our own additions stand in ``extra_info``.

The released files have a target in every picture. Ours may also ask for one that is not there: its mask is empty and
its ground truth is ``{"bbox_2d": null, "point_2d": null}``.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from medreasoner_monai.data.pictures import UNREADABLE, read_image, read_labels
from medreasoner_monai.data.sample import Sample, SourceRef, Truth, image_group
from medreasoner_monai.errors import InputError
from medreasoner_monai.task.geometry import Box, Frame, Points
from medreasoner_monai.task.question_check import check_question, find_mark

DATA_SOURCE = "umrg"
_BYTES = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_INFO = ("id", "supercategory", "category", "modality", "group", "trace", "spacing", "absent", "origin")
SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("images", pa.list_(_BYTES)),
        ("masks", pa.list_(_BYTES)),
        ("reward_model", pa.struct([("ground_truth", pa.string())])),
        (
            "extra_info",
            pa.struct([(n, pa.string()) for n in _INFO]),
        ),
    ]
)


class SampleError(InputError):
    """A sample cannot be used; the message says which and why."""


def encode_png(array: NDArray[Any]) -> bytes:
    """PNG bytes of a uint8 or boolean array (boolean becomes 0/255)."""
    pixels = array.astype(np.uint8) * 255 if array.dtype == bool else array
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def decode_image(data: bytes, what: str) -> NDArray[np.uint8]:
    """Pixels of an encoded image as :func:`~medreasoner_monai.data.pictures.read_image` gives them.

    Raises
    ------
    SampleError
        If the bytes are no readable image; ``what`` names them.
    """
    try:
        return read_image(data)
    except UNREADABLE as error:
        raise SampleError(f"{what}: not a readable image ({error})") from None


def decode_mask(data: bytes, what: str) -> NDArray[np.bool_]:
    """Where an encoded mask is above 0, in any channel; ``(rows, cols)``.

    Raises
    ------
    SampleError
        If the bytes are no readable image; ``what`` names them.
    """
    try:
        return read_labels(data) > 0
    except UNREADABLE as error:
        raise SampleError(f"{what}: not a readable image ({error})") from None


def truth_json(truth: Truth | None) -> str:
    """The ``ground_truth`` string, rounded to whole pixels as in the released data; nulls where there is no target.

    >>> truth_json(None)
    '{"bbox_2d": null, "point_2d": null}'
    """
    if truth is None:
        return json.dumps({"bbox_2d": None, "point_2d": None})
    box, points = truth
    return json.dumps({"bbox_2d": [round(v) for v in box.xyxy], "point_2d": [[round(v) for v in p] for p in points.xy]})


class PngOnce:
    """Encodes a picture once for all the questions about it that follow each other."""

    def __init__(self) -> None:
        self._last: tuple[NDArray[np.uint8], bytes] | None = None

    def __call__(self, image: NDArray[np.uint8]) -> bytes:
        """PNG bytes; the same array (not an equal one) is encoded once."""
        if self._last is None or self._last[0] is not image:
            self._last = image, encode_png(image)
        return self._last[1]


def to_row(sample: Sample, png: Callable[[NDArray[np.uint8]], bytes] | None = None) -> dict[str, Any]:
    """A sample as a row of :data:`SCHEMA`; ``png`` encodes its picture, such as a :class:`PngOnce`."""
    png = encode_png if png is None else png
    return {
        "data_source": DATA_SOURCE,
        "prompt": [{"role": "user", "content": sample.question}],
        "images": [{"bytes": png(sample.image), "path": None}],
        "masks": [{"bytes": encode_png(sample.mask), "path": None}],
        "reward_model": {"ground_truth": truth_json(sample.truth)},
        "extra_info": {
            "id": sample.id,
            "supercategory": sample.supercategory,
            "category": sample.category,
            "modality": sample.modality,
            "group": sample.group,
            "trace": sample.trace,
            "spacing": None if sample.spacing is None else json.dumps(sample.spacing),
            "absent": sample.absent or None,
            "origin": None if sample.origin is None else sample.origin.to_json(),
        },
    }


def read_task(row: dict[str, Any], where: str) -> tuple[NDArray[np.uint8], str, Truth | None]:
    """What training needs of a row, which is all but its mask: image, question, and the truth in the stored frame.

    The truth is None where the image does not show the target.

    Raises
    ------
    SampleError
        As :func:`from_row`.
    """
    info, name = _identify(row, where)
    try:
        image = decode_image(row["images"][0]["bytes"], f"{name}, image")
        truth = json.loads(row["reward_model"]["ground_truth"])
        box_values, point_values = truth["bbox_2d"], truth["point_2d"]
        # Some files mark the image's place in the text; the template has one of its own.
        question = " ".join(row["prompt"][0]["content"].strip().removeprefix("<image>").split())
    except SampleError:
        raise
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise _not_a_row(name, error) from None
    if not question:
        raise SampleError(f"{name}: the question is empty; write one")
    try:
        check_question(question)
    except InputError as error:
        raise SampleError(f"{name}: {error}") from None
    frame = Frame(image.shape[1], image.shape[0], "stored")
    if box_values is None and point_values is None:
        return image, question, None
    if kind := info.get("absent"):
        raise SampleError(f"{name}: extra_info says the target is absent ({str(kind)[:40]!r}) but the row has a box")
    try:
        x1, y1, x2, y2 = (float(v) for v in box_values)
        box = Box(x1, y1, x2, y2, frame)
        (ax, ay), (bx, by) = point_values
        points = Points((float(ax), float(ay)), (float(bx), float(by)), frame)
    except (ValueError, TypeError) as error:
        raise SampleError(f"{name}: box or points malformed ({error})") from None
    if not box.within() or not all(0 <= x <= frame.width and 0 <= y <= frame.height for x, y in points.xy):
        raise SampleError(
            f"{name}: box {box.xyxy} or points {points.xy} lie outside the image of {frame.width} x {frame.height}"
        )
    return image, question, (box, points)


def has_id(row: dict[str, Any]) -> bool:
    """Whether a row names its sample."""
    return bool((row.get("extra_info") or {}).get("id"))


def read_ids(path: Path) -> list[str]:
    """The ids of a curated split."""
    info = pq.ParquetFile(path).read(columns=["extra_info.id"])["extra_info"]
    return [row["id"] for row in info.to_pylist()]


def _identify(row: dict[str, Any], where: str) -> tuple[dict[str, Any], str]:
    info = row.get("extra_info") or {}
    return info, f"{where}, sample {info.get('id') or '(no id)'}"


def _not_a_row(name: str, error: Exception) -> SampleError:
    why = f"it has no {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
    return SampleError(f"{name}: not a U-MRG row ({why})")


def from_row(row: dict[str, Any], where: str) -> Sample:
    """A row read back and checked.

    Raises
    ------
    SampleError
        If the row lacks something, image and mask differ in size, the question is empty, box or points lie outside the
        image, or mask and ground truth do not agree on whether there is a target. The message names the sample and the
        remedy.
    """
    image, question, truth = read_task(row, where)
    info, name = _identify(row, where)
    try:
        mask = decode_mask(row["masks"][0]["bytes"], f"{name}, mask")
    except (KeyError, TypeError, IndexError) as error:
        raise _not_a_row(name, error) from None
    if mask.shape != image.shape[:2]:
        raise SampleError(
            f"{name}: the mask is {mask.shape[1]} x {mask.shape[0]} but its image {image.shape[1]} x {image.shape[0]}; "
            "export both at one size"
        )
    if not mask.any() and truth is not None:
        raise SampleError(
            f"{name}: the mask is empty but the ground truth has a box; give it a mask, or write null for bbox_2d and "
            "point_2d if the image does not show the target"
        )
    if mask.any() and truth is None:
        raise SampleError(
            f"{name}: the ground truth says that there is no target but the mask marks {int(mask.sum())} pixels; write "
            "its box and points, or empty the mask"
        )
    if mark := find_mark(info.get("trace") or ""):
        raise SampleError(f"{name}: the trace holds {mark}, which a model would learn to write; leave it out")
    box, points = truth or (None, None)
    keep = ("supercategory", "category", "modality", "trace", "absent")
    return Sample(
        str(info.get("id") or where),
        question,
        image,
        mask,
        box,
        points,
        **{k: info.get(k) or "" for k in keep},
        group=info.get("group") or image_group(image),
        spacing=_spacing(info.get("spacing"), name),
        origin=_origin(info.get("origin"), name),
    )


def _origin(text: str | None, name: str) -> SourceRef | None:
    try:
        return SourceRef.from_json(text) if text else None
    except ValueError as error:
        raise SampleError(f"{name}: its origin cannot be read ({error})") from None


def _spacing(text: str | None, name: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        row, col = (float(v) for v in json.loads(text))
    except (ValueError, TypeError) as error:
        raise SampleError(f"{name}: spacing is two numbers in JSON, found {text[:40]!r} ({error})") from None
    if not (0 < row < math.inf and 0 < col < math.inf):
        raise SampleError(f"{name}: spacing must be positive, found {text[:40]!r}")
    return row, col


class TableFile:
    """A Parquet file that is written row by row, in row groups, and gets its name once it is whole."""

    def __init__(self, path: Path, schema: pa.Schema = SCHEMA, *, batch: int = 256) -> None:
        self.path, self.schema, self.batch = path, schema, batch
        self._part = path.with_name(path.name + ".tmp")
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> TableFile:
        self._writer = pq.ParquetWriter(self._part, self.schema)
        return self

    def add(self, row: dict[str, Any]) -> None:
        """Append a row."""
        self._rows.append(row)
        if len(self._rows) == self.batch:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, self.schema))
        self._rows = []

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._rows:
            self._flush()
        self._writer.close()
        if kind is None:
            self._part.replace(self.path)
        else:
            self._part.unlink(missing_ok=True)


def write_split(path: Path, samples: Iterable[Sample]) -> int:
    """Write samples as one Parquet file; returns how many."""
    count, png = 0, PngOnce()
    with TableFile(path) as table:
        for sample in samples:
            table.add(to_row(sample, png))
            count += 1
    return count


def read_rows(
    path: Path, *, batch: int = 64, first: int = 0, stop: int | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a Parquet file from ``first`` to before ``stop``, and where each stands; the file is not held in memory.

    Raises
    ------
    InputError
        If the file is missing or not a Parquet file.
    """
    with _open(path) as file:
        index = 0
        groups = []
        for number in range(file.num_row_groups):
            rows = file.metadata.row_group(number).num_rows
            if index + rows > first and (stop is None or index < stop):
                groups.append((number, index))
            index += rows
        index = groups[0][1] if groups else 0
        for table in file.iter_batches(batch, row_groups=[number for number, _ in groups]):
            if index + len(table) <= first:
                index += len(table)
                continue
            for row in table.to_pylist():
                if stop is not None and index >= stop:
                    return
                if index >= first:
                    yield f"{path.name} row {index}", row
                index += 1


def row_count(path: Path) -> int:
    """How many rows a Parquet file has.

    Raises
    ------
    InputError
        If the file is missing or not a Parquet file.
    """
    with _open(path) as file:
        return int(file.metadata.num_rows)


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, pre_buffer=False)  # else all row groups to be read are fetched at once
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is not a Parquet file ({error})") from None


def read_split(path: Path) -> Iterator[Sample]:
    """Samples of a curated split, which has no bad rows; a bad one raises."""
    for where, row in read_rows(path):
        yield from_row(row, where)
