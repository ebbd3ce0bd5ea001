"""Rebalance the sound of a film to what its picture shows: the product in one function.

Five threads share the work: one demuxes and decodes the sound, one reads the cues, one runs
the network (the caller's), one encodes and muxes. Between them are bounded queues, so memory
does not grow with the film.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from semmix.bundle import Bundle, check_precision
from semmix.cues.types import CueSheet
from semmix.errors import EngineError, UsageError
from semmix_rt.cues.sources import EMBEDDED, CueSource
from semmix_rt.hearing import Hearing, open_hearing
from semmix_rt.loudness import Loudness, LoudnessMeter, layout_weights
from semmix_rt.media.containers import container_for
from semmix_rt.media.probe import probe
from semmix_rt.media.summary import TransferSummary
from semmix_rt.media.transfer import Transfer
from semmix_rt.planning import plan_streams
from semmix_rt.programme import measure_programme
from semmix_rt.progress import Progress, ProgressCallback, Stage
from semmix_rt.proof import brief_proof, check_engine_proof, check_proof
from semmix_rt.report import (
    ModelReport,
    Report,
    SyncReport,
    TimingReport,
    check_report_path,
    peak_rss_mb,
    save_report,
)
from semmix_rt.sync import SyncProbe
from semmix_rt.timing import StageClock, TimedEngine, TimedWindowEngine

_DEFAULT_THREADS = 1
_LATE_S = 0.001


@dataclass(frozen=True, slots=True)
class RemixResult:
    """What one call of `remix` did.

    Attributes:
        input: the film.
        output: the remixed film; not written in a dry run.
        report: everything about the run.
        report_path: where the report was saved, None if it was not asked for.
    """

    input: Path
    output: Path
    report: Report
    report_path: Path | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user."""
        return self.report.warnings


def default_output(source: Path) -> Path:
    """Where a film is remixed to by default: `film.mp4` -> `film.remix.mp4` beside it."""
    return source.with_name(f"{source.stem}.remix{source.suffix}")


def check_settings(
    amount: float, max_gain_db: float | None, programme_lufs: float | None = None
) -> None:
    """Refuse settings that mean nothing.

    Raises:
        UsageError: an amount outside 0 to 1, a negative or infinite gain, a loudness outside
            -70 to 0 LUFS, or NaN.
    """
    if programme_lufs is not None and not -70.0 <= programme_lufs <= 0.0:
        raise UsageError(f"a programme of {programme_lufs} LUFS cannot be: give -70 to 0")
    if not 0.0 <= amount <= 1.0:
        raise UsageError(f"the amount {amount} is outside 0 (unchanged) to 1 (full)")
    if max_gain_db is not None and not (math.isfinite(max_gain_db) and max_gain_db >= 0.0):
        raise UsageError(f"the largest gain {max_gain_db} dB is not a number of dB from 0 up")


def remix(
    input: str | Path,
    output: str | Path | None = None,
    *,
    amount: float = 1.0,
    max_gain_db: float | None = None,
    programme_lufs: float | None = None,
    cues: str | Path | CueSheet | None = None,
    cues_from: str | CueSource = EMBEDDED,
    model: str | Path | None = None,
    engine: str = "auto",
    precision: str = "fp32",
    allow_unverified: bool = False,
    threads: int | None = None,
    audio_stream: int | None = None,
    audio_codec: str | None = None,
    audio_bit_rate_bps: int | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    report: str | Path | None = None,
    cache: bool = True,
    text_encoder: str | Path | None = None,
    vision_encoder: str | Path | None = None,
    progress: ProgressCallback | None = None,
) -> RemixResult:
    """Write a film with the same picture and a sound rebalanced to it.

    The picture and every other stream are copied packet by packet. The output appears only
    when it is complete and was read back and checked; a failure or Ctrl-C leaves nothing.

    Args:
        input: any media file with sound.
        output: file to write, its suffix names the container; `film.remix.mp4` by default.
        amount: share of the change to apply, 0 (the sound bit for bit) to 1.
        max_gain_db: bound on the change of any frequency at any time, either way; None for
            the model's own.
        programme_lufs: integrated loudness of the whole programme, where `input` is an excerpt;
            None to measure `input`.
        cues: a cue sheet to follow instead of the picture.
        cues_from: what reads the picture, as a name such as `lvlm:folder` or with its options.
        model: folder or zip of a model bundle; None for the one that comes with the package.
        engine: inference engine, `auto`, `ort`, `torch`, ...
        precision: of the network, one that the model holds.
        allow_unverified: run a network that was not proved to agree with PyTorch.
        threads: CPU threads of the engine; None for 1, since decoding, cues and encoding
            keep other cores busy.
        audio_stream: which sound to rebalance, counted from 0; None for the default one.
        audio_codec: FFmpeg's name of an audio encoder; None for what fits the container.
        audio_bit_rate_bps: for lossy codecs; None for the source's, and at least transparent.
        overwrite: replace an existing output and report.
        dry_run: check everything and say what would be done; runs no network, writes nothing.
        report: JSON file to write the report to.
        cache: use and keep what was read from pictures before.
        text_encoder: folder of a transformers text encoder, for imported models that take the
            vectors of captions.
        vision_encoder: folder of a CLIP model, for imported models that take those of frames.
        progress: called with each step, in the caller's thread.

    Returns:
        Paths and the report.

    Raises:
        UsageError: bad settings, an existing or unwritable output.
        CueSheetError: the cue sheet is damaged or out of range.
        MediaError: the film cannot be read, decoded, encoded or written.
        VerificationError: the written file, read back, is not what it should be.
        ModelFormatError: the model bundle is damaged or needs another text encoder.
        ParityError: the network has no passing parity record in this precision.
        EngineError: the engine is missing or cannot run the model.
    """
    source = Path(input)
    target = default_output(source) if output is None else Path(output)
    report_path = None if report is None else Path(report)
    check_settings(amount, max_gain_db, programme_lufs)
    check_precision(precision)
    sheet = Path(cues) if isinstance(cues, str) else cues
    reader = CueSource(cues_from) if isinstance(cues_from, str) else cues_from
    if sheet is not None and reader != CueSource():
        raise UsageError(
            f"cues cannot come from a sheet and from {reader.name}: leave out one of the two"
        )

    clock = StageClock()
    tell = _Teller(progress)
    with ExitStack() as stack:
        with clock.stage("open"):
            tell("open")
            transfer = stack.enter_context(
                Transfer(
                    source,
                    target,
                    audio_stream=audio_stream,
                    codec=audio_codec,
                    bit_rate_bps=audio_bit_rate_bps,
                    overwrite=overwrite,
                )
            )
            if report_path is not None:
                check_report_path(report_path, overwrite, others=(source, target))
            bundle = Bundle.default() if model is None else Bundle.load(model)
            doubt = check_proof(bundle, engine, precision, allow_unverified=allow_unverified)
            hearing = open_hearing(
                bundle,
                source,
                max_gain_db=max_gain_db,
                programme_lufs=programme_lufs,
                sheet=sheet,
                reader=reader,
                has_picture=bool(transfer.info.video_streams),
                cache=cache,
                text_encoder=None if text_encoder is None else Path(text_encoder),
                vision_encoder=None if vision_encoder is None else Path(vision_encoder),
            )
            if not dry_run:
                # Reading the picture takes longest: it starts before the engine loads.
                stack.enter_context(hearing.feed)
            engine_threads = _DEFAULT_THREADS if threads is None else threads
            timed = hearing.load(engine, engine_threads, precision)
            doubt = doubt or check_engine_proof(bundle, timed, allow_unverified=allow_unverified)

        run = _Run(transfer, hearing, timed, clock, tell, amount, programme_lufs)
        summary = None if dry_run else run.all()
        cue_report = hearing.feed.preview() if dry_run else hearing.feed.report()
        result = Report(
            input=str(source),
            output=str(target),
            dry_run=dry_run,
            amount=amount,
            max_gain_db=max_gain_db,
            plan=plan_streams(transfer),
            cues=cue_report,
            model=ModelReport(
                name=bundle.name,
                path=str(bundle.path),
                hash=bundle.sha256,
                text_encoder=hearing.encoder,
                engine=timed.name,
                provider=timed.provider,
                precision=timed.precision,
                verified=not doubt,
                threads=engine_threads,
                latency_ms=1e3 * timed.spec.latency_samples / timed.spec.audio.sample_rate_hz,
                level_gain_db=run.level_gain_db,
            ),
            transfer=None if summary is None else summary.to_dict(),
            timings=run.timings(),
            loudness_before=run.before,
            loudness_after=run.after,
            sync=run.sync,
            warnings=(
                *filter(None, (doubt, brief_proof(bundle, engine, precision))),
                *(transfer.dropped if summary is None else summary.warnings),
                *_cue_warnings(hearing, transfer),
                *run.warnings(),
            ),
        )
    if report_path is not None and not dry_run:
        save_report(result, report_path)
    tell("done")
    return RemixResult(source, target, result, None if dry_run else report_path)


class _Teller:
    """Passes progress on to a callback that may not be there."""

    def __init__(self, callback: ProgressCallback | None) -> None:
        self._callback = callback
        self.done_s = 0.0
        self.total_s: float | None = None

    def __call__(self, stage: Stage) -> None:
        if self._callback is not None:
            self._callback(Progress(stage, self.done_s, self.total_s))


class _Run:
    """The way of the sound through the network, and what was measured along it."""

    def __init__(
        self,
        transfer: Transfer,
        hearing: Hearing,
        engine: TimedEngine | TimedWindowEngine,
        clock: StageClock,
        tell: _Teller,
        amount: float,
        programme_lufs: float | None,
    ) -> None:
        self._transfer, self._hearing, self._engine = transfer, hearing, engine
        self._clock, self._tell = clock, tell
        self._amount, self._programme_lufs = amount, programme_lufs
        self.level_gain_db: float | None = None
        self.before: Loudness | None = None
        self.after: Loudness | None = None
        self.sync: SyncReport | None = None
        self._summary: TransferSummary | None = None

    def all(self) -> TransferSummary:
        """Send all of the sound through, finish the file and check its sync."""
        clock, tell, transfer, hearing = self._clock, self._tell, self._transfer, self._hearing
        rate, channels = transfer.sample_rate_hz, transfer.channels
        if transfer.expected_samples:
            tell.total_s = transfer.expected_samples / rate
        after = LoudnessMeter(rate, channels, layout_weights(transfer.audio.layout, channels))
        place = SyncProbe(rate)
        with clock.stage("measure"):
            self.before = self._measure()
        programme_lufs = self._programme_lufs or self.before.integrated_lufs
        self.level_gain_db = hearing.level_gain_db(programme_lufs)
        stream = hearing.stream(
            rate,
            channels,
            amount=self._amount,
            level_gain_db=self.level_gain_db,
            start_s=transfer.audio.start_s or 0.0,
        )
        tell("remix")
        blocks = transfer.blocks()
        written = 0
        ended = False
        while not ended:
            with clock.stage("decode"):
                block = next(blocks, None)
            with clock.stage("remix"):
                ended = block is None
                mixed = stream.finish() if block is None else stream.push(block)
            with clock.stage("meter"):
                after.push(mixed)
                place.push(mixed)
            with clock.stage("encode"):
                self._write(mixed)
            written += mixed.shape[1]
            tell.done_s = written / rate
            tell("remix")
        with clock.stage("cues"):
            hearing.feed.drain()
        tell("verify")
        with clock.stage("verify"):
            self._summary = summary = transfer.finish()
            self.sync = _check_sync(summary, place)
        self.after = after.finish()
        return summary

    def _measure(self) -> Loudness:
        """The programme's loudness, from a pass over its sound alone."""

        def show(done_s: float) -> None:
            self._tell.done_s = done_s
            self._tell("measure")

        loudness = measure_programme(self._transfer.info.path, self._transfer.audio, show)
        self._tell.done_s = 0.0
        return loudness

    def timings(self) -> TimingReport | None:
        """Where the time went, None before the run."""
        if self._summary is None:
            return None
        wall_s, audio_s = self._clock.total_s, self._summary.duration_s
        return TimingReport(
            wall_s=wall_s,
            audio_s=audio_s,
            realtime_factor=audio_s / wall_s if audio_s else None,
            stages_s=dict(self._clock.seconds),
            network_s=self._engine.network_s,
            cue_wait_s=self._hearing.feed.waited_s,
            cue_work_s=self._hearing.feed.worked_s,
            chunks=self._engine.chunks,
            chunk_median_ms=self._engine.latency_ms(50.0),
            chunk_p95_ms=self._engine.latency_ms(95.0),
            peak_rss_mb=peak_rss_mb(),
        )

    def warnings(self) -> list[str]:
        """Sentences about the sound that was written."""
        summary, before, after = self._summary, self.before, self.after
        if summary is None or before is None or after is None:
            return []
        found = []
        if before.sample_peak_dbfs is None:
            found.append("the sound is digital silence: there was nothing to rebalance")
        peak_dbfs = -math.inf if after.sample_peak_dbfs is None else after.sample_peak_dbfs
        if peak_dbfs > max(0.0, before.sample_peak_dbfs or 0.0) and not summary.clipped_samples:
            found.append(
                f"the sound now peaks at {peak_dbfs:+.1f} dBFS and players may clip it: "
                "lower the amount or the largest gain"
            )
        if self._engine.fallback_runs:
            found.append(
                f"{self._engine.precision} gave values that are no numbers in "
                f"{self._engine.fallback_runs} of {self._engine.chunks} chunks, where fp32 took "
                "over: use --precision fp32 for this film"
            )
        offset = self.sync.offset_samples if self.sync is not None else None
        if offset is not None and abs(offset) > _LATE_S * summary.sample_rate_hz:
            found.append(
                f"the sound in the output is {1e3 * offset / summary.sample_rate_hz:.1f} ms late "
                "(its container or codec shifts it): write .mp4, .mov or .mkv to keep it in sync"
            )
        return found

    def _write(self, mixed: object) -> None:
        try:
            self._transfer.write(mixed)  # type: ignore[arg-type]
        except ValueError as exc:
            raise EngineError(
                f"the {self._engine.name} engine ({self._engine.provider}, "
                f"{self._engine.precision}) gave sound that cannot be written ({exc}): "
                "choose another engine or model"
            ) from exc


def _check_sync(summary: TransferSummary, place: SyncProbe) -> SyncReport:
    """Compare where the sound is in the file with where it was in the source."""
    target = Path(summary.target)
    picture = next((c for c in summary.copied if c.kind == "video" and c.first_s is not None), None)
    written = probe(target)
    start_s = summary.start_s
    if not container_for(target).has_start:
        # Such files begin with their first sample, whatever number it carries (MP3: its delay).
        start_s = summary.lead_s + (written.start_s or 0.0)
    elif picture is not None and picture.first_s is not None:
        # Some containers start every stream at another origin: the picture tells which.
        moved_to_s = written.streams[picture.output_index].start_s
        start_s += 0.0 if moved_to_s is None else moved_to_s - picture.first_s
    return SyncReport(
        start_s=summary.start_s,
        samples=summary.samples,
        offset_samples=place.offset_samples(
            target, summary.audio_output_index, round(start_s * summary.sample_rate_hz)
        ),
    )


def _cue_warnings(hearing: Hearing, transfer: Transfer) -> list[str]:
    cues = hearing.feed.report()
    if not hearing.takes_cues:
        return []
    if hearing.feed.doubts:
        return [hearing.feed.doubts]
    if cues.source == "sheet":
        return (
            [] if cues.segments != 0 else ["the cue sheet has no segments: no cue guided the mix"]
        )
    if not transfer.info.video_streams:
        return [
            f"{transfer.info.path.name} has no moving picture, so no cue guided the mix: "
            "write a cue sheet and pass it with --cues"
        ]
    return []
