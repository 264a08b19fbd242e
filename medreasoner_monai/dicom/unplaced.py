"""Sources that highdicom does not take as they are: several frames without positions, orientations said frame by frame.

highdicom wants several frames to have positions in space. A clip or a set of photographs has none. They are shown to it
as a made-up stack, one millimetre apart, and everything that is made up is taken out of the object again: what stays
says of each frame which frame of which image it belongs to, and nothing of where it lies.
"""

from __future__ import annotations

from pydicom import Dataset
from pydicom.tag import Tag

from medreasoner_monai.dicom.series import Series
from medreasoner_monai.dicom.uids import PLACEHOLDER

_UPRIGHT = [1, 0, 0, 0, 1, 0]
_MADE_UP = ("FrameOfReferenceUID", "PositionReferenceIndicator", "DimensionOrganizationType")
_SHAREABLE = {"PlaneOrientationSequence": "ImageOrientationPatient", "PixelMeasuresSequence": "PixelSpacing"}


def needs_stack(series: Series) -> bool:
    """Whether highdicom takes the series only as a stack: several frames, or one of a kind that may have several.

    It takes an X-ray angiogram or a photograph of the fundus for an enhanced image, by its SOP class, whether it has
    functional groups or not.
    """
    from highdicom._standard_utils import is_multiframe_image  # it has no public name for this

    if series.has_frame_of_reference:
        return False
    header = series.headers[0]
    return len(series) > 1 or (is_multiframe_image(header) and "SharedFunctionalGroupsSequence" not in header)


def as_stack(series: Series) -> list[Dataset]:
    """Headers like the series', in a made-up frame of reference; the series' own are left as they are."""
    stack = []
    for number, header in enumerate(series.headers):
        copy = _copy(header)
        for keyword in ("ImageOrientationSlide", "ImageCenterPointCoordinatesSequence", "SpacingBetweenSlices"):
            if keyword in copy:
                delattr(copy, keyword)
        made_up = _place(number)
        made_up.FrameOfReferenceUID = PLACEHOLDER
        frames = int(header.get("NumberOfFrames") or 1)
        if frames > 1 or len(series) == 1:
            made_up.NumberOfFrames = frames
            made_up.SharedFunctionalGroupsSequence = [_shared()]
            made_up.PerFrameFunctionalGroupsSequence = [_placed(i) for i in range(frames)]
        copy.update(made_up)
        stack.append(copy)
    return stack


def out_of_stack(seg: Dataset) -> None:
    """Take what :func:`as_stack` made up out of a segmentation; a frame is told apart by its label instead."""
    for keyword in _MADE_UP:
        if keyword in seg:
            delattr(seg, keyword)
    shared = seg.SharedFunctionalGroupsSequence[0]
    del shared.PlaneOrientationSequence, shared.PixelMeasuresSequence
    for item in seg.PerFrameFunctionalGroupsSequence:
        slice_number = 1 - round(float(item.PlanePositionSequence[0].ImagePositionPatient[2]))
        del item.PlanePositionSequence
        item.FrameContentSequence[0].FrameLabel = f"source slice {slice_number}"
    index = seg.DimensionIndexSequence[-1]
    index.DimensionIndexPointer = Tag("FrameLabel")
    index.FunctionalGroupPointer = Tag("FrameContentSequence")
    index.DimensionDescriptionLabel = "Frame Label"


def with_shared_groups(header: Dataset) -> Dataset:
    """A multi-frame header whose orientation and spacing are shared, where all its frames say the same.

    Scanners often repeat them frame by frame. Where frames differ, or they are shared already, it is the header itself.
    """
    frames, shared = header.get("PerFrameFunctionalGroupsSequence"), header.get("SharedFunctionalGroupsSequence")
    if not frames or not shared:
        return header
    moved = Dataset()
    for name, keyword in _SHAREABLE.items():
        if name in shared[0]:
            continue
        values = {tuple(f[name].value[0].get(keyword) or ()) if f.get(name) else () for f in frames}
        if len(values) == 1 and values != {()}:
            moved.add(frames[0][name])
    if not moved:
        return header
    item, changed, copy = _copy(shared[0]), Dataset(), _copy(header)
    item.update(moved)
    changed.SharedFunctionalGroupsSequence = [item]
    copy.update(changed)
    return copy


def _copy(dataset: Dataset) -> Dataset:
    """With the same elements; ``del`` and ``update`` leave the original alone, setting an attribute would not."""
    copy = Dataset()
    copy.update(dataset)
    return copy


def _place(number: int) -> Dataset:
    """Attributes of a slice; highdicom counts down the axis that such an orientation has for its normal."""
    item = Dataset()
    item.ImageOrientationPatient, item.ImagePositionPatient = _UPRIGHT, [0, 0, -number]
    item.PixelSpacing, item.SliceThickness = [1, 1], 1
    return item


def _shared() -> Dataset:
    orientation, measures, shared = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = _UPRIGHT
    measures.PixelSpacing, measures.SliceThickness = [1, 1], 1
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    return shared


def _placed(number: int) -> Dataset:
    position, frame = Dataset(), Dataset()
    position.ImagePositionPatient = [0, 0, -number]
    frame.PlanePositionSequence = [position]
    return frame
