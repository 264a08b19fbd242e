"""Slices as a viewer would show them."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UID

from medreasoner_monai.dicom.display import render_frame
from medreasoner_monai.dicom.rules import parse_rule
from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.dicom.windows import windows
from medreasoner_monai.errors import DicomError
from tests.dicom.tools import carried, make_ct, make_xray, render_slice


def ct(**changes: object) -> Dataset:
    dataset = dcmread(carried("CT_small.dcm"))
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def test_ct_without_a_window_is_shown_as_soft_tissue() -> None:
    dataset = ct()
    hu = dataset.pixel_array.astype(float) - 1024
    shown = render_slice(dataset)
    assert shown.dtype == np.uint8 and shown.shape == (128, 128)
    assert (shown[hu <= -160] == 0).all() and (shown[hu >= 240] == 255).all()
    middle = np.abs(hu - 40) <= 1
    assert middle.any() and np.abs(shown[middle].astype(int) - 127.5).max() <= 1.5


def test_the_first_window_of_the_file_is_used() -> None:
    two = render_slice(ct(WindowCenter=["-600", "40"], WindowWidth=["1500", "400"]))
    assert np.array_equal(two, render_slice(ct(WindowCenter="-600", WindowWidth="1500")))
    assert not np.array_equal(two, render_slice(ct()))


@pytest.mark.parametrize(
    ("function", "at", "expected"),
    # PS3.3 C.11.2.1.2: y at x = centre, and at the ends, worked out by hand for centre 0, width 11, 0..255.
    [("LINEAR", [-6, 0, 5], [0, 140, 255]), ("LINEAR_EXACT", [-6, 0, 6], [0, 128, 255]), ("SIGMOID", [0], [128])],
)
def test_window_functions_of_the_standard(function: str, at: list[int], expected: list[int]) -> None:
    dataset = ct(WindowCenter=0, WindowWidth=11, VOILUTFunction=function, RescaleIntercept=0)
    pixels = np.zeros((128, 128), dtype=np.int16)
    pixels[0, : len(at)] = at
    dataset.PixelData = pixels.tobytes()
    assert render_slice(dataset)[0, : len(at)].tolist() == expected


def test_monochrome1_is_turned_round(tmp_path: Path) -> None:
    plain = render_slice(dcmread(make_xray(tmp_path / "a")))
    turned = render_slice(dcmread(make_xray(tmp_path / "b", "MONOCHROME1")))
    assert plain[0, 0] < plain[-1, -1]
    assert np.array_equal(turned, 255 - plain)


@pytest.mark.parametrize(("bits", "words"), [(8, np.uint8), (8, np.uint16), (12, np.uint16)])
def test_a_lookup_table_is_followed(tmp_path: Path, bits: int, words: type) -> None:
    dataset = dcmread(make_xray(tmp_path / "a"))
    item = Dataset()
    item.LUTDescriptor = [4096, 0, bits]
    item.LUTData = np.where(np.arange(4096) >= 2000, 2**bits - 1, 0).astype(words).tobytes()
    item["LUTData"].VR = "OW"
    dataset.VOILUTSequence = [item]
    shown = render_slice(dataset)
    assert np.array_equal(shown, np.where(dataset.pixel_array >= 2000, 255, 0))


def test_without_a_window_other_modalities_are_stretched() -> None:
    dataset = dcmread(carried("MR_small.dcm"))
    del dataset.WindowCenter, dataset.WindowWidth
    shown = render_slice(dataset)
    assert shown.min() == 0 and shown.max() == 255


def test_a_flat_picture_is_no_division_by_zero() -> None:
    dataset = dcmread(carried("MR_small.dcm"))
    del dataset.WindowCenter, dataset.WindowWidth
    dataset.PixelData = np.full((64, 64), 7, dtype=np.int16).tobytes()
    assert (render_slice(dataset) == 0).all()


@pytest.mark.parametrize(
    "name", ["MR_small_RLE", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "MR_small_bigendian"]
)
def test_lossless_compression_gives_the_same_picture(name: str) -> None:
    plain = render_slice(dcmread(carried("MR_small.dcm")))
    assert np.array_equal(render_slice(dcmread(carried(f"{name}.dcm"))), plain)


@pytest.mark.parametrize(
    "name", ["SC_rgb_jpeg_dcmtk", "SC_rgb_rle", "SC_rgb_dcmtk_+eb+cr", "SC_ybr_full_422_uncompressed"]
)
def test_colour_comes_as_rgb(name: str) -> None:
    shown = render_slice(dcmread(carried(f"{name}.dcm")))
    assert shown.shape == (100, 100, 3)
    red, green, blue = shown[5, 50].astype(int)  # the test card's first bar is red
    assert red > 200 and green < 60 and blue < 60


def test_palette_colour_is_looked_up() -> None:
    assert render_slice(dcmread(carried("examples_palette.dcm"))).shape == (350, 800, 3)


def test_a_frame_is_picked_by_number() -> None:
    dataset = dcmread(carried("examples_ybr_color.dcm"))
    assert not np.array_equal(render_slice(dataset, 0), render_slice(dataset, 29))


def test_pixels_that_cannot_be_decoded_name_the_syntax_and_a_remedy() -> None:
    video = dcmread(carried("MR_small_RLE.dcm"))
    video.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.100")
    with pytest.raises(DicomError, match=r"MPEG2 .*1\.2\.840\.10008\.1\.2\.4\.100.*no decoder for it here; export"):
        render_slice(video)
    dataset = dcmread(carried("MR_small_RLE.dcm"))
    dataset.file_meta.TransferSyntaxUID = UID("1.2.3.4.5")
    with pytest.raises(DicomError, match=r"1\.2\.3\.4\.5"):
        render_slice(dataset)


def test_another_window_can_be_chosen() -> None:
    dataset = ct(WindowCenter=["40", "-600", "0"], WindowWidth=["400", "1500", "0"])
    assert windows(dataset) == [(40.0, 400.0), (-600.0, 1500.0)], "without a width it is no window"
    lung, done = render_frame(dataset, rule=parse_rule("stored-window:1"))
    assert np.array_equal(lung, render_frame(dataset, rule=parse_rule("window:-600,1500"))[0])
    assert np.array_equal(lung, render_slice(ct(WindowCenter="-600", WindowWidth="1500")))
    assert (done.kind, done.window) == ("window", (-600.0, 1500.0))
    with pytest.raises(DicomError, match=r"CT_small.dcm: rendering rule stored-window:2: the file has 2 usable window"):
        render_frame(dataset, rule=parse_rule("stored-window:2"))


def test_padding_is_black_and_no_part_of_the_stretch(tmp_path: Path) -> None:
    dataset = dcmread(make_xray(tmp_path / "x"))
    del dataset.WindowCenter, dataset.WindowWidth
    pixels = np.full((30, 20), 1000, np.uint16)
    pixels[:, 10:] = 1100
    pixels[:20] = 65535
    dataset.BitsStored, dataset.HighBit = 16, 15
    dataset.PixelData = pixels.tobytes()
    assert render_slice(dataset)[25, 0] == render_slice(dataset)[25, 19] == 0, "the padding outshines the picture"
    for value, limit in ((65535, None), (-1, None), (65000, 65535)):
        dataset.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
        if limit is not None:
            dataset.PixelPaddingRangeLimit = limit
        shown = render_slice(dataset)
        assert shown[25, 0] == 0 and shown[25, 19] == 255 and shown[0, 0] == 0


def test_a_modality_table_goes_before_the_window(tmp_path: Path) -> None:
    dataset = dcmread(make_xray(tmp_path / "x"))
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [4096, 0, 16], "US"
    item.LUTData = (4095 - np.arange(4096)).astype(np.uint16).tobytes()
    item["LUTData"].VR = "OW"
    plain = render_slice(dataset)
    dataset.ModalityLUTSequence = [item]
    assert np.abs(render_slice(dataset).astype(int) - (255 - plain.astype(int))).max() <= 1


@pytest.mark.parametrize("words", [np.uint8, np.uint16])
def test_eight_bit_palettes_are_not_black(tmp_path: Path, words: type) -> None:
    dataset = dcmread(make_xray(tmp_path / "x"))
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    dataset.PixelData = (np.arange(600) % 256).astype(np.uint16).tobytes()
    for colour, entries in (("Red", np.arange(256)), ("Green", np.arange(256)[::-1]), ("Blue", np.full(256, 9))):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 8])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", entries.astype(words).tobytes())
    assert render_slice(dataset)[0, 5].tolist() == [5, 250, 9]


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ({}, "no window in the file, shown centre 40, width 400"),
        ({"WindowCenter": 40, "WindowWidth": 0}, "no usable window in the file, shown centre 40, width 400"),
        ({"WindowCenter": [40, -600], "WindowWidth": [400, 1500]}, "2 windows in the file, the first is shown"),
        ({"WindowCenter": [40, 7], "WindowWidth": [400, -3]}, "a window without a positive width or a partner"),
        ({"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": "CUBIC"}, "unknown VOILUTFunction taken as LINEAR"),
        ({"RescaleSlope": 0}, "RescaleSlope is zero"),
        ({"RescaleSlope": None}, "no RescaleSlope and RescaleIntercept in a CT"),
        ({"HighBit": 14}, "HighBit does not fit BitsStored"),
    ],
)
def test_what_decides_the_picture_and_is_odd_is_noted(tmp_path: Path, values: dict[str, object], note: str) -> None:
    path = make_ct(tmp_path, 1)[0]
    dataset = dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    assert any(n.startswith(note) for n in choose_series(path).notes)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_rescale_beyond_all_numbers_is_an_error_and_no_warning(keyword: str) -> None:
    with pytest.raises(DicomError, match="attributes that say how to show it are damaged"):
        render_slice(
            ct(**{keyword: "1e308", "RescaleType": "HU"}) if keyword == "RescaleSlope" else ct(**{keyword: "nan"})
        )


def test_a_frame_that_is_not_there_is_named() -> None:
    with pytest.raises(DicomError, match="frame 1 is asked for, but there are 1, from 0"):
        render_slice(ct(), 1)
