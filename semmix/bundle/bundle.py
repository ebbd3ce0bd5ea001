"""Load, check and write bundles.

A bundle is a folder, or a zip of it:

    bundle.json                   format, version, spec, hashes, provenance, parity
    context.onnx                  embeddings [N, K, E] -> tokens [N, K, D]
    highlighter.<precision>.onnx  spectrum, tokens, weights, state -> mask, next state; of a model
                                  that hears windows: magnitude, waveform, tokens -> mask, waveform
    golden.npz                    inputs and PyTorch's outputs, float32
    MODEL_CARD.md                 what the model is, for people
    network.safetensors           weights for PyTorch, optional

Everything the runtime uses is held against the hashes in `bundle.json` at the moment it is
read, and nothing that `bundle.json` does not list is accepted.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as _replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semmix.atomic import move_folder
from semmix.bundle.golden import golden_bytes, parse_golden
from semmix.bundle.manifest import (
    CARD_NAME,
    GOLDEN_NAME,
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    NETWORK_NAME,
    FileRecord,
    Manifest,
    context_name,
    highlighter_name,
    parse_manifest,
)
from semmix.bundle.parity import Parity
from semmix.bundle.precisions import PRECISIONS, check_precision
from semmix.bundle.sources import Source, open_source
from semmix.bundle.thresholds import thresholds
from semmix.errors import ModelFormatError, UsageError
from semmix.specs import ModelSpec, Spec, WindowSpec

_BUNDLES = Path(__file__).resolve().parent.parent / "assets" / "bundles"
# Zip entries carry this date, so that equal bundles give equal zips.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked model.

    Attributes:
        path: the folder or zip it came from.
        manifest: the content of `bundle.json`.
        source: where its bytes are read from.
    """

    path: Path
    manifest: Manifest
    source: Source

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Bundle:
        """Open the bundle at `path`, a folder or a zip, and check every file's hash.

        Raises:
            ModelFormatError: it is no bundle, of another version, damaged, or hostile.
        """
        location = Path(path)
        source = open_source(location)
        where = f"{MANIFEST_NAME} in {location}"
        present = source.names()
        if MANIFEST_NAME not in present:
            raise ModelFormatError(
                f"{location} is not a bundle, it has no {MANIFEST_NAME}: "
                "give the folder that `semmix-rt export` wrote, or a zip of it"
            )
        manifest = parse_manifest(source.read(MANIFEST_NAME, MAX_MANIFEST_BYTES), where)
        expected = {MANIFEST_NAME, *manifest.files}
        if missing := sorted(expected - present):
            raise ModelFormatError(
                f"the bundle {location} lacks {', '.join(missing)}: fetch the bundle anew"
            )
        if foreign := sorted(present - expected):
            raise ModelFormatError(
                f"the bundle {location} holds {foreign[0]!r}, which {MANIFEST_NAME} does not "
                "list: remove what does not belong to it"
            )
        bundle = cls(location, manifest, source)
        for name in manifest.files:
            bundle.read(name)
        return bundle

    @classmethod
    def find(cls, where: str | os.PathLike[str]) -> Bundle:
        """The bundle at a path or, where nothing lies there, the one that comes along by that name.

        Raises:
            ModelFormatError: it is no bundle, or damaged.
        """
        name = os.fspath(where)
        if not Path(name).exists() and name in _installed():
            return cls.default(name)
        return cls.load(name)

    @classmethod
    def default(cls, name: str = "edge") -> Bundle:
        """The model that comes with the package.

        Raises:
            ModelFormatError: the installation lacks it or damaged it.
        """
        installed = _installed()
        if name not in installed:
            raise ModelFormatError(
                f"this installation holds no model {name!r} (in {_BUNDLES}: "
                f"{', '.join(installed) or 'none'}): install semmix-rt again, "
                "or give the path of a bundle"
            )
        return cls.load(_BUNDLES / name)

    @property
    def comes_along(self) -> bool:
        """Whether it is a part of the installed package."""
        return self.path.resolve().is_relative_to(_BUNDLES)

    @property
    def spec(self) -> ModelSpec:
        """The numbers of a network that streams.

        Raises:
            ModelFormatError: this one hears whole windows.
        """
        spec = self.manifest.spec
        if not isinstance(spec, ModelSpec):
            raise ModelFormatError(
                f"the model {self.name!r} ({self.path}) hears whole windows and cannot be used "
                "here: `semmix-rt remix` runs it"
            )
        return spec

    @property
    def window_spec(self) -> WindowSpec | None:
        """The numbers of a network that hears whole windows, None for one that streams."""
        spec = self.manifest.spec
        return spec if isinstance(spec, WindowSpec) else None

    @property
    def name(self) -> str:
        """The model's name, such as `edge`."""
        return self.manifest.spec.name

    @property
    def sha256(self) -> str:
        """Identity of the bundle, the hash of its manifest (which hashes all the rest)."""
        return self.manifest.sha256

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions of the mask network it holds, such as `("fp32", "int8")`."""
        return tuple(self.manifest.graphs)

    @property
    def parity(self) -> Mapping[str, Any]:
        """By precision, the record of the comparison with PyTorch."""
        return self.manifest.parity

    def parity_passed(self, precision: str) -> bool:
        """Whether its record proves that this precision, in ONNX Runtime on a CPU, is PyTorch's."""
        return self.proves(precision, self.manifest.parity.get(precision))

    def proves(self, precision: str, record: object) -> bool:
        """Whether a record of the gate says that a precision agrees with PyTorch.

        It must be about the mask network that is here and, where it names the context encoder,
        about that; its numbers must be within today's limits, whatever it says of itself.

        Args:
            precision: of the mask network.
            record: from anywhere; None where there is none.
        """
        if not isinstance(record, dict) or record.get("passed") is not True:
            return False
        if precision not in PRECISIONS or precision not in self.manifest.graphs:
            return False
        if record.get("graph_sha256") != self.highlighter_sha256(precision):
            return False
        # Records of before do not name the context encoder.
        context = self.context_sha256
        if record.get("context_sha256", context) != context:
            return False
        limits = thresholds(precision, self.manifest.spec)
        return Parity.from_record(record, limits, has_context=bool(context)).passed

    def highlighter_sha256(self, precision: str) -> str:
        """Hash of the mask network's ONNX in a precision that it holds."""
        return self.manifest.files[self.manifest.graphs[precision]].sha256

    @property
    def context_sha256(self) -> str:
        """Hash of the context encoder's ONNX, empty for a model without."""
        name = self.manifest.context
        return self.manifest.files[name].sha256 if name else ""

    def read(self, name: str) -> bytes:
        """Content of one listed file, held against its hash.

        Raises:
            ModelFormatError: it is not listed, or not the file the bundle was made with.
        """
        record = self.manifest.files.get(name)
        if record is None:
            raise ModelFormatError(
                f"the bundle {self.path} has no {name}: "
                "use another precision or engine, or export the model again"
            )
        content = self.source.read(name, record.bytes)
        if len(content) != record.bytes or hashlib.sha256(content).hexdigest() != record.sha256:
            raise ModelFormatError(
                f"{name} in the bundle {self.path} is not the file it was made with "
                "(its hash differs): fetch the bundle anew"
            )
        return content

    def context_graph(self) -> bytes:
        """ONNX of the context encoder.

        Raises:
            ModelFormatError: the model takes no context.
        """
        if self.manifest.context is None:
            raise ModelFormatError(f"the model {self.name!r} takes no context: it needs no cues")
        return self.read(self.manifest.context)

    def highlighter_graph(self, precision: str = "fp32") -> bytes:
        """ONNX of the mask network in one precision.

        Raises:
            ModelFormatError: the bundle does not hold that precision.
        """
        self.check_holds(precision)
        return self.read(self.manifest.graphs[precision])

    def golden(self) -> dict[str, NDArray[np.float32]]:
        """Inputs and PyTorch's outputs by name, finite float32 arrays.

        Raises:
            ModelFormatError: an array is of another kind or damaged.
        """
        return parse_golden(self.read(GOLDEN_NAME), f"{GOLDEN_NAME} in {self.path}")

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Bundle:
        """Copy the bundle to a new folder, or to a zip where `path` ends in `.zip`.

        Raises:
            UsageError: `path` exists and `overwrite` is not set, or cannot be written.
            ModelFormatError: a file of this bundle changed since it was loaded.
        """
        return _write(Path(path), self.manifest, self._contents(), overwrite=overwrite)

    def add_precision(
        self,
        precision: str,
        graph: bytes,
        *,
        parity: Mapping[str, Any],
        provenance: Mapping[str, Any],
        to: Path | None = None,
        replace: bool = False,
    ) -> Bundle:
        """Write the bundle anew with the mask network in one more precision.

        Args:
            precision: one of `PRECISIONS`.
            graph: ONNX of the mask network.
            parity: record of its comparison with PyTorch; see `proves`.
            provenance: how it was made, kept as `provenance["precisions"][precision]`.
            to: where the new bundle goes; None to put it in this one's place.
            replace: the precision may be there already, and `to` be taken by a bundle.

        Returns:
            the new bundle, loaded back and checked; this one is what it was.

        Raises:
            UsageError: no such precision, one that is there already, or a place that is taken or
                cannot be written.
            ModelFormatError: a file of this bundle changed since it was loaded.
        """
        check_precision(precision)
        old = self.manifest
        if precision in old.graphs and not replace:
            raise UsageError(
                f"the bundle {self.path} has a {precision} network already: ask to replace it"
            )
        name = highlighter_name(precision)
        known = old.provenance.get("precisions")
        made = known if isinstance(known, dict) else {}
        manifest = _replace(
            old,
            files={**old.files, name: FileRecord(hashlib.sha256(graph).hexdigest(), len(graph))},
            graphs={**old.graphs, precision: name},
            provenance={
                **old.provenance,
                "precisions": {**made, precision: dict(provenance)},
            },
            parity={**old.parity, precision: dict(parity)},
        )
        contents = self._contents() | {name: graph}
        overwrite = replace or to is None
        return _write(to or self.path, manifest, contents, overwrite=overwrite)

    def with_parity(self, precision: str, record: Mapping[str, Any]) -> Bundle:
        """Write the bundle anew, in its place, with another parity record of one precision.

        Raises:
            UsageError: the bundle cannot be written.
            ModelFormatError: it does not hold the precision, or changed since it was loaded.
        """
        self.check_holds(precision)
        parity = {**self.manifest.parity, precision: dict(record)}
        manifest = _replace(self.manifest, parity=parity)
        return _write(self.path, manifest, self._contents(), overwrite=True)

    def check_holds(self, precision: str) -> None:
        """Refuse a precision that the bundle does not hold.

        Raises:
            ModelFormatError: it does not.
        """
        if precision not in self.manifest.graphs:
            raise ModelFormatError(
                f"the bundle {self.path} has no {precision} network, only "
                f"{', '.join(self.precisions)}: choose one of these"
            )

    def _contents(self) -> dict[str, bytes]:
        """All files but the manifest, each held against its hash."""
        return {name: self.read(name) for name in self.manifest.files}


def write_bundle(
    path: str | os.PathLike[str],
    spec: Spec,
    *,
    context: bytes | None,
    highlighters: Mapping[str, bytes],
    golden: Mapping[str, NDArray[np.float32]],
    model_card: str,
    provenance: Mapping[str, Any],
    parity: Mapping[str, Any],
    network: bytes | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Write a bundle in one step: either all of it is there afterwards, or nothing.

    Args:
        path: folder to make, or a file that ends in `.zip`.
        spec: the network's numbers.
        context: ONNX of the context encoder; None for a model without context.
        highlighters: ONNX of the mask network by precision, such as `fp32`.
        golden: inputs and PyTorch's outputs by name, float32.
        model_card: Markdown for people.
        provenance: plain JSON values: data, recipe, versions, licence.
        parity: by precision, the record of its comparison with PyTorch; see `Bundle.proves`.
        network: safetensors for PyTorch.
        overwrite: replace a bundle that stands at `path`.

    Returns:
        the bundle, loaded back and checked.

    Raises:
        UsageError: `path` exists and `overwrite` is not set, or cannot be written.
        ModelFormatError: the parts do not make a valid bundle.
    """
    spec.check()
    graphs = {precision: highlighter_name(precision) for precision in highlighters}
    name = context_name(spec)
    if (context is None) != (name is None):
        raise ModelFormatError(
            f"the model {spec.name!r} takes {'no context' if name is None else 'context'}: give "
            f"{'no' if name is None else 'its'} context graph"
        )
    contents = {} if name is None or context is None else {name: context}
    contents |= {graphs[precision]: onnx for precision, onnx in highlighters.items()}
    contents |= {GOLDEN_NAME: golden_bytes(golden), CARD_NAME: model_card.encode("utf-8")}
    if network is not None:
        contents[NETWORK_NAME] = network
    manifest = Manifest(
        spec=spec,
        files={
            name: FileRecord(hashlib.sha256(content).hexdigest(), len(content))
            for name, content in contents.items()
        },
        graphs=graphs,
        context=name,
        text_encoder=spec.text_encoder,
        provenance=provenance,
        parity=parity,
    )
    return _write(Path(path), manifest, contents, overwrite=overwrite)


def _installed() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(entry.name for entry in _BUNDLES.glob("*") if entry.is_dir())


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Refuse a target that is taken; also asked before work that takes its time.

    Raises:
        UsageError: something is there, and it may not be replaced.
    """
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists already: choose another name or ask to overwrite it")


def _write(
    path: Path, manifest: Manifest, contents: Mapping[str, bytes], *, overwrite: bool
) -> Bundle:
    """Write beside the target, read it back, then move it into place."""
    refuse_existing(path, overwrite)
    if path.is_dir() and any(path.iterdir()) and not (path / MANIFEST_NAME).is_file():
        raise UsageError(f"{path} is a folder but no bundle, it stays: choose another name")
    parts = {MANIFEST_NAME: manifest.to_json(), **contents}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as scratch:
            fresh = Path(scratch) / path.name
            if path.suffix == ".zip":
                _write_zip(fresh, parts)
            else:
                _write_folder(fresh, parts)
            Bundle.load(fresh)
            move_folder(fresh, path, aside=Path(scratch) / "replaced")
    except OSError as exc:
        raise UsageError(
            f"the bundle cannot be written to {path} ({exc.strerror or exc}): "
            "choose a folder you may write to with enough space"
        ) from exc
    return Bundle.load(path)


def _write_folder(folder: Path, parts: Mapping[str, bytes]) -> None:
    folder.mkdir()
    for name, content in parts.items():
        (folder / name).write_bytes(content)


def _write_zip(file: Path, parts: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            info = zipfile.ZipInfo(name, _ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
