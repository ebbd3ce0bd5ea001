"""The report of one run: what went in, what ran, what came out. Plain JSON, versioned."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from semmix.atomic import write_atomically
from semmix.errors import UsageError
from semmix_rt.loudness import Loudness

SCHEMA = "semmix-rt.report"
SCHEMA_VERSION = 1

_PACKAGES = (
    "numpy",
    "av",
    "soxr",
    "tokenizers",
    "onnxruntime",
    "onnxruntime-gpu",
    "torch",
    "transformers",
)


@dataclass(frozen=True, slots=True)
class CueReport:
    """Where the cues came from and what they say.

    Attributes:
        source: `sheet`, `cache`, `extractor`, or `none` where there is no picture.
        path: of the sheet, None for other sources and for a sheet given as an object.
        extractor: identifier of what read the picture, empty for `none`.
        picture_hash: content hash of the picture, empty where not known.
        segments: stretches of picture with their own cues, None before they were read.
        unknown_share: share of cue time without a sentence, 0 to 1; None without segments.
    """

    source: str
    path: str | None
    extractor: str
    picture_hash: str
    segments: int | None
    unknown_share: float | None


@dataclass(frozen=True, slots=True)
class ModelReport:
    """The network that ran.

    Attributes:
        name: of the model, such as `edge`.
        path: of its bundle.
        hash: of the bundle's content.
        text_encoder: identifier of what made vectors of cues, or of frames; empty for a model that
            takes none.
        engine: `ort`, `torch`, `tensorrt`.
        provider: what really ran, such as `CPUExecutionProvider`.
        precision: one of `semmix.bundle.PRECISIONS`.
        verified: whether the network is PyTorch's own, or has a passing parity record.
        threads: threads asked of the engine, None for its own choice.
        latency_ms: algorithmic delay of the stream, from the model's chunks and look-ahead.
        level_gain_db: gain at which the network heard the programme, so that it had the loudness
            the model expects; None in a dry run.
    """

    name: str
    path: str
    hash: str
    text_encoder: str
    engine: str
    provider: str
    precision: str
    verified: bool
    threads: int | None
    latency_ms: float
    level_gain_db: float | None


@dataclass(frozen=True, slots=True)
class TimingReport:
    """Where the time went.

    Attributes:
        wall_s: the whole run.
        audio_s: seconds of audio.
        realtime_factor: `audio_s / wall_s`, None for no audio.
        stages_s: wall time of the main thread by stage: `open`, `measure` (the programme's
            loudness), `decode` (waiting for sound),
            `remix` (network, transforms, waiting for cues), `meter`, `encode` (waiting for the
            encoder), `cues` (finishing the cues after the sound), `verify`.
        network_s: part of `remix` spent inside the engine.
        cue_wait_s: part of `remix` and `cues` spent waiting for the picture.
        cue_work_s: wall time of the cue thread, which runs beside the others.
        chunks: network runs.
        chunk_median_ms, chunk_p95_ms: wall time of one, None where there was none.
        peak_rss_mb: peak memory of the process, None where the system does not say.
    """

    wall_s: float
    audio_s: float
    realtime_factor: float | None
    stages_s: dict[str, float]
    network_s: float
    cue_wait_s: float
    cue_work_s: float
    chunks: int
    chunk_median_ms: float | None
    chunk_p95_ms: float | None
    peak_rss_mb: float | None


@dataclass(frozen=True, slots=True)
class SyncReport:
    """That the sound kept its place, as decoded from the finished file.

    Attributes:
        start_s: where the processed sound starts on the source's timeline.
        samples: per channel, in and out.
        offset_samples: by how much the decoded output is late against what was written, by
            cross-correlation of a second of sound; None where there is nothing to compare
            (silence, another sample rate).
    """

    start_s: float
    samples: int
    offset_samples: int | None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything about one run.

    Attributes:
        input, output: paths.
        dry_run: nothing was run or written; what only a run can know is None.
        amount: share of the change that was applied, 0 to 1.
        max_gain_db: bound on the change, None for the model's own.
        plan: what is done to each stream, as the muxer accepted it.
        cues: where they came from, or would come from.
        model: the network.
        transfer: streams, packets and hashes (`TransferSummary`).
        timings, loudness_before, loudness_after, sync: measurements.
        warnings: sentences for the user.
        tool: names and versions of what ran.
    """

    input: str
    output: str
    dry_run: bool
    amount: float
    max_gain_db: float | None
    plan: dict[str, Any]
    cues: CueReport
    model: ModelReport
    transfer: dict[str, Any] | None
    timings: TimingReport | None
    loudness_before: Loudness | None
    loudness_after: Loudness | None
    sync: SyncReport | None
    warnings: tuple[str, ...]
    tool: dict[str, Any] = field(default_factory=lambda: tool_versions())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, schema first."""
        return {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **asdict(self)}

    def to_json(self) -> str:
        """Indented JSON text, without NaN or infinity."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def tool_versions() -> dict[str, Any]:
    """Name and version of this tool, of what it stands on, and of the machine."""
    packages = {}
    for package in _PACKAGES:
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "name": "semmix-rt",
        "version": version("semmix-rt"),
        "python": platform.python_version(),
        "packages": packages,
        "system": platform.platform(),
        "cpus": os.cpu_count(),
    }


def peak_rss_mb() -> float | None:
    """Peak resident memory of this process in MB (1e6 bytes), None on Windows."""
    status = Path("/proc/self/status")
    if status.is_file():
        # The kernel's other number, `ru_maxrss`, starts at what the parent had in memory.
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes on Linux, bytes on macOS.
    return peak / 1e6 if platform.system() == "Darwin" else peak * 1024 / 1e6


def check_report_path(path: Path, overwrite: bool, others: tuple[Path, ...] = ()) -> None:
    """Refuse a place where the report could not be written, before any work is done.

    Raises:
        UsageError: a folder, an existing file that may not be replaced, a missing or
            unwritable parent, or one of `others` (the input, the output).
    """
    if path.is_dir():
        raise UsageError(f"the report {path} is a folder: name a file, such as report.json")
    if any(path.resolve() == other.resolve() for other in others):
        raise UsageError(f"the report {path} would replace the input or the output: name another")
    if path.exists() and not overwrite:
        raise UsageError(f"the report {path} exists: pass --overwrite to replace it")
    if not path.parent.is_dir():
        raise UsageError(f"the report's folder {path.parent} is not a folder: create it first")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"the report's folder {path.parent} cannot be written: choose another")


def save_report(report: Report, path: Path) -> None:
    """Write a report as JSON: to a temporary file beside `path`, then moved into place.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        write_atomically(path, report.to_json().encode())
    except OSError as exc:
        raise UsageError(
            f"the report {path} cannot be written ({exc.strerror}); the remix itself is complete"
        ) from exc
