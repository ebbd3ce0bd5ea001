"""What this installation is made of and what really starts on this machine.

Each function gathers one part as plain JSON values; `semmix-rt env` prints them. PyTorch and
TensorRT are looked up, never imported.
"""

from __future__ import annotations

import importlib.util
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from semmix import __version__
from semmix.errors import SemMixError

ORT_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")
_OPTIONAL = {"torch": "torch", "tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt_rtx"}
# Extensions that decide the speed of the CPU kernels.
_CPU_FLAGS = ("avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16")

# ONNX, ir 8, opset 17: b[2] = a[2] + a[2], float32. The smallest graph a provider can run.
PROBE_GRAPH = (
    b'\x08\x08:9\n\x0e\n\x01a\n\x01a\x12\x01b"\x03Add\x12\x05probeZ\x0f\n\x01a\x12\n\n\x08\x08\x01'
    b"\x12\x04\n\x02\x08\x02b\x0f\n\x01b\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x02B\x04\n\x00\x10\x11"
)


def describe() -> dict[str, Any]:
    """The whole report. `problems` holds what keeps `remix` from working, one sentence each."""
    runtimes = installed(ORT_PACKAGES)
    report: dict[str, Any] = {
        "versions": {
            "semmix-rt": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            **installed(("numpy", "av", "soxr", "tokenizers")),
        },
        "onnxruntime": runtimes,
        "providers": provider_states(),
        "ffmpeg": ffmpeg_versions(),
        "optional": optional_packages(),
        "cpu": cpu(),
        "cache": cache(),
        "default_bundle": default_bundle(),
        "models": bundled_models(),
    }
    report["problems"] = _problems(report)
    return report


def installed(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of those of the packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def provider_states() -> dict[str, str]:
    """By provider built into ONNX Runtime: `starts`, or why it does not.

    A trivial graph is run on each, as the list of built-in providers proves nothing
    (microsoft/onnxruntime #17801).
    """
    try:
        import onnxruntime as ort

        from semmix_rt.engines.ort import open_session
    except ImportError:
        return {}
    states = {}
    for provider in ort.get_available_providers():
        try:
            _run_probe(open_session(PROBE_GRAPH, provider, threads=1))
            states[provider] = "starts"
        except SemMixError as exc:
            states[provider] = str(exc)
    return states


def ffmpeg_versions() -> dict[str, str]:
    """Versions of the FFmpeg libraries inside PyAV."""
    import av

    libraries = {name: ".".join(map(str, v)) for name, v in av.library_versions.items()}
    return {"ffmpeg": str(av.ffmpeg_version_info), **libraries}


def optional_packages() -> dict[str, str | None]:
    """Versions of the optional frameworks, None where one is not installed."""
    versions: dict[str, str | None] = {}
    for module, package in _OPTIONAL.items():
        present = importlib.util.find_spec(module) is not None
        versions[module] = installed((package,)).get(package, "unknown") if present else None
    return versions


def cpu() -> dict[str, Any]:
    """Name, cores this process may use, and instruction sets where they can be read."""
    name, flags = platform.processor() or platform.machine(), None
    info = Path("/proc/cpuinfo")
    if info.is_file():
        fields: dict[str, str] = {}
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields[key.strip()] = value.strip()
        name = fields.get("model name", name)
        if "flags" in fields:
            present = set(fields["flags"].split())
            flags = [flag for flag in _CPU_FLAGS if flag in present]
    affinity = getattr(os, "sched_getaffinity", None)
    usable = len(affinity(0)) if affinity else os.cpu_count()
    return {"name": name, "cores": os.cpu_count(), "usable_cores": usable, "flags": flags}


def cache() -> dict[str, Any]:
    """Folder of the cue cache, its number of files and bytes."""
    from semmix_rt.cues.cache import cache_folder

    folder = cache_folder()
    files = 0
    total = 0
    for entry in folder.rglob("*") if folder.is_dir() else ():
        try:
            if entry.is_file():
                total += entry.stat().st_size
                files += 1
        except FileNotFoundError:  # another run has just pruned it
            continue
    return {"folder": str(folder), "files": files, "bytes": total}


def default_bundle() -> dict[str, Any]:
    """Name, hash and parity record of the model that comes along, or what is wrong with it."""
    from semmix.bundle import Bundle

    try:
        bundle = Bundle.default()
    except SemMixError as exc:
        return {"error": str(exc)}
    return {
        "name": bundle.name,
        "path": str(bundle.path),
        "sha256": bundle.sha256,
        "precisions": list(bundle.precisions),
        "parity": dict(bundle.parity),
        "unproven": [p for p in bundle.precisions if not bundle.parity_passed(p)],
    }


def bundled_models() -> dict[str, Any]:
    """Names of the cue models that come along, all hashes checked, or what is wrong."""
    from semmix.assets import check_models

    try:
        return {"checked": check_models()}
    except SemMixError as exc:
        return {"error": str(exc)}


def _run_probe(session: Any) -> None:
    import numpy as np

    session.run(["b"], {"a": np.ones(2, dtype=np.float32)})


def _problems(report: dict[str, Any]) -> list[str]:
    problems = []
    if len(report["onnxruntime"]) > 1:
        problems.append(
            f"{' and '.join(report['onnxruntime'])} are both installed and overwrite each other: "
            "pip uninstall both, then install semmix-rt[cpu] or semmix-rt[gpu]"
        )
    if report["providers"].get("CPUExecutionProvider") != "starts":
        problems.append("onnxruntime does not run here: pip install 'semmix-rt[cpu]'")
    for part in ("default_bundle", "models"):
        if "error" in report[part]:
            problems.append(report[part]["error"])
    for precision in report["default_bundle"].get("unproven", ()):
        problems.append(
            f"the default model's {precision} network has no passing parity record: "
            "install semmix-rt again"
        )
    return problems
