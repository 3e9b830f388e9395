"""Whatever a hub answers, nothing lands outside the models' folder, and it ends with a sentence."""

import hashlib
import json
import threading

import pytest

from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.hub import Hub

NAME = "tiny-org/Tiny-Mistral"
WEIGHTS = "model.safetensors"


@pytest.fixture
def hub(tmp_path):
    """A hub with a good model."""
    write_hugging_face_checkpoint(tmp_path / "checkpoint", small_config())
    with Hub() as running:
        running.add(NAME, tmp_path / "checkpoint")
        yield running


@pytest.fixture
def user(cluster, hub):
    """Somebody whose commands ask the hub."""
    cluster.env |= hub.env(HF_HUB_DOWNLOAD_TIMEOUT="1")
    return cluster


def refused(user, *parts):
    """Pull, which must fail with a sentence that has these parts, and leave nothing elsewhere."""
    before = everything(user)
    outcome = user.run("pull", NAME)
    assert outcome.code == 1 and outcome.out == "", outcome
    assert "error: " in outcome.err and "Traceback" not in outcome.err, outcome
    assert "internal error" not in outcome.err and "\x1b" not in outcome.err, outcome
    assert all(part in outcome.err for part in parts), outcome
    models = str(user.folder / "data" / "pi-cluster" / "models")
    assert all(path.startswith(models) for path in everything(user) - before)


def everything(user):
    """Every file in the user's folders and just above them."""
    return {str(path) for path in user.folder.parent.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "path", ["../../../evil.json", "/tmp/evil.json", "a/../../evil.gguf", "..", "x\x1b[2J.gguf"]
)
def test_a_path_that_leads_out_is_never_fetched(user, hub, path):
    hub.repositories[NAME].revisions["main"][path] = b"GGUF"
    assert user.run("pull", NAME).code == 0
    assert not any("evil" in one.path or "\x1b" in one.path for one in hub.requests)
    hub.repositories[NAME].revisions["main"].pop(WEIGHTS)
    refused(user, "has no weights" if "x" not in path else "")


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        ({"size": 100, "lfs": {"sha256": "0" * 64, "size": 100}}, "sends more of"),
        ({"size": 10**7, "lfs": {"sha256": "0" * 64, "size": 10**7}}, "has less of"),
        ({"lfs": {"sha256": "1" * 64, "size": None}}, "says of"),
        ({"size": -1, "lfs": None}, "says of"),
        ({"size": True, "lfs": None}, "says of"),
        ({"size": "9", "lfs": None}, "says of"),
        ({"size": 10**30, "lfs": None}, "says of"),
        ({"lfs": {"sha256": "../..", "size": 9}}, "says of"),
        ({"lfs": [], "blobId": None}, "says of"),
        ({"rfilename": 7}, "says of"),
        ({"lfs": "text"}, "says of"),
    ],
)
def test_sizes_and_digests_that_lie_are_named(user, hub, lie, told):
    hub.repositories[NAME].lies[WEIGHTS] = lie
    refused(user, told)


def test_other_bytes_than_were_listed_are_not_used(user, hub):
    size = len(hub.repositories[NAME].revisions["main"][WEIGHTS])
    hub.repositories[NAME].lies[WEIGHTS] = {"lfs": {"sha256": "0" * 64, "size": size}}
    refused(user, "arrived with other content than the hub lists")
    digest = hashlib.sha1(b"other").hexdigest()
    hub.repositories[NAME].lies = {"config.json": {"blobId": digest}}
    refused(user, "config.json", "other content than the hub lists")


def answering(status=200, body=b"", headers=(), only=""):
    """The hub answers everything, or what has ``only`` in its path, so."""

    def answer(handler):
        if only not in handler.path:
            return False
        handler.reply(status, body, dict(headers))
        return True

    return answer


PAGE = b"<html>Welcome to the hotel's network</html>"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (answering(200, PAGE), "is no JSON"),
        (answering(200, PAGE, only="/resolve/"), ""),
        (answering(200, b"[" * 100_000), "is no JSON"),
        (answering(200, b"null"), "says of"),
        (answering(200, b"[]"), "says of"),
        (answering(200, b'{"id": 1, "sha": 2, "siblings": 3}'), "says of"),
        (answering(200, b'{"id": "a", "sha": "x", "siblings": []}'), "says of"),
        (answering(200, b'{"siblings": [{}]}'), "says of"),
        (answering(200, b"x" * 33_000_000), "answers without end"),
        (answering(302, b"", {"Location": "/again"}.items()), "without end"),
        (
            answering(302, b"", {"Location": "/a/b/resolve/c/d"}.items(), only="/resolve/"),
            "without end",
        ),
        (answering(302, b"", {"Location": "gopher://x/"}.items()), "cannot be reached"),
        (answering(302, b"", {"Location": "http://[::"}.items()), "cannot be reached"),
        (answering(206, b"abc", {"Content-Range": "bytes 5-7/9"}.items(), only="/resolve/"), ""),
        (answering(500, PAGE), "busy or in trouble (500"),
        (answering(429), "busy or in trouble (429"),
        (answering(418, b"", {"X-Error-Message": "tea\x1b[2J"}.items()), "refuses"),
        (answering(403, b"", {"X-Error-Message": "Access is disabled."}.items()), "is disabled"),
        (answering(204), "is no JSON"),
        (answering(200, b"{}", {"Content-Encoding": "gzip"}.items()), "says of"),
    ],
)
def test_answers_that_no_hub_gives_are_named(user, hub, answer, told):
    hub.answer = answer
    refused(user, told)


def test_a_hub_that_says_nothing_is_given_up(user, hub):
    silence = threading.Event()
    hub.answer = lambda handler: bool(silence.wait(20))
    refused(user, "cannot be reached, or broke off")
    silence.set()


def test_an_index_that_names_files_elsewhere_is_refused(user, hub):
    repository = hub.repositories[NAME]
    files = repository.revisions["main"]
    files["model-1.safetensors"] = files.pop(WEIGHTS)
    for named in ("../../evil.safetensors", "absent.safetensors", 7, ""):
        files["model.safetensors.index.json"] = json.dumps({"weight_map": {"x": named}}).encode()
        refused(user)


def test_a_record_that_leads_out_is_torn(user, hub):
    user.run("pull", NAME)
    (record,) = (user.folder / "data").rglob("model.json")
    values = json.loads(record.read_text())
    values["files"][0]["path"] = "../../../x"
    record.write_text(json.dumps(values))
    refused(user, "model.json cannot be read", "remove that folder")
    listed = user.run("models")
    assert "warning: " in listed.err and "cannot be read" in listed.err
