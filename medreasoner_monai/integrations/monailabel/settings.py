"""What ``--conf name value`` says to the app."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from medreasoner_monai.errors import ConfigError, nearest

_OF_THE_SERVER = frozenset({"server_mode"})


class AppSettings(BaseModel):
    """The app's settings.

    Attributes
    ----------
    bundle:
        The folder that ``medreasoner package`` made.
    device:
        As torch names it; empty: a GPU where there is one.
    slices, carry:
        Which slices are asked, and whether the mask is carried to the others, where a request does not say.
    deployment:
        The Prefect deployment that the training task starts.
    prefect:
        Address of Prefect's API; empty: ``PREFECT_API_URL``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: Path
    device: str = ""
    slices: str = "auto"
    carry: str = "auto"
    deployment: str = "retrain/scheduled"
    prefect: str = ""

    @classmethod
    def read(cls, conf: Mapping[str, str]) -> AppSettings:
        """The settings that the pairs of ``--conf`` give.

        Raises
        ------
        ConfigError
            If no bundle is named, or a name is unknown.
        """
        given = {name: value for name, value in conf.items() if name not in _OF_THE_SERVER}
        for name in given:
            if name not in cls.model_fields:
                known = ", ".join(cls.model_fields)
                raise ConfigError(f"unknown --conf {name!r}.{nearest(name, cls.model_fields)} Known: {known}")
        if not given.get("bundle"):
            raise ConfigError(
                "the app needs a bundle: --conf bundle FOLDER, the folder that `medreasoner package` made"
            )
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(f"--conf {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
