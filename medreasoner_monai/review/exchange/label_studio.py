"""Label Studio's tasks: JSON with the data set's own masks and words as a prediction, and an annotation per reviewer.

The labelling interface in ``label_config.xml`` names the controls that both directions use: brush labels ``mask``,
choices ``<part>-verdict``, text areas ``question``, ``trace`` and ``<part>-comment``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medreasoner_monai.data.review.applied import contents_of
from medreasoner_monai.data.review.events import FIELDS, Field
from medreasoner_monai.data.review.outcome import Content
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.errors import InputError
from medreasoner_monai.review.dataset import ReviewedData
from medreasoner_monai.review.exchange.annotation import VERDICTS, Annotation, Said, picture_name
from medreasoner_monai.review.exchange.brush import decode_brush, encode_brush

LABEL = "target"
_TEXTS = ("question", "trace")


def label_config() -> str:
    """The labelling interface of a project that these tasks are imported into."""
    parts = []
    for part in FIELDS:
        if part in _TEXTS:
            parts.append(f'  <TextArea name="{part}" toName="image" editable="true" maxSubmissions="1" rows="3"/>')
        choices = "".join(f'<Choice value="{v}"/>' for v in VERDICTS)
        parts += [
            f'  <Header value="{part.capitalize()}"/>',
            f'  <Choices name="{part}-verdict" toName="image" choice="single">{choices}</Choices>',
            f'  <TextArea name="{part}-comment" toName="image" maxSubmissions="1" placeholder="Comment"/>',
        ]
    brush = f'<BrushLabels name="mask" toName="image"><Label value="{LABEL}" background="#28c8ff"/></BrushLabels>'
    image = '<Image name="image" value="$image" zoom="true" zoomControl="true" brightnessControl="true"/>'
    return "\n".join(
        ["<View>", '  <Text name="target" value="$target"/>', f"  {image}", f"  {brush}", *parts, "</View>", ""]
    )


def task(number: int, sample: Sample, said: Mapping[str, Mapping[Field, Said]]) -> dict[str, Any]:
    """A task: the sample as a prediction, and what each reviewer said as an annotation."""
    own = {part: Said(content=content) for part, content in contents_of(sample).items()}
    return {
        "id": number,
        "data": {
            "image": f"images/{picture_name(sample.id)}",
            "sample": sample.id,
            "target": sample.category,
            "question": sample.question,
        },
        "predictions": [{"model_version": "data set", "result": list(_results(own, sample))}],
        "annotations": [
            {"completed_by": {"email": reviewer}, "was_cancelled": False, "result": list(_results(parts, sample))}
            for reviewer, parts in said.items()
        ],
    }


def _results(parts: Mapping[Field, Said], sample: Sample) -> Iterator[dict[str, Any]]:
    for part, said in parts.items():
        about = {"to_name": "image", "original_width": sample.frame.width, "original_height": sample.frame.height}
        about["image_rotation"] = 0
        if isinstance(said.content, str):
            yield _control(part, "textarea", {"text": [said.content]})
        elif said.content is not None and said.content.any():
            value = {"format": "rle", "rle": encode_brush(np.asarray(said.content)), "brushlabels": [LABEL]}
            yield {"id": "mask", "from_name": "mask", "type": "brushlabels", "value": value, **about}
        if said.verdict:
            yield _control(f"{part}-verdict", "choices", {"choices": [said.verdict]})
        if said.comment:
            yield _control(f"{part}-comment", "textarea", {"text": [said.comment]})


def _control(name: str, kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": name, "from_name": name, "to_name": "image", "type": kind, "value": value}


def read_tasks(path: Path, data: ReviewedData, reviewer: str = "") -> Iterator[Annotation | InputError]:
    """The annotations of a JSON export, and in place of one that cannot be read the reason.

    Raises
    ------
    InputError
        If the file is not such an export at all.
    """
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error})") from None
    if not isinstance(tasks, list) or not all(isinstance(t, dict) and isinstance(t.get("data"), dict) for t in tasks):
        raise InputError(f"{path} is not Label Studio's JSON: a list of tasks with their data (not JSON_MIN)")
    for number, one in enumerate(tasks):
        name = one["data"].get("sample")
        sample = data.get(name) if isinstance(name, str) else None
        if sample is None:
            yield InputError(f"task {one.get('id', number)}: the data set has no sample {str(name)[:80]!r}")
            continue
        for annotation in one.get("annotations") or ():
            if annotation.get("was_cancelled"):
                continue
            try:
                yield _annotation(annotation, sample, reviewer)
            except InputError as error:
                yield error
            except (KeyError, TypeError, IndexError, AttributeError) as error:
                yield InputError(f"sample {sample.id}: its annotation is malformed ({type(error).__name__}: {error})")


def _annotation(annotation: Mapping[str, Any], sample: Sample, reviewer: str) -> Annotation:
    contents: dict[Field, Content] = {}
    verdicts: dict[str, str] = {}
    comments: dict[str, str] = {}
    masks = []
    for result in annotation["result"]:
        name, value = result.get("from_name", ""), result["value"]
        if result["type"] == "brushlabels":
            size = (int(result["original_height"]), int(result["original_width"]))
            if result.get("image_rotation"):
                raise InputError(f"sample {sample.id}: its picture was rotated; turn it back in Label Studio")
            if size != sample.mask.shape:
                raise InputError(f"sample {sample.id}: a brush on {size}, the picture is {sample.mask.shape}")
            masks.append(decode_brush(value["rle"], size))
        elif name.endswith("-verdict"):
            verdicts[name.removesuffix("-verdict")] = str(value["choices"][0])
        elif name.endswith("-comment"):
            comments[name.removesuffix("-comment")] = " ".join(value["text"])
        elif name in _TEXTS:
            texts = value["text"]
            contents[name] = texts if isinstance(texts, str) else "\n".join(texts)
    if masks:
        contents["mask"] = np.logical_or.reduce(masks)
    parts = {p: Said(verdicts.get(p, ""), contents.get(p), comments.get(p, "")) for p in FIELDS}
    at = str(annotation.get("updated_at") or annotation.get("created_at") or "")
    return Annotation(sample.id, reviewer or _name(annotation.get("completed_by")), parts, at)


def _name(who: object) -> str:
    if isinstance(who, Mapping):
        who = who.get("email") or who.get("username") or who.get("id")
    if who is None:
        raise InputError("the file does not say who annotated; name the reviewer with --reviewer")
    return f"label-studio {who}" if isinstance(who, int) else str(who)
