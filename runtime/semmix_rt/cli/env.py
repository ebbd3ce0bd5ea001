"""`semmix-rt env`: what is installed and what really starts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

EXIT_PROBLEMS = 1


@click.command(name="env")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Show versions, providers and models of this installation.

    Every provider built into ONNX Runtime is started once, and the hash of every model that
    comes along is checked. The exit code is 1 if something keeps `remix` from working.
    """
    from semmix_rt.environment import describe

    report = describe()
    click.echo(json.dumps(report, indent=1) if as_json else "\n".join(_lines(report)))
    if report["problems"]:
        ctx.exit(EXIT_PROBLEMS)


def _lines(report: dict[str, Any]) -> Iterator[str]:
    for name, version in report["versions"].items():
        yield _row(name, version)
    runtimes = ", ".join(f"{name} {version}" for name, version in report["onnxruntime"].items())
    yield _row("ONNX Runtime", runtimes or "not installed")
    for provider, state in report["providers"].items():
        yield _row(f"  {provider}", state)
    libraries = dict(report["ffmpeg"])
    yield _row("FFmpeg", libraries.pop("ffmpeg"))
    yield _row("  libraries", ", ".join(f"{name} {v}" for name, v in libraries.items()))
    for name, version in report["optional"].items():
        yield _row(name, version or "not installed (optional)")
    cpu = report["cpu"]
    yield _row("CPU", f"{cpu['name']}, {cpu['usable_cores']} of {cpu['cores']} cores")
    if cpu["flags"] is not None:
        yield _row("  instruction sets", " ".join(cpu["flags"]) or "none that matter")
    cache = report["cache"]
    size_mb = cache["bytes"] / 1e6
    yield _row("cue cache", f"{cache['folder']} ({cache['files']} files, {size_mb:.1f} MB)")
    yield from _bundle_lines(report["default_bundle"])
    models = report["models"]
    if "checked" in models:
        yield _row("cue models", f"{len(models['checked'])} files, all hashes right")
    yield ""
    yield from (f"problem: {problem}" for problem in report["problems"])
    if not report["problems"]:
        yield "ready to remix"


def _bundle_lines(bundle: dict[str, Any]) -> Iterator[str]:
    if "error" in bundle:
        return
    yield _row("default model", f"{bundle['name']}, all hashes right, {bundle['sha256'][:16]}")
    for precision in bundle["precisions"]:
        record = bundle["parity"].get(precision)
        verdict = "fails parity" if precision in bundle["unproven"] else "passed parity"
        worst = record.get("snr_db") if isinstance(record, dict) else None
        yield _row(f"  {precision}", verdict if worst is None else f"{verdict} (snr_db {worst})")


def _row(label: str, value: str) -> str:
    return f"{label:<26}{value}"
