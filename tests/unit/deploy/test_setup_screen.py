"""The lines that tell how hosts are set up."""

from rich.progress import DownloadColumn, Progress

from pi_cluster.deploy.screen import setup_screen
from pi_cluster.deploy.screen.setup_screen import SetupLines, WhileSending
from tests.support.screens import a_screen


def test_bytes_are_shown_while_they_travel_and_not_in_the_step_after():
    progress, column = Progress(disable=True), WhileSending(DownloadColumn())
    lines = SetupLines(progress)
    lines.step("pi1", "sending the program", 2_000_000)
    lines.sent("pi1", 1_000_000)
    assert str(column.render(progress.tasks[0])) == "1.0/2.0 MB"
    lines.step("pi1", "installing")
    assert str(column.render(progress.tasks[0])) == ""
    assert progress.tasks[0].fields["step"] == "installing"


def test_each_step_is_drawn_on_a_terminal(monkeypatch):
    terminal = a_screen(100, monkeypatch)
    monkeypatch.setattr(setup_screen, "notes", terminal)
    with setup_screen.setup_lines() as lines:
        lines.step("pi1", "connecting")
        lines.step("pi1", "sending the program", 2_000_000)
    assert "sending the program" in terminal.file.getvalue()
