"""Tables in Markdown."""

from collections.abc import Sequence

from pi_cluster.cluster.shown import shown_line
from pi_cluster.deploy.screen.column_widths import Column, Rows


def markdown_lines(columns: Sequence[Column], rows: Rows) -> list[str]:
    """Headings, a rule and the rows; numbers stand at the right."""
    headings = [column.heading for column in columns]
    rules = ["---:" if column.is_number else "---" for column in columns]
    lines = []
    for cells in (headings, rules, *rows):
        shown = [shown_line(cell).replace("|", r"\|") for cell in cells]
        lines.append(f"| {' | '.join(shown)} |")
    return lines
