"""Text fits what DICOM takes, whatever it is."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.dicom.text import long, short

ANYTHING = st.text(st.characters(exclude_categories=()), max_size=200)


@given(ANYTHING, st.integers(4, 80))
def test_short_text_is_one_line_that_fits_in_bytes(text: str, limit: int) -> None:
    out = short(text, limit)
    assert len(out.encode()) <= limit
    assert "\\" not in out and not any(unicodedata.category(c) in ("Cc", "Cs") for c in out)
    assert out == out.strip()


@given(ANYTHING)
def test_long_text_keeps_lines_and_can_be_written(text: str) -> None:
    out = long(text)
    out.encode()
    assert not any(unicodedata.category(c) == "Cc" for c in out.replace("\r\n", ""))
    assert len(out.split("\r\n")) <= len(text.splitlines()) or out == ""


def test_what_fits_is_not_touched() -> None:
    assert short("left lobe", 9) == "left lobe"
    assert short("left lobe of it", 9) == "left l..."
    assert long("one\ntwo\r\nthree\rfour") == "one\r\ntwo\r\nthree\r\nfour"


def test_joiners_and_marks_of_direction_stay() -> None:
    hindi, doctor = "क्\u200dष", "👩\u200d⚕️"
    assert short(hindi, 64) == long(hindi) == hindi
    assert short(doctor, 64) == long(doctor) == doctor
