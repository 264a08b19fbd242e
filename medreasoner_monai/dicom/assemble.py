"""From instances of one Series Instance UID to series: copies left out, parts told from each other, slices in order."""

from __future__ import annotations

import filecmp
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pydicom import Dataset

from medreasoner_monai.dicom import placement
from medreasoner_monai.dicom.files import FileSource
from medreasoner_monai.dicom.identity import contradictions, fill_blanks
from medreasoner_monai.dicom.instance import Instance
from medreasoner_monai.dicom.parts import Part, instance_number, split
from medreasoner_monai.dicom.pixels import frames
from medreasoner_monai.dicom.placement import Plane
from medreasoner_monai.dicom.repair import repair
from medreasoner_monai.dicom.set_aside import Damaged, Rest, remarks, separate
from medreasoner_monai.dicom.slices import Series
from medreasoner_monai.dicom.spacing import pixel_spacing
from medreasoner_monai.dicom.values import frame_value
from medreasoner_monai.dicom.windows import display_notes

_GROUPS = {
    "PlanePositionSequence": "ImagePositionPatient",
    "PlaneOrientationSequence": "ImageOrientationPatient",
    "PixelMeasuresSequence": "PixelSpacing",
}
_RIGHT = ("three numbers", "two perpendicular directions", "two positive numbers")
_CROSS_SECTIONS = ("CT", "MR", "PT")
_CHUNK = 1 << 20


def assemble(
    uid: str, members: Sequence[Instance], notes: Sequence[str] = (), damaged: Sequence[Damaged] = ()
) -> list[Series]:
    """One series for each part that fills the same places, and for each multi-frame image; usually one.

    Parameters
    ----------
    uid:
        The Series Instance UID that all ``members`` have.
    members:
        The instances; their headers are repaired in place.
    notes:
        What is already known of the series.
    damaged:
        Instances that could not be read, of this series or possibly of it.
    """
    repairs: Counter[str] = Counter()
    for member in members:
        repairs.update([*member.repairs, *repair(member.header)])
    files, copies, clashes = _without_copies(members)
    if copies:
        repairs["second file with the same SOP Instance UID left out"] += copies
    if not (clashes := [*contradictions(files), *clashes]):
        repairs.update(fill_blanks(files))
    groups = _by_kind(files)
    parts: list[Series] = []
    for group in groups:
        parts += _parts(uid, group, notes, damaged, repairs.copy(), clashes)
    if len(parts) == 1:
        return parts
    return [_numbered(part, i, parts, len(groups)) for i, part in enumerate(parts, 1)]


def _by_kind(files: Sequence[Instance]) -> list[list[Instance]]:
    """Each multi-frame image by itself, and all single images together: frames and images make no common stack."""
    several = [[f] for f in files if f.several_frames]
    single = [f for f in files if not f.several_frames]
    several.sort(key=lambda group: (instance_number(group[0].header) or 0, str(group[0].header.SOPInstanceUID)))
    return [*([single] if single else []), *several]


def _parts(
    uid: str,
    members: Sequence[Instance],
    notes: Sequence[str],
    damaged: Sequence[Damaged],
    repairs: Counter[str],
    clashes: Sequence[str],
) -> list[Series]:
    """The series that images of one kind make, with what is odd about them."""
    rest = separate(members, damaged)
    files = list(rest.used)
    seen: Counter[str] = Counter()
    for header in (f.header for f in files):
        seen.update([*display_notes(header), *_missing(header), *_grid_notes(header)])
    for file in files:
        seen.update(file.notes)
    planes = [p for i, f in enumerate(files) for p in placement.planes_of(f.header, i)]
    headers = [f.header for f in files]
    parts = split(planes, headers)
    forgotten, unusable = _forget_nonsense(files)
    repairs.update(forgotten)
    common = tuple(f"{what} ({count} file(s))" for what, count in repairs.items())
    noticed = (*notes, *(f"{what} ({count} file(s))" for what, count in seen.items()))
    problems = (*clashes, *rest.problems, *unusable)
    return [_series(uid, files, part, common, problems, noticed, rest, bool(forgotten)) for part in parts]


def _numbered(part: Series, number: int, parts: Sequence[Series], groups: int) -> Series:
    """A part with its number among all of the series, and what it is where there are multi-frame images."""
    if groups == 1:
        return part
    kind = f"{len(part)} frames of one image" if len(part) > 1 and len(part.headers) == 1 else "single images"
    note = f"the series has {groups} kinds of images (multi-frame images, single images): each is a part of its own"
    return replace(
        part,
        number_of_part=number,
        part=", ".join(filter(None, (kind, part.part, f"part {number} of {len(parts)}"))),
        notes=(*part.notes, note),
    )


def _series(
    uid: str,
    files: Sequence[Instance],
    part: Part,
    repairs: tuple[str, ...],
    problems: tuple[str, ...],
    notes: tuple[str, ...],
    rest: Rest,
    forgotten: bool,
) -> Series:
    """The files that the part needs, numbered anew in slice order."""
    numbers = list(dict.fromkeys(p.file for p in part.planes))
    place = {number: i for i, number in enumerate(numbers)}
    planes = [replace(p, file=place[p.file]) for p in part.planes]
    headers = tuple(files[i].header for i in numbers)
    noticed = (
        *notes,
        *part.notes,
        *remarks(rest, part.planes),
        *placement.remarks(part.planes),
        *_number_notes(headers, part.planes),
    )
    if forgotten:
        planes = [replace(p, position=None, axes=None) for p in planes]
    return Series(
        uid,
        headers,
        tuple(files[i].source for i in numbers),
        repairs,
        problems,
        noticed,
        tuple(planes),
        part.name,
        part.number,
        set_aside=rest.reasons,
    )


def _without_copies(members: Sequence[Instance]) -> tuple[list[Instance], int, list[str]]:
    """The files with each SOP Instance UID once, how many copies were left out, and files that are no true copies."""
    unique: dict[str, Instance] = {}
    copies, clashes = 0, []
    for member in members:
        first = unique.setdefault(str(member.header.SOPInstanceUID), member)
        if first is member:
            continue
        if _same(first, member):
            copies += 1
        else:
            clashes.append(
                f"{first.source.name} and {member.source.name} have the same SOP Instance UID but not the same "
                "content; remove the one that is wrong"
            )
    return list(unique.values()), copies, clashes


def _same(one: Instance, other: Instance) -> bool:
    """Whether two instances hold the same image, however the file around it is written."""
    a, b = one.source, other.source
    if isinstance(a, FileSource) and isinstance(b, FileSource) and filecmp.cmp(a.path, b.path, shallow=False):
        return True
    if one.header != other.header or one.pixels is None or other.pixels is None:
        return False
    if one.header.file_meta.TransferSyntaxUID != other.header.file_meta.TransferSyntaxUID:
        return False
    if (length := one.pixels.length) != other.pixels.length:
        return False
    with one.pixels.open() as first, other.pixels.open() as second:
        while length > 0:
            size = min(_CHUNK, length)
            piece = first.read(size)
            if piece != second.read(size):
                return False
            if not piece:
                return True  # both end: pixel data of undefined length
            length -= size
    return True


def _forget_nonsense(files: Sequence[Instance]) -> tuple[Counter[str], list[str]]:
    """Take a geometry out of the headers that cannot be one, so that no object made from them repeats it."""
    done: Counter[str] = Counter()
    unusable = []
    for file in files:
        header = file.header
        for what in _nonsense(header):
            if frames(header) > 1 or header.get("PerFrameFunctionalGroupsSequence"):
                unusable.append(f"{file.source.name}: {what}; the geometry is damaged, export the file again")
            else:
                done[f"{what}: place in space and measures left out"] += 1
    if done:
        for file in files:
            for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID"):
                if keyword in file.header:
                    delattr(file.header, keyword)
            if pixel_spacing(file.header) is None and "PixelSpacing" in file.header:
                del file.header.PixelSpacing
    return done, unusable


def _nonsense(header: Dataset) -> Iterator[str]:
    for frame, plane in enumerate(placement.planes_of(header, 0)[: _different(header)]):
        usable = (
            plane.position is not None,
            plane.axes is not None,
            pixel_spacing(header, frame) is not None,
        )
        for right, (group, keyword), what in zip(usable, _GROUPS.items(), _RIGHT, strict=True):
            if not right and _given(header, frame, group, keyword):
                yield f"{keyword} is not {what}"
                return


def _missing(header: Dataset) -> Iterator[str]:
    """What cross-sectional images must have (PS3.3 C.7.6.2, type 1), and these have not."""
    if header.get("Modality") not in _CROSS_SECTIONS:
        return
    for group, keyword in _GROUPS.items():
        if not all(_given(header, frame, group, keyword) for frame in range(_different(header))):
            yield f"no {keyword}, which {header.Modality} images must have"
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        size = frame_value(header, 0, "PixelMeasuresSequence", keyword)
        if isinstance(size, int | float) and size <= 0:
            yield f"{keyword} is not positive, left aside"


def _grid_notes(header: Dataset) -> Iterator[str]:
    """Pixels that are not square in the patient, or not meant to be shown so."""
    spacing = pixel_spacing(header)
    if spacing is None:
        ratio = header.get("PixelAspectRatio")
        spacing = (ratio[0], ratio[1]) if isinstance(ratio, Sequence) and len(ratio) == 2 else (1, 1)
    if not 0.99 < float(spacing[0]) / (float(spacing[1]) or 1) < 1.01:
        yield "pixels are not square: the model sees them as stored, overlays are drawn in true shape"


def _different(header: Dataset) -> int:
    """How many frames can differ in place: those with functional groups of their own, and one more for the rest."""
    return min(frames(header), len(header.get("PerFrameFunctionalGroupsSequence") or []) + 1)


def _given(header: Dataset, frame: int, group: str, keyword: str) -> bool:
    value = frame_value(header, frame, group, keyword)
    return value is not None and value != "" and value != []


def _number_notes(headers: Sequence[Dataset], planes: Sequence[Plane]) -> Iterator[str]:
    """Where slices have no places, Instance Numbers are all there is to say whether some are missing."""
    if len(headers) < 2 or placement.in_space(planes):
        return
    numbers = [instance_number(h) for h in headers]
    known = [n for n in numbers if n is not None]
    if len(set(known)) < len(headers):
        yield "Instance Numbers are missing or repeated: the order of the slices is not certain"
    elif missing := placement.numbers_missing(known):
        yield f"{missing} Instance Number(s) are skipped: slices may be missing"
