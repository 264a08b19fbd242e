"""What the neighbours document of their files, as JSON schemas (LLaMA-Factory: data/README.md; verl: prepare_data)."""

from __future__ import annotations

from typing import Any

_TEXT = {"type": "string", "minLength": 1}


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }


_COLUMNS = ("prompt", "query", "response", "history", "messages", "system", "tools", "images", "videos", "audios")
_RANKED = ("chosen", "rejected", "kto_tag")
_TAGS = ("role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag")

DATASET_INFO = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": _object(
        {
            "file_name": _TEXT,
            "formatting": {"enum": ["alpaca", "sharegpt"]},
            "ranking": {"type": "boolean"},
            "split": _TEXT,
            "num_samples": {"type": "integer"},
            "columns": _object(dict.fromkeys((*_COLUMNS, *_RANKED), _TEXT), []),
            "tags": _object(dict.fromkeys(_TAGS, _TEXT), []),
        },
        ["file_name"],
    ),
}

# The roles take turns: perhaps a system, then a user who shows one picture, then an assistant who shows none.
_SYSTEM = _object({"role": {"const": "system"}, "content": {**_TEXT, "not": {"pattern": "<image>"}}})
_USER = _object({"role": {"const": "user"}, "content": {"type": "string", "pattern": "^<image>((?!<image>).)+$"}})
_ASSISTANT = _object({"role": {"const": "assistant"}, "content": {**_TEXT, "not": {"pattern": "<image>"}}})


def _turns(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "prefixItems": list(messages), "minItems": len(messages), "maxItems": len(messages)}


SHAREGPT = _object(
    {
        "id": _TEXT,
        "messages": {"oneOf": [_turns(_SYSTEM, _USER, _ASSISTANT), _turns(_USER, _ASSISTANT)]},
        "images": {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 1},
    }
)

_PIXELS = {"type": "integer", "minimum": 1}
VERL_ROW = _object(
    {
        "data_source": _TEXT,
        "prompt": {"oneOf": [_turns(_SYSTEM, _USER), _turns(_USER)]},
        "images": {
            "type": "array",
            "items": _object({"bytes": {}, "min_pixels": _PIXELS, "max_pixels": _PIXELS}),
            "minItems": 1,
            "maxItems": 1,
        },
        "ability": _TEXT,
        "reward_model": _object({"style": {"const": "rule"}, "ground_truth": _TEXT}),
        "extra_info": {"type": "object", "required": ["split", "index"], "properties": {"index": {"type": "integer"}}},
    }
)
