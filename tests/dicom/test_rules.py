"""Rendering rules: their formulas, their names, and that a digest stands for one picture."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.dicom.rules import AS_STORED, RULES, GreyFrame, parse_rule
from medreasoner_monai.errors import DicomError, InputError

RAMP = np.arange(-1024, 3072, dtype=np.float64).reshape(64, 64)


def pixel(rule: str, value: float, modality: str = "CT") -> int:
    """The byte that a value becomes."""
    picture, _ = parse_rule(rule).render(GreyFrame(np.full((1, 1), value), modality))
    return int(picture[0, 0])


@pytest.mark.parametrize(
    ("rule", "centre", "width"),
    [
        ("ct-abdomen", 40, 400),
        ("ct-liver", 30, 150),
        ("ct-mediastinum", 50, 350),
        ("ct-lung", -600, 1500),
        ("ct-bone", 400, 1800),
        ("ct-brain", 40, 80),
        ("window:40.5,81", 40.5, 81),
    ],
)
def test_a_preset_is_black_below_and_white_above_its_window(rule: str, centre: float, width: float) -> None:
    # PS3.3 C.11.2.1.2.1: black up to c - 0.5 - (w - 1) / 2, white above c - 0.5 + (w - 1) / 2.
    low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    assert pixel(rule, low) == 0 and pixel(rule, low + (width - 1) * 0.01) == 3
    assert pixel(rule, high) == 255 and pixel(rule, high - (width - 1) * 0.01) == 252
    assert pixel(rule, (low + high) / 2) in (127, 128)


def test_percentiles_of_the_measured_values_are_black_and_white() -> None:
    values = np.arange(10_000, dtype=np.float64).reshape(100, 100)
    padded = np.zeros((100, 100), dtype=bool)
    padded[:50] = True
    picture, done = parse_rule("percentile:10,90").render(GreyFrame(values, "MR", padded=padded))
    low, high = 5000 + 0.1 * 4999, 5000 + 0.9 * 4999
    assert (picture[values <= low] == 0).all() and (picture[values >= high] == 255).all()
    assert (picture[:50] == 0).all(), "padding is black"
    assert done.window == pytest.approx(((low + high) / 2, high - low)) and done.function == "LINEAR_EXACT"


@pytest.mark.parametrize("inverted", [False, True])
def test_values_before_windowing_rise_with_the_pictures_brightness_and_padding_is_least(inverted: bool) -> None:
    padded = np.zeros(RAMP.shape, dtype=bool)
    padded[:3], padded[-3:] = True, True
    frame = GreyFrame(RAMP, "MR", padded=padded, inverted=inverted)
    values, (picture, _) = frame.unwindowed, parse_rule("percentile:0,100").render(frame)
    order = np.argsort(values[~padded])
    assert (np.diff(picture[~padded][order].astype(int)) >= 0).all() and np.ptp(values) == np.ptp(RAMP[~padded])
    assert set(values[padded]) == {values[~padded].min()} and values.dtype == np.float32


def test_values_without_a_file_are_rendered_as_a_file_without_a_window() -> None:
    ct, done = AS_STORED.render(GreyFrame(RAMP, "CT"))
    assert np.array_equal(ct, RULES["ct-abdomen"].render(GreyFrame(RAMP, "CT"))[0])
    assert (done.kind, done.window, done.function) == ("window", (40.0, 400.0), "LINEAR")
    mr, done = AS_STORED.render(GreyFrame(RAMP, "MR"))
    assert np.array_equal(mr, parse_rule("percentile:1,99").render(GreyFrame(RAMP))[0]) and done.kind == "percentiles"


def test_as_stored_takes_a_table_before_windows_and_the_first_of_those() -> None:
    frame = GreyFrame(RAMP, "CT", windows=((0.0, 100.0), (50.0, 350.0)), function="SIGMOID")
    _, done = AS_STORED.render(frame)
    assert (done.window, done.function) == ((0.0, 100.0), "SIGMOID")
    picture, done = AS_STORED.render(GreyFrame(RAMP, "CT", ((0.0, 100.0),), table=np.zeros_like))
    assert done.kind == "table" and not picture.any()


def test_inverted_values_are_turned_round() -> None:
    plain, turned = (RULES["ct-bone"].render(GreyFrame(RAMP, "CT", inverted=i))[0] for i in (False, True))
    assert np.array_equal(turned, 255 - plain)


@pytest.mark.parametrize(("rule", "modality"), [("ct-lung", "MR"), ("mr-percentile", "CT"), ("ct-bone", "")])
def test_a_rule_of_another_modality_is_refused(rule: str, modality: str) -> None:
    with pytest.raises(DicomError, match=f"rendering rule {rule} is for .*choose as-stored or another rule"):
        parse_rule(rule).render(GreyFrame(RAMP, modality))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ct-lungs", r"unknown rendering rule 'ct-lungs'.*Did you mean 'ct-lung'\?"),
        ("window:40,0", "a centre and a positive width"),
        ("window:40,-1", "a centre and a positive width"),
        ("window:1e999,1", "a centre and a positive width"),
        ("window:nan,1", "unknown rendering rule"),
        ("window:40", "unknown rendering rule"),
        ("percentile:99,1", "ascending order from 0 to 100"),
        ("percentile:1,101", "ascending order from 0 to 100"),
        ("stored-window:-1", "unknown rendering rule"),
        (None, "unknown rendering rule"),
    ],
)
def test_a_rule_that_is_none_says_what_there_is(text: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_rule(text)


@given(st.floats(-2000, 2000), st.floats(0.01, 5000))
def test_one_window_has_one_digest_however_it_is_written(centre: float, width: float) -> None:
    centre, width = round(centre, 3), round(width, 3)
    one, other = parse_rule(f"window:{centre},{width}"), parse_rule(f" window: {centre:+.4f} , {width:.12e} ")
    assert one == other and one.digest == other.digest
    assert parse_rule(one.name) == one


def test_different_rules_have_different_digests() -> None:
    rules = [
        *RULES.values(),
        *map(parse_rule, ("window:40,400", "window:40,401", "percentile:1,99", "stored-window:0")),
    ]
    assert len({rule.digest for rule in rules}) == len(rules)


@pytest.mark.parametrize(
    ("rule", "digest", "picture"),
    [
        ("as-stored", "57e40d6642bd", "b3844c6bea52"),
        ("ct-abdomen", "058da908c3ff", "72e4918343f3"),
        ("ct-liver", "48833953bb73", "46d9875372ef"),
        ("ct-mediastinum", "cc9c99cc0c0f", "bf102cb19864"),
        ("ct-lung", "2532b554a4f4", "f87cee81576a"),
        ("ct-bone", "69dcc961ad9a", "7c34cda590fe"),
        ("ct-brain", "f8fa8278f055", "e24093945346"),
        ("mr-percentile", "2d48712be9b7", "4eabb92dbe58"),
        ("window:40,400", "77459efff201", "72e4918343f3"),
        ("percentile:1,99", "006e72d98546", "9303996b9572"),
        ("stored-window:0", "84901368096c", "b3844c6bea52"),
    ],
)
def test_a_digest_stands_for_one_picture(rule: str, digest: str, picture: str) -> None:
    """If the picture changes and the digest does not, raise the rule's version; then put both here."""
    chosen = parse_rule(rule)
    values = GreyFrame(RAMP, "MR" if rule.startswith("mr") else "CT", windows=((10.0, 300.0),))
    shown = hashlib.sha256(chosen.render(values)[0].tobytes()).hexdigest()
    assert (chosen.digest[:12], shown[:12]) == (digest, picture)
