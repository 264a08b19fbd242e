"""Settings of the language model that writes or judges questions."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from medreasoner_monai.settings.training import OBSERVES, Section


class LanguageModelSettings(Section):
    """An OpenAI-compatible endpoint. Nothing is sent anywhere unless a config names one."""

    url: str = Field(description="the part before /chat/completions, usually ending in /v1")
    model: str = Field(description="the name it is served under")
    key_variable: str | None = Field(
        None, description="name of the environment variable that holds the API key", json_schema_extra=OBSERVES
    )
    send_pictures: bool = Field(
        False, description="send the picture with the target's outline; otherwise measured attributes alone leave"
    )
    prompt: str = Field("question-v1", description="prompt file by its name without .yaml")
    structured: bool = Field(True, description="send the reply's JSON schema (response_format)")
    temperature: float = Field(0.7, ge=0, le=2)
    max_tokens: int = Field(400, ge=16)
    replies: int = Field(3, ge=1, description="replies asked for before a target is set aside")
    in_flight: int = Field(4, ge=1, description="requests at once, of each process", json_schema_extra=OBSERVES)
    timeout: float = Field(
        60, gt=0, description="seconds for a connection and each silence", json_schema_extra=OBSERVES
    )
    tries: int = Field(6, ge=1, description="of one request, while the service is busy", json_schema_extra=OBSERVES)
    longest_pause: float = Field(60, ge=0, description="seconds between tries", json_schema_extra=OBSERVES)
    price_in: float = Field(0, ge=0, description="per million prompt tokens", json_schema_extra=OBSERVES)
    price_out: float = Field(0, ge=0, description="per million completion tokens", json_schema_extra=OBSERVES)
    cache: Path | None = Field(
        None, description="folder of replies; the user's cache folder when absent", json_schema_extra=OBSERVES
    )
