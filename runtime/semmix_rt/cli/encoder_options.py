"""Options of every command that runs imported models: the encoders these were trained with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_FOLDER = click.Path(path_type=Path)


def encoder_options(command: Command) -> Command:
    """Add `--text-encoder` and `--vision-encoder`; the function gets paths or None."""
    text = click.option(
        "--text-encoder",
        type=_FOLDER,
        metavar="FOLDER",
        help="Text encoder for a model that `semmix-rt import` made of a text checkpoint: a "
        "transformers folder with safetensors, of the width the model takes (T5-XXL has 4096), or "
        "what `semmix-rt export-encoder` made of one, which needs no PyTorch.",
    )
    vision = click.option(
        "--vision-encoder",
        type=_FOLDER,
        metavar="FOLDER",
        help="CLIP model for an imported vision checkpoint: a transformers folder with "
        "safetensors, of the width the model takes (ViT-L/14 has 768), or what `semmix-rt "
        "export-encoder` made of one. Sees one frame a second.",
    )
    return text(vision(command))
