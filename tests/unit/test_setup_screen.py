"""The lines that tell how hosts are set up."""

from rich.progress import DownloadColumn, Progress

from deploy.setup_screen import SetupLines, WhileSending


def test_bytes_are_shown_while_they_travel_and_not_in_the_step_after():
    progress, column = Progress(disable=True), WhileSending(DownloadColumn())
    lines = SetupLines(progress)
    lines.step("pi1", "sending the program", 2_000_000)
    lines.sent("pi1", 1_000_000)
    assert str(column.render(progress.tasks[0])) == "1.0/2.0 MB"
    lines.step("pi1", "installing")
    assert str(column.render(progress.tasks[0])) == ""
    assert progress.tasks[0].fields["step"] == "installing"
