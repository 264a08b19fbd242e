"""Identifiers planted wherever a file has room for them: none survives de-identification."""

from __future__ import annotations

import random
import string
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, config, dcmread, dcmwrite
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medreasoner_monai.dicom import deidentify_rules as rules
from medreasoner_monai.dicom.deidentify import deidentify
from tests.dicom.planted import Secrets, plant, plant_beside, plant_private, surviving, unknown_stays_unknown
from tests.dicom.test_deidentify import KEY
from tests.dicom.tools import make_clip, make_ct, make_enhanced

SECRETS = Secrets()


@pytest.fixture(autouse=True)
def _any_value() -> object:
    with config.disable_value_validation():
        yield


def identified(dataset: Dataset, secrets: Secrets = SECRETS) -> Dataset:
    for keyword in ("PatientName", "PatientID", "OtherPatientIDs", "PatientBirthDate"):
        dataset.pop(keyword, None)  # planted, perhaps with another VR
    dataset.PatientName, dataset.PatientID = f"{secrets.name}^{secrets.given}", secrets.number
    dataset.OtherPatientIDs, dataset.PatientBirthDate = secrets.digits, secrets.date
    return dataset


def write(dataset: Dataset, path: Path, syntax: str) -> Path:
    dataset.file_meta.TransferSyntaxUID = syntax
    with unknown_stays_unknown():
        dcmwrite(
            path,
            dataset,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=syntax != ExplicitVRBigEndian,
            enforce_file_format=True,
        )
    return path


def copied(path: Path, dates: str, secrets: Secrets = SECRETS) -> Dataset:
    target = path.with_name("out.dcm")
    deidentify(path, target, key=KEY, dates=dates, pixels_checked=True)  # type: ignore[arg-type]
    assert surviving(path.read_bytes(), secrets), "what is not planted is no test"
    left = surviving(target.read_bytes(), secrets)
    if dates == "shift":  # times of day stay with the dates that are shifted, in the standard's own attributes
        left = [text for text in left if text != secrets.moment]
    assert left == []
    return dcmread(target)


SYNTAXES = {"implicit": ImplicitVRLittleEndian, "explicit": ExplicitVRLittleEndian, "big endian": ExplicitVRBigEndian}


@pytest.mark.parametrize("dates", ["remove", "shift"])
@pytest.mark.parametrize(("syntax", "wrong_vrs"), [*((s, False) for s in SYNTAXES), ("explicit", True)])
def test_in_every_attribute_nothing_survives(syntax: str, wrong_vrs: bool, dates: str, tmp_path: Path) -> None:
    dataset = identified(dcmread(make_ct(tmp_path, 1)[0]))
    count = plant(dataset, SECRETS, random.Random(syntax), wrong_vrs=wrong_vrs)
    plant_beside(dataset, SECRETS)
    identified(dataset)
    out = copied(write(dataset, tmp_path / "planted", SYNTAXES[syntax]), dates)
    assert count > 3500 and out.PixelData == dcmread(tmp_path / "planted").PixelData


@pytest.mark.parametrize(("syntax", "dates"), [("implicit", "shift"), ("explicit", "remove")])
def test_in_every_sequence_that_stays_nothing_survives(syntax: str, dates: str, tmp_path: Path) -> None:
    dataset = identified(dcmread(make_enhanced(tmp_path / "enhanced")))
    for number, keyword in enumerate(sorted(rules.SEQUENCES - {"ContentSequence"})):
        item, inner = Dataset(), Dataset()
        plant(item, SECRETS, random.Random(number), share=0.1)
        plant(inner, SECRETS, random.Random(number + 100), share=0.1)
        item.PurposeOfReferenceCodeSequence = [inner]
        if keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
            getattr(dataset, keyword)[0].FrameAnatomySequence = [item]
        else:
            setattr(dataset, keyword, [item])
    copied(write(dataset, tmp_path / "planted", SYNTAXES[syntax]), dates)


def test_in_the_files_label_and_preamble_nothing_survives(tmp_path: Path) -> None:
    dataset = identified(dcmread(make_ct(tmp_path, 1)[0]))
    dataset.preamble = (SECRETS.name.encode() * 12)[:128]
    meta = dataset.file_meta
    meta.SourceApplicationEntityTitle, meta.ImplementationVersionName = SECRETS.name, SECRETS.name
    meta.PrivateInformationCreatorUID, meta.PrivateInformation = "1.2.3", SECRETS.name.encode() * 2
    path = write(dataset, tmp_path / "planted", ExplicitVRLittleEndian)
    path.write_bytes(path.read_bytes())
    copied(path, "remove")


def telling(text: str) -> bool:
    """Not a run of one character: ``10000000`` stands in many a file by chance."""
    return len(set(text)) > 4


WORD = st.text(alphabet=string.ascii_uppercase, min_size=8, max_size=12).filter(telling)
NUMBER = st.integers(10**7, 10**8 - 1).map(str).filter(telling)


@given(name=WORD, given_name=WORD, digits=NUMBER, seed=st.integers(0, 999), clip=st.booleans(), depth=st.integers(0, 4))
@settings(max_examples=6, deadline=None)
def test_whoever_it_is_and_however_deep_nothing_survives(
    name: str, given_name: str, digits: str, seed: int, clip: bool, depth: int
) -> None:
    secrets = Secrets(name, given_name, f"{digits[:3]}-{digits[3:]}", digits)
    with TemporaryDirectory() as folder, config.disable_value_validation():
        made = make_clip(Path(folder) / "in") if clip else make_ct(Path(folder), 1)[0]
        dataset = identified(dcmread(made), secrets)
        rng = random.Random(seed)
        item = Dataset()
        plant(item, secrets, rng, wrong_vrs=seed % 2 == 0, share=0.3)
        for _ in range(depth):
            outer = Dataset()
            plant_private(outer, secrets, rng)
            outer.AnatomicRegionModifierSequence = [item]
            item = outer
        dataset.AnatomicRegionSequence = [item]
        copied(
            write(dataset, Path(folder) / "planted", ExplicitVRLittleEndian), rng.choice(["remove", "shift"]), secrets
        )
