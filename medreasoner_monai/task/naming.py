"""What a reasoning trace concludes that the region is: the name in its concluding statement, or none.

The statement is taken at its word only where it is plain. It has to match a small grammar as a whole: who is spoken of
("This", "The region"), a verb of identity ("is", "fits", "corresponds to"), and a noun phrase that is a name of the
taxonomy, with nothing before or after it that changes what is named ("the wall of the stomach", "a kidney stone").
Negations and hedges are looked for in the statement and in everything after it, as NegEx and ConText do (Chapman et
al. 2001, Harkema et al. 2009), but without a scope: one is enough, since a missing name misleads nobody. English alone
is read; a trace in another language names nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from medreasoner_monai.task.taxonomy import TAXONOMY, generation, lesion_words

Doubt = Literal["", "uncertain", "negated", "several"]
"""Why a trace that mentions names concludes on none."""


@dataclass(frozen=True)
class Conclusion:
    """What a trace says that the region is.

    Attributes
    ----------
    name:
        A category of the taxonomy; empty where there is none.
    lesion:
        One of :data:`~medreasoner_monai.task.taxonomy.LESION_WORDS`, for a lesion that is no category; or empty.
    doubt:
        Why there is neither, where the trace mentions a name.
    """

    name: str = ""
    lesion: str = ""
    doubt: Doubt = ""

    @property
    def names_something(self) -> bool:
        """Whether there is a name to code."""
        return bool(self.name or self.lesion)


def conclude(trace: str) -> Conclusion:
    """The conclusion of a trace.

    Its last concluding statement counts. What stands before is reasoning and may name anything; what stands after may
    not take it back, or name something else.

    >>> conclude("The round area is not the spleen. This fits the liver.").name
    'liver'
    >>> conclude("There is no liver tumor here; the bright round area lies beside it.")
    Conclusion(name='', lesion='', doubt='negated')
    >>> conclude("This may be the liver.")
    Conclusion(name='', lesion='', doubt='uncertain')
    """
    sentences = _sentences(trace)
    mentioned = any(_mentions(sentence) for sentence in sentences)
    later: set[str] = set()
    for position in range(len(sentences) - 1, -1, -1):
        sentence = sentences[position]
        if doubt := _doubt(sentence):
            return Conclusion(doubt=doubt if mentioned else "")
        stated = _stated(sentence)
        if stated is None:
            later |= _mentions(sentence)
            continue
        conclusion, rest = stated
        others = (later | _mentions(rest)) - {conclusion.name or conclusion.lesion}
        return Conclusion(doubt="several") if others or _contradicts(sentences[:position], conclusion) else conclusion
    return Conclusion()


_NEGATION = re.compile(
    r"\b(?:no|not|cannot|never|none|nothing|nor|neither|nowhere|without|absent|absence|lacks?|lacking|missing|fails?"
    r"|excludes?|excluded|excluding|except|ruled out|rules? out|rather than|instead of|other than|anything but|free of"
    r"|negative|denies|denied|removed|resected|resection|excised|gone|resolved|wrong|incorrect|false|falsely|untrue"
    r"|mistaken|mistakenly|mimics?|mimicking|unlike|differs?|different|contrary|hardly|scarcely|barely|far from"
    r"|non|impossible|improbable|inconsistent|incompatible|opposed)\b|n't\b"
)
_HEDGE = re.compile(
    r"\b(?:may|might|maybe|could|would|should|possibly|possible|possibility|perhaps|probably|probable|likely"
    r"|unlikely|presumably|presumed|apparently|appears?|seems?|seemingly|suspected|suspicious|suspicion|suggests?"
    r"|suggesting|suggestive|compatible|indeterminate|equivocal|questionable|unclear|uncertain|uncertainty"
    r"|unsure|unknown|unconfirmed|doubt|doubtful|doubtfully|either|or|versus|vs|differential|consider|considered"
    r"|favou?r|favou?rs|favou?red|think|thought|believe|believed|guess|assume|assumed|assuming|supposedly|supposed"
    r"|suppose|alternatively|if|unless|whether|hypothetical|hypothetically|expected|ordinarily|usually|history"
    r"|previous|previously|prior|former|formerly|used to|so-called|potential|potentially|conceivably|arguably"
    r"|resembles?|resembling|like|roughly|approximately|almost|nearly|sort of|kind of|plausibly|plausible|tentative"
    r"|tentatively|inconclusive|ambiguous|ambiguously)\b|\?"
)
# Words that may stand before a name without changing what it names.
_OF_ANY = (
    "patient's|whole|entire|visible|large|larger|small|medium|medium-sized|big|huge|tiny|bright|brighter|dark|darker|grey"
    "|gray|round|rounded|oval|solid|hollow|normal|healthy|enlarged|single|well-defined"
)
_OF_FINDINGS = (
    f"{_OF_ANY}|left|right|focal|benign|malignant|cystic|simple|primary|metastatic|hypodense|hyperdense|hypointense"
    "|hyperintense|enhancing"
)
# Places stand before a lesion that is no concept: an ovarian consolidation is not the lung's.
_OF_LESIONS = (
    f"{_OF_FINDINGS}|liver|hepatic|kidney|renal|adrenal|spleen|splenic|pancreatic|bone|bony|breast|prostate"
    "|prostatic|thyroid|skin|lung|pulmonary|brain|cerebral|ovarian|colon|bladder|gastric|cortical"
)
_SUBJECT = (
    r"(?:this|it|the (?:\w+ ){0,3}?(?:answer|target|region|structure|area|organ|finding|vessel|bone|object|lesion"
    r"|spot|patch|shape|part)(?: in question| asked for| asked about| described| shown| here)?"
    r"|(?:the|these) (?:findings|features)"
    # "A large dark area in the upper left fits …", as traces of the training data conclude.
    r"|an? (?:[\w-]+ ){0,4}?(?:area|region|structure|spot|patch|shape)(?: (?:in|at|around) the [a-z ]{2,30}?)?)"
)
_VERB = (
    r"(?: is(?: (?:therefore|thus|hence|clearly|indeed|certainly|identified as|recogni[sz]ed as|consistent with))?|'s"
    r"| fits?| match(?:es)?| represents?| corresponds? to| are consistent with| depicts?| must be)"
)
_LINK = (
    r"(?:so|thus|therefore|hence|overall|accordingly|consequently|finally|and|then"
    r"|in conclusion|in summary|as a result)"
)
_LABEL = r"(?:(?:the )?(?:final )?(?:answer|conclusion|impression|target|diagnosis|result)(?: is)?\s*[:=]\s*)"
_END = (
    r"(?=\s*$|\s*[(:]|,? (?:in|on|at|seen|lying|located|which|that|here|because|as|since|beneath|below|above|behind)\b"
    r"|, (?:a|an|with)\b| of (?:the|this) patient\b)"
)


@dataclass(frozen=True)
class _Grammar:
    """What names there are, and what mentions and states one.

    Attributes
    ----------
    names:
        The category that a spelling is of.
    mention:
        Any name or word for a lesion, longest first.
    statement:
        A whole statement that the region is something.
    """

    names: dict[str, str]
    mention: re.Pattern[str]
    statement: re.Pattern[str]


def _grammar() -> _Grammar:
    return _grammar_of(generation())


@lru_cache(maxsize=1)
def _grammar_of(generation: int) -> _Grammar:
    known = [category for category in TAXONOMY.values() if category.in_text]
    names = {spelling: category.name for category in known for spelling in (category.name, *category.synonyms)}
    any_name = _any(names)
    any_finding = _any(spelling for spelling, name in names.items() if TAXONOMY[name].is_lesion)
    any_lesion = _any(lesion_words())
    phrase = (
        rf"(?P<phrase>(?:the |a |an |one |another )?(?:(?:(?:{_OF_ANY}) )*(?P<organ>{any_name})s?"
        rf"|(?:(?:{_OF_FINDINGS}),? )*?(?P<finding>{any_finding})s?"
        rf"|(?:(?:{_OF_LESIONS}),? )*?(?P<lesion>{any_lesion})s?)){_END}"
    )
    return _Grammar(
        names,
        re.compile(rf"\b(?P<name>{any_name})s?\b|\b(?P<lesion>{any_lesion})s?\b"),
        re.compile(rf"(?:(?:^|, |: )(?:{_LINK},? )*(?:{_LABEL}|{_SUBJECT}{_VERB} )|^(?:{_LINK},? )*{_LABEL}?){phrase}"),
    )


def _any(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=lambda w: (-len(w), w)))


def _sentences(trace: str) -> list[str]:
    """Lower case, without markup; a question mark stays, since it is a hedge."""
    text = unicodedata.normalize("NFKC", trace).casefold().replace("’", "'").replace("`", "'")
    text = re.sub(r"[*_#\"“”]+", "", text)
    parts = re.split(r"(?<=\?)|[!;\n\r。]|\.(?!\d)", text)
    return [folded for part in parts if (folded := " ".join(part.split()).strip(" ,-–—"))]


def _doubt(sentence: str) -> Doubt:
    if _HEDGE.search(sentence):
        return "uncertain"
    return "negated" if _NEGATION.search(sentence) else ""


def _mentions(text: str) -> set[str]:
    """Names in a text, longest first: a liver tumor is no liver."""
    grammar = _grammar()
    return {grammar.names[m["name"]] if m["name"] else m["lesion"] for m in grammar.mention.finditer(text)}


def _stated(sentence: str) -> tuple[Conclusion, str] | None:
    """What a sentence states the region to be, and what else it says; None where it states nothing."""
    grammar = _grammar()
    found = grammar.statement.search(sentence)
    if found is None:
        return None
    name = found["organ"] or found["finding"]
    rest = sentence[: found.start("phrase")] + " " + sentence[found.end("phrase") :]
    return (Conclusion(grammar.names[name]) if name else Conclusion(lesion=found["lesion"])), rest


def _contradicts(before: list[str], conclusion: Conclusion) -> bool:
    """Whether the sentence right before a conclusion states another, just as firmly."""
    if not before or _doubt(before[-1]):
        return False
    stated = _stated(before[-1])
    return stated is not None and stated[0] != conclusion
