"""The paper's own network, preset `base`: weights that VisAH has published load into it."""

from __future__ import annotations

from semmix.nn.base.config import BaseConfig
from semmix.nn.base.network import BaseSemMix, highlight

__all__ = ["BaseConfig", "BaseSemMix", "highlight"]
