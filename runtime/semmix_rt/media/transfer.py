"""One pass over a media file: copy everything, hand one audio stream out and back in.

    with Transfer("in.mp4", "out.mp4") as transfer:
        for block in transfer.blocks():
            transfer.write(process(block))
        summary = transfer.finish()

Two threads work beside the caller: one demuxes and decodes, one encodes and muxes. All
queues between them are bounded, so memory does not grow with the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType

import numpy as np
from av.audio.stream import AudioStream
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard, Stream
from numpy.typing import NDArray

from semmix.errors import MediaError, SemMixError, UsageError
from semmix_rt.media.codec import AudioPlan, plan_audio
from semmix_rt.media.containers import container_for
from semmix_rt.media.edits import cut_priming
from semmix_rt.media.layout import build_output, choose_streams, common_shift, open_output
from semmix_rt.media.outcome import Outcome
from semmix_rt.media.pipe import Broken, Pipe
from semmix_rt.media.probe import (
    AudioStreamInfo,
    MediaInfo,
    describe,
    open_input,
    pick_audio_stream,
)
from semmix_rt.media.reader import AudioReader
from semmix_rt.media.summary import TransferSummary
from semmix_rt.media.target import check_target, create_temporary, write_error
from semmix_rt.media.verify import verify_transfer
from semmix_rt.media.writer import AudioWriter

Block = NDArray[np.float32] | NDArray[np.float64]

# The muxer holds the picture back until the sound beside it has come, and gives up after 10 s:
# what is read ahead, with what the caller keeps, has to stay below.
_READ_AHEAD_S = 2.0
_READ_AHEAD_BYTES = 8 << 20
_WRITE_BEHIND_BYTES = 4 << 20
_WORTH_S = 0.5  # a shorter sound may lie within the encoder's delay altogether
_BATCH_PACKETS = 64
_BATCH_BYTES = 1 << 20


class Transfer:
    """Copies a media file in one pass while one audio stream makes a detour through the caller.

    Every stream but the chosen one is packet-copied. The chosen one is decoded on its own
    timeline, handed out by `blocks()`, taken back by `write()`, encoded and muxed. The target
    appears only when `finish()` has re-read and verified it. Leaving the `with` block without
    `finish()` removes the temporary file; so does `abort()`.

    Attributes:
        info: the probed source.
        audio: the chosen stream.
        plan: how it will be encoded.
        sample_rate_hz: its rate, in and out.
        channels: its channel count, in and out.
        dtype: of the blocks handed out: float32, or float64 for sources float32 cannot hold.
        expected_samples: samples the stream's duration promises (for progress), `None` if
            the container does not say.
        dropped: one sentence for each stream the target's container cannot hold.
    """

    info: MediaInfo
    audio: AudioStreamInfo
    plan: AudioPlan
    sample_rate_hz: int
    channels: int
    dtype: np.dtype[np.float32] | np.dtype[np.float64]
    expected_samples: int | None
    dropped: tuple[str, ...]

    def __init__(
        self,
        source: str | Path,
        target: str | Path,
        *,
        audio_stream: int | None = None,
        codec: str | None = None,
        bit_rate_bps: int | None = None,
        overwrite: bool = False,
        block_s: float = 0.5,
    ) -> None:
        """Check everything that can be checked before work starts; creates nothing yet.

        Args:
            source: media file to read.
            target: file to write; its suffix chooses the container.
            audio_stream: n-th audio stream, from 0; `None` takes the default one.
            codec: FFmpeg encoder name; `None` keeps what fits the container.
            bit_rate_bps: for lossy codecs; `None` chooses by the source.
            overwrite: replace an existing target (only once the new one is verified).
            block_s: length of the blocks handed out.

        Raises:
            MediaError: the source cannot be read, or the container cannot hold the result.
            UsageError: the target exists, is the source, or is a folder.
        """
        self._source_path, self._target = Path(source), Path(target)
        self._overwrite = overwrite
        self._input = open_input(self._source_path)
        try:
            self.info = describe(self._input, self._source_path)
            self.audio = pick_audio_stream(self.info, audio_stream)
            check_target(self._source_path, self._target, overwrite)
            self._container = container_for(self._target)
            self.plan = plan_audio(self.info, self.audio, self._container, codec, bit_rate_bps)
            self._layout = choose_streams(
                self._input, self.info, self.audio.index, self._container, self.plan
            )
        except BaseException:
            self._input.close()
            raise
        self._streams = self._layout.streams
        self.dropped = tuple(self._layout.dropped)
        self.sample_rate_hz = self.audio.sample_rate_hz
        self.channels = self.audio.channels
        duration_s = self.audio.duration_s or self.info.duration_s
        self.expected_samples = round(duration_s * self.sample_rate_hz) if duration_s else None
        stream = self._input.streams[self.audio.index]
        assert isinstance(stream, AudioStream)
        block_samples = max(1, round(block_s * self.sample_rate_hz))
        self._reader = AudioReader(stream, self.audio, block_samples, self._source_path)
        self.dtype = self._reader.dtype
        self._shift = common_shift(self.info, self._container)
        second_bytes = self.sample_rate_hz * self.channels * self.dtype.itemsize
        ahead_bytes = min(round(_READ_AHEAD_S * second_bytes), _READ_AHEAD_BYTES)
        self._blocks: Pipe[Block] = Pipe(ahead_bytes)
        self._out: Pipe[list[Packet[Stream]] | Block] = Pipe(_WRITE_BEHIND_BYTES)
        self._threads: list[Thread] = []
        self._lock = Lock()
        self._failure: BaseException | None = None
        self._early_end = ""
        self._temporary: Path | None = None
        self._written = 0
        self._peak = 0.0
        self._exhausted = False
        self._state = "new"

    def blocks(self) -> Iterator[Block]:
        """Yield the chosen stream as blocks `[C, n]`, full scale 1.0, in order, each once.

        Raises:
            MediaError: nothing can be decoded, or copying failed.
        """
        if self._state != "new":
            raise RuntimeError("a transfer's blocks can be read once only")
        self._start()
        while True:
            try:
                block = self._blocks.get()
            except Broken:
                self._raise_failure()
                return
            if block is None:
                self._exhausted = True
                return
            yield block

    def write(self, block: Block) -> None:
        """Take back processed audio `[C, n]`, any `n`; the total must equal what was read.

        Blocks while the encoder is behind. The block must not be changed afterwards.

        Raises:
            MediaError: encoding or muxing failed.
            ValueError: a wrong shape, NaN or infinity.
        """
        if block.ndim != 2 or block.shape[0] != self.channels:
            raise ValueError(f"a block has the shape {block.shape}, expected [{self.channels}, n]")
        if block.shape[1] == 0:
            return
        peak = float(np.max(np.abs(block)))
        if not np.isfinite(peak):
            raise ValueError("a processed block holds NaN or infinite samples")
        self._peak = max(self._peak, peak)
        self._written += block.shape[1]
        try:
            self._out.put(block, block.nbytes)
        except Broken:
            self._raise_failure()

    def finish(self) -> TransferSummary:
        """Flush the encoder, verify the temporary file and move it to the target.

        Raises:
            MediaError: encoding or muxing failed, or not as much was written as read.
            VerificationError: the written file is not what was meant to be written.
        """
        if not self._exhausted or self._state != "running":
            state, _ = self._state, self.abort()
            raise RuntimeError(
                f"a transfer can be finished once its blocks are read to the end (it is {state})"
            )
        try:
            self._out.end()
            for thread in self._threads:
                _join(thread)
            if self._failure is not None:
                self._raise_failure()
            if self._written != self._reader.samples:
                raise MediaError(
                    f"{self._reader.samples} samples were read and {self._written} written back: "
                    "the sound must keep its length"
                )
            temporary = self._temporary
            assert temporary is not None
            if self._writer.edit_priming:
                self._cut_priming(temporary)
            # The index of a long film takes tens of megabytes, and verifying reads another one.
            self._input.close()
            outcome = self._outcome()
            found = verify_transfer(temporary, outcome.expected())
            if self._target.exists() and not self._overwrite:
                raise UsageError(f"{self._target} appeared meanwhile: choose another output name")
            temporary.replace(self._target)
        except OSError as exc:
            self.abort()
            raise write_error(self._target, exc) from exc
        except BaseException:
            self.abort()
            raise
        self._temporary = None
        self._state = "finished"
        return outcome.summary(found)

    def abort(self) -> None:
        """Stop the threads and remove the temporary file; may be called at any time."""
        if self._state == "finished":
            return
        self._state = "aborted"
        self._blocks.break_off()
        self._out.break_off()
        for thread in self._threads:
            thread.join()
        self._input.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None

    def __enter__(self) -> Transfer:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abort()

    # The reading thread.

    def _read(self) -> None:
        try:
            self._demux()
            self._blocks.end()
        except Broken:
            pass
        except BaseException as exc:
            self._fail(exc)

    def _demux(self) -> None:
        audio_index = self.audio.index
        copies, targets = self._built.copies, self._built.targets
        reader, shift = self._reader, self._shift
        ticks = {i: round(shift / copies[i].time_base) for i in targets}
        batch: list[Packet[Stream]] = []
        batch_bytes = 0
        packets = self._input.demux(self._streams)
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError as exc:
                self._early_end = f"reading stopped at damaged data ({exc.strerror})"
                break
            if packet is None:
                break
            size = packet.size
            if not size and packet.dts is None and packet.pts is None:
                continue
            if packet.stream_index == audio_index:
                for block in reader.feed(packet):
                    self._out.put(batch, batch_bytes)
                    batch, batch_bytes = [], 0
                    self._blocks.put(block, block.nbytes)
                continue
            copy = copies[packet.stream_index]
            stamp = packet.pts if packet.pts is not None else packet.dts
            copy.note(packet, size, stamp)
            move = ticks[packet.stream_index]
            if move:
                packet.pts = None if packet.pts is None else packet.pts - move
                packet.dts = None if packet.dts is None else packet.dts - move
            packet.stream = targets[packet.stream_index]
            batch.append(packet)
            batch_bytes += size
            if len(batch) >= _BATCH_PACKETS or batch_bytes >= _BATCH_BYTES:
                self._out.put(batch, batch_bytes)
                batch, batch_bytes = [], 0
        for block in reader.finish():
            self._blocks.put(block, block.nbytes)
        if batch:
            self._out.put(batch, batch_bytes)
        declared_s = self.audio.duration_s or 0.0
        lost = reader.decode_errors or (reader.packets and declared_s > _WORTH_S)
        if not reader.samples and lost:
            why = reader.first_error or "no samples came out"
            raise MediaError(
                f"nothing of the sound of {self._source_path} can be decoded ({why}): "
                "the file is damaged, copy it again"
            )

    # The writing thread.

    def _write(self) -> None:
        try:
            self._mux()
        except Broken:
            self._close_output()
        except BaseException as exc:
            self._fail(exc)
            self._close_output()

    def _mux(self) -> None:
        output, writer = self._output, self._writer
        output.start_encoding()
        begun = False
        while (item := self._out.get()) is not None:
            if isinstance(item, list):
                output.mux(item)
                continue
            if not begun:
                begun = True
                self._begin()
            for packet in writer.encode(item):
                output.mux_one(packet)
        for packet in writer.finish():
            output.mux_one(packet)
        output.close()

    def _begin(self) -> None:
        rate = self.sample_rate_hz
        start = self._reader.start_sample - round(self._shift * rate)
        origin = start
        if not self.info.is_lone_sound:
            origin = round((Fraction(self.info.start_s or 0) - self._shift) * rate)
        for packet in self._writer.begin(start, origin):
            self._output.mux_one(packet)

    def _close_output(self) -> None:
        try:
            self._output.close()
        except (FFmpegError, OSError):
            # The failure that led here is the one to report, and the file is removed.
            return

    # Setting up and winding up, on the caller's thread.

    def _start(self) -> None:
        self._temporary = create_temporary(self._target)
        try:
            self._output = open_output(
                self._temporary, self._input, self.info, self._container, self.plan, self._shift
            )
            self._built = build_output(
                self._output,
                self._layout,
                self.audio.index,
                self.plan,
                self._container,
                self._input,
            )
        except (FFmpegError, ValueError) as exc:
            self.abort()
            raise write_error(self._target, exc) from exc
        self._writer = AudioWriter(
            self._built.audio,
            self.plan,
            self._container,
            self.audio,
            split=len(self._streams) > 1,
        )
        for stream in self._input.streams:
            if all(stream.index != kept.index for kept in self._streams):
                stream.discard = Discard.all
        self._state = "running"
        for name, work in (("read", self._read), ("write", self._write)):
            thread = Thread(target=work, name=f"semmix-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _fail(self, exc: BaseException) -> None:
        with self._lock:
            self._failure = self._failure or exc
        self._blocks.break_off()
        self._out.break_off()

    def _raise_failure(self) -> None:
        exc = self._failure
        if exc is None:
            raise RuntimeError("the transfer was aborted")
        if isinstance(exc, SemMixError) or not isinstance(exc, (FFmpegError, OSError, ValueError)):
            raise exc
        raise write_error(self._target, exc) from exc

    def _cut_priming(self, temporary: Path) -> None:
        before = [k.type for k in self._streams[: self._built.audio_position]].count("audio")
        priming = self._writer.edit_priming
        # The movie's time scale is the sound's own sample rate, see `muxer_options`.
        cut_priming(temporary, before, priming, priming)

    def _outcome(self) -> Outcome:
        return Outcome(
            info=self.info,
            audio=self.audio,
            plan=self.plan,
            container=self._container,
            target=self._target,
            copies=tuple(self._built.copies.values()),
            dropped=self.dropped,
            reader=self._reader,
            writer=self._writer,
            audio_position=self._built.audio_position,
            peak=self._peak,
            early_end=self._early_end,
        )


def _join(thread: Thread) -> None:
    """Wait, but let Ctrl-C through on every platform."""
    while thread.is_alive():
        thread.join(0.2)
