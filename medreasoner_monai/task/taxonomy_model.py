"""What a concept of the taxonomy is: its names, its codes for DICOM objects, and where it is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple


class Code(NamedTuple):
    """A coded concept, in the order of pydicom's and highdicom's constructors."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class Codes:
    """How a segment is coded.

    Attributes
    ----------
    label : str
        Free text for the segment label.
    property_category, property_type : Code
        Segmented property category (CID 7150) and type.
    region : Code or None
        Anatomic region, where the type does not say it already.
    laterality : Code or None
        Modifier of the type (or of the region, where there is one).
    """

    label: str
    property_category: Code
    property_type: Code
    region: Code | None = None
    laterality: Code | None = None


@dataclass(frozen=True)
class Category:
    """One concept of the taxonomy.

    Attributes
    ----------
    name : str
        U-MRG's or BiomedParse's name, lower case.
    super_category : str
        One of the file's ``super_categories``.
    modalities : tuple of str
        In which data sets outline it: ``"CT"``, ``"X-Ray"``, ``"MRI"``…; empty for any.
    sites : tuple of str
        Parts of the body, the usual one first: ``"abdomen"``, ``"chest"``, ``"brain"``…; empty for any.
    codes : Codes
        For DICOM SEG and SR.
    giveaways : tuple of str
        Lower-case stems that would name the target; an implicit question holds none of them.
    synonyms : tuple of str
        Other names that mean exactly this, lower case, in the singular.
    sides : bool
        Whether there is a left and a right one. The concept itself is of no side then: ``"kidney"``.
    side : str
        ``"left"`` or ``"right"`` of the patient, for the one of a pair; else empty. A left ventricle has no side: it is
        a chamber of its own, wherever it lies.
    many_parts : bool
        Whether the target is usually many separate parts over the picture, which one box and two points cannot say.
    in_text : bool
        Whether the name is taken from running text; not where it is too common a word, or says too little.
    labels : tuple of (str, tuple of str)
        Source, and how that source spells the concept.
    umls, radlex : str
        Identifiers in UMLS and RadLex; empty where they are not known.
    """

    name: str
    super_category: str
    modalities: tuple[str, ...]
    sites: tuple[str, ...]
    codes: Codes
    giveaways: tuple[str, ...]
    synonyms: tuple[str, ...] = ()
    sides: bool = False
    side: Literal["", "left", "right"] = ""
    many_parts: bool = False
    in_text: bool = True
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    umls: str = ""
    radlex: str = ""

    @property
    def site(self) -> str:
        """The part of the body where it usually is; empty for any."""
        return self.sites[0] if self.sites else ""

    @property
    def is_lesion(self) -> bool:
        """Whether it is a change in an organ rather than an organ."""
        return self.codes.property_category == ABNORMAL_STRUCTURE


ANATOMICAL_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
LESION = Code("52988006", "SCT", "Lesion")
LEFT = Code("7771000", "SCT", "Left")
RIGHT = Code("24028007", "SCT", "Right")
SPATIAL_CONCEPT = Code("309825002", "SCT", "Spatial and Relational Concept")

GENERIC = Codes("Answer to question", SPATIAL_CONCEPT, Code("111099", "DCM", "Selected region"))
"""A region of which nobody said what it is: neither anatomy nor a lesion nor tissue (PS3.16, CID 7150 and 6101)."""

KINDS = {
    "organ": ANATOMICAL_STRUCTURE,
    "finding": ABNORMAL_STRUCTURE,
    "tissue": Code("85756007", "SCT", "Tissue"),
    "fluid": Code("91720002", "SCT", "Body Substance"),
    "device": Code("260787004", "SCT", "Physical object"),
    "region": SPATIAL_CONCEPT,
}
"""Segmented property category (PS3.16, CID 7150) by an entry's ``kind``."""
