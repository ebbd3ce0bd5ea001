"""`verify`: hold every precision of a bundle against PyTorch, and keep what was found in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from semmix_rt.engines import open_engine, open_window_engine
from semmix_rt.engines.ort_records import ENGINES, ON_GPU, RecordedHere
from semmix_rt.engines.trt.batches import ONE
from semmix_rt.engines.trt.engine import CompiledEngine
from semmix_rt.engines.trt.library import LIBRARIES

from semmix.bundle import Bundle, FileRecord, check_precision
from semmix.bundle.parity import Parity
from semmix.bundle.thresholds import Thresholds, thresholds
from semmix.errors import MediaError, ModelFormatError, UsageError
from semmix.nn.base.checkpoint import load_published
from semmix.nn.base.config import ContextAttention
from semmix.nn.base.engine import TorchWindowEngine
from semmix.nn.engine import WEIGHTS_FILE, TorchEngine
from semmix.specs import WindowSpec
from semmix_export.gate import AnyEngine, Gate, Tell, gate_record, several, torch_reference
from semmix_export.gate_sounds import gate_sounds, stem_files
from semmix_export.provenance import file_record

SCHEMA = "semmix-rt.verify"
SCHEMA_VERSION = 1

_RECORDED = "ort"
"""Records in a bundle are about its graphs in this engine."""

_CHOSEN_ON = ("calibrated_on", "chosen_on")
"""Where a bundle names the clips whose sound decided what a precision is like."""

EXACT_GROUP = "semmix_rt.exact_engines"
"""Entry points that open such graphs rounded as they are typed, by precision: those that are bound
for GPUs, of which ONNX Runtime's kernels for CPUs say too much good."""

Place = Literal["", "bundle", "engines"]
"""Where records were kept: nowhere, in the bundle, or on this machine, among compiled engines."""

VerifyProgress = Callable[[str, int, int, str], None]
"""`progress(precision, done, total, sound)`."""


@dataclass(frozen=True, slots=True)
class PrecisionResult:
    """One precision beside PyTorch.

    Attributes:
        precision: its name.
        batch: of the compiled engine that ran, as least:usual:most; else empty.
        parity: what was found on each sound.
        record: the same as plain JSON values, as a bundle keeps it.
    """

    precision: str
    batch: str
    parity: Parity
    record: dict[str, Any]

    @property
    def name(self) -> str:
        """The precision, with the batch of an engine that runs more than one stream."""
        alone = self.batch in ("", str(ONE))
        return self.precision if alone else f"{self.precision} {self.batch}"

    @property
    def passed(self) -> bool:
        """Whether it is within its gate."""
        return self.parity.passed


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of `verify`.

    Attributes:
        path: of the bundle.
        name: of the model.
        sha256: of the bundle as it is now.
        against: what the reference was.
        results: by precision, in the order asked for.
        kept: where the records were written.
        warnings: sentences on what makes the result worth less.
    """

    path: Path
    name: str
    sha256: str
    against: str
    results: tuple[PrecisionResult, ...]
    kept: Place
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every precision is within its gate."""
        return all(result.passed for result in self.results)

    @property
    def only_made_sounds(self) -> bool:
        """Whether no real sound was heard."""
        return not any(s.real for result in self.results for s in result.parity.sounds)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, schema first."""
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "bundle": str(self.path),
            "model": self.name,
            "sha256": self.sha256,
            "against": self.against,
            "passed": self.passed,
            "written": self.kept != "",
            "kept": self.kept,
            "warnings": list(self.warnings),
            "precisions": {result.name: result.record for result in self.results},
        }


def verify(
    bundle: Bundle | str | PathLike[str],
    *,
    precisions: Sequence[str] | None = None,
    engine: str = "ort",
    media: Sequence[Path] = (),
    stems: Path | None = None,
    checkpoint: Path | None = None,
    threads: int = 1,
    write: bool | None = None,
    progress: VerifyProgress = lambda precision, done, total, sound: None,
) -> Verification:
    """Compare a model's precisions with PyTorch eager in float32, on made and real sounds.

    Args:
        bundle: a model, its path, or the name of one that comes along, such as `edge`.
        precisions: which; None for all it holds (for the torch engine, fp32). Of compiled engines
            fp32 always is among them, as what the others turn to.
        engine: what runs them, as in `open_engine`.
        media: files whose loudest stretch is heard as well.
        stems: folder with `speech`, `music` and `effects` files, instead of those that come along.
        checkpoint: of an imported model whose bundle carries no weights for PyTorch: the file it
            was imported from.
        threads: CPU threads of each engine.
        write: keep the records: of ort in the bundle, of compiled engines beside these and of
            ort's GPU providers there as well. None to do so, but not in models that come along,
            which are part of the installation, and not of other engines, which no record is about.
        progress: is told of each sound.

    Returns:
        what was found, passed or not.

    Raises:
        UsageError: no such precision, no stems, or records that cannot be written.
        ModelFormatError: no bundle, or one without weights to compare with.
        MediaError: a file to hear cannot be read.
        EngineError: the engine is missing or cannot run the model, or records cannot be kept.
    """
    model = bundle if isinstance(bundle, Bundle) else Bundle.find(bundle)
    name = _RECORDED if engine == "auto" else engine
    chosen = _precisions(model, name, precisions)
    place: Place = "bundle" if name == _RECORDED else "engines" if name in ON_GPU else ""
    if write and not place:
        raise UsageError(
            f"records are kept of ort, {', '.join(ENGINES)} and of compiled engines, not of "
            f"{name}: leave writing out"
        )
    if write is False or (write is None and place == "bundle" and model.comes_along):
        place = ""
    spec = model.manifest.spec
    sounds = gate_sounds(spec, media=media, stems=stems)
    gate = Gate(_reference(model, checkpoint, threads), sounds)
    heard = [*media, *(stem_files(stems).values() if stems is not None else ())]
    warnings = _chosen_on(model, chosen, heard)
    against = torch_reference()
    results = []
    for precision in chosen:

        def tell(done: int, total: int, sound: str, precision: str = precision) -> None:
            progress(precision, done, total, sound)

        opened = _open(model, name, threads, precision)
        limits = thresholds(precision, spec)
        for one in opened.plan_by_plan() if isinstance(opened, CompiledEngine) else (opened,):
            result = _held(gate, one, limits, model, against, tell)
            if place == "engines" and isinstance(one, CompiledEngine | RecordedHere):
                one.keep_parity(result.record)
            results.append(result)
    for result in results if place == "bundle" else ():
        model = model.with_parity(result.precision, result.record)
    return Verification(
        model.path, model.name, model.sha256, against, tuple(results), place, warnings
    )


def _precisions(model: Bundle, engine: str, asked: Sequence[str] | None) -> tuple[str, ...]:
    """Which networks to compare, each held by the bundle."""
    chosen = tuple(asked or (("fp32",) if engine == "torch" else model.precisions))
    if engine in LIBRARIES:
        # What is made for kernels of CPUs is not compiled, unless it is asked for and refused.
        fit = chosen if asked else tuple(name for name in chosen if name != "int8cpu")
        chosen = tuple(dict.fromkeys(("fp32", *fit)))
    for precision in chosen:
        check_precision(precision)
        model.check_holds(precision)
    return chosen


def _held(
    gate: Gate, engine: AnyEngine, limits: Thresholds, model: Bundle, against: str, tell: Tell
) -> PrecisionResult:
    """An engine, of compiled ones with a single plan, held against the reference."""
    batch = ""
    own_batch = engine.name == "torch" or engine.name.startswith("ort")
    batches = several(engine.spec) if own_batch else ()
    if isinstance(engine, CompiledEngine):
        (plan,) = engine.batches
        batch, batches = str(plan), plan.sizes
    parity = gate.compare(engine, limits, batches=batches, tell=tell)
    record = gate_record(parity, engine, model, against)
    if batch:
        record["batch"] = batch
    return PrecisionResult(engine.precision, batch, parity, record)


def _chosen_on(model: Bundle, precisions: Sequence[str], files: Sequence[Path]) -> tuple[str, ...]:
    """A sentence for each file that a precision was chosen on, which flatters it.

    Raises:
        MediaError: a file cannot be read.
    """
    known = model.manifest.provenance.get("precisions")
    made = known if isinstance(known, dict) else {}
    found = []
    for path in files:
        try:
            digest = FileRecord.of(path).sha256
        except OSError as exc:
            raise MediaError(f"{path} cannot be read ({exc.strerror}): check its path") from exc
        of = [name for name in precisions if digest in _hashes(made.get(name))]
        if of:
            found.append(
                f"{path} is among the sounds that {', '.join(of)} of {model.path} was chosen on, "
                "where it errs least: let it hear another"
            )
    return tuple(found)


def _hashes(facts: object) -> set[str]:
    """Hashes of the files that a precision was chosen on, by how it says it was made."""
    told = facts if isinstance(facts, dict) else {}
    lists = [told.get(name) for name in _CHOSEN_ON]
    clips = [clip for found in lists if isinstance(found, list) for clip in found]
    return {str(clip.get("sha256")) for clip in clips if isinstance(clip, dict)} - {"", "None"}


def _open(bundle: Bundle, engine: str, threads: int, precision: str) -> AnyEngine:
    """The engine for the bundle's kind of model, exact where precisions are bound for GPUs."""
    exact = {entry.name: entry for entry in entry_points(group=EXACT_GROUP)}
    if engine == _RECORDED and precision in exact:
        opened: AnyEngine = exact[precision].load()(bundle, threads, precision)
        return opened
    open_one = open_engine if bundle.window_spec is None else open_window_engine
    return open_one(bundle, engine, threads=threads, precision=precision)


def _reference(bundle: Bundle, checkpoint: Path | None, threads: int) -> AnyEngine:
    """PyTorch eager over the bundle's own weights, or over those it was imported from.

    Raises:
        UsageError: a checkpoint for a bundle that carries weights.
        ModelFormatError: there are no weights, or they are not those of the bundle.
    """
    spec = bundle.window_spec
    if checkpoint is not None:
        return TorchWindowEngine(*_imported(bundle, checkpoint), threads)
    if WEIGHTS_FILE not in bundle.manifest.files:
        raise ModelFormatError(
            f"{bundle.path} holds no {WEIGHTS_FILE} for PyTorch to compare with: pass "
            "--checkpoint with the file it was imported from, or import that with --with-torch"
        )
    if spec is None:
        return TorchEngine.open(bundle, threads)
    return TorchWindowEngine.open(bundle, threads)


def _imported(bundle: Bundle, checkpoint: Path) -> tuple[Any, WindowSpec]:
    """The network of the checkpoint that a bundle says it was imported from, and its spec."""
    spec, facts = bundle.window_spec, bundle.manifest.provenance
    origin, config = facts.get("checkpoint"), facts.get("config")
    if spec is None or not isinstance(origin, dict) or not isinstance(config, dict):
        raise UsageError(
            f"{bundle.path} was not imported from a checkpoint: leave --checkpoint out"
        )
    try:
        found = file_record(checkpoint)["sha256"]
    except OSError as exc:
        raise ModelFormatError(
            f"the checkpoint {checkpoint} cannot be read ({exc.strerror}): check its path"
        ) from exc
    if found != origin.get("sha256"):
        raise ModelFormatError(
            f"{checkpoint} is not the file {bundle.path} was imported from (its hash differs): "
            f"pass {origin.get('name')}"
        )
    attention: ContextAttention = (
        "time" if config.get("context_attention") == "time" else "released"
    )
    return load_published(checkpoint, context_attention=attention), spec
