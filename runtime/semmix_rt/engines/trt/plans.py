"""Compiled networks on disk: what a plan depends on, where it lies, and which may be loaded.

A plan is code that runs. So one is only loaded from a folder of plans where nobody but this user
writes, under the name that its key gives it, with a sidecar that states the same key and the hash
of the plan's bytes. The key names everything a plan depends on, so none is ever stale: at worst it
is unused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import semmix
from semmix.atomic import write_atomically
from semmix.errors import EngineError, EngineMismatchError
from semmix_rt.engines.inputs import Graph, Shapes
from semmix_rt.engines.trt.batches import ONE, Batch
from semmix_rt.engines.trt.cuda import Gpu
from semmix_rt.engines.trt.library import Library
from semmix_rt.engines.trt.timing import TimingCache
from semmix_rt.engines.trt.trust import distrust, make_private
from semmix_rt.user_cache import user_cache

FORMAT = 2
"""Version of keys and sidecars: raise it when either, or how networks are compiled, changes."""

FLAGS = ("strongly-typed", "no-tf32", "detailed-profiling")
"""How networks are compiled. TF32 would round float32 products to ten bits unasked."""

FOLDER_VARIABLE = "SEMMIX_ENGINES_DIR"
_MAX_SIDECAR_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class PlanKey:
    """Everything that decides what a plan holds.

    Attributes:
        model: the model's name, for people.
        graph: `context` or `highlighter`.
        graph_sha256: of the ONNX bytes, which carry the weights.
        precision: what the graph is typed as.
        library, version: what compiled it.
        target: compute capability, such as `sm86`; for TensorRT the GPU's name as well.
        shapes: every input's shape for one stream, window or segment of cues.
        batch: how many of them the plan runs at once.
        flags: how it was compiled.
        format: of this record.
    """

    model: str
    graph: Graph
    graph_sha256: str
    precision: str
    library: str
    version: str
    target: str
    shapes: Shapes
    batch: Batch = ONE
    flags: tuple[str, ...] = FLAGS
    format: int = FORMAT

    def parts(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @property
    def name(self) -> str:
        """The key as a name for files; of keys that differ in the batch, all but the end agree."""
        return f"{self._family}{_separated(self.batch)}"

    @property
    def pattern(self) -> str:
        """What the names of plans look like whose keys differ in the batch alone."""
        return f"{self._family}.*"

    @property
    def _family(self) -> str:
        parts = self.parts()
        del parts["batch"]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A plan on disk, of which the sidecar was checked.

    Attributes:
        path: the plan.
        key: what it depends on.
        sidecar: the sidecar's content.
    """

    path: Path
    key: PlanKey
    sidecar: Mapping[str, Any]


def target_name(library: Library, gpu: Gpu) -> str:
    """What a plan for a GPU is called: TensorRT's are bound to its model, the others are not."""
    return f"{gpu.capability} {gpu.name}" if library.name == "tensorrt" else gpu.capability


def plans_folder() -> Path:
    """Where plans are kept: `$SEMMIX_ENGINES_DIR`, else `engines` in the cache of this user."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen)
    return user_cache("engines")


class PlanFolder:
    """The plans in one folder."""

    def __init__(self, folder: Path | None = None) -> None:
        """Use `folder`, by default `plans_folder()`."""
        self.folder = folder or plans_folder()

    def find(self, key: PlanKey) -> StoredPlan | None:
        """The plan of a key, None where there is none.

        Raises:
            EngineMismatchError: there is one that is damaged or states another key.
        """
        plan, sidecar = self._paths(key)
        if not plan.is_file() or not sidecar.is_file():
            return None
        content = _read_sidecar(sidecar)
        if content is None or content.get("key") != key.parts():
            raise EngineMismatchError(f"{sidecar} does not describe its plan: {_again(key)}")
        return StoredPlan(plan, key, content)

    def batches(self, key: PlanKey) -> tuple[Batch, ...]:
        """The batches that there are plans for, of keys that else are this one."""
        found = []
        for path in sorted(self.folder.glob(f"{key.pattern}.plan")):
            numbers = re.fullmatch(r"\.(\d{1,3})-(\d{1,3})-(\d{1,3})", Path(path.stem).suffix)
            if numbers:
                found.append(Batch(*(int(n) for n in numbers.groups())))
        return tuple(found)

    def intact(self, key: PlanKey) -> StoredPlan | None:
        """The plan of a key whose bytes have the hash that was written, None where there is none.

        Raises:
            EngineMismatchError: there is one that is damaged or states another key.
        """
        stored = self.find(key)
        if stored is not None:
            self._content(stored)
        return stored

    def load(self, key: PlanKey) -> bytes:
        """The bytes of a key's plan, held against their hash.

        Raises:
            EngineMismatchError: there is no such plan, or it is damaged; says what differs.
            EngineError: others than this user may have written it.
        """
        if why := distrust(self.folder, *self._paths(key)):
            raise EngineError(f"no engine is loaded: {why}")
        stored = self.find(key)
        if stored is None:
            raise EngineMismatchError(
                f"there is no {key.library} engine for the {key.graph} of {key.model!r} in "
                f"{key.precision} in {self.folder}{self._nearest(key)}: {_again(key)}"
            )
        return self._content(stored)

    def store(self, key: PlanKey, plan: bytes, details: Mapping[str, Any]) -> StoredPlan:
        """Write a plan and then its sidecar, each whole or not at all.

        Args:
            key: what the plan depends on.
            plan: its bytes.
            details: plain JSON values for the sidecar, such as statistics of its layers.

        Raises:
            EngineError: the folder cannot be written.
        """
        path, sidecar = self._paths(key)
        content = {
            "key": key.parts(),
            "plan": _plan_record(plan),
            "built_by": {"semmix-rt": semmix.__version__},
            **details,
        }
        try:
            make_private(self.folder)
            for kernels in self.folder.glob(f"{key.name}.*.kernels"):
                kernels.unlink(missing_ok=True)
            # A reader in between finds a hash that differs, and refuses.
            write_atomically(path, plan)
            write_atomically(sidecar, json.dumps(content).encode())
        except OSError as exc:
            raise _unwritable(self.folder, exc) from exc
        return StoredPlan(path, key, content)

    def add_details(self, stored: StoredPlan, details: Mapping[str, Any]) -> StoredPlan:
        """Write more into the sidecar of a plan whose lock is held; see `store`.

        Raises:
            EngineError: the folder cannot be written.
        """
        content = {**stored.sidecar, **details}
        try:
            write_atomically(self._paths(stored.key)[1], json.dumps(content).encode())
        except OSError as exc:
            raise _unwritable(self.folder, exc) from exc
        return StoredPlan(stored.path, stored.key, content)

    def parity(self, key: PlanKey) -> Mapping[str, Any] | None:
        """What was found when a key's plan was held against PyTorch, None where it never was.

        Raises:
            EngineMismatchError: see `find`.
        """
        stored = self.find(key)
        record = None if stored is None else stored.sidecar.get("parity")
        about = isinstance(record, dict) and record.get("plan_sha256") == self.plan_sha256(key)
        return record if about else None

    def keep_parity(self, key: PlanKey, record: Mapping[str, Any], plan_sha256: str) -> None:
        """Write into a plan's sidecar what was found when the plan was held against PyTorch.

        Args:
            key: of the plan.
            record: plain JSON values.
            plan_sha256: of the plan that ran.

        Raises:
            EngineMismatchError: the plan is another one by now, or damaged.
            EngineError: the folder cannot be written.
        """
        with self.lock(key):
            stored = self.find(key)
            if stored is None or self.plan_sha256(key) != plan_sha256:
                raise EngineMismatchError(
                    f"the engine was built again while it was compared: run `semmix-rt verify "
                    f"--engine {key.library}` again"
                )
            self.add_details(stored, {"parity": {**record, "plan_sha256": plan_sha256}})

    def plan_sha256(self, key: PlanKey) -> str:
        """The hash that a plan's sidecar states, empty where there is none.

        Raises:
            EngineMismatchError: see `find`.
        """
        stored = self.find(key)
        record = None if stored is None else stored.sidecar.get("plan")
        return str(record.get("sha256", "")) if isinstance(record, dict) else ""

    def kernels(self, key: PlanKey, gpu: Gpu) -> Path:
        """Where the kernels are kept that a plan's library compiled on a GPU."""
        facts = hashlib.sha256(json.dumps(asdict(gpu), sort_keys=True).encode()).hexdigest()
        return self.folder / f"{key.name}.{facts[:16]}.kernels"

    @contextmanager
    def timing_cache(self, key: PlanKey) -> Iterator[TimingCache]:
        """What earlier compilations measured for the same library and target, held alone.

        Two that measure at once would disturb each other, and the last would forget what the other
        measured. TensorRT for RTX measures nothing: it need not wait.

        Raises:
            EngineError: the folder cannot be written.
        """
        if key.library != "tensorrt":
            yield TimingCache(None)
            return
        text = json.dumps([key.library, key.version, key.target])
        name = f"timing-{hashlib.sha256(text.encode()).hexdigest()[:32]}"
        with self._held(name):
            yield TimingCache(self.folder / f"{name}.cache")

    @contextmanager
    def lock(self, key: PlanKey) -> Iterator[None]:
        """Hold a key alone: a second builder waits, and then finds the plan.

        Raises:
            EngineError: the folder cannot be written.
        """
        with self._held(key.name):
            yield

    @contextmanager
    def _held(self, name: str) -> Iterator[None]:
        path = self.folder / f"{name}.lock"
        try:
            make_private(self.folder)
            file = path.open("ab")
        except OSError as exc:
            raise _unwritable(self.folder, exc) from exc
        # The system frees the lock with its process; the empty file stays, as removing it would
        # let two builders lock two files of one name.
        with file:
            _lock(file.fileno())
            yield

    def _paths(self, key: PlanKey) -> tuple[Path, Path]:
        return self.folder / f"{key.name}.plan", self.folder / f"{key.name}.json"

    def _content(self, stored: StoredPlan) -> bytes:
        """A plan's bytes, held against the hash in its sidecar."""
        record = stored.sidecar.get("plan")
        content = stored.path.read_bytes()
        if not isinstance(record, dict) or record != _plan_record(content):
            raise EngineMismatchError(
                f"{stored.path} is not the plan that was built (its hash differs): "
                f"{_again(stored.key)}"
            )
        return content

    def _nearest(self, key: PlanKey) -> str:
        """How the plan differs that is most like the one looked for."""
        wanted = key.parts()
        closest: dict[str, Any] | None = None
        for path in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else ():
            found = (_read_sidecar(path) or {}).get("key")
            if not isinstance(found, dict):
                continue
            differing = {p: found.get(p) for p in wanted if found.get(p) != wanted[p]}
            alike = not differing.keys() & {"model", "graph", "library"}
            if alike and (closest is None or len(differing) < len(closest)):
                closest = differing
        if not closest:
            return ""
        told = (_difference(part, closest[part], wanted[part]) for part in closest)
        return f"; the nearest differs in {', '.join(told)}"


def _difference(part: str, found: object, wanted: object) -> str:
    if part == "graph_sha256":
        return "the network itself"
    if isinstance(wanted, str):
        return f"{part} ({found} there, {wanted} here)"
    return part


def build_command(key: PlanKey) -> str:
    """The command that builds a key's plan, but for its batch."""
    target = f" --target {key.target}" if key.library == "tensorrt-rtx" else ""
    return f"semmix-rt build BUNDLE --engine {key.library} --precision {key.precision}{target}"


def _again(key: PlanKey) -> str:
    """What to do."""
    batch = "" if key.batch == ONE else f" --batch {key.batch}"
    return f"build it with `{build_command(key)}{batch}`"


def _separated(batch: Batch) -> str:
    return f".{batch.least}-{batch.usual}-{batch.most}"


def _plan_record(plan: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(plan).hexdigest(), "bytes": len(plan)}


def _read_sidecar(path: Path) -> dict[str, Any] | None:
    """A sidecar's content, None where it is none."""
    try:
        if path.stat().st_size > _MAX_SIDECAR_BYTES:
            return None
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _unwritable(folder: Path, exc: OSError) -> EngineError:
    return EngineError(
        f"engines cannot be written to {folder} ({exc.strerror or exc}): make space there, or "
        f"name another folder in {FOLDER_VARIABLE}"
    )


def _lock(descriptor: int) -> None:
    """Wait for an exclusive lock on an open file."""
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)
