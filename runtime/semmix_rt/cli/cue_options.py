"""Options of every command that reads the picture: what reads it, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def cue_source_options(*, short_names: bool) -> Callable[[Command], Command]:
    """Add `--cues-from` and its companions; the function gets `cues_from`, `cues_url`, ...

    Args:
        short_names: take `--from`, `--device` ... as well, where nothing else has a device.
    """

    def option(name: str, **settings: Any) -> Callable[[Command], Command]:
        short = [f"--{name}"] if short_names else []
        return click.option(*short, f"--cues-{name}", f"cues_{name}", **settings)

    options = (
        option(
            "from",
            metavar="SOURCE",
            default="embedded",
            show_default=True,
            help="What reads the picture: embedded, the small models that come along; lvlm:MODEL, "
            "a vision language model run here by transformers (a folder, or org/name[@revision] "
            "of the Hugging Face hub, which is fetched once); or openai:MODEL, one behind an "
            "OpenAI-compatible server, which is sent the keyframes.",
        ),
        option(
            "url",
            metavar="URL",
            help="The server of openai:MODEL, such as http://localhost:8000/v1. Its key is taken "
            "from $SEMMIX_CUES_API_KEY alone, so that none stands in a command line.",
        ),
        option(
            "prompts",
            metavar="focused|minimal",
            help="How a vision language model is asked: focused holds it to what is on screen, "
            "minimal leaves it free. [focused]",
        ),
        option(
            "device",
            metavar="DEVICE",
            help="Where lvlm runs: cpu, cuda:0, ... [the first CUDA device, else the CPU]",
        ),
        option(
            "dtype",
            metavar="DTYPE",
            help="Numbers lvlm computes in: float32, float16 or bfloat16. [as saved]",
        ),
        option(
            "batch",
            metavar="N",
            type=click.IntRange(1, 256),
            help="Pictures lvlm sees at once: more is faster on a GPU and takes memory. [1]",
        ),
        option(
            "requests",
            metavar="N",
            type=click.IntRange(1, 64),
            help="Pictures the server of openai:MODEL is sent at once: one that batches answers "
            "several in the time of one, a small one may want 1. [4]",
        ),
    )

    def add(command: Command) -> Command:
        for decorate in reversed(options):
            command = decorate(command)
        return command

    return add
