"""The categories that can be asked about, and the coded concepts that DICOM objects need for them.

Codes are SNOMED CT (one is DICOM's own) as DICOM PS3.16 lists them, CID 7150, 7151 and 7159 among others, so that a
receiving system knows a liver from a lesion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from medreasoner_monai.errors import InputError, nearest


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
    """One category of the taxonomy.

    Attributes
    ----------
    name : str
        U-MRG's name, lower case.
    super_category : str
        One of :data:`SUPER_CATEGORIES`.
    modalities : tuple of str
        Where it is seen: ``"CT"``, ``"X-Ray"``, ``"MRI"``.
    site : str
        ``"abdomen"``, ``"chest"`` or ``"brain"``.
    codes : Codes
        For DICOM SEG and SR.
    giveaways : tuple of str
        Lower-case stems that would name the target; an implicit question holds none of them.
    synonyms : tuple of str
        Other names that mean exactly this, lower case, in the singular.
    """

    name: str
    super_category: str
    modalities: tuple[str, ...]
    site: str
    codes: Codes
    giveaways: tuple[str, ...]
    synonyms: tuple[str, ...] = ()

    @property
    def is_lesion(self) -> bool:
        """Whether it is a change in an organ rather than an organ."""
        return self.codes.property_category == ABNORMAL_STRUCTURE


SUPER_CATEGORIES = ("Abdomen", "Brain", "Heart", "Lung", "Neoplasm", "Non-Neoplasm")

ANATOMICAL_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
LESION = Code("52988006", "SCT", "Lesion")
LEFT = Code("7771000", "SCT", "Left")
RIGHT = Code("24028007", "SCT", "Right")

GENERIC = Codes(
    "Answer to question",
    Code("309825002", "SCT", "Spatial and Relational Concept"),
    Code("111099", "DCM", "Selected region"),
)
"""A region of which nobody said what it is: neither anatomy nor a lesion nor tissue (PS3.16, CID 7150 and 6101)."""

LESION_WORDS = (
    *("tumor", "tumour", "lesion", "nodule", "mass", "cyst", "metastasis", "metastases", "neoplasm", "carcinoma"),
    *("cancer", "abscess", "polyp", "adenoma", "hemangioma", "haemangioma", "hematoma", "haematoma", "opacity"),
    *("consolidation", "infarct", "hemorrhage", "haemorrhage", "aneurysm", "fracture"),
)
"""Last words of names that mean a lesion, in a category of the taxonomy or not; lower case."""

_LIVER = Code("10200004", "SCT", "Liver")
_KIDNEY = Code("64033007", "SCT", "Kidney")
_LUNG = Code("39607008", "SCT", "Lung")
_BRAIN = Code("12738006", "SCT", "Brain")
_NEOPLASM = Code("108369006", "SCT", "Neoplasm")


_SYNONYMS = {
    "aorta": ("abdominal aorta", "thoracic aorta"),
    "lateral ventricles": ("lateral ventricle",),
    "brainstem": ("brain stem",),
    "liver tumor": ("liver tumour", "hepatic tumor", "hepatic tumour", "tumor of the liver", "tumour of the liver"),
    "brain tumor": ("brain tumour", "cerebral tumor", "cerebral tumour"),
    "lung nodule": ("pulmonary nodule", "nodule of the lung"),
    "lung opacity": ("pulmonary opacity",),
    "brain edema": ("brain oedema", "cerebral edema", "cerebral oedema"),
}


def _organ(
    name: str,
    super_category: str,
    modality: str,
    site: str,
    code: Code,
    giveaways: tuple[str, ...],
    laterality: Code | None = None,
) -> Category:
    codes = Codes(name, ANATOMICAL_STRUCTURE, code, laterality=laterality)
    return Category(name, super_category, (modality,), site, codes, giveaways)


def _finding(
    name: str, super_category: str, modality: str, site: str, code: Code, region: Code, giveaways: tuple[str, ...]
) -> Category:
    codes = Codes(name, ABNORMAL_STRUCTURE, code, region=region)
    return Category(name, super_category, (modality,), site, codes, giveaways)


_CATEGORIES = (
    _organ("liver", "Abdomen", "CT", "abdomen", _LIVER, ("liver", "hepat")),
    _organ("spleen", "Abdomen", "CT", "abdomen", Code("78961009", "SCT", "Spleen"), ("spleen", "splen")),
    _organ("stomach", "Abdomen", "CT", "abdomen", Code("69695003", "SCT", "Stomach"), ("stomach", "gastr")),
    _organ("left kidney", "Abdomen", "CT", "abdomen", _KIDNEY, ("kidney", "renal", "nephr"), LEFT),
    _organ("right kidney", "Abdomen", "CT", "abdomen", _KIDNEY, ("kidney", "renal", "nephr"), RIGHT),
    _organ("aorta", "Abdomen", "CT", "abdomen", Code("15825003", "SCT", "Aorta"), ("aort",)),
    _organ(
        "vertebra",
        "Abdomen",
        "CT",
        "abdomen",
        Code("51282000", "SCT", "Vertebra"),
        ("vertebr", "spine", "spinal", "backbone"),
    ),
    Category(
        "heart",
        "Heart",
        ("CT", "X-Ray"),
        "chest",
        Codes("heart", ANATOMICAL_STRUCTURE, Code("80891009", "SCT", "Heart")),
        ("heart", "cardi"),
    ),
    _organ("left lung", "Lung", "X-Ray", "chest", _LUNG, ("lung", "pulmo"), LEFT),
    _organ("right lung", "Lung", "X-Ray", "chest", _LUNG, ("lung", "pulmo"), RIGHT),
    _organ(
        "lateral ventricles",
        "Brain",
        "MRI",
        "brain",
        Code("66720007", "SCT", "Lateral Ventricle"),
        ("ventric", "lateral"),
    ),
    _organ("cerebellum", "Brain", "MRI", "brain", Code("113305005", "SCT", "Cerebellum"), ("cerebel",)),
    _organ(
        "brainstem",
        "Brain",
        "MRI",
        "brain",
        Code("119238007", "SCT", "Brain Stem"),
        ("stem", "pons", "midbrain", "medulla"),
    ),
    _finding(
        "liver tumor",
        "Neoplasm",
        "CT",
        "abdomen",
        _NEOPLASM,
        _LIVER,
        ("liver", "hepat", "tumo", "neopl", "cancer", "metast"),
    ),
    _finding(
        "brain tumor",
        "Neoplasm",
        "MRI",
        "brain",
        _NEOPLASM,
        _BRAIN,
        ("brain", "cerebr", "tumo", "neopl", "gliom", "cancer"),
    ),
    _finding(
        "lung nodule",
        "Neoplasm",
        "X-Ray",
        "chest",
        Code("27925004", "SCT", "Nodule"),
        _LUNG,
        ("lung", "pulmo", "nodul", "tumo", "neopl", "cancer"),
    ),
    _finding(
        "lung opacity",
        "Non-Neoplasm",
        "X-Ray",
        "chest",
        Code("112001", "DCM", "Opacity"),
        _LUNG,
        ("lung", "pulmo", "opac", "consolid", "pneumon", "infiltr"),
    ),
    _finding(
        "pleural effusion",
        "Non-Neoplasm",
        "X-Ray",
        "chest",
        Code("60046008", "SCT", "Pleural effusion"),
        Code("3120008", "SCT", "Pleura"),
        ("pleur", "effus"),
    ),
    _finding(
        "brain edema",
        "Non-Neoplasm",
        "MRI",
        "brain",
        Code("79654002", "SCT", "Edema"),
        _BRAIN,
        ("brain", "cerebr", "edem", "oedem"),
    ),
)
TAXONOMY: dict[str, Category] = {c.name: replace(c, synonyms=_SYNONYMS.get(c.name, ())) for c in _CATEGORIES}


def category(name: str) -> Category:
    """Look a category up.

    Parameters
    ----------
    name : str
        Name as in U-MRG; case and surrounding spaces do not matter, ``+`` and ``_`` count as spaces.

    Raises
    ------
    InputError
        If the taxonomy has no such category.
    """
    found = TAXONOMY.get(_plain(name))
    if found is None:
        raise InputError(
            f"Unknown category {name!r}; expected one of {', '.join(TAXONOMY)}.{nearest(_plain(name), TAXONOMY)}"
        )
    return found


def codes_for(name: str) -> Codes:
    """The codes of a category, or generic ones that keep its name as the label.

    U-MRG has more categories than this registry. Of those, names that end in one of :data:`LESION_WORDS` are coded as
    lesions, and all others as :data:`GENERIC`: what is unknown is not coded as anatomy.

    >>> codes_for("optic disc").property_type.meaning
    'Selected region'
    >>> codes_for("kidney cyst").property_type.meaning
    'Lesion'
    """
    plain = _plain(name)
    if known := TAXONOMY.get(plain):
        return known.codes
    words = plain.split()
    if words and (words[-1] in LESION_WORDS or words[-1].removesuffix("s") in LESION_WORDS):
        return Codes(plain, ABNORMAL_STRUCTURE, LESION)
    return replace(GENERIC, label=plain)


def _plain(name: str) -> str:
    return " ".join(name.replace("+", " ").replace("_", " ").split()).lower()
