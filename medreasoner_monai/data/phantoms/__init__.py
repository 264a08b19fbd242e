"""Synthetic pictures with exact masks, near enough to anatomy for a small model to learn from.

>>> phantom = render("ct_abdomen", seed=1)
>>> phantom.image.dtype, phantom.modality, "liver" in phantom.masks
(dtype('uint8'), 'CT', True)
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from medreasoner_monai.data.phantoms.brain_mr import render_brain_mr
from medreasoner_monai.data.phantoms.canvas import Phantom
from medreasoner_monai.data.phantoms.chest_xray import render_chest_xray
from medreasoner_monai.data.phantoms.ct_abdomen import render_ct_abdomen
from medreasoner_monai.errors import InputError, nearest

__all__ = ["REMOVABLE", "SITES", "Phantom", "render"]

_Removed = frozenset[str]
_RENDERERS: dict[str, Callable[[np.random.Generator, _Removed], Phantom]] = {
    "ct_abdomen": render_ct_abdomen,
    "chest_xray": render_chest_xray,
    "brain_mr": lambda rng, removed: render_brain_mr(rng),
}
SITES: tuple[str, ...] = tuple(_RENDERERS)
REMOVABLE: dict[str, tuple[str, ...]] = {
    "ct_abdomen": ("spleen", "stomach", "left kidney", "right kidney"),
    "chest_xray": ("left lung", "right lung"),
    "brain_mr": (),
}
"""What a patient of each site may live without, and a phantom be drawn without."""


def render(site: str, seed: int, removed: Collection[str] = ()) -> Phantom:
    """Draw one phantom; the same arguments give the same pixels.

    Parameters
    ----------
    site : str
        One of :data:`SITES`.
    seed : int
        Zero or more.
    removed : collection of str
        Organs that a surgeon took out, of those in :data:`REMOVABLE` for the site. Fat and bowel take their place,
        fluid in the chest, so that no hole in an organ's shape is left. The rest of a CT stays the same.

    Raises
    ------
    InputError
        If the site is unknown, the seed negative or an organ cannot be removed.
    """
    if site not in _RENDERERS:
        raise InputError(f"Unknown phantom site {site!r}; expected one of {', '.join(SITES)}.{nearest(site, SITES)}")
    if seed < 0:
        raise InputError(f"A phantom's seed must be zero or more, found {seed}.")
    # The site's place is part of the entropy: equal seeds of two sites must not share their random numbers.
    entropy = np.random.SeedSequence([SITES.index(site), seed])
    for name in removed:
        if name not in REMOVABLE[site]:
            known = ", ".join(REMOVABLE[site]) or "nothing"
            raise InputError(f"A {site} phantom cannot be drawn without {name!r}; what can be removed is {known}.")
    return _RENDERERS[site](np.random.Generator(np.random.PCG64(entropy)), frozenset(removed))
