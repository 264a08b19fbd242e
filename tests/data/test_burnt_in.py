"""Text in pictures, written by OpenCV and read by RapidOCR's own models."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest

from medreasoner_monai.data.burnt_in import lines_of_text
from medreasoner_monai.data.cleaning import Cleaner
from medreasoner_monai.data.labelled import LabelledImage, Target
from medreasoner_monai.data.sample import SourceRef
from medreasoner_monai.settings.data import CleanSettings

pytest.importorskip("rapidocr_onnxruntime", reason="the extra text and rapidocr-onnxruntime are not installed")
READING = Cleaner(CleanSettings(text="reject"))


def written(text: str, height: int = 14) -> LabelledImage:
    """A bright disc on noise, with a text in the upper left corner."""
    image = np.random.default_rng(0).integers(20, 60, (256, 320)).astype(np.uint8)
    mask = np.zeros((256, 320), np.uint8)
    cv2.circle(mask, (180, 150), 60, 1, -1)
    image[mask > 0] += 90
    scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_SIMPLEX, height)
    cv2.putText(image, text, (8, 30), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 1, cv2.LINE_AA)
    target = Target("liver", mask.astype(bool), "p1_liver.png")
    return LabelledImage(
        "p1", image, (target,), "CT", "abdomen", "g1", SourceRef("made"), labelled=frozenset({"liver", "spleen"})
    )


@pytest.mark.parametrize("text", ["DOE^JANE", "1956-03-02", "ID 4711902"])
def test_a_picture_with_a_name_a_date_or_a_number_is_set_aside_without_quoting_it(text: str) -> None:
    cleaned, (reject,) = READING.clean(written(text))
    assert reject.code == "burnt-in text" and "letters and digits were read on the picture" in reject.reason
    assert not any(part in reject.reason for part in text.replace("^", " ").split())
    assert cleaned.targets == () and cleaned.labelled == frozenset()


@pytest.mark.parametrize("text", ["", "R", "PA ERECT"])
def test_a_picture_without_text_or_with_a_marker_is_kept(text: str) -> None:
    given = written(text)
    cleaned, rejects = pickle.loads(pickle.dumps(READING)).clean(given)
    assert rejects == [] and cleaned is given


def test_what_is_read_is_what_was_written() -> None:
    assert "".join(lines_of_text(written("HOSPITAL 42", 20).image)).replace(" ", "") == "HOSPITAL42"


def test_nothing_is_read_unless_it_is_asked_for() -> None:
    assert Cleaner().clean(written("DOE^JANE"))[1] == []
    assert "text_reader" not in Cleaner().identity() and READING.identity()["text_reader"]
