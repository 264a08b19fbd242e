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
from medreasoner_monai.bundle.contents import METADATA, SEGMENTER
from medreasoner_monai.errors import ArtifactError, InputError, nearest
from medreasoner_monai.files import file_digest, object_digest, write_json
from medreasoner_monai.pipeline.artifacts import MANIFEST
from medreasoner_monai.reasoners.packaged import CONFIG, LINEAGE, MODEL

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
    "reward_digest": "not stated",
    "metrics": [],
    "limits": [],
    "lineage": {},
    "decision": "",
    "large_files_url": "",
    "temperature": None,
    "confidence_threshold": None,
    "calibration": None,
}
"""What :func:`package_bundle` takes, with what stands where a fact is not given.

``metrics`` is a list of ``{"name", "value"}`` with optional ``low`` and ``high``; ``lineage`` maps what the model
was made from to digests; ``large_files_url`` is the address under which files over 25 MB are published.
``temperature`` and ``confidence_threshold`` are what the confidence of several answers was measured with,
``calibration`` is its table (:meth:`~medreasoner_monai.reasoners.calibration.Calibration.as_dict`).
"""

_LIMITS = (
    "Research use only; never evaluated for clinical use.",
    "Slices are read one by one: the model sees no neighbouring slice; a mask carried on is the segmenter's work.",
    "A single answer has no confidence: ask several times and set a threshold to have doubtful ones withheld.",
    "Codes taken from the reasoning say what the model named, not what a reader confirmed.",
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


def package_bundle(model_dir: Path, out_dir: Path, facts: Mapping[str, Any], *, segmenter: str = "classical") -> None:
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
    segmenter:
        As :class:`~medreasoner_monai.segmenters.registry.Choice` reads it. Its weights are copied into the bundle, and
        their sha256 is noted.

    Raises
    ------
    InputError
        If ``model_dir`` is not a model folder, a fact is unknown, or the segmenter or its weights are.
    """
    for key in facts:
        if key not in FACTS:
            raise InputError(f"unknown fact {key!r} for the bundle.{nearest(key, FACTS)} Known: {', '.join(FACTS)}")
    if not (model_dir / "config.json").is_file():
        raise InputError(f"{model_dir} is not a model folder: it has no config.json; merge the checkpoint first")
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
    _configure(out_dir, _take_segmenter(segmenter, out_dir), known)
    write_json(
        out_dir / LINEAGE,
        {
            "version": known["version"],
            "model_digest": model_digest,
            "dataset_digest": known["dataset_digest"],
            "prompt_digest": known["prompt_digest"],
            "reward_digest": known["reward_digest"],
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


def evaluation_facts(folder: Path) -> dict[str, Any]:
    """The facts that an evaluation folder tells: figures with intervals, on what, with which prompt.

    Raises
    ------
    InputError
        If it holds no finished evaluation.
    """
    from medreasoner_monai.evaluation.command import read_evaluation

    metrics = read_evaluation(folder).metrics
    return {
        "evaluated_on": f"{metrics['samples']} questions.",
        "prompt_digest": metrics["prompt_digest"],
        "metrics": metric_facts(metrics),
    }


def metric_facts(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Overall figures of an evaluation's metrics, as :data:`FACTS` has them."""
    return [
        {"name": name, "value": v["mean"], "low": v["low"], "high": v["high"]} for name, v in metrics["overall"].items()
    ]


def _take_segmenter(text: str, out_dir: Path) -> str:
    """The segmenter's text as the bundle has it: weights inside the bundle, with their sha256."""
    from medreasoner_monai.segmenters.registry import ENGINES, Choice

    choice = Choice.read(text)
    if choice.name not in ENGINES:
        raise InputError(f"there is no segmenter {choice.name!r}; known are {', '.join(ENGINES)}")
    options = dict(choice.options)
    if weights := options.get("weights"):
        source = Path(weights)
        if not source.exists():
            raise InputError(f"there is no file {source}, the weights of the segmenter {choice.name!r}")
        target = out_dir / SEGMENTER / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, target)
            options.setdefault("sha256", file_digest(target))
        options["weights"] = str(target.relative_to(out_dir))
    name = choice.name if choice.label == choice.name else f"{choice.label}={choice.name}"
    return name + (":" + ",".join(f"{k}={v}" for k, v in options.items()) if options else "")


def _configure(out_dir: Path, segmenter: str, known: Mapping[str, Any]) -> None:
    """Put what this bundle uses into its configs."""
    for path in sorted((out_dir / "configs").glob("*.json")):
        config = json.loads(path.read_text(encoding="utf-8"))
        if config.get("segmenter_name"):
            config["segmenter_name"] = segmenter
        for name in ("temperature", "confidence_threshold", "calibration"):
            if name in config and known[name] is not None:
                config[name] = known[name]
        write_json(path, config)


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
