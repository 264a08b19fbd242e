"""CVAT for images 1.1: XML with a mask and a tag per part for each picture, and the labels that a task needs.

A mask's ``rle`` counts the pixels of its rectangle row after row, background first. CVAT keeps one annotation of a
picture, so what is written is the sample as settled so far.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from medreasoner_monai.data.review.applied import contents_of
from medreasoner_monai.data.review.events import FIELDS, Field
from medreasoner_monai.data.review.outcome import Content
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.errors import InputError
from medreasoner_monai.review.dataset import ReviewedData
from medreasoner_monai.review.exchange.annotation import VERDICTS, Annotation, Said, picture_name
from medreasoner_monai.review.runs import from_runs, to_runs
from medreasoner_monai.task.keypoints import mask_box

LABEL = "target"
_ATTRIBUTES = ("verdict", "text", "comment")


def labels() -> str:
    """The labels of a task that these annotations are uploaded into, for CVAT's *Raw* constructor."""
    verdict = {"name": "verdict", "input_type": "select", "mutable": False, "values": ["open", *VERDICTS]}
    texts = [{"name": n, "input_type": "text", "mutable": False, "values": [""]} for n in ("text", "comment")]
    tags = [{"name": part, "type": "tag", "attributes": [verdict, *texts]} for part in FIELDS]
    return json.dumps([{"name": LABEL, "type": "mask", "attributes": []}, *tags], indent=2)


def document(samples: Iterator[tuple[Sample, Mapping[Field, Said]]]) -> ET.Element:
    """The samples as ``<annotations>``; of a part about which nothing is said the tag is ``open``."""
    root = ET.Element("annotations")
    ET.SubElement(root, "version").text = "1.1"
    meta = ET.SubElement(ET.SubElement(root, "meta"), "task")
    size = ET.SubElement(meta, "size")
    ET.SubElement(meta, "mode").text = "annotation"
    _labels(ET.SubElement(meta, "labels"))
    count = 0
    for sample, said in samples:
        _image(root, count, sample, said)
        count += 1
    size.text = str(count)
    return root


def _labels(parent: ET.Element) -> None:
    for label in json.loads(labels()):
        made = ET.SubElement(parent, "label")
        ET.SubElement(made, "name").text = label["name"]
        ET.SubElement(made, "type").text = label["type"]
        attributes = ET.SubElement(made, "attributes")
        for attribute in label["attributes"]:
            one = ET.SubElement(attributes, "attribute")
            ET.SubElement(one, "name").text = attribute["name"]
            ET.SubElement(one, "mutable").text = str(attribute["mutable"])
            ET.SubElement(one, "input_type").text = attribute["input_type"]
            ET.SubElement(one, "default_value").text = attribute["values"][0]
            ET.SubElement(one, "values").text = "\n".join(attribute["values"])


def _image(root: ET.Element, number: int, sample: Sample, said: Mapping[Field, Said]) -> None:
    frame = sample.frame
    image = ET.SubElement(
        root,
        "image",
        id=str(number),
        name=picture_name(sample.id),
        width=str(frame.width),
        height=str(frame.height),
    )
    for part, own in contents_of(sample).items():
        one = said.get(part, Said())
        content = own if one.content is None else one.content
        if isinstance(content, str):
            text = content
        else:
            text = ""
            if content.any():
                _mask(image, np.asarray(content))
        tag = ET.SubElement(image, "tag", label=part, source="manual")
        for name, value in zip(_ATTRIBUTES, (one.verdict or "open", text, one.comment), strict=True):
            ET.SubElement(tag, "attribute", name=name).text = value


def _mask(image: ET.Element, mask: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
    left, top, right, bottom = (int(v) for v in mask_box(mask).xyxy)
    ET.SubElement(
        image,
        "mask",
        label=LABEL,
        source="manual",
        occluded="0",
        rle=", ".join(map(str, to_runs(mask[top:bottom, left:right]))),
        left=str(left),
        top=str(top),
        width=str(right - left),
        height=str(bottom - top),
        z_order="0",
    )


def read_document(path: Path, data: ReviewedData, reviewer: str) -> Iterator[Annotation | InputError]:
    """The annotations of an ``annotations.xml``, and in place of one that cannot be read the reason.

    Raises
    ------
    InputError
        If the file is not CVAT's XML for images, or no reviewer is named: the format does not say who annotated.
    """
    if not reviewer:
        raise InputError("CVAT's files do not say who annotated; name the reviewer with --reviewer")
    try:
        text = path.read_bytes()
        if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
            raise InputError(f"{path} declares a document type, which CVAT's files do not")
        root = ET.fromstring(text)
    except (OSError, ET.ParseError) as error:
        raise InputError(f"{path} cannot be read as XML ({error})") from None
    if root.tag != "annotations" or root.findtext("version") != "1.1":
        raise InputError(f"{path} is not of CVAT for images 1.1")
    names = {picture_name(entry.id): entry.id for entry in data.entries}
    for image in root.iter("image"):
        name = Path(image.get("name", "")).name
        sample = data.get(names.get(name, ""))
        if sample is None:
            yield InputError(f"picture {name[:80]!r} is of no sample of the data set")
            continue
        try:
            yield _annotation(image, sample, reviewer)
        except InputError as error:
            yield error
        except (KeyError, ValueError, TypeError) as error:
            yield InputError(f"sample {sample.id}: its annotation is malformed ({type(error).__name__}: {error})")


def _annotation(image: ET.Element, sample: Sample, reviewer: str) -> Annotation:
    parts: dict[Field, Said] = {}
    whole = np.zeros_like(sample.mask)
    for element in image.iter("mask"):
        left, top, width, height = (int(element.attrib[k]) for k in ("left", "top", "width", "height"))
        rows, columns = sample.frame.height, sample.frame.width
        if not (0 <= left <= left + width <= columns and 0 <= top <= top + height <= rows):
            raise InputError(f"sample {sample.id}: a mask reaches outside the picture of {rows} x {columns}")
        runs = [int(n) for n in element.attrib["rle"].split(",")]
        whole[top : top + height, left : left + width] |= from_runs(runs, (height, width))
    for tag in image.iter("tag"):
        part = next((f for f in FIELDS if f == tag.get("label")), None)
        if part is None:
            continue
        values = {a.get("name"): a.text or "" for a in tag.iter("attribute")}
        verdict = values.get("verdict", "")
        content: Content | None = values.get("text") or None
        if part == "mask":
            content = whole if whole.any() or not sample.present else None
        parts[part] = Said("" if verdict == "open" else verdict, content, values.get("comment", ""))
    if "mask" not in parts and whole.any():
        parts["mask"] = Said(content=whole)
    return Annotation(sample.id, reviewer, parts)
