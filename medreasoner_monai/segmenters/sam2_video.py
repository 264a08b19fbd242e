"""A mask carried through a series by SAM 2's memory, as the original's ``SAM2VideoPredictor`` carries it in a video.

Slices stand for frames. The model is told the mask on the key slice and goes each way on its own, with a fresh memory:
what lies above the key slice does not change what is found below it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.segmenters.protocol import PROMPT_KINDS, Image, Mask, Prompt, PromptKind
from medreasoner_monai.segmenters.sam2 import Sam2Segmenter
from medreasoner_monai.segmenters.shape import check_image
from medreasoner_monai.segmenters.volume import GONE, REACHED, Carried, CarriedSlice, Pictures

if TYPE_CHECKING:
    from medreasoner_monai.segmenters.sam2_layers import Features
    from medreasoner_monai.segmenters.sam2_memory import Remembered


class Sam2VideoSegmenter(Sam2Segmenter):
    """The same with a ``Sam2VideoModel``, whose memory carries a mask through a series (a ``volume.Carrier``).

    Parameters
    ----------
    patience:
        On how many slices in a row the object may be gone before the search in that direction ends.
    least_score:
        The object is gone where the model's score for its presence (a logit) is not above this, or no pixel is marked.

    Raises
    ------
    ConfigError
        If there is no such device, or ``patience`` is below 1.
    """

    def __init__(
        self,
        model: Any,
        identity: Mapping[str, Any],
        device: str | None = None,
        patience: int = 2,
        least_score: float = 0.0,
        *,
        prompt_kinds: tuple[PromptKind, ...] = PROMPT_KINDS,
    ) -> None:
        if patience < 1:
            raise ConfigError(f"the segmenter 'sam2' needs a patience of 1 slice at least, got {patience}")
        super().__init__(model, identity, device, prompt_kinds=prompt_kinds)
        self.patience, self.least_score = patience, least_score
        self.identity |= {"patience": patience, "least_score": least_score}

    def carry(
        self, pictures: Pictures, count: int, key: int, prompt: Prompt, mask: Mask, step: Callable[[int], None]
    ) -> Carried:
        """Follow a mask both ways; see :class:`~medreasoner_monai.segmenters.volume.Carrier`.

        The model is told the mask, not the prompt: it has looked at the prompt already. Each slice is asked for once
        and forgotten but for what the memory holds: of the key slice and the last six a feature map of 64 channels, of
        the last fifteen an object pointer. A slice's confidence is the overlap (IoU) with the true mask that the model
        expects, which its own sigmoid brings to [0, 1].

        Raises
        ------
        InputError
            If the key slice is not in the series, its picture and the mask differ in size, or the mask is empty.
        """
        if not 0 <= key < count:
            raise InputError(f"the key slice {key} is not in a series of {count}, counted from 0")
        picture = pictures(key)
        if mask.shape != picture.shape[:2] or not mask.any():
            raise InputError(
                f"the key slice {key} has {picture.shape[0]} x {picture.shape[1]} pixels; a mask of that size with at "
                f"least one marked pixel is expected, got {mask.shape} with {int(mask.sum())} marked"
            )
        start = self._start(picture, mask)
        del picture
        found: list[CarriedSlice] = []
        stops: list[str] = []
        done = 0

        def advance() -> None:
            nonlocal done
            done += 1
            step(done)

        for ahead, end in ((range(key - 1, -1, -1), "first"), (range(key + 1, count), "last")):
            stops.append(self._carry(pictures, ahead, count, start, found, advance) or f"{REACHED} {end} slice")
        return Carried(tuple(sorted(found, key=lambda s: s.index)), (stops[0], stops[1]))

    def _start(self, picture: Image, mask: Mask) -> Remembered:
        """What the model remembers of the key slice."""
        import torch

        from medreasoner_monai.segmenters.sam2_layers import as_mask
        from medreasoner_monai.segmenters.sam2_memory import first

        with torch.inference_mode():
            return first(self.model, self.seen(picture), as_mask(mask, self.side).to(self.device))

    def _carry(
        self,
        pictures: Pictures,
        ahead: Sequence[int],
        count: int,
        start: Remembered,
        found: list[CarriedSlice],
        advance: Callable[[], None],
    ) -> str:
        """Follow the mask one way, add the slices that have it, and say why it ended; nothing where it did not."""
        import torch

        from medreasoner_monai.segmenters.sam2_layers import enlarge
        from medreasoner_monai.segmenters.sam2_memory import Memory

        gone: list[tuple[int, float]] = []
        memory = Memory(self.model, count, start)
        for index in ahead:
            picture = pictures(index)
            with torch.inference_mode():
                seen = memory.follow(self.seen(picture))
                mask = (enlarge(seen.logits, picture.shape[:2])[0, 0] > 0).cpu().numpy()
            advance()
            if seen.score > self.least_score and mask.any():
                gone = []
                found.append(CarriedSlice(index, mask, seen.quality))
                continue
            gone.append((index, seen.score))
            if len(gone) == self.patience:
                (where, score), rest = gone[0], f" and on {len(gone) - 1} more behind it" if len(gone) > 1 else ""
                return (
                    f"stopped before slice {where}: {GONE}{rest} (score {score:.1f} for its "
                    f"presence; above {self.least_score:.1f} and a marked pixel are asked for)"
                )
        return ""

    def seen(self, picture: Image) -> Features:
        """A slice's features, as the memory takes them."""
        from medreasoner_monai.segmenters.sam2_layers import as_frame, encode

        check_image(picture)
        return encode(self.model, as_frame(picture, self.side)[None].to(self.device), self.half)
