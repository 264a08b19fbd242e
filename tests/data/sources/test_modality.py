"""Words for modalities, of BiomedParse, of DICOM (PS3.3 C.7.3.1.1.1) and of people."""

from __future__ import annotations

import pytest

from medreasoner_monai.data.sources.modality import modality_of


@pytest.mark.parametrize(
    ("word", "modality", "sequence"),
    [
        ("CT", "CT", ""),
        ("MRI", "MRI", ""),
        ("MRI-T2", "MRI", "T2"),
        ("MRI-T1-Gd", "MRI", "T1-Gd"),
        ("MRI (cine bSSFP)", "MRI", "cine bSSFP"),
        ("MR", "MRI", ""),
        ("X-Ray", "X-Ray", ""),
        ("x-ray", "X-Ray", ""),
        ("CR", "X-Ray", ""),
        ("ultrasound", "Ultrasound", ""),
        ("US", "Ultrasound", ""),
        ("endoscope", "Endoscopy", ""),
        ("dermoscopy", "Dermoscopy", ""),
        ("fundus", "Fundus", ""),
        ("OCT", "OCT", ""),
        ("pathology", "Pathology", ""),
        ("mammography", "Mammography", ""),
        ("thermography", "thermography", ""),
        ("fluorescence-lifetime", "fluorescence-lifetime", ""),
        ("", "", ""),
    ],
)
def test_a_word_is_read_as_modality_and_sequence(word: str, modality: str, sequence: str) -> None:
    assert modality_of(word) == (modality, sequence)
