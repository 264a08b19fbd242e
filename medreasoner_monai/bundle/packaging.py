"""Fill a MONAI bundle from a merged model folder and the facts about it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from medreasoner_monai import RESEARCH_USE, __version__
from medreasoner_monai.artifacts import MANIFEST, file_digest, object_digest, write_json
from medreasoner_monai.bundle.contents import CONFIG, LINEAGE, METADATA, MODEL
from medreasoner_monai.errors import ArtifactError, InputError, nearest

NAME = "medreasoner_grounding"
LARGE = 25 * 1024 * 1024
"""Bytes; MONAI keeps bigger files outside the repository and lists them in ``large_files.yml``."""

FACTS: dict[str, Any] = {
    "version": __version__,
    "changes": "first version",
    "model": "A Qwen2.5-VL class vision-language model, cold-started and then trained with GRPO on grounding rewards.",
    "trained_on": "not stated",
    "evaluated_on": "Greedy answers on the test split.",
    "dataset_digest": "not stated",
    "prompt_digest": "not stated",
    "metrics": [],
    "limits": [],
    "lineage": {},
    "decision": "",
    "large_files_url": "",
}
"""What :func:`package_bundle` takes, with what stands where a fact is not given.

``metrics`` is a list of ``{"name", "value"}`` with optional ``low`` and ``high``; ``lineage`` maps what the model
was made from to digests; ``large_files_url`` is the address under which files over 25 MB are published.
"""

_LIMITS = (
    "Research use only; never evaluated for clinical use.",
    "Slices are read one by one: the model sees no neighbouring slice.",
    "A region is given for any question that gets a readable answer, also when the target is not in the picture.",
)
_REQUIRED = (
    "highdicom",
    "medreasoner-monai",
    "opencv-python-headless",
    "pillow",
    "pydicom",
    "python-gdcm",
    "pytorch-ignite",
    "safetensors",
    "scikit-image",
    "transformers",
)


def package_bundle(model_dir: Path, out_dir: Path, facts: Mapping[str, Any]) -> None:
    """Write a bundle.

    Parameters
    ----------
    model_dir:
        A merged Hugging Face folder.
    out_dir:
        The bundle's root; what an earlier, interrupted attempt left there is replaced. It has no final name of its own
        here: call this inside an artifact's draft.
    facts:
        See :data:`FACTS`; all are optional.

    Raises
    ------
    InputError
        If ``model_dir`` is no model folder, or a fact is unknown.
    """
    for key in facts:
        if key not in FACTS:
            raise InputError(f"unknown fact {key!r} for the bundle.{nearest(key, FACTS)} Known: {', '.join(FACTS)}")
    if not (model_dir / "config.json").is_file():
        raise InputError(f"{model_dir} is no model folder: it has no config.json; merge the checkpoint first")
    known = {**FACTS, **facts}
    source = bundle_source()
    for part in ("configs", "docs", "models"):
        shutil.rmtree(out_dir / part, ignore_errors=True)
    shutil.copytree(source, out_dir, dirs_exist_ok=True)
    model = out_dir / MODEL
    # copyfile: a bundle is passed on, so the permissions are the usual ones, not those of a private checkpoint.
    ignored = shutil.ignore_patterns(MANIFEST, "*.partial", "scratch")
    shutil.copytree(model_dir, model, ignore=ignored, copy_function=shutil.copyfile)
    digests = {str(p.relative_to(model)): file_digest(p) for p in sorted(model.rglob("*")) if p.is_file()}
    model_digest = object_digest(digests)
    write_json(
        out_dir / LINEAGE,
        {
            "version": known["version"],
            "model_digest": model_digest,
            "dataset_digest": known["dataset_digest"],
            "prompt_digest": known["prompt_digest"],
            "made_from": known["lineage"],
            "files": digests,
        },
    )
    write_json(out_dir / METADATA, _metadata(out_dir, known))
    _fill_card(out_dir, known, model_digest)
    _list_large_files(out_dir, str(known["large_files_url"]))


def bundle_source() -> Path:
    """The bundle's source: inside an installed wheel, or in the repository.

    Raises
    ------
    ArtifactError
        If it is in neither.
    """
    package = Path(str(files("medreasoner_monai")))
    for root in (package / "_bundles", package.parent / "bundles"):
        if (root / NAME / CONFIG).is_file():
            return root / NAME
    raise ArtifactError(
        f"the bundle's source ({NAME}) is neither in the package nor beside it; install the package again"
    )


def _metadata(out_dir: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = json.loads((out_dir / METADATA).read_text(encoding="utf-8"))
    metadata["version"] = known["version"]
    metadata["changelog"] = {known["version"]: known["changes"]}
    for field, name in (("monai_version", "monai"), ("pytorch_version", "torch"), ("numpy_version", "numpy")):
        metadata[field] = version(name)
    metadata["required_packages_version"] = {name: v for name in _REQUIRED if (v := _installed(name))}
    metadata["data_source"] = known["trained_on"]
    metadata["eval_metrics"] = {m["name"]: m["value"] for m in known["metrics"]}
    return metadata


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _fill_card(out_dir: Path, known: Mapping[str, Any], model_digest: str) -> None:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters["figure"] = lambda v: f"{v:.3f}" if isinstance(v, float) else str(v)
    path = out_dir / "docs/README.md"
    config = json.loads((out_dir / CONFIG).read_text(encoding="utf-8"))
    text = environment.from_string(path.read_text(encoding="utf-8")).render(
        {
            **known,
            "limits": [*_LIMITS, *known["limits"]],
            "research_use": RESEARCH_USE,
            "model_digest": model_digest,
            "segmenter": config["segmenter_name"],
        }
    )
    path.write_text(text, encoding="utf-8")


def _list_large_files(out_dir: Path, url: str) -> None:
    target = out_dir / "large_files.yml"
    target.unlink(missing_ok=True)
    entries = [
        {
            "path": str(path.relative_to(out_dir)),
            "url": f"{url.rstrip('/')}/{path.relative_to(out_dir)}" if url else "",
            "hash_val": file_digest(path),
            "hash_type": "sha256",
        }
        for path in sorted((out_dir / "models").rglob("*"))
        if path.is_file() and path.stat().st_size > LARGE
    ]
    if entries:
        target.write_text(yaml.safe_dump({"large_files": entries}, sort_keys=False), encoding="utf-8")
