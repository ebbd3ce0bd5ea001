"""Nothing is ever left half written: refusals, errors, full disks, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
from semmix_rt.media import transfer as transfer_module
from semmix_rt.media.transfer import Transfer
from semmix_rt.media.verify import Expected, verify_transfer
from support_media import Sound, make_media, noise, packets_of, repeat_media
from tolerances import GROWTH_BYTES_PER_S, INTERLEAVING_S

from semmix.errors import MediaError, UsageError, VerificationError


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return make_media(tmp_path / "film.mp4", Sound("aac", noise(96_000), 48_000), frames=50)


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def copy(source: Path, target: Path) -> None:
    with Transfer(source, target) as transfer:
        for block in transfer.blocks():
            transfer.write(block)
        transfer.finish()


def test_targets_that_are_refused(tmp_path: Path, film: Path) -> None:
    (tmp_path / "old.mp4").write_bytes(b"precious")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "alias.mp4").hardlink_to(film)
    before = film.read_bytes()
    for name, words, options in (
        ("old.mp4", "exists", {}),
        ("film.mp4", "is the input", {"overwrite": True}),
        ("alias.mp4", "is the input", {"overwrite": True}),
        ("folder.mp4", "is a folder", {"overwrite": True}),
        ("nowhere/out.mp4", "does not exist", {}),
        ("out.xyz", "names no container", {}),
        ("out", "no suffix", {}),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            Transfer(film, tmp_path / name, **options)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    assert (tmp_path / "old.mp4").read_bytes() == b"precious"
    assert film.read_bytes() == before
    assert files(tmp_path) == ["alias.mp4", "film.mp4", "folder.mp4", "old.mp4"]


def test_creating_a_transfer_writes_nothing(tmp_path: Path, film: Path) -> None:
    transfer = Transfer(film, tmp_path / "out.mp4")
    assert transfer.expected_samples == pytest.approx(96_000, abs=1024)
    assert files(tmp_path) == ["film.mp4"]
    transfer.abort()


def test_overwriting_replaces_only_at_the_end(tmp_path: Path, film: Path) -> None:
    target = tmp_path / "old.mp4"
    target.write_bytes(b"precious")
    with Transfer(film, target, overwrite=True) as transfer:
        for block in transfer.blocks():
            transfer.write(block)
            assert target.read_bytes() == b"precious"
            assert any(n.endswith(".part.mp4") and n.startswith(".old") for n in files(tmp_path))
        transfer.finish()
    assert files(tmp_path) == ["film.mp4", "old.mp4"]
    assert packets_of(target)[0].digest == packets_of(film)[0].digest


def test_a_target_that_appears_meanwhile_is_kept(tmp_path: Path, film: Path) -> None:
    target = tmp_path / "out.mp4"
    with Transfer(film, target) as transfer:
        for block in transfer.blocks():
            transfer.write(block)
        target.write_bytes(b"somebody else's")
        with pytest.raises(UsageError, match="appeared meanwhile"):
            transfer.finish()
    assert target.read_bytes() == b"somebody else's"
    assert files(tmp_path) == ["film.mp4", "out.mp4"]


@pytest.mark.parametrize("after", [0, 1, 3])
def test_leaving_early_removes_everything(tmp_path: Path, film: Path, after: int) -> None:
    threads = threading.active_count()

    def leave() -> None:
        with Transfer(film, tmp_path / "out.mp4", block_s=0.1) as transfer:
            for count, block in enumerate(transfer.blocks()):
                if count == after:
                    raise KeyboardInterrupt
                transfer.write(block)

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert files(tmp_path) == ["film.mp4"]
    assert threading.active_count() == threads


def test_the_length_must_be_kept(tmp_path: Path, film: Path) -> None:
    with Transfer(film, tmp_path / "out.mp4") as transfer:
        for block in transfer.blocks():
            transfer.write(block[:, 1:])
        with pytest.raises(MediaError, match="must keep its length"):
            transfer.finish()
    assert files(tmp_path) == ["film.mp4"]


def test_finishing_before_the_end_is_a_mistake(tmp_path: Path, film: Path) -> None:
    with Transfer(film, tmp_path / "out.mp4", block_s=0.1) as transfer:
        transfer.write(next(transfer.blocks()))
        with pytest.raises(RuntimeError, match="read to the end"):
            transfer.finish()
    assert files(tmp_path) == ["film.mp4"]


@pytest.mark.parametrize(
    "block", [np.zeros((1, 9)), np.zeros(9), np.full((2, 9), np.nan), np.full((2, 9), np.inf)]
)
def test_blocks_that_are_refused(tmp_path: Path, film: Path, block: np.ndarray) -> None:
    with Transfer(film, tmp_path / "out.mp4") as transfer:
        next(transfer.blocks())
        with pytest.raises(ValueError, match="block"):
            transfer.write(block)
    assert files(tmp_path) == ["film.mp4"]


@pytest.mark.parametrize("where", ["read", "write"])
def test_failures_cross_the_threads(
    tmp_path: Path, film: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    name = "AudioReader" if where == "read" else "AudioWriter"
    method = "feed" if where == "read" else "encode"
    monkeypatch.setattr(getattr(transfer_module, name), method, fail)
    with pytest.raises(MediaError, match="No space left on device"):
        copy(film, tmp_path / "out.mp4")
    assert files(tmp_path) == ["film.mp4"]


SCRIPT = textwrap.dedent(
    """
    import resource, signal, sys
    from semmix.errors import SemMixError
    from semmix_rt.media.transfer import Transfer
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
    try:
        with Transfer(sys.argv[1], sys.argv[2]) as transfer:
            for block in transfer.blocks():
                transfer.write(block)
            transfer.finish()
    except SemMixError as exc:
        print(type(exc).__name__, exc)
        sys.exit(exc.exit_code)
    """
)


@pytest.mark.skipif(sys.platform == "win32", reason="limits files with POSIX rlimits")
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "wav", "mov"])
@pytest.mark.parametrize("limit", [0, 4096, 100_000])
def test_a_full_disk(tmp_path: Path, film: Path, suffix: str, limit: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(film), str(tmp_path / f"out.{suffix}"), str(limit)],
        capture_output=True,
        text=True,
        check=False,
    )
    size = film.stat().st_size
    assert done.returncode == 3, (done.stdout, done.stderr, size)
    assert done.stdout.count("\n") == 1
    assert files(tmp_path) == ["film.mp4"]


INTERRUPTED = textwrap.dedent(
    """
    import sys, time
    from semmix_rt.media.transfer import Transfer
    with Transfer(sys.argv[1], sys.argv[2], block_s=0.05) as transfer:
        for block in transfer.blocks():
            transfer.write(block)
            print("going", flush=True)
            time.sleep(0.05)
    """
)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, film: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(film), str(tmp_path / "out.mp4")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "going\n"
    assert len(files(tmp_path)) == 2
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in stderr
    assert files(tmp_path) == ["film.mp4"]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder(tmp_path: Path, film: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    with pytest.raises(MediaError, match="cannot be written to"):
        Transfer(film, folder / "out.mp4")


def test_a_folder_found_unwritable_by_the_system(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(MediaError, match="cannot be written to"):
        Transfer(film, tmp_path / "out.mp4")


def tampered_write(transfer: Transfer, monkeypatch: pytest.MonkeyPatch, change) -> None:
    """Run a transfer whose temporary file is changed just before it is verified."""

    def verify(path: Path, expected: Expected):
        change(Path(path))
        return verify_transfer(path, expected)

    monkeypatch.setattr(transfer_module, "verify_transfer", verify)
    for block in transfer.blocks():
        transfer.write(block)
    transfer.finish()


def flip_picture_byte(path: Path) -> None:
    with av.open(str(path)) as container:
        packet = [p for p in container.demux(video=0) if p.size][10]
    data = bytearray(path.read_bytes())
    data[packet.pos + packet.size // 2] ^= 1
    path.write_bytes(data)


def cut_the_end(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def shift_the_sound(path: Path) -> None:
    data = bytearray(path.read_bytes())
    track = data.rindex(b"trak", 0, data.index(b"soun"))
    at = data.index(b"elst", track) + 4 + 8 + 4
    value = int.from_bytes(data[at : at + 4], "big")
    data[at : at + 4] = (value + 4800).to_bytes(4, "big")
    path.write_bytes(data)


def make_it_text(path: Path) -> None:
    path.write_text("oops")


@pytest.mark.parametrize("change", [flip_picture_byte, cut_the_end, shift_the_sound, make_it_text])
def test_a_damaged_result_is_never_moved_into_place(
    tmp_path: Path, film: Path, change, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Transfer(film, tmp_path / "out.mp4") as transfer, pytest.raises(VerificationError):
        tampered_write(transfer, monkeypatch, change)
    assert files(tmp_path) == ["film.mp4"]


PEAK = textwrap.dedent(
    """
    import pathlib, sys
    from semmix_rt.media.transfer import Transfer
    with Transfer(sys.argv[1], sys.argv[2]) as transfer:
        for block in transfer.blocks():
            transfer.write(block)
        transfer.finish()
    status = pathlib.Path("/proc/self/status").read_text()
    print(status.split("VmHWM:")[1].split()[0])
    """
)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_film(tmp_path: Path) -> None:
    piece = make_media(
        tmp_path / "piece.mkv", Sound("pcm_s16le", noise(10 * 48_000, 1), 48_000), frames=250
    )
    lengths_s, peaks = (300, 1200), []
    for seconds in lengths_s:
        film = repeat_media(piece, tmp_path / f"{seconds}.mkv", 10, seconds // 10)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(film), str(tmp_path / "out.mov")],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(1024 * int(done.stdout))
        film.unlink()
        (tmp_path / "out.mov").unlink()
    assert peaks[1] - peaks[0] < GROWTH_BYTES_PER_S * (lengths_s[1] - lengths_s[0])


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_sound_and_picture_lie_together_behind_a_slow_caller(tmp_path: Path, suffix: str) -> None:
    sound = Sound("aac", noise(40 * 16_000, 1), 16_000)
    film = make_media(tmp_path / f"film.{suffix}", sound, frames=1000)
    target = tmp_path / f"out.{suffix}"
    with Transfer(film, target) as transfer:
        for block in transfer.blocks():
            time.sleep(0.01)
            transfer.write(block)
        transfer.finish()
    assert apart_s(target) < apart_s(film) + INTERLEAVING_S


def apart_s(path: Path) -> float:
    """By how much sound and picture differ in time, at worst, from byte to byte of a file."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux() if p.size]
        stamps = [(p.pos, p.stream_index, float(p.dts * p.time_base)) for p in packets]
    worst, latest = 0.0, dict.fromkeys((0, 1), 0.0)
    for _, index, stamp_s in sorted(stamps):
        latest[index] = stamp_s
        worst = max(worst, abs(latest[0] - latest[1]))
    return worst
