"""Decoders that end their process, or never come back."""

import os
import signal
from pathlib import Path

import gdcm
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEGBaseline8Bit, JPEGLosslessSV1

from medreasoner_monai.dicom import isolated
from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.errors import DicomError
from tests.dicom.tools import carried, make_xray, recoded, render_slice, saved


def test_a_decoder_that_dies_takes_nobody_with_it(tmp_path: Path) -> None:
    path = recoded(make_xray(tmp_path / "x"), tmp_path / "lossless", gdcm.TransferSyntax.JPEGLosslessProcess14_1)
    series = choose_series(path)
    assert series.headers[0].file_meta.TransferSyntaxUID == JPEGLosslessSV1
    before = series.view(0).pixels
    helper = isolated._helper
    assert helper is not None
    os.kill(helper[1].pid, signal.SIGSTOP)
    os.kill(helper[1].pid, signal.SIGKILL)
    helper[1].wait()
    assert np.array_equal(series.view(0).pixels, before), "a new one is started"
    assert isolated._helper is not None and isolated._helper[1].pid != helper[1].pid


def test_a_decoder_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recoded(make_xray(tmp_path / "x"), tmp_path / "lossless", gdcm.TransferSyntax.JPEGLosslessProcess14_1)
    series = choose_series(path)
    before = series.view(0).pixels
    helper = isolated._helper
    assert helper is not None
    os.kill(helper[1].pid, signal.SIGSTOP)
    monkeypatch.setattr(isolated, "LIMIT_SECONDS", 0.3)
    with pytest.raises(DicomError, match="frame 0 in JPEG Lossless.* cannot be decoded"):
        series.view(0)
    monkeypatch.undo()
    assert np.array_equal(series.view(0).pixels, before)


def test_a_frame_that_gdcm_dies_of_is_only_an_error(tmp_path: Path) -> None:
    """Flipped bytes in lossless JPEG; some of them end a process that decodes them with GDCM."""
    path = recoded(make_xray(tmp_path / "x"), tmp_path / "lossless", gdcm.TransferSyntax.JPEGLosslessProcess14_1)
    dataset = dcmread(path)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    died = 0
    for seed in (*range(6), 14, 29, 166):
        rng = np.random.default_rng(seed)
        damaged = bytearray(frame)
        for at in rng.integers(2, 90, 3):
            damaged[at] ^= 1 << int(rng.integers(8))
        dataset.PixelData = encapsulate([bytes(damaged)])
        try:
            assert render_slice(dcmread(saved(dataset, tmp_path / "damaged"))).shape == (30, 20)
        except DicomError as error:
            died += isinstance(error.__cause__, RuntimeError) and "ended" in str(error.__cause__)
            assert "damaged" in str(error)  # noqa: PT017 - some are decoded
    if not died:
        pytest.skip("this GDCM survives these bytes, which ended the one that the test was written with")


def test_jpeg_baseline_is_decoded_in_this_process() -> None:
    dataset = dcmread(carried("SC_rgb_jpeg_dcmtk.dcm"))
    assert dataset.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    before = isolated._helper
    render_slice(dataset)
    assert isolated._helper is before
