"""`semmix-rt import`: a published checkpoint becomes a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from semmix.bundle import Bundle
    from semmix.nn.base.config import BaseConfig


@click.command("import", short_help="Turn a published VisAH or SemMix checkpoint into a bundle.")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the bundle to write; `semmix-rt remix --model FOLDER` runs it.",
)
@click.option(
    "--context-attention",
    type=click.Choice(["released", "time"]),
    default="released",
    show_default=True,
    help="released repeats the published code, whose context vectors see only themselves, and is "
    "what published weights give published results with; time is for weights that were trained "
    "with vectors that see each other along time.",
)
@click.option(
    "--with-torch",
    is_flag=True,
    help="Also keep the weights for `remix --engine torch`; the bundle doubles in size.",
)
@click.option(
    "--model-card",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Text file that says where the weights are from and what they may be used for; travels "
    "in the bundle.",
)
@click.option("--overwrite", is_flag=True, help="Replace an older bundle at the output.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print what was found as JSON on stdout; where weights do not fit, the full list of "
    "differences, of which the error names the first ones.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def command(
    checkpoint: Path,
    output: Path,
    context_attention: Any,
    with_torch: bool,
    model_card: Path | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Turn a published checkpoint of the base network into a bundle, with its proof of parity.

    Reads what Lightning saves without running anything in it, tells the variant (text, vision or
    no context, depths) from the shapes, and says which weights are missing, foreign or of
    another shape: the first ones in the error, all of them with --json. ONNX Runtime must agree
    with PyTorch before anything is written.
    """
    from rich.console import Console

    from semmix.bundle import refuse_existing
    from semmix.errors import WeightsMismatchError

    # Known before the export, which takes its time.
    refuse_existing(output, overwrite)
    console = Console(stderr=True, quiet=quiet)
    card = model_card.read_text(encoding="utf-8") if model_card else None
    with console.status("Starting PyTorch") as status:
        from semmix.nn.base.checkpoint import load_published
        from semmix_export.provenance import file_record
        from semmix_export.window_bundle import export_window_bundle

        def tell(step: str) -> None:
            status.update(f"{step[0].upper()}{step[1:]}")

        tell(f"reading {checkpoint.name}")
        try:
            network = load_published(checkpoint, context_attention=context_attention)
        except WeightsMismatchError as exc:
            if as_json:
                click.echo(json.dumps({"differences": exc.differences}, indent=2))
            raise
        bundle = export_window_bundle(
            network,
            output,
            model_card=card or _card(checkpoint, network.config),
            provenance={"checkpoint": file_record(checkpoint)},
            with_torch=with_torch,
            overwrite=overwrite,
            tell=tell,
        )
    facts = _facts(bundle, network.config, sum(p.numel() for p in network.parameters()))
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    elif not quiet:
        click.echo(
            f"{output}: {facts['context']} model of {facts['parameters']:,} parameters, fp32 "
            f"agrees with PyTorch to {facts['parity']['snr_db']} dB"
        )


def _facts(bundle: Bundle, config: BaseConfig, parameters: int) -> dict[str, Any]:
    """What the shapes told, and how well both engines agree; plain JSON values."""
    spec = bundle.window_spec
    assert spec is not None
    return {
        "path": str(bundle.path),
        "sha256": bundle.sha256,
        "context": config.context,
        "context_dim": spec.context_dim,
        "context_layers": config.context_layers,
        "context_attention": config.context_attention,
        "depth": config.depth,
        "channels": config.channels,
        "width": config.width,
        "parameters": parameters,
        "parity": dict(bundle.parity["fp32"]),
    }


def _card(checkpoint: Path, config: BaseConfig) -> str:
    """A model card for weights of which nothing is known but their shapes."""
    takes = {
        "text": "4096-d text vectors, one a second (`remix --text-encoder`)",
        "vision": "768-d CLIP picture features, one a second (`remix --vision-encoder`)",
        "none": "no context",
    }
    return (
        f"# {config.name}\n\nImported from `{checkpoint.name}`. Takes {takes[config.context]}; "
        f"{config.context_layers} context layers, {config.depth} highlighting blocks.\n\n"
        "The licence is that of whoever published the weights.\n"
    )
