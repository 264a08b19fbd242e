"""Kinds of picture by what they can show, so that it is known what is certainly not in one."""

from __future__ import annotations

_TRUNK = (
    *(
        "abdomen",
        "chest",
        "heart",
        "liver",
        "lung",
        "kidney",
        "pelvis",
        "colon",
        "prostate",
        "thorax",
        "trunk",
    ),
    *("pancreas", "spleen", "bladder", "uterus", "abdominal", "cardiac", "thorax-abdomen"),
)
_HEAD = ("brain", "head", "skull", "face", "hippocampus")
_BY_MODALITY = {
    "dermoscopy": "skin",
    "fundus": "retina",
    "oct": "retina",
    "endoscope": "lumen",
    "endoscopy": "lumen",
    "pathology": "tissue",
    "mammography": "breast",
}
_BY_SITE = {
    **dict.fromkeys(_TRUNK, "trunk"),
    **dict.fromkeys(_HEAD, "head"),
    "spine": "spine",
    **dict.fromkeys(("dental", "jaw", "teeth"), "jaw"),
    **dict.fromkeys(("neck", "thyroid", "carotid"), "neck"),
    **dict.fromkeys(("fetus", "transperineal", "fetal"), "fetus"),
    **dict.fromkeys(("arm", "leg", "limb", "nerve"), "limb"),
    **dict.fromkeys(("breast",), "breast"),
    **dict.fromkeys(("skin",), "skin"),
    **dict.fromkeys(("retinal", "retina", "eye"), "retina"),
}
_MAY_SHOW = {
    "trunk": {"trunk", "neck", "breast", "limb", "fetus", "lumen", "jaw"},
    "spine": {"trunk", "head", "neck", "breast", "limb", "fetus", "lumen", "jaw"},  # a cervical one has the brainstem
    "head": {"head", "jaw", "neck", "limb", "retina"},
    "jaw": {"jaw", "head", "neck"},
    "neck": {"neck", "head", "trunk", "jaw", "limb"},
    "limb": {"limb", "neck", "trunk", "skin"},
    "breast": {"breast", "trunk", "skin", "limb"},
    "fetus": {"fetus", "trunk", "head", "limb", "jaw", "neck"},
    "skin": {"skin", "limb"},
    "retina": {"retina", "limb"},
    "lumen": {"lumen", "trunk", "limb"},
    "tissue": {"tissue", "trunk", "lumen", "breast", "skin", "limb"},
}
"""What might be in a picture besides what it was taken for: a chest CT reaches down to the liver, a slide of the colon
may hold a polyp."""
TISSUE = "tissue"
WORLDS = frozenset(_MAY_SHOW)
"""Kinds of picture; stained tissue may be said of an organ, as in ``kidney tissue``."""


def world_of(modality: str, site: str) -> str:
    """The kind of a picture; empty where modality and site do not tell.

    >>> world_of("MRI-T2", "brain"), world_of("pathology", "colon"), world_of("", "somewhere")
    ('head', 'tissue', '')
    """
    by_modality = _BY_MODALITY.get(modality.split("-")[0].split()[0].lower() if modality.strip() else "")
    return by_modality or _BY_SITE.get(site.strip().lower(), "")


def certainly_absent(worlds: frozenset[str], world: str) -> bool:
    """Whether a picture of a kind cannot show a concept that is seen in ``worlds``.

    >>> certainly_absent(frozenset({"trunk"}), "retina"), certainly_absent(frozenset({"trunk"}), "neck")
    (True, False)
    >>> certainly_absent(frozenset({"kidney tissue"}), "tissue")
    False
    """
    may = _MAY_SHOW.get(world)
    return may is not None and bool(worlds) and not may & {TISSUE if w.endswith(f" {TISSUE}") else w for w in worlds}
