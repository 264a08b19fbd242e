"""Identifiers planted in every attribute, value representation, nesting and encoding of a file, and their hunt."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydicom import DataElement, Dataset, config
from pydicom.datadict import DicomDictionary, dictionary_VR, keyword_for_tag
from pydicom.sequence import Sequence
from pydicom.tag import Tag

CREATOR = "HOUSE OF SECRETS"
_KEEP = {
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SpecificCharacterSet",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PlanarConfiguration",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "PixelData",
    "FloatPixelData",
    "DoubleFloatPixelData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "ContentSequence",
    "BurnedInAnnotation",
    "Modality",
    "ImageType",
}
"""What decides that a file is an image at all, or how its pixels are laid out."""
_TEXTS = {"AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}


@dataclass(frozen=True)
class Secrets:
    """What must not survive."""

    name: str = "Quartermain"
    given: str = "Allan"
    number: str = "KU-471177"
    digits: str = "47110815"
    date: str = "19610417"
    moment: str = "231547"

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.name, self.given, self.number, self.digits, self.date, self.moment)


def surviving(data: bytes, secrets: Secrets) -> list[str]:
    """The secrets that stand in a file's bytes: in any case, one or two bytes a character, either order of bytes."""
    turned = bytearray(data[: len(data) // 2 * 2])
    turned[::2], turned[1::2] = turned[1::2], turned[::2]
    found = []
    for text in secrets.texts:
        forms = {
            form.encode(code) for form in (text, text.upper(), text.lower()) for code in ("utf-8", "utf-16-le", "cp037")
        }
        if text.isdecimal():
            forms |= {struct.pack(f"{order}I", int(text)) for order in "<>" if len(text) == 8}
            forms |= {struct.pack(f"{order}d", float(text)) for order in "<>"}
        if any(form in place for form in forms for place in (data, bytes(turned))):
            found.append(text)
    return found


def value_for(vr: str, secrets: Secrets, rng: random.Random) -> object:
    """A value of a VR that gives a secret away and is allowed there, as far as the VR goes."""
    name, digits = secrets.name, secrets.digits
    if vr in _TEXTS:
        return rng.choice([name.upper(), f"{name}^{secrets.given}", secrets.number, f"CT of {name}"])[:16]
    if vr in ("DA", "TM", "DT"):
        return {"DA": secrets.date, "TM": secrets.moment, "DT": secrets.date + secrets.moment}[vr]
    if vr in ("DS", "IS"):
        return rng.choice([digits, secrets.date])
    if vr == "UI":
        return rng.choice([f"1.2.826.{digits}.7", f"1.2.840.10008.{secrets.date}"])
    if vr in ("US", "SS"):
        return [int.from_bytes(name.encode()[i : i + 2], "little") for i in range(0, 10, 2)]
    if vr in ("UL", "SL"):
        return int(digits)
    if vr in ("UV", "SV"):
        return int.from_bytes(name.encode()[:8], "little")
    if vr == "FD":
        return struct.unpack("<d", name.encode()[:8])[0]
    if vr == "FL":
        return [struct.unpack("<f", name.encode()[i : i + 4])[0] for i in (0, 4)]
    if vr == "AT":
        return [Tag(int.from_bytes(name.encode()[i : i + 4], "big")) for i in (0, 4)]
    return (name * 4).encode()


def plantable() -> Iterator[int]:
    """Every attribute of the standard that may stand in a data set, but for those that make it an image."""
    for number in DicomDictionary:
        tag = Tag(number)
        if tag.group in (0x0000, 0x0002, 0x0004) or tag.element == 0 or tag.group >= 0xFFFE:
            continue
        if keyword_for_tag(tag) and keyword_for_tag(tag) not in _KEEP:
            yield number


def plant(dataset: Dataset, secrets: Secrets, rng: random.Random, *, wrong_vrs: bool = False, share: float = 1) -> int:
    """Put secrets into every attribute of the dictionary, or a share of them; how many were put in."""
    count = 0
    for number in plantable():
        vr = dictionary_VR(number).split(" or ")[0]
        if vr == "SQ" or rng.random() >= share:
            continue
        if wrong_vrs:
            vr = rng.choice(["LO", "UT", "UN", "OB", "SH", "PN", "CS"])
        count += _add(dataset, number, vr, value_for(vr, secrets, rng))
    return count + plant_private(dataset, secrets, rng)


def plant_private(dataset: Dataset, secrets: Secrets, rng: random.Random) -> int:
    """Private blocks with one element of each VR, a private sequence, and a sequence whose VR nobody told."""
    _add(dataset, 0x00990010, "LO", CREATOR)
    count = 0
    for i, vr in enumerate(
        ("AE", "CS", "DA", "DS", "DT", "FD", "IS", "LO", "LT", "OB", "PN", "SH", "ST", "TM", "UI", "UL", "UN", "UT")
    ):
        count += _add(dataset, 0x00991000 + i, vr, value_for(vr, secrets, rng))
    item = Dataset()
    _add(item, 0x00100010, "PN", f"{secrets.name}^{secrets.given}")
    count += _add(dataset, 0x00991050, "SQ", Sequence([item]))
    inner = b"\x10\x00\x10\x00" + struct.pack("<I", len(secrets.name) + 1) + secrets.name.encode() + b" "
    unknown = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(inner)) + inner
    return count + _add(dataset, 0x00991051, "UN", unknown)


def plant_beside(dataset: Dataset, secrets: Secrets) -> None:
    """Overlays, curves, an icon, padding after the data set."""
    _add(dataset, 0x60000022, "LO", secrets.name)
    _add(dataset, 0x60003000, "OW", (secrets.name * 2).encode())
    _add(dataset, 0x50003000, "OW", (secrets.name * 2).encode())
    icon = Dataset()
    icon.Rows, icon.Columns, icon.BitsAllocated, icon.SamplesPerPixel = 2, 11, 8, 1
    icon.PixelData = (secrets.name * 2).encode()
    icon["PixelData"].VR = "OB"
    dataset.IconImageSequence = [icon]
    _add(dataset, 0xFFFCFFFC, "OB", (secrets.name * 2).encode())


def _add(dataset: Dataset, number: int, vr: str, value: object) -> int:
    with unknown_stays_unknown():
        try:
            dataset[number] = DataElement(number, vr, value)
        except Exception:
            return 0
    return 1


@contextmanager
def unknown_stays_unknown() -> Iterator[None]:
    """pydicom gives an element of VR UN the dictionary's VR, when it is made and when it is written."""
    before, config.replace_un_with_known_vr = config.replace_un_with_known_vr, False
    try:
        yield
    finally:
        config.replace_un_with_known_vr = before
