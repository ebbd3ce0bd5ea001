"""ONNX Runtime in a process of its own, to try graphs that were made a moment ago.

A graph that no one has run yet may take the process that runs it along, and ONNX Runtime gives
back no memory. Here it takes a child, and the parent says so in a sentence. Arrays travel as
`.npz`, which holds no code, with their length in front.

Run as `python -m semmix_export.child BUNDLE`.
"""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from semmix_rt.engines import open_engine, open_window_engine

from semmix.bundle import Bundle
from semmix.errors import EngineError, SemMixError

Float32 = NDArray[np.float32]
State = tuple[Float32, ...]
Message = dict[str, Any]
"""Arrays by name; texts are arrays as well."""

_LENGTH = struct.Struct("<Q")
_TOLD_CHARACTERS = 200


class _Child:
    """The process, and the calls to the engine in it, until it is closed."""

    name = "ort"
    precision = "fp32"

    def __init__(self, bundle: Bundle) -> None:
        """Start it and load the float32 networks.

        Raises:
            EngineError: they cannot be loaded, or the process ends over it.
        """
        with ExitStack() as stack:
            # A file and not a pipe, which would fill up while no one reads it.
            self._said = stack.enter_context(tempfile.TemporaryFile())
            self._process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-P", "-m", "semmix_export.child", str(bundle.path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._said,
                )
            )
            stack.callback(self._process.kill)
            self.provider = str(self._answer()["provider"])
            self._open = stack.pop_all()

    def close(self) -> None:
        """End the process."""
        # What was not sent to a process that is no more is nobody's loss.
        with suppress(BrokenPipeError):
            self._open.close()

    def _call(self, call: str, *arrays: Float32) -> list[Float32]:
        """Results of a method of the engine."""
        assert self._process.stdin is not None
        try:
            _send(self._process.stdin, {"call": np.array(call), **_numbered(arrays)})
        except OSError as exc:
            raise self._ended() from exc
        return _listed(self._answer())

    def _answer(self) -> Message:
        assert self._process.stdout is not None
        answer = _receive(self._process.stdout)
        if answer is None:
            raise self._ended()
        if "error" in answer:
            raise EngineError(str(answer["error"]))
        return answer

    def _ended(self) -> EngineError:
        """What to say of a process that is no more."""
        code = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        told = f", {lines[-1][:_TOLD_CHARACTERS]}" if lines else ""
        return EngineError(
            f"ONNX Runtime ended with {_named(code)} while it ran the exported graph{told}: report "
            "this with the versions that `semmix-rt env` prints"
        )


class ChildEngine(_Child):
    """A streaming bundle's float32 networks in a child process; see `Engine`."""

    def __init__(self, bundle: Bundle) -> None:
        self.spec = bundle.spec
        super().__init__(bundle)

    def encode_context(self, embeddings: Float32) -> Float32:
        """See `Engine.encode_context`."""
        return self._call("encode_context", embeddings)[0]

    def initial_state(self, batch: int = 1) -> State:
        """See `Engine.initial_state`."""
        return tuple(np.zeros((batch, *state.shape), np.float32) for state in self.spec.state)

    def run(
        self, spectrum: Float32, tokens: Float32, weights: Float32, state: State
    ) -> tuple[Float32, State]:
        """See `Engine.run`."""
        mask, *following = self._call("run", spectrum, tokens, weights, *state)
        return mask, tuple(following)


class ChildWindowEngine(_Child):
    """A window bundle's float32 networks in a child process; see `WindowEngine`."""

    def __init__(self, bundle: Bundle) -> None:
        spec = bundle.window_spec
        assert spec is not None
        self.spec = spec
        super().__init__(bundle)

    def encode_context(self, vectors: Float32) -> Float32:
        """See `WindowEngine.encode_context`."""
        return self._call("encode_context", vectors)[0]

    def run(
        self, magnitude: Float32, waveform: Float32, tokens: Float32 | None
    ) -> tuple[Float32, Float32]:
        """See `WindowEngine.run`."""
        context = () if tokens is None else (tokens,)
        mask, wave = self._call("run", magnitude, waveform, *context)
        return mask, wave


def _named(code: int) -> str:
    """An exit code for people: a signal by its name."""
    try:
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"
    except ValueError:
        return f"signal {-code}"


def _numbered(arrays: tuple[Float32, ...]) -> Message:
    return {f"a{i}": array for i, array in enumerate(arrays)}


def _listed(message: Message) -> list[Float32]:
    return [message[f"a{i}"] for i in range(sum(name.startswith("a") for name in message))]


def _send(pipe: BinaryIO | Any, message: Message) -> None:
    content = io.BytesIO()
    np.savez(content, **message)
    pipe.write(_LENGTH.pack(content.tell()) + content.getvalue())
    pipe.flush()


def _receive(pipe: BinaryIO | Any) -> Message | None:
    """The next message, None where the other side is gone."""
    head = pipe.read(_LENGTH.size)
    size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
    content = pipe.read(size)
    if not size or len(content) < size:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def main() -> None:
    """Answer calls on stdin until it ends."""
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        bundle = Bundle.load(sys.argv[1])
        streams = bundle.window_spec is None
        engine: Any = (open_engine if streams else open_window_engine)(bundle, "ort")
        _send(answers, {"provider": np.array(engine.provider)})
        while (message := _receive(sys.stdin.buffer)) is not None:
            arrays = _listed(message)
            if str(message["call"]) == "encode_context":
                results = [engine.encode_context(*arrays)]
            elif streams:
                mask, state = engine.run(*arrays[:3], tuple(arrays[3:]))
                results = [mask, *state]
            else:
                results = list(engine.run(*arrays[:2], arrays[2] if arrays[2:] else None))
            _send(answers, _numbered(tuple(results)))
    except SemMixError as exc:
        _send(answers, {"error": np.array(str(exc))})


if __name__ == "__main__":
    main()
