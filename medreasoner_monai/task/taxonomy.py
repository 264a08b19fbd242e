"""The concepts that can be asked about, and the codes that DICOM objects need for them, read from ``taxonomy.yaml``.

Codes are SNOMED CT (a few are DICOM's own) as DICOM PS3.16 lists them, CID 7150, 7151 and 7159 among others, so that a
receiving system knows a liver from a lesion. Concepts of one's own come from a second file, which is layered over the
first: the file that the environment variable ``MEDREASONER_TAXONOMY`` names, or the one given to :func:`use`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from medreasoner_monai.errors import ConfigError, InputError, nearest
from medreasoner_monai.task.taxonomy_build import Built, build
from medreasoner_monai.task.taxonomy_file import Document, read
from medreasoner_monai.task.taxonomy_model import ABNORMAL_STRUCTURE as ABNORMAL_STRUCTURE
from medreasoner_monai.task.taxonomy_model import ANATOMICAL_STRUCTURE as ANATOMICAL_STRUCTURE
from medreasoner_monai.task.taxonomy_model import GENERIC as GENERIC
from medreasoner_monai.task.taxonomy_model import LEFT as LEFT
from medreasoner_monai.task.taxonomy_model import LESION as LESION
from medreasoner_monai.task.taxonomy_model import RIGHT as RIGHT
from medreasoner_monai.task.taxonomy_model import Category as Category
from medreasoner_monai.task.taxonomy_model import Code as Code
from medreasoner_monai.task.taxonomy_model import Codes as Codes
from medreasoner_monai.task.taxonomy_names import folded, plain, variants

SHIPPED = Path(__file__).with_name("taxonomy.yaml")
VARIABLE = "MEDREASONER_TAXONOMY"
_FEW = 5


@cache
def _shipped() -> Document:
    return read(SHIPPED)


def built_from(over: Path | None = None) -> Built:
    """The shipped file with another laid over it, and the mistakes in both.

    Raises
    ------
    ConfigError
        If the other file cannot be opened.
    """
    if over is None:
        return build([_shipped()])
    try:
        return build([_shipped(), read(over)])
    except OSError as error:
        raise ConfigError(f"taxonomy {over}: {error.strerror or error}; give the path of a YAML file") from None


@dataclass
class _Loaded:
    """The taxonomy in use by this process."""

    built: Built
    over: Path | None
    number: int
    index: dict[str, str]
    labels: dict[str, list[tuple[str, str]]]


def _load(over: Path | None, number: int) -> _Loaded:
    built = built_from(over)
    if built.problems:
        more = f"\n… and {len(built.problems) - _FEW} more" if len(built.problems) > _FEW else ""
        told = "\n".join(str(problem) for problem in built.problems[:_FEW])
        raise ConfigError(f"{told}{more}\n`medreasoner taxonomy check` checks a file")
    index: dict[str, str] = {}
    labels: dict[str, list[tuple[str, str]]] = {}
    for one in built.categories.values():
        for spelling in (one.name, *one.synonyms):
            index.setdefault(folded(spelling), one.name)
        for source, spellings in one.labels:
            for spelling in spellings:
                labels.setdefault(folded(spelling), []).append((source.lower(), one.name))
    return _Loaded(built, over, number, index, labels)


def from_environment() -> Path | None:
    """The file that ``MEDREASONER_TAXONOMY`` names, or None."""
    return Path(named) if (named := os.environ.get(VARIABLE)) else None


_loaded = _load(from_environment(), 0)
TAXONOMY: dict[str, Category] = _loaded.built.categories
"""Concepts by name. :func:`use` changes it in place."""
SUPER_CATEGORIES: tuple[str, ...] = _loaded.built.super_categories
LESION_WORDS: tuple[str, ...] = _loaded.built.lesion_words
"""Last words of names that mean a lesion, in a category of the taxonomy or not; lower case. As at import."""


def use(path: Path | None) -> None:
    """Lay another file over the shipped one for the rest of this process, in place of the one in use; None for none.

    Raises
    ------
    ConfigError
        If the file cannot be opened or holds mistakes; each is told by its line. Nothing changes then.
    """
    global _loaded  # noqa: PLW0603 - one taxonomy per process, as one logging configuration
    if path == _loaded.over:
        return
    _loaded = _load(path, _loaded.number + 1)
    TAXONOMY.clear()
    TAXONOMY.update(_loaded.built.categories)


def generation() -> int:
    """A number that changes whenever :func:`use` changes the taxonomy, for what is derived from it and kept."""
    return _loaded.number


def lesion_words() -> tuple[str, ...]:
    """:data:`LESION_WORDS` of the taxonomy in use."""
    return _loaded.built.lesion_words


def digest(over: Path) -> str:
    """sha256 of what another file over the shipped one says, comments and order of fields aside.

    Raises
    ------
    ConfigError
        If the file cannot be opened or holds mistakes.
    """
    built = _load(over, 0).built
    return hashlib.sha256(
        repr((built.categories, built.lesion_words, built.modalities, built.sites)).encode()
    ).hexdigest()


def resolve(name: str, source: str = "", site: str = "") -> Category | None:
    """The concept that a source means by a name, or None.

    A source's own labels come first, then the name together with the site (``tumor`` of the breast), then the name and
    its synonyms. ``+`` and ``_`` count as spaces; a side may stand behind; singular and plural, hyphens and British
    spellings are the same.

    Parameters
    ----------
    name : str
        Such as ``"kidney_left"`` or ``"Edema"``.
    source : str
        Such as ``"Task06_Lung"`` or ``"endoscopy_edd2020"``: labels of each source whose key begins one of its words.
    site : str
        As in a file name: ``"breast"``, ``"retinal"``.

    Examples
    --------
    >>> resolve("kidney_left").name, resolve("tumor", site="breast").name, resolve("cancer", "Task06_Lung").name
    ('left kidney', 'breast tumor', 'lung tumor')
    >>> resolve("unheard of") is None
    True
    """
    words = [w for w in re.split(r"[^a-z0-9]+", source.lower()) if w]
    for key, found in _loaded.labels.get(folded(name), ()):
        if any(word.startswith(key) for word in words):
            return TAXONOMY[found]
    places = [folded(site), site_of(site)] if site.strip() else []
    spellings = [*variants(name)]
    for spelling in [*(f"{place} {s}" for place in places if place for s in spellings), *spellings]:
        if spelling in _loaded.index:
            return TAXONOMY[_loaded.index[spelling]]
    return None


def many_parts(name: str, source: str = "", site: str = "") -> bool:
    """Whether a target is usually many separate parts, which one box cannot say; evaluation reports those apart.

    >>> many_parts("nuclei"), many_parts("liver"), many_parts("vessel", site="retinal")
    (True, False, True)
    """
    known = resolve(name, source, site)
    return known is not None and known.many_parts


def modality_of(word: str) -> str:
    """The modality that a source's word means, or the word itself where it is not known.

    >>> modality_of("MRI-T2"), modality_of("ultrasound"), modality_of("CR"), modality_of("PET")
    ('MRI', 'Ultrasound', 'X-Ray', 'PET')
    """
    known = _loaded.built.modalities
    whole = folded(word)
    return known.get(whole) or known.get(whole.split(" ", maxsplit=1)[0]) or word


def site_of(word: str) -> str:
    """The part of the body that a source's word means, or the word itself where it is not known.

    >>> site_of("retinal"), site_of("liver"), site_of("moon")
    ('eye', 'abdomen', 'moon')
    """
    whole = folded(word)
    return _loaded.built.sites.get(whole) or _loaded.built.sites.get(whole.split(" ", maxsplit=1)[0]) or word


def unknown(targets: Iterable[tuple[str, str, str]]) -> dict[str, int]:
    """Names that resolve to nothing, and how often each occurs, the most frequent first.

    Parameters
    ----------
    targets : iterable of (str, str, str)
        Name, source and site of each target, as :func:`resolve` takes them.
    """
    counts: dict[str, int] = {}
    for name, source, site in targets:
        if resolve(name, source, site) is None:
            counts[plain(name)] = counts.get(plain(name), 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def category(name: str) -> Category:
    """Look a category up.

    Parameters
    ----------
    name : str
        Name or synonym, spelled as :func:`resolve` takes it.

    Raises
    ------
    InputError
        If the taxonomy has no such category.
    """
    found = TAXONOMY.get(plain(name)) or resolve(name)
    if found is None:
        near = nearest(plain(name), TAXONOMY)
        raise InputError(f"Unknown category {name!r}; `medreasoner taxonomy find` looks for one.{near}")
    return found


def codes_for(name: str) -> Codes:
    """The codes of a category, or generic ones that keep its name as the label.

    Of names that are not in the taxonomy, those that end in one of :data:`LESION_WORDS` are coded as lesions, and all
    others as :data:`GENERIC`: what is unknown is not coded as anatomy.

    >>> codes_for("elbow plica").property_type.meaning
    'Selected region'
    >>> codes_for("elbow cyst").property_type.meaning
    'Lesion'
    """
    label = plain(name)
    if known := TAXONOMY.get(label) or resolve(label):
        return known.codes
    words = label.split()
    if words and {words[-1], words[-1].removesuffix("s")} & set(lesion_words()):
        return Codes(label, ABNORMAL_STRUCTURE, LESION)
    return replace(GENERIC, label=label)
