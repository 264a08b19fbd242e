"""What metadata.json must say, checked without MONAI's schema, which is not part of its package."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medreasoner_monai.errors import ArtifactError

Text = Annotated[str, Field(min_length=1)]
Version = Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class ImageFormat(_Entry):
    """An image that goes into the network, or comes out of it."""

    type: Literal["image"]
    format: Text
    num_channels: int = Field(ge=1)
    spatial_shape: list[int | str] = Field(min_length=2)
    dtype: Text
    value_range: list[float]
    is_patch_data: bool
    channel_def: dict[str, str]


class Inputs(_Entry):
    """What goes in."""

    image: ImageFormat
    question: Literal["string"]


class Outputs(_Entry):
    """What comes out."""

    pred: ImageFormat


class DataFormat(_Entry):
    """The network's."""

    inputs: Inputs
    outputs: Outputs


class Metadata(_Entry):
    """metadata.json: the fields that MONAI's bundle specification asks for, and ours in ``network_data_format``."""

    schema_: Text = Field(alias="schema")
    version: Version
    changelog: dict[str, Text]
    monai_version: Version
    pytorch_version: Version
    numpy_version: Version
    required_packages_version: dict[str, Text]
    task: Text
    description: Text
    authors: Text
    copyright: Text
    intended_use: Text
    network_data_format: DataFormat


def check_metadata(content: Mapping[str, Any]) -> str:
    """Whether the content of metadata.json is complete and true of this environment.

    Returns
    -------
    What was seen, in a sentence; packages of another version than the bundle was made with are named.

    Raises
    ------
    ArtifactError
        If a field is missing or of another kind, the version has no entry in the changelog, or a package that the
        bundle needs is not installed.
    """
    try:
        metadata = Metadata.model_validate(dict(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(f"metadata.json: {where}: {first['msg']}; package the bundle again") from None
    if metadata.version not in metadata.changelog:
        raise ArtifactError(f"metadata.json: version {metadata.version} is not in the changelog; add what is new in it")
    other = []
    for name, required in metadata.required_packages_version.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            raise ArtifactError(
                f"{name}, which the bundle needs, is not installed; install {name}=={required}"
            ) from None
        if found != required:
            other.append(f"{name} {found} (made with {required})")
    return f"version {metadata.version}; " + (f"other versions: {', '.join(other)}" if other else "packages as noted")
