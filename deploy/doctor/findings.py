"""A finding: what is the matter with a machine, in words and figures, and what to do about it."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass

THIS_MACHINE = "this machine"


class Severity(enum.IntEnum):
    """How much a finding matters; the worst come first."""

    PROBLEM = 0
    """Something does not work, or is about to stop."""
    WARNING = 1
    """It works, and slower or less safely than it could."""
    NOTE = 2
    """Good to know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is the matter with one or several machines."""

    severity: Severity
    nodes: tuple[str, ...]
    """Names of the nodes, or :data:`THIS_MACHINE`."""
    what: str
    to_do: str


def problem(node: str, what: str, to_do: str) -> Finding:
    """Something that does not work, or is about to stop."""
    return Finding(Severity.PROBLEM, (node,), what, to_do)


def warning(node: str, what: str, to_do: str) -> Finding:
    """Something that works less well than it could."""
    return Finding(Severity.WARNING, (node,), what, to_do)


def note(node: str, what: str, to_do: str) -> Finding:
    """Something good to know."""
    return Finding(Severity.NOTE, (node,), what, to_do)


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first; what several nodes have in common is said once."""
    nodes: dict[tuple[Severity, str, str], list[str]] = {}
    for found in findings:
        of_it = nodes.setdefault((found.severity, found.what, found.to_do), [])
        of_it += [node for node in found.nodes if node not in of_it]
    merged = [Finding(key[0], tuple(names), key[1], key[2]) for key, names in nodes.items()]
    return sorted(merged, key=lambda found: found.severity)
