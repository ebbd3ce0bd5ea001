"""Give a checkpoint the mean of its own averaged weights and a bundle's.

    python tools/mean_of_networks.py run.safetensors --bundle before -o mean.safetensors

Where a run began with that bundle, on other material or by another recipe, the mean of both often
hears unknown recordings better than either. Export and measure it like any checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from semmix.bundle import Bundle
from semmix.errors import SemMixError
from semmix.nn.engine import weights_of
from semmix.training.checkpoint import identity, load_checkpoint, save_checkpoint


def main() -> None:
    """Read both, write the checkpoint with the mean."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--bundle", type=Path, required=True, help="what the run began with")
    parser.add_argument("--share", type=float, default=0.5, help="of the bundle, 0 to 1")
    parser.add_argument("-o", "--output", type=Path, required=True, help="must not exist")
    args = parser.parse_args()
    if not 0.0 <= args.share <= 1.0:
        sys.exit(f"a share of {args.share} is none: give 0 to 1")
    if args.output.exists():
        sys.exit(f"{args.output} exists; remove it or name another file")
    try:
        run = load_checkpoint(args.checkpoint)
        bundle = Bundle.load(args.bundle)
        other = weights_of(bundle)
    except SemMixError as exc:
        sys.exit(str(exc))
    own = run.average
    if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in other.items()}:
        sys.exit(f"{args.bundle}: its network has other sizes than {args.checkpoint}'s")
    mean = {name: tensor.lerp(other[name], args.share) for name, tensor in own.items()}
    origin = {**run.origin, "mean_with": {**identity(bundle), "share": args.share}}
    save_checkpoint(replace(run, average=mean, origin=origin), args.output)


if __name__ == "__main__":
    main()
