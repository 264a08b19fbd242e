"""What this machine can run: each check says what was found and, where something is missing, how to get it.

Nothing heavy is imported here. Versions come from the installed packages' metadata, and torch is asked in a process of
its own, so that a broken installation is reported instead of ending the report.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from rich.table import Table

Status = Literal["ok", "missing", "broken", "optional"]

DISTRIBUTION = "medreasoner-monai"
INSTALL = "make setup"
# Shown one by one, because these decide what a run does; the other dependencies share a line.
NAMED = ("transformers", "trl", "deepspeed", "monai", "pydicom", "highdicom", "python-gdcm", "mlflow")
# What TRL accepts (trl/import_utils.py); it only warns outside, and then fails in odd places.
VLLM = SpecifierSet(">=0.22,<=0.31.0")
DISK_GIB, MEMORY_GIB = 2.0, 4.0
"""What the demo needs at least."""
PROBE_SECONDS = 120.0
PROBE = """
import json
found = {}
try:
    import torch
    found["torch"], found["build"] = torch.__version__, torch.version.cuda or torch.version.hip
    found["gpus"] = []
    for i in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(i)
        found["gpus"].append([gpu.name, gpu.total_memory / 2**30])
    found["bf16"] = bool(found["gpus"]) and torch.cuda.is_bf16_supported(including_emulation=False)
except Exception as error:
    found["torch_error"] = f"{type(error).__name__}: {error}"
try:
    import torchvision
    found["torchvision"] = torchvision.__version__
except Exception as error:
    found["torchvision_error"] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at.

    ``missing`` and ``broken`` keep the demo from running; ``optional`` is something it does without. ``remedy`` is
    empty where nothing need be done.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""


def examine() -> list[Check]:
    """Look at everything, which takes as long as importing torch does."""
    wanted = wanted_versions()
    torch = probe_torch()
    return [
        check_python(),
        check_torch(torch, wanted),
        check_torchvision(torch),
        check_gpu(torch),
        *check_libraries(wanted),
        check_prefect(installed("prefect"), installed("fastapi"), wanted),
        check_vllm(installed("vllm")),
        *check_compilers(gpu=bool(torch.get("gpus"))),
        *check_validators(),
        *check_machine(Path.cwd()),
    ]


def can_run(checks: Sequence[Check]) -> bool:
    """Whether the demo can run here."""
    return all(c.status in ("ok", "optional") for c in checks)


def as_json(checks: Sequence[Check]) -> str:
    """The checks for machines: ``{"can_run": …, "checks": [{"name", "status", "found", "remedy"}, …]}``."""
    return json.dumps({"can_run": can_run(checks), "checks": [asdict(c) for c in checks]}, indent=2)


def render(checks: Sequence[Check]) -> Table:
    """The checks for people."""
    from rich.table import Table
    from rich.text import Text

    styles = {"ok": "green", "missing": "bold red", "broken": "bold red", "optional": "yellow"}
    table = Table(title="This machine", title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("found", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for c in checks:
        table.add_row(Text(c.name), Text(c.status, styles[c.status]), Text(c.found), Text(c.remedy))
    return table


def installed(name: str) -> str | None:
    """A package's version, or None; the package itself is not imported."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def wanted_versions() -> dict[str, SpecifierSet]:
    """The versions this package's own metadata asks for, by canonical name; extras are left out."""
    try:
        lines = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return {}
    parsed = [Requirement(line) for line in lines]
    return {
        canonicalize_name(r.name): r.specifier for r in parsed if r.marker is None or r.marker.evaluate({"extra": ""})
    }


def probe_torch(code: str = PROBE, seconds: float = PROBE_SECONDS) -> dict[str, Any]:
    """What torch and torchvision say of themselves, asked in another process."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=seconds, check=False
        )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"torch_error": f"no answer within {seconds:g} s"}
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return {"torch_error": f"the import ended with code {done.returncode}: {last}"}
    return found


def check_python() -> Check:
    """The interpreter: 3.11 is the tested one, 3.12 is allowed."""
    found = platform.python_version()
    if sys.version_info[:2] in ((3, 11), (3, 12)):
        return Check("Python", "ok", found)
    return Check("Python", "broken", found, "install Python 3.11, then: make clean setup")


def check_version(name: str, found: str | None, wanted: Mapping[str, SpecifierSet]) -> Check:
    """A package against the range this one asks for."""
    allowed = wanted.get(canonicalize_name(name), SpecifierSet())
    if found is None:
        return Check(name, "missing", "not installed", INSTALL)
    if not allowed.contains(found, prereleases=True):
        return Check(name, "broken", f"{found}, supported is {allowed}", INSTALL)
    return Check(name, "ok", found)


def check_torch(probe: Mapping[str, Any], wanted: Mapping[str, SpecifierSet]) -> Check:
    """Whether torch can be imported, and for what it was built."""
    if error := probe.get("torch_error"):
        if installed("torch") is None:
            return Check("torch", "missing", "not installed", INSTALL)
        return Check("torch", "broken", _short(error), "make clean setup")
    check = check_version("torch", probe["torch"], wanted)
    build = f"built for CUDA {probe['build']}" if probe["build"] else "built for CPU only"
    return Check("torch", check.status, f"{check.found}, {build}", check.remedy)


def check_torchvision(probe: Mapping[str, Any]) -> Check:
    """Whether torchvision can be imported beside this torch; without it there is no image processor."""
    if "torchvision" in probe:
        return Check("torchvision", "ok", probe["torchvision"])
    error = probe.get("torchvision_error", "not asked: torch cannot be imported")
    if "torchvision::nms does not exist" in error:
        return Check(
            "torchvision",
            "broken",
            "cannot be imported (operator torchvision::nms does not exist): it was built for another torch, most often "
            "because torch is a CPU-only build and torchvision is not",
            "install both together with uv: uv pip install --reinstall -c constraints/python311.txt torch torchvision",
        )
    if installed("torchvision") is None:
        return Check("torchvision", "missing", "not installed", INSTALL)
    return Check("torchvision", "broken", _short(error), "make clean setup")


def check_gpu(probe: Mapping[str, Any]) -> Check:
    """The GPUs that torch sees."""
    gpus = probe.get("gpus") or []
    if gpus:
        listed = ", ".join(f"{name} ({memory:.0f} GiB)" for name, memory in gpus)
        return Check("GPU", "ok", f"{listed}; bf16 {'yes' if probe['bf16'] else 'no'}")
    remedy = "" if probe.get("build") else "with an NVIDIA GPU: install torch's CUDA build (make clean setup)"
    return Check("GPU", "optional", "none that torch can use; the demo runs on CPU", remedy)


def check_libraries(wanted: Mapping[str, SpecifierSet]) -> list[Check]:
    """The other dependencies: those that decide what a run does by name, the rest together."""
    if not wanted:
        return [Check(DISTRIBUTION, "missing", "runs from a source tree, not installed", INSTALL)]
    own_check = {"torch", "torchvision", "prefect", *NAMED}
    rest = [check_version(name, installed(name), wanted) for name in sorted(set(wanted) - own_check)]
    wrong = [c for c in rest if c.status != "ok"]
    named = [check_version(name, installed(name), wanted) for name in NAMED]
    if wrong:
        listed = "; ".join(f"{c.name}: {c.found}" for c in wrong)
        return [*named, Check("other libraries", "missing", listed, INSTALL)]
    return [*named, Check("other libraries", "ok", f"all {len(rest)} within their ranges")]


def check_prefect(prefect: str | None, fastapi: str | None, wanted: Mapping[str, SpecifierSet]) -> Check:
    """Prefect, and the pair of Prefect and FastAPI that fails when its server starts."""
    check = check_version("prefect", prefect, wanted)
    clash = prefect and fastapi and prefect in SpecifierSet(">=3.8") and fastapi in SpecifierSet(">=0.160")
    if clash:
        found = f"{prefect} with FastAPI {fastapi}: its server stops at start (unexpected keyword argument 'min_items')"
        return Check("prefect", "broken", found, INSTALL)
    return check


def check_vllm(found: str | None) -> Check:
    """vLLM, which makes rollouts fast on GPUs and is not needed on CPU."""
    if found is None:
        extra = "with GPUs: uv pip install -c constraints/python311.txt -e '.[vllm]'"
        return Check("vLLM", "optional", "not installed; rollouts use transformers", extra)
    if found.partition("+")[0] not in VLLM:
        return Check(
            "vLLM", "optional", f"{found}, TRL takes {VLLM}", "uv pip install -c constraints/python311.txt vllm"
        )
    return Check("vLLM", "ok", found)


def check_compilers(*, gpu: bool) -> list[Check]:
    """What DeepSpeed compiles its operations with. On CPU the settings ask for none of them."""
    use = "DeepSpeed's GPU operations are compiled with it" if gpu else "only DeepSpeed's GPU operations need it"
    compiler = _tool("g++", "optional", use, "apt-get install g++")
    return [compiler, _tool("nvcc", "optional", use, "install the CUDA toolkit")] if gpu else [compiler]


def check_validators() -> list[Check]:
    """Outside programs that the DICOM tests ask for a second opinion."""
    use = "only the DICOM tests use it"
    return [
        _tool("dciodvfy", "optional", use, "apt-get install dicom3tools"),
        _tool("dcmftest", "optional", use, "apt-get install dcmtk"),
        _tool("segimage2itkimage", "optional", use, f"comes with dcmqi: {INSTALL}"),
    ]


def check_machine(folder: Path) -> list[Check]:
    """Processor cores, memory, and the disk that holds ``folder``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory, disk = _memory_bytes() / 2**30, shutil.disk_usage(folder).free / 2**30
    return [
        Check("CPU cores", "ok", str(cores)),
        _at_least("memory", memory, MEMORY_GIB, "use a machine with more memory"),
        _at_least("free disk", disk, DISK_GIB, f"make room where {folder} lies"),
    ]


def _tool(name: str, absent: Status, use: str, remedy: str) -> Check:
    beside = Path(sys.executable).with_name(name)
    path = str(beside) if beside.exists() else shutil.which(name)
    return Check(name, "ok", path) if path else Check(name, absent, f"not found; {use}", remedy)


def _at_least(name: str, gib: float, least: float, remedy: str) -> Check:
    if gib >= least:
        return Check(name, "ok", f"{gib:.1f} GiB")
    return Check(name, "broken", f"{gib:.1f} GiB, the demo needs {least:g}", remedy)


def _memory_bytes() -> int:
    """The machine's memory, or the container's limit where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdecimal() else total


def _short(text: str, length: int = 200) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
