"""`semmix-rt export`: a network becomes a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import click

from semmix_export.options import listed

_FILE = click.Path(path_type=Path)


def _names(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    """Precisions from `fp32,fp16`."""
    return listed([value])


@click.command("export")
@click.argument("source", metavar="CHECKPOINT|BUNDLE|edge|base")
@click.option(
    "-o",
    "--output",
    type=_FILE,
    required=True,
    help="Bundle to write; `semmix-rt remix --model FOLDER` runs it.",
)
@click.option(
    "--precision",
    "precisions",
    default="fp32",
    show_default=True,
    callback=_names,
    help="Precisions to make, such as fp32,fp16,int8; fp32 is always there. INT8 needs --stems or "
    "--media; `semmix-rt calibrate` has all the choices.",
)
@click.option(
    "--chunk-s",
    type=click.FloatRange(0.01, 60.0),
    help="Seconds of sound in one run of the network, rounded to its steps: short for low "
    "latency, long for speed. [the network's own]",
)
@click.option(
    "--opset",
    type=click.IntRange(18, 23),
    default=20,
    show_default=True,
    help="ONNX opset; 20 is what TensorRT for RTX compiles in every precision.",
)
@click.option("--stems", type=_FILE, help="Folder with speech/, music/ and effects/ for INT8.")
@click.option(
    "--media",
    type=_FILE,
    multiple=True,
    help="Film or recording for INT8 instead; may be given several times.",
)
@click.option(
    "--model-card",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Text file that says what the model was made of; travels in the bundle.",
)
@click.option("--overwrite", is_flag=True, help="Replace an older bundle at the output.")
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def command(
    source: str,
    output: Path,
    precisions: tuple[str, ...],
    chunk_s: float | None,
    opset: int,
    stems: Path | None,
    media: tuple[Path, ...],
    model_card: Path | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Turn a trained network into a bundle, with its proof of parity.

    Takes a checkpoint that `semmix-rt train` wrote, a bundle that carries its weights (to export it
    anew with other chunks), edge for the model that comes along, or base for the paper's network
    with random weights. Exports to ONNX (fixed chunk, symbolic batch), runs the graphs in ONNX
    Runtime beside PyTorch and refuses to write a bundle that does not agree.
    """
    from rich.console import Console

    from semmix.bundle import refuse_existing

    # Known before PyTorch starts, which takes its time.
    refuse_existing(output, overwrite)
    card = model_card.read_text(encoding="utf-8") if model_card else None
    with Console(stderr=True, quiet=quiet).status("Starting PyTorch") as status:
        from semmix_export.exporting import export

        def tell(step: str) -> None:
            status.update(f"{step[0].upper()}{step[1:]}")

        found = export(
            source,
            output,
            precisions=precisions,
            chunk_s=chunk_s,
            opset=opset,
            stems=stems,
            media=media,
            model_card=card,
            overwrite=overwrite,
            tell=tell,
        )
    others = [p for p in found.bundle.precisions if p != "fp32"]
    if as_json:
        facts = {
            "path": str(found.bundle.path),
            "sha256": found.bundle.sha256,
            "chunk_s": found.chunk_s,
            "precisions": list(found.bundle.precisions),
            "parity": dict(found.bundle.parity),
        }
        click.echo(json.dumps(facts, indent=2))
    elif not quiet:
        click.echo(f"{output}: fp32 agrees with PyTorch to {found.snr_db} dB")
        if chunk_s is not None:
            click.echo(f"{output}: chunks of {found.chunk_s:.3f} s")
        if others:
            if stems is None and not media:
                click.echo(
                    f"{output}: what stays float32 was chosen on made sounds alone (sweeps, noise, "
                    "steps); --media FILE lets it hear yours"
                )
            click.echo(
                f"{output}: {', '.join(others)} made, not yet held against PyTorch: run "
                "`semmix-rt verify` on it next"
            )
