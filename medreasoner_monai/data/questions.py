"""Implicit clinical questions: they say what a target does, where it lies or why it matters, and never its name."""

from __future__ import annotations

import numpy as np

from medreasoner_monai.data.phantoms import Phantom
from medreasoner_monai.data.traces import write_absent_trace, write_trace
from medreasoner_monai.errors import InputError, nearest

WORDINGS: dict[str, tuple[str, ...]] = {
    "liver": (
        "Which organ processes nutrients arriving from the gut?",
        "Which large solid organ makes bile and clears drugs from the blood?",
        "Where would fatty change from alcohol or diabetes show first?",
        "What is the largest solid organ beneath the diaphragm on the patient's right?",
        "Which organ would be checked when jaundice and raised transaminases are found?",
    ),
    "spleen": (
        "Which organ filters old red cells from the blood?",
        "Which soft organ bleeds most often after a blow to the left ribs?",
        "What is the solid organ at the back of the patient's left flank?",
        "Which lymphoid organ enlarges in portal hypertension or malaria?",
        "Where are platelets trapped when their count falls and the left flank is full?",
    ),
    "stomach": (
        "Where does swallowed food collect before it passes on to the gut?",
        "Which hollow organ mixes a meal with acid?",
        "Which pouch on the patient's left may hold fluid with gas above?",
        "Where would an ulcer cause pain soon after eating?",
        "Which hollow organ would a feeding tube through the nose reach first?",
    ),
    "left kidney": (
        "Which organ on the patient's left makes urine?",
        "Which filter of the blood lies beside the psoas on the patient's left?",
        "Where would a stone cause colic in the patient's left flank?",
        "Which bean-shaped organ lies at the back on the patient's left?",
        "Which organ on the patient's left would swell if its ureter were blocked?",
    ),
    "right kidney": (
        "Which organ on the patient's right makes urine?",
        "Which filter of the blood lies beside the psoas on the patient's right?",
        "Where would a stone cause colic in the patient's right flank?",
        "Which bean-shaped organ lies at the back on the patient's right?",
        "Which organ on the patient's right would swell if its ureter were blocked?",
    ),
    "aorta": (
        "Which large vessel carries blood down the trunk to the legs?",
        "Where would a pulsating aneurysm of the trunk be measured?",
        "Which round vessel lies just in front of the column of bone?",
        "Which artery is the main supply of all organs shown here?",
        "Where would a tear in the wall of the largest artery be sought?",
    ),
    "vertebra": (
        "Which bone carries the weight of the trunk?",
        "Where would a compression fracture from osteoporosis be seen?",
        "Which bony ring protects the cord at the back?",
        "What is the bright bone in the midline at the back?",
        "Which bone would explain sudden midline back pain after a fall?",
    ),
    "heart": (
        "Which organ pumps blood through the body?",
        "Which muscular organ between the two sides of the chest beats?",
        "What would be measured for its width when a patient has swollen ankles?",
        "Which organ would be examined after chest pain with a raised troponin?",
        "Which organ lies between the two air-filled sides of the chest?",
    ),
    "left lung": (
        "Which organ takes up oxygen on the patient's left?",
        "Where is air exchanged on the patient's left side of the chest?",
        "Which dark, air-filled organ lies on the patient's left?",
        "Which organ would collapse with free air on the patient's left?",
        "Where would breath sounds come from on the patient's left?",
    ),
    "right lung": (
        "Which organ takes up oxygen on the patient's right?",
        "Where is air exchanged on the patient's right side of the chest?",
        "Which dark, air-filled organ lies on the patient's right?",
        "Which organ would collapse with free air on the patient's right?",
        "Where would breath sounds come from on the patient's right?",
    ),
    "lateral ventricles": (
        "Which paired cavities hold most of the fluid made by the choroid plexus?",
        "What would widen first if the flow of spinal fluid were blocked?",
        "Which curved, fluid-filled spaces lie on both sides of the midline?",
        "Where would a shunt drain fluid from in hydrocephalus?",
        "Which butterfly-shaped cavities grow larger as the tissue around them shrinks with age?",
    ),
    "cerebellum": (
        "Which part keeps movements smooth and balanced?",
        "Where would damage cause a staggering gait and clumsy hands?",
        "Which finely striped structure lies at the back of the skull's base?",
        "Which structure at the back suffers first in long-standing alcohol abuse with ataxia?",
        "Which part would explain why a patient misses the finger-to-nose test?",
    ),
    "brainstem": (
        "Which part keeps breathing and wakefulness going?",
        "Where do all pathways between the head and the body pass through?",
        "Which rounded core of tissue joins the head to the spinal cord?",
        "Where would a small bleed stop breathing or cause a locked-in state?",
        "Where do most nerves of the face and the throat arise?",
    ),
    "liver tumor": (
        "Which spot in the large organ on the patient's right looks suspicious for growth?",
        "What focal change could explain weight loss and a raised alpha-fetoprotein?",
        "Which darker patch would a surgeon consider for resection?",
        "Where would a biopsy needle be aimed to settle a suspicious focal change?",
        "Which abnormal focus stands out inside the large bile-making organ?",
    ),
    "brain tumor": (
        "Which mass could explain new seizures and morning headaches?",
        "Where would a neurosurgeon take a biopsy of an abnormal growth?",
        "Which abnormal growth displaces the normal tissue in the head?",
        "What focal mass would be followed under radiotherapy of the head?",
        "Which lump inside the skull does not belong to normal anatomy?",
    ),
    "lung nodule": (
        "Which round spot in the chest needs follow-up in a smoker?",
        "What small, round, well-defined shadow stands out in the chest?",
        "Which coin-shaped spot could be an early growth?",
        "Where would a needle biopsy be aimed for a round spot in the chest?",
        "Which round shadow would be measured again in three months?",
    ),
    "lung opacity": (
        "Which hazy patch could explain fever and a productive cough?",
        "Where might infection have filled the air spaces?",
        "Which blurred, cloudy patch in the chest would prompt antibiotics?",
        "What patchy whitening suggests an infection of the chest?",
        "Which cloudy patch should clear after treatment of a chest infection?",
    ),
    "pleural effusion": (
        "Where has fluid gathered at the base of the chest?",
        "Which white level at the base would a chest drain empty?",
        "What dulls the percussion note above the diaphragm?",
        "Where would a needle draw off fluid to relieve breathlessness?",
        "What hides the angle between the ribs and the diaphragm?",
    ),
    "brain edema": (
        "Which swollen tissue surrounds the mass in the head?",
        "Where has water leaked into the tissue around a growth?",
        "Which zone around the growth should shrink under dexamethasone?",
        "What halo of swelling adds to the pressure inside the skull?",
        "Which tissue next to the growth is waterlogged but not part of it?",
    ),
}
"""Category to its wordings, each of 6 to 16 words and free of the category's ``giveaways``."""


def ask(
    phantom: Phantom,
    category: str,
    rng: np.random.Generator,
    box: tuple[float, float, float, float] | None = None,
) -> tuple[str, str]:
    """Ask about a structure without naming it, and reason towards it.

    Parameters
    ----------
    phantom : Phantom
        The picture.
    category : str
        The target, a key of ``phantom.masks``.
    rng : numpy.random.Generator
        Chooses the wording and the trace's pattern.
    box : tuple of float, optional
        x1, y1, x2, y2 of the target in image pixels; taken from the mask if left out.

    Returns
    -------
    question, trace : str

    Raises
    ------
    InputError
        If the picture does not show the category, or no wording exists for it.
    """
    if category not in phantom.masks:
        shown = ", ".join(phantom.masks) or "nothing"
        raise InputError(f"This {phantom.view} shows {shown}, not {category!r}.{nearest(category, phantom.masks)}")
    question = _word(category, rng)
    return question, write_trace(phantom, category, rng, box or _box_of(phantom.masks[category]))


def ask_in_vain(phantom: Phantom, category: str, rng: np.random.Generator) -> tuple[str, str]:
    """Ask about a structure that the picture does not show, in the words that are used where it does.

    Parameters
    ----------
    phantom : Phantom
        The picture.
    category : str
        The target, of which nothing is in the picture.
    rng : numpy.random.Generator
        Chooses the wording and the trace's pattern.

    Returns
    -------
    question, trace : str

    Raises
    ------
    InputError
        If the picture shows any of the category, or no wording exists for it.
    """
    if phantom.shows(category):
        raise InputError(f"This {phantom.view} shows {category!r}, or a part of it; ask for something else.")
    return _word(category, rng), write_absent_trace(phantom, category, rng)


def _word(category: str, rng: np.random.Generator) -> str:
    if category not in WORDINGS:
        raise InputError(f"No question is written for {category!r}; expected one of {', '.join(WORDINGS)}.")
    wordings = WORDINGS[category]
    return wordings[int(rng.integers(len(wordings)))]


def _box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 of a mask's outer pixel edges."""
    cols, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return float(cols[0]), float(rows[0]), float(cols[-1] + 1), float(rows[-1] + 1)
