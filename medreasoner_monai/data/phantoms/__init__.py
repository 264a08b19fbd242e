"""Synthetic pictures with exact masks, near enough to anatomy for a small model to learn from.

>>> phantom = render("ct_abdomen", seed=1)
>>> phantom.image.dtype, phantom.modality, "liver" in phantom.masks
(dtype('uint8'), 'CT', True)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medreasoner_monai.data.phantoms.brain_mr import render_brain_mr
from medreasoner_monai.data.phantoms.canvas import Phantom
from medreasoner_monai.data.phantoms.chest_xray import render_chest_xray
from medreasoner_monai.data.phantoms.ct_abdomen import render_ct_abdomen
from medreasoner_monai.errors import InputError, nearest

__all__ = ["SITES", "Phantom", "render"]

_RENDERERS: dict[str, Callable[[np.random.Generator], Phantom]] = {
    "ct_abdomen": render_ct_abdomen,
    "chest_xray": render_chest_xray,
    "brain_mr": render_brain_mr,
}
SITES: tuple[str, ...] = tuple(_RENDERERS)


def render(site: str, seed: int) -> Phantom:
    """Draw one phantom; the same site and seed give the same pixels.

    Parameters
    ----------
    site : str
        One of :data:`SITES`.
    seed : int
        Zero or more.

    Raises
    ------
    InputError
        If the site is unknown or the seed negative.
    """
    if site not in _RENDERERS:
        raise InputError(f"Unknown phantom site {site!r}; expected one of {', '.join(SITES)}.{nearest(site, SITES)}")
    if seed < 0:
        raise InputError(f"A phantom's seed must be zero or more, found {seed}.")
    # The site's place is part of the entropy: equal seeds of two sites must not share their random numbers.
    entropy = np.random.SeedSequence([SITES.index(site), seed])
    return _RENDERERS[site](np.random.Generator(np.random.PCG64(entropy)))
