"""`semmix-rt build`: a bundle becomes engines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from semmix_export.tensorrt.builder import BuiltEngine
    from semmix_export.tensorrt.layer import Layer, Tensor


@click.command("build")
@click.argument("bundle", default="edge")
@click.option(
    "--engine",
    type=click.Choice(["tensorrt", "tensorrt-rtx"]),
    default="tensorrt-rtx",
    show_default=True,
    help="tensorrt compiles for the GPU of this machine; tensorrt-rtx also without a GPU.",
)
@click.option(
    "--target",
    "targets",
    metavar="SM,...",
    default="",
    help="Compute capabilities for tensorrt-rtx, such as sm80,sm86,sm89,sm120: Ampere, "
    "GeForce 30, GeForce 40, GeForce 50.  [default: this machine's GPU]",
)
@click.option(
    "--precision",
    "precisions",
    metavar="NAME,...",
    default="",
    help="Precisions of the mask network, such as fp16,int8; fp32 always comes along, as what "
    "others fall back to.  [default: all that the bundle holds for GPUs]",
)
@click.option(
    "--batch",
    metavar="LEAST:USUAL:MOST",
    default="1",
    show_default=True,
    help="How many streams or windows the mask network takes at once, such as 1:2:4 or just 2. "
    "`remix` runs one; more are for Python programs. Other numbers are filled up to one of the "
    "three.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the engines, which SEMMIX_ENGINES_DIR must name when they are used.  "
    "[default: the user's cache, where the runtime looks]",
)
@click.option("--rebuild", is_flag=True, help="Compile also what is there already.")
@click.option("--layers", is_flag=True, help="Print each engine's layers, types and ONNX nodes.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    bundle: str,
    engine: str,
    targets: str,
    precisions: str,
    batch: str,
    output: Path | None,
    rebuild: bool,
    layers: bool,
    as_json: bool,
) -> None:
    """Compile a bundle into TensorRT engines.

    BUNDLE is `edge`, the model that comes along, or the path of a bundle. An engine holds for one
    network, one version of the library and one kind of GPU; the runtime loads it only where all
    agree. The table says in what types the engine computes the network's convolutions and matrix
    products. Nothing is run: whether the numbers are right, only the GPU can tell, by
    `semmix-rt verify BUNDLE --engine ...`, without which `remix` refuses the engine.
    """
    from rich.console import Console
    from semmix_rt.engines.trt.batches import Batch

    from semmix_export.tensorrt.builder import build

    with Console(stderr=True).status("Compiling") as status:
        built = build(
            bundle,
            engine,
            targets=_listed(targets),
            precisions=_listed(precisions),
            batch=Batch.parse(batch),
            folder=output,
            rebuild=rebuild,
            tell=lambda step: status.update(f"Compiling the {step}"),
        )
    if as_json:
        click.echo(json.dumps([_plain(one, layers) for one in built], indent=1))
    else:
        click.echo("\n".join(_lines(built, layers)))


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _plain(built: BuiltEngine, layers: bool) -> dict[str, Any]:
    products = None if built.table is None else built.table.computed_in
    plain = asdict(built) | {"path": str(built.path), "products": products}
    if not layers:
        del plain["table"]
    return plain


def _lines(built: Sequence[BuiltEngine], layers: bool) -> Iterator[str]:
    row = "{:<12} {:<9} {:<7} {:<9} {:>9} {:>8}  {}"
    yield row.format(
        "graph", "precision", "target", "batch", "size", "time", "products computed in"
    )
    for one in built:
        took = "kept" if one.build_s is None else f"{one.build_s:.1f} s"
        products = one.table.computed_in.items() if one.table else (("not told", ""),)
        types = ", ".join(f"{kind} {number}".strip() for kind, number in products)
        size = f"{one.plan_bytes / 1e6:.1f} MB"
        yield row.format(one.graph, one.precision, one.target, one.batch, size, took, types)
        if layers and one.table:
            yield from (f"  {_layer(layer)}" for layer in one.table.layers)
    yield f"in {built[0].path.parent}"


def _layer(layer: Layer) -> str:
    taken, made = (
        " ".join(_tensor(tensor) for tensor in tensors) or "-"
        for tensors in (layer.inputs, layer.outputs)
    )
    return f"{layer.kind}: {taken} -> {made}  {' '.join(layer.nodes) or layer.name}"


def _tensor(tensor: Tensor) -> str:
    return f"{tensor.dtype}[{'x'.join(map(str, tensor.shape))}]"
