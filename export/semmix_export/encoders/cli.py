"""`semmix-rt export-encoder`: a text or vision encoder becomes a folder that needs no PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

_FILE = click.Path(path_type=Path)


@click.command("export-encoder", short_help="Turn a text or CLIP encoder into ONNX for remix.")
@click.argument("folder", type=_FILE)
@click.option(
    "-o",
    "--output",
    type=_FILE,
    required=True,
    help="Folder to write; `semmix-rt remix --text-encoder FOLDER` (or --vision-encoder) runs it.",
)
@click.option(
    "--road",
    type=click.Choice(["torch", "optimum"]),
    default="torch",
    show_default=True,
    help="What exports: PyTorch's own exporter, or Hugging Face's optimum, which takes some models "
    "that the former does not and needs an environment of its own (semmix-rt[optimum]).",
)
@click.option("--overwrite", is_flag=True, help="Replace an older encoder at the output.")
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def command(
    folder: Path, output: Path, road: Any, overwrite: bool, as_json: bool, quiet: bool
) -> None:
    """Turn an encoder into ONNX, so that `remix` needs neither PyTorch nor transformers for it.

    FOLDER is a text encoder as transformers saves it (T5, BERT and their like, with safetensors
    and a tokenizer), or a CLIP model, whose vision half is taken. ONNX Runtime must give the
    vectors that PyTorch gives, for sentences of many lengths, before anything is written. Takes
    memory for the weights twice.
    """
    from rich.console import Console

    with Console(stderr=True, quiet=quiet).status("Starting PyTorch") as status:
        from semmix_export.encoders.exporting import export_encoder

        def tell(step: str) -> None:
            status.update(f"{step[0].upper()}{step[1:]}")

        found = export_encoder(folder, output, road=road, overwrite=overwrite, tell=tell)
    if as_json:
        click.echo(json.dumps({"path": str(output), **json.loads(found.to_json())}, indent=2))
    elif not quiet:
        click.echo(
            f"{output}: {found.kind} encoder, vectors of {found.dim} numbers, agrees with PyTorch "
            f"to {found.parity['snr_db']} dB"
        )
