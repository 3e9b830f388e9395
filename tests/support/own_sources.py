"""The project's own Python files, and what they import."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Made by the protobuf compiler, which follows rules of its own.
GENERATED = {"protos/pi_cluster_pb2.py", "protos/pi_cluster_pb2_grpc.py"}
# What makes the embedded model, measures, builds or writes documents, and is not installed.
ELSEWHERE = ("build", "examples", "tests")  # examples are programs of people who ask us
NOT_INSTALLED = ("storyteller/training/", "benchmarks/", "docs/", "kernels/building/")

FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ROOT.iterdir()
    if folder.is_dir() and not folder.name.startswith(".") and folder.name not in ELSEWHERE
    for path in folder.rglob("*.py")
)
WRITTEN = [file for file in FILES if file not in GENERATED]
INSTALLED = [file for file in FILES if not file.startswith(NOT_INSTALLED)]


@cache
def tree_of(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"), file)


def modules_named_by(node: ast.AST, file: str) -> list[str]:
    """Whole names of what an import statement imports, ``from a import b`` as ``a.b``."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = Path(file).parent.parts[: len(Path(file).parts) - node.level] if node.level else ()
        prefix = ".".join([*base, *([node.module] if node.module else [])])
        return [f"{prefix}.{alias.name}" for alias in node.names]
    return []


def imports_of(file: str) -> set[str]:
    """Ours by the place of their source: ``pi_cluster.worker`` is ``worker``."""
    return {
        name.removeprefix("pi_cluster.")
        for node in ast.walk(tree_of(file))
        for name in modules_named_by(node, file)
    }
