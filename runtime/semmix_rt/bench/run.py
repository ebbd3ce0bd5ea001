"""The benchmark itself: open everything, time it turn about, add what a time needs to be read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semmix.bundle import Bundle
from semmix.errors import SemMixError, UsageError
from semmix.metrics.agreement import snr_db
from semmix_rt.bench.cases import (
    Case,
    cases,
    check_names,
    known_engines,
    not_applicable,
    not_held,
    not_worth_timing,
)
from semmix_rt.bench.facts import graph_bytes, install_mb, machine
from semmix_rt.bench.measure import interleaved
from semmix_rt.bench.memory import memory_mb
from semmix_rt.bench.opening import open_case
from semmix_rt.bench.result import BenchResult, CaseResult, Extra, Latency, Skipped
from semmix_rt.bench.runners import Runner, TransformRunner, stream_or_window
from semmix_rt.bench.sound import seeded_sound
from semmix_rt.media.excerpt import loudest_excerpt

Float32 = NDArray[np.float32]

RECHUNK_GROUP = "semmix_rt.rechunk"
PEER_GROUP = "semmix_rt.bench_peers"
TRANSFORMS = {"STFT pair, mono": 1, "STFT pair, stereo": 2}
"""Channels of the streams whose transforms are timed; the network hears one for all of them."""
_REFERENCE = "torch"
_SOUND_S = 30.0
_SAME_LENGTH_S = 0.005
_SILENT: Callable[[str, int, int], None] = lambda stage, done, total: None  # noqa: E731


def bench(
    bundle: Bundle | str | PathLike[str],
    *,
    engines: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
    chunk_s: Sequence[float] = (),
    peers: Sequence[str] = (),
    media: Path | None = None,
    threads: int = 1,
    repeats: int = 50,
    warm_up: int = 5,
    memory: bool = True,
    on_progress: Callable[[str, int, int], None] = _SILENT,
) -> BenchResult:
    """Time engines, precisions and chunk lengths side by side in this process.

    Args:
        bundle: a model, its path, or the name of one that comes along, such as `edge`.
        engines: names; None for every engine that starts on this machine.
        precisions: of those the bundle holds; None for all.
        chunk_s: chunk lengths to export the network at; none for the bundle's own.
        peers: other programs to time on the same sound, see `peer_names`.
        media: a file whose loudest half minute is heard; seeded noise without one.
        threads: CPU threads of every engine.
        repeats, warm_up: timed calls of each case, and calls before them.
        memory: also measure each case's memory, on a GPU as well, in a process of its own.
        on_progress: told the stage, and how much of it is done.

    Raises:
        UsageError: a name that is not known, or nothing to time.
        ModelFormatError: no bundle.
        SemMixError: an engine that was named does not start.
    """
    if repeats < 1 or warm_up < 0 or threads < 1:
        raise UsageError("ask for at least 1 repeat, 0 warm-up calls and 1 thread")
    bundle = bundle if isinstance(bundle, Bundle) else Bundle.find(bundle)
    check_names(bundle, engines, precisions)
    facts = machine(threads)
    with tempfile.TemporaryDirectory(prefix="semmix-bench-") as folder:
        bundles = _at_chunk_lengths(bundle, chunk_s, Path(folder), on_progress)
        rate_hz = bundle.manifest.spec.audio.sample_rate_hz
        if media is None:
            sound = seeded_sound(round(_SOUND_S * rate_hz), rate_hz)
        else:
            sound = loudest_excerpt(media, rate_hz, round(_SOUND_S * rate_hz))[0]
        wanted = [
            (at_length, case)
            for at_length in bundles
            for case in cases(
                bundle=at_length,
                engines=engines or known_engines(bundle),
                precisions=precisions or bundle.precisions,
            )
        ]
        named = bool(engines) and (bool(precisions) or len(bundle.precisions) == 1)
        opened, skipped = _open_all(wanted, sound, named, threads, on_progress)
        if not opened:
            raise UsageError(
                "nothing to time: " + "; ".join(f"{s.case.label}: {s.why}" for s in skipped)
            )
        runners: dict[str, Runner] = {case.label: runner for case, _, runner, _ in opened}
        extras: dict[str, Runner] = {}
        if bundle.window_spec is None:
            spec = bundles[0].spec
            extras |= {name: TransformRunner(spec, sound, n) for name, n in TRANSFORMS.items()}
        extras |= {name: _open_peer(name, sound, rate_hz, threads) for name in peers}
        walls_s, outputs = interleaved(
            runners | extras,
            repeats,
            warm_up,
            lambda done, total: on_progress("Timing", done, total),
        )
        results = _results(opened, walls_s, outputs)
        if memory:
            results = _with_memory(results, opened, threads, on_progress)
    found = tuple(
        Extra(name, extras[name].step_s, Latency(tuple(walls_s[name]))) for name in extras
    )
    return BenchResult(
        model=bundle.name,
        machine=facts,
        repeats=repeats,
        warm_up=warm_up,
        cases=tuple(results),
        extras=found,
        skipped=tuple(skipped),
        not_applicable=not_applicable(bundle),
        transform_shares=_transform_shares(results, found),
    )


def peer_names() -> tuple[str, ...]:
    """Other programs that can be timed beside, if they are installed."""
    return tuple(sorted(entry.name for entry in entry_points(group=PEER_GROUP)))


_Opened = tuple[Case, str, Runner, Bundle]


def _at_chunk_lengths(
    bundle: Bundle,
    chunk_s: Sequence[float],
    folder: Path,
    on_progress: Callable[[str, int, int], None],
) -> list[Bundle]:
    """The bundle at each chunk length; its own needs no export."""
    if not chunk_s:
        return [bundle]
    found, own_s = [], bundle.manifest.spec.step_s
    for i, seconds in enumerate(chunk_s):
        on_progress("Exporting", i, len(chunk_s))
        if abs(seconds - own_s) < _SAME_LENGTH_S:
            found.append(bundle)
            continue
        rechunk = {entry.name: entry for entry in entry_points(group=RECHUNK_GROUP)}.get("export")
        if rechunk is None:
            raise UsageError(
                f"the model is exported for chunks of {own_s:.2f} s, and another "
                "length needs the export room: install semmix-rt again"
            )
        found.append(rechunk.load()(bundle, seconds, folder / f"chunk{i}"))
    return found


def _open_all(
    wanted: Sequence[tuple[Bundle, Case]],
    sound: Float32,
    named: bool,
    threads: int,
    on_progress: Callable[[str, int, int], None],
) -> tuple[list[_Opened], list[Skipped]]:
    """Runners of all cases that start; where they were named, one that does not is an error."""
    opened: list[_Opened] = []
    skipped: list[Skipped] = []
    for i, (bundle, case) in enumerate(wanted):
        on_progress("Opening", i, len(wanted))
        why = not_held(bundle, case) or (None if named else not_worth_timing(case))
        if why is None:
            try:
                engine = open_case(bundle, case, threads)
                opened.append((case, engine.provider, stream_or_window(engine, sound), bundle))
                continue
            except SemMixError as exc:
                if named:
                    raise
                why = str(exc)
        skipped.append(Skipped(case, why))
    return opened, skipped


def _open_peer(name: str, sound: Float32, rate_hz: int, threads: int) -> Runner:
    entry = {entry.name: entry for entry in entry_points(group=PEER_GROUP)}.get(name)
    if entry is None:
        raise UsageError(f"there is no peer {name!r}: choose from {', '.join(peer_names())}")
    runner: Runner = entry.load()(sound, rate_hz, threads)
    return runner


def _results(
    opened: Sequence[_Opened],
    walls_s: dict[str, list[float]],
    outputs: dict[str, list[Float32]],
) -> list[CaseResult]:
    """Rows of the table; PyTorch eager at the same chunk length is what each is held against."""
    references = {case.chunk_s: case.label for case, *_ in opened if case.engine == _REFERENCE}
    results = []
    for case, provider, runner, bundle in opened:
        latency = Latency(tuple(walls_s[case.label]))
        median_ms = latency.percentile_ms(50)
        reference = references.get(case.chunk_s)
        ratio = agreement = None
        if reference is not None:
            ratio = 1e3 * float(np.median(walls_s[reference])) / median_ms
            agreement = round(snr_db(outputs[reference][0], outputs[case.label][0]), 1)
            agreement = agreement if np.isfinite(agreement) else None
        results.append(
            CaseResult(
                case=case,
                provider=provider,
                latency=latency,
                rtf=round(median_ms / 1e3 / runner.step_s, 5),
                ratio_to_torch=None if ratio is None else round(ratio, 3),
                snr_db=agreement,
                peak_memory_mb=None,
                gpu_memory_mb=None,
                graph_bytes=graph_bytes(bundle, case.precision),
                install_mb=install_mb(case.engine),
            )
        )
    return results


def _with_memory(
    results: Sequence[CaseResult],
    opened: Sequence[_Opened],
    threads: int,
    on_progress: Callable[[str, int, int], None],
) -> list[CaseResult]:
    found = []
    for i, (result, (case, _, _, bundle)) in enumerate(zip(results, opened, strict=True)):
        on_progress("Measuring memory", i, len(results))
        host_mb, gpu_mb = memory_mb(bundle, case, threads)
        found.append(replace(result, peak_memory_mb=host_mb, gpu_memory_mb=gpu_mb))
    return found


def _transform_shares(results: Sequence[CaseResult], extras: Sequence[Extra]) -> dict[str, float]:
    """Time of the transforms in the time of a whole stream, with the fastest engine."""
    shares = {}
    for extra in extras:
        same_length = [r for r in results if abs(r.case.chunk_s - extra.step_s) < 1e-6]
        if extra.name in TRANSFORMS and same_length:
            network_rtf = min(r.rtf for r in same_length)
            shares[extra.name] = round(extra.rtf / (extra.rtf + network_rtf), 4)
    return shares
