"""`semmix-rt inspect`: what a bundle or an engine is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semmix.printable import printable

if TYPE_CHECKING:
    from semmix_export.graph_facts import GraphFacts
    from semmix_export.inspection import EngineFacts, Inspection, PrecisionFacts

_MOST_NODES = 8
_MOST_LINES = 40


@click.command("inspect", short_help="Show what a bundle or a compiled engine is.")
@click.argument("target", metavar="BUNDLE|ENGINE")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON on stdout.")
def command(target: str, as_json: bool) -> None:
    """Show what BUNDLE (a path, or `edge`) or ENGINE (a `.plan` that was built) is.

    Of a bundle: sizes and rates, latency, precisions with their proof, operators, parameters,
    arithmetic for a second of sound, state, hashes, and where it comes from. Of an engine: what
    its sidecar says it was built from and for. Nothing is run.
    """
    from semmix_export.inspection import Inspection, inspect

    found = inspect(target)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2, allow_nan=False))
        return
    lines = _bundle(found) if isinstance(found, Inspection) else _engine(found)
    # Names and provenance are whatever the file says.
    click.echo("\n".join(map(printable, lines)))


def _bundle(found: Inspection) -> Iterator[str]:
    spec = found.spec
    yield f"{found.name}: {found.path}"
    yield f"  sha256     {found.sha256}"
    kind = "streams" if spec.kind == "stream" else "hears whole windows"
    yield f"  model      {kind}, {spec.audio.sample_rate_hz} Hz; {_numbers(spec.to_dict())}"
    yield f"  latency    {found.latency_ms:.0f} ms: {found.latency_formula}"
    if found.macs_per_s is not None:
        yield f"  arithmetic {found.macs_per_s / 1e9:.2f} GMAC for a second of one channel"
    for state in spec.to_dict().get("state", ()):
        yield f"  state      {state['name']} {list(state['shape'])}"
    yield f"  PyTorch    {'runs it' if found.torch_weights else 'has no weights here'}"
    if found.context is not None:
        yield from _graph("context", found.context)
    for name, precision in found.precisions.items():
        yield from _graph(name, precision.graph)
        yield f"             {_proof(precision)}"
    yield "  provenance"
    yield from _table(found.provenance)


def _numbers(spec: dict[str, Any]) -> str:
    """Transform, chunk and cues of a spec in a line."""
    stft = spec.get("stft", spec)
    parts = [f"window {stft['n_fft']}, hop {stft['hop_samples']}"]
    if "cue_types" in spec:
        parts.append(f"cues {', '.join(spec['cue_types'])} by {spec['text_encoder']}")
        parts.append(f"gains up to {spec['max_gain_db']:g} dB at {spec['programme_lufs']:g} LUFS")
    else:
        parts.append(f"context {spec['context']}")
    return "; ".join(parts)


def _graph(name: str, graph: GraphFacts) -> Iterator[str]:
    weights = ", ".join(f"{count:,} {kind}" for kind, count in graph.weight_types.items())
    yield (
        f"  {name:<10} {graph.bytes / 1e6:.1f} MB, opset {graph.opset}, weights {weights}, "
        f"sha256 {graph.sha256[:12]}"
    )
    shown = list(graph.nodes.items())[:_MOST_NODES]
    others = sum(graph.nodes.values()) - sum(count for _, count in shown)
    more = f", {others} others" if others else ""
    yield f"             {', '.join(f'{count} {kind}' for kind, count in shown)}{more}"


def _proof(facts: PrecisionFacts) -> str:
    record = facts.parity
    if record is None:
        return "never compared with PyTorch: run `semmix-rt verify`"
    verdict = "agrees" if facts.verified else "DOES NOT AGREE"
    worst = record.get("snr_db")
    ratio = f" to {worst} dB" if worst is not None else ""
    only = ", made sounds only" if record.get("only_made_sounds") else ""
    brief = ", on few sounds" if record.get("brief") is True else ""
    return f"{verdict} with {record.get('against', 'PyTorch')}{ratio}{only}{brief}"


def _table(value: Any, depth: int = 2) -> Iterator[str]:
    """Nested JSON values as indented lines, long ones cut."""
    if not isinstance(value, dict):
        yield f"{'  ' * depth}{_short(value)}"
        return
    for number, (key, inner) in enumerate(sorted(value.items())):
        if number == _MOST_LINES:
            yield f"{'  ' * depth}... {len(value) - number} more, see --json"
            return
        if isinstance(inner, dict) and inner:
            yield f"{'  ' * depth}{key}:"
            yield from _table(inner, depth + 1)
        else:
            yield f"{'  ' * depth}{key}: {_short(inner)}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _engine(found: EngineFacts) -> Iterator[str]:
    yield f"engine {Path(found.path).name}: {found.path}"
    yield f"  size       {found.bytes / 1e6:.1f} MB"
    yield f"  sha256     {found.sha256}"
    told = "as it was built" if found.intact else "NOT WHAT THE SIDECAR SPEAKS OF: build it again"
    yield f"  content    {told}"
    yield "  sidecar"
    yield from _table(found.sidecar)
