"""What is handed out to several workers of pytest-xdist at a time."""

from pathlib import Path

import pytest

from tests.support.distribution import APART

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("file", sorted(APART))
def test_a_file_of_single_tests_is_there_and_starts_no_cluster_for_all_of_them(file):
    for fixture in (ROOT / file).read_text().split("@pytest.fixture(")[1:]:
        settings, _, rest = fixture.partition("\n")
        if settings.startswith(('scope="module"', 'scope="session"')):
            assert "make_cluster" not in rest.partition(":\n")[0], rest
