"""The page's files, read once, under names that change with what is in them.

All lie below ``/page/DIGEST/``, so that a browser keeps them for good, and never runs those of one
version beside those of another. Modules import each other by relative paths and know no digest.
"""

import gzip
import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

STATIC = Path(__file__).with_name("static")
INDEX = "index.html"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
ON_DEMAND = frozenset({"vendored/katex.min.js"})
"""Modules that the page fetches when it needs them, if it ever does."""

_ROOT = "/page/"  # as index.html writes it
_MODULES = "<!-- modules -->"  # where index.html wants all modules named, to be fetched at once


@dataclass(frozen=True)
class PageFile:
    """One file, as it is sent."""

    content: bytes
    media_type: str
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(self.content).hexdigest()[:32]
        object.__setattr__(self, "etag", f'"{digest}"')

    @cached_property
    def gzipped(self) -> bytes:
        """The same for those who take it so."""
        return gzip.compress(self.content, mtime=0)


class PageFiles:
    """All of them by their paths below ``/page/DIGEST/``, and the page itself."""

    def __init__(self, folder: Path = STATIC) -> None:
        contents = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.suffix in MEDIA_TYPES
        }
        index = contents.pop(INDEX).decode()
        whole = hashlib.sha256()
        for path, content in contents.items():
            whole.update(f"{path} {len(content)} ".encode() + content)
        self.digest = whole.hexdigest()[:16]
        self.files = {
            path: PageFile(content, MEDIA_TYPES[Path(path).suffix])
            for path, content in contents.items()
        }
        index = index.replace(_MODULES, self._modules()).replace(_ROOT, f"{_ROOT}{self.digest}/")
        self.index = PageFile(index.encode(), MEDIA_TYPES[".html"])

    def _modules(self) -> str:
        """Without these a browser would find them one behind the other, import by import."""
        modules = [path for path in self.files if path.endswith(".js") and path not in ON_DEMAND]
        return "\n    ".join(f'<link rel="modulepreload" href="{_ROOT}{path}">' for path in modules)
