"""Accelerators of this machine, for `minibot probe`: instructions of its processor, and GPUs.

A run needs none of them. SHA instructions make its seals and lines cheaper, AVX2 its models.
"""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path
from typing import Final

CPUINFO: Final = Path("/proc/cpuinfo")
DRM: Final = Path("/sys/class/drm")
NVIDIA: Final = Path("/proc/driver/nvidia/gpus")

_INSTRUCTIONS: Final = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "aes": "AES",
    "sha_ni": "SHA extensions",
    "asimd": "NEON",
    "sha2": "SHA extensions",
}
_VENDORS: Final = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
# `IsProcessorFeaturePresent` knows only these.
_WINDOWS: Final = {40: "AVX2", 41: "AVX-512"}


def accelerators() -> list[str]:
    """Return the names of this machine's accelerators; empty if nothing can be read."""
    return [*_instructions(), *gpus(NVIDIA, DRM)]


def _instructions() -> list[str]:
    if sys.platform == "win32":
        present = ctypes.windll.kernel32.IsProcessorFeaturePresent
        return [name for number, name in _WINDOWS.items() if present(number)]
    try:
        return instructions(CPUINFO.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return []


def instructions(cpuinfo: str) -> list[str]:
    """Return the accelerating instructions that a text of `/proc/cpuinfo` lists."""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    flags = set() if found is None else set(found[1].split())
    return list(dict.fromkeys(name for flag, name in _INSTRUCTIONS.items() if flag in flags))


def gpus(nvidia: Path, drm: Path) -> list[str]:
    """Return the GPUs that the kernel's drivers list, by model or maker.

    Args:
        nvidia: Folder of NVIDIA's driver, which names models.
        drm: Folder of all graphics devices.
    """
    models = [
        found[1].strip()
        for path in sorted(nvidia.glob("*/information"))
        if (found := re.search(r"^Model:(.*)$", _text(path), re.MULTILINE))
    ]
    makers = [_VENDORS.get(_text(path).strip()) for path in sorted(drm.glob("card?/device/vendor"))]
    others = [name for name in makers if name and not (models and name == "NVIDIA")]
    return [f"GPU {name}" for name in (*models, *others)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
