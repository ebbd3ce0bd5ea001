"""The bundle: one folder or zip that holds a model and the proof of what it is."""

from semmix.bundle.bundle import Bundle, refuse_existing, write_bundle
from semmix.bundle.manifest import FileRecord, Manifest
from semmix.bundle.precisions import PRECISIONS, check_precision

__all__ = [
    "PRECISIONS",
    "Bundle",
    "FileRecord",
    "Manifest",
    "check_precision",
    "refuse_existing",
    "write_bundle",
]
