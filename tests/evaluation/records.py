"""Records made up for tests."""

from __future__ import annotations

from typing import Any

from medreasoner_monai.evaluation.records import Record


def record(number: int, box_iou: float = 0.5, **changes: Any) -> Record:
    """A record of sample ``s<number>``; ``answered=False`` needs a reason beside it."""
    values: dict[str, Any] = {
        "id": f"s{number}",
        "category": "liver" if number % 2 else "spleen",
        "supercategory": "Abdomen",
        "modality": "CT",
        "question": "Where?",
        "text": "<answer>…</answer>",
        "answered": True,
        "reason": "",
        "trace": "why",
        "bbox": [1.0, 2.0, 3.0, 4.0],
        "points": [[1.0, 2.0], [3.0, 4.0]],
        "box_iou": box_iou,
        "point_dice": 0.25,
        "masks": {"box/both": 0.75},
        "seconds": 0.5,
    }
    return Record(**values | changes)
