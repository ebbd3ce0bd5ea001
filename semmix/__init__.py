"""SemMix: visually guided rebalancing of a soundtrack (arXiv 2601.08871)."""

__version__ = "0.1.0"
