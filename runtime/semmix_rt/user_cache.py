"""Where this user's caches lie: cues, compiled engines."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER_VARIABLE = "SEMMIX_CACHE_DIR"


def user_cache(name: str) -> Path:
    """`$SEMMIX_CACHE_DIR/NAME`, else a folder in the user's cache folder; it need not exist."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen) / name
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("semmix-rt", appauthor=False)) / name
