"""`semmix-rt export`: a checkpoint becomes a bundle."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("export")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the bundle to write; `semmix-rt remix --model FOLDER` runs it.",
)
@click.option(
    "--model-card",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Text file that says what the model was made of; travels in the bundle.",
)
@click.option("--overwrite", is_flag=True, help="Replace an older bundle at the output.")
def command(checkpoint: Path, output: Path, model_card: Path | None, overwrite: bool) -> None:
    """Turn a trained network into a bundle, with its proof of parity.

    Exports the averaged weights to ONNX (opset 20, fixed chunk, symbolic batch), runs them in
    ONNX Runtime beside PyTorch and refuses to write a bundle that does not agree.
    """
    from semmix.bundle import refuse_existing
    from semmix.training.checkpoint import load_checkpoint
    from semmix_export.bundle import export_bundle

    # Known before the export, which takes its time.
    refuse_existing(output, overwrite)
    card = model_card.read_text(encoding="utf-8") if model_card else f"# {output.name}\n"
    bundle = export_bundle(
        load_checkpoint(checkpoint), output, model_card=card, overwrite=overwrite
    )
    proof = bundle.parity["fp32"]
    click.echo(f"{output}: fp32 agrees with PyTorch to {proof['snr_db']} dB")
