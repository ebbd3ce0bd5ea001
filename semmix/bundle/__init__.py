"""The bundle: one folder or zip that holds a model and the proof of what it is."""

from semmix.bundle.bundle import Bundle, refuse_existing, write_bundle
from semmix.bundle.manifest import FileRecord, Manifest

__all__ = ["Bundle", "FileRecord", "Manifest", "refuse_existing", "write_bundle"]
