"""The page's files: what is sent, with what headers, and that each is what it should be."""

import gzip
import hashlib
import re
import tomllib

import pytest
from starlette.applications import Starlette

from pi_cluster.server.page import routes
from pi_cluster.server.page.files import MEDIA_TYPES, ON_DEMAND, STATIC, PageFiles
from tests.support.asgi import ask

VENDORED = tomllib.loads(STATIC.with_name("vendored.toml").read_text())["library"]
OWN = sorted(path for path in STATIC.rglob("*.*") if path.parent.name != "vendored")
MODULES = [path for path in OWN if path.suffix == ".js"]
IMPORT = re.compile(r'(?m)(?:^import [^"]*|= import\()"([^"]+)"')
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def app():
    return Starlette(routes=routes.routes())


@pytest.fixture(scope="module")
def digest():
    return PageFiles().digest


def test_a_browser_gets_the_page_and_a_program_the_words_that_it_looks_for(app):
    status, headers, body = ask(app, "GET", "/", HTML)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"<title>pi-cluster</title>" in body
    for method in ("GET", "HEAD"):
        status, headers, body = ask(app, method, "/", {"accept": "*/*"})
        assert (status, body) == (200, b"Ollama is running")  # whose body HTTP leaves out of a HEAD
        assert headers["content-type"] == "text/plain; charset=utf-8"
        assert headers["vary"] == "accept, accept-encoding"


def test_everything_that_the_page_names_is_there(app):
    _, _, body = ask(app, "GET", "/", HTML)
    named = re.findall(rb'(?:href|src)="(/[^"]+)"', body)
    assert len(named) > 20 and b"/page/main.js" not in body
    for path in named:
        status, headers, _ = ask(app, "GET", path.decode())
        assert status == 200, path
        assert headers["cache-control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("path", ["/", "/page/{digest}/main.js", "/page/{digest}/no.js"])
def test_every_answer_forbids_what_the_page_does_not_need(app, digest, path):
    _, headers, _ = ask(app, "GET", path.format(digest=digest), HTML)
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("img-src") == "'self' data:"
    for own in ("script-src", "style-src", "connect-src"):
        assert policy.pop(own) == "'self'"
    for never in ("base-uri", "form-action", "frame-ancestors"):
        assert policy.pop(never) == "'none'"
    assert policy == {"require-trusted-types-for": "'script'", "trusted-types": "dompurify"}
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_a_browser_that_has_the_page_is_told_so(app):
    _, headers, _ = ask(app, "GET", "/", HTML)
    assert headers["cache-control"] == "no-cache"
    status, again, body = ask(app, "GET", "/", HTML | {"if-none-match": headers["etag"]})
    assert (status, body, again["etag"]) == (304, b"", headers["etag"])
    assert ask(app, "GET", "/", HTML | {"if-none-match": '"another"'})[0] == 200


def test_files_are_packed_for_those_who_take_them_so(app, digest):
    path = f"/page/{digest}/main.js"
    _, headers, packed = ask(app, "GET", path, {"accept-encoding": "gzip, deflate"})
    _, plain_headers, plain = ask(app, "GET", path)
    assert headers["content-encoding"] == "gzip" and gzip.decompress(packed) == plain
    assert "content-encoding" not in plain_headers
    assert plain == (STATIC / "main.js").read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/page/{digest}/../routes.py",
        "/page/{digest}/vendored/../../vendored.toml",
        "/page/{digest}//etc/passwd",
        "/page/{digest}/",
        "/page/{digest}/index.html",
        "/page/0123456789abcdef/main.js",
    ],
)
def test_nothing_else_is_served(app, digest, path):
    status, _, body = ask(app, "GET", path.format(digest=digest))
    assert status == 404 and body.startswith(b"the page has no such file")


def test_the_digest_follows_what_is_in_the_files(tmp_path):
    (tmp_path / "index.html").write_text('<script src="/page/a.js"></script>')
    (tmp_path / "a.js").write_text("1")
    (tmp_path / "left_out.py").write_text("1")
    first = PageFiles(tmp_path)
    assert set(first.files) == {"a.js"}
    assert f"/page/{first.digest}/a.js".encode() in first.index.content
    (tmp_path / "a.js").write_text("2")
    assert PageFiles(tmp_path).digest != first.digest


def test_vendored_files_are_those_that_are_listed():
    listed = {name: sha for library in VENDORED for name, sha in library["sha256"].items()}
    there = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (STATIC / "vendored").iterdir()
    }
    assert there == listed


def test_each_vendored_library_comes_with_its_licence_and_says_which_version_it_is():
    for library in VENDORED:
        names = list(library["sha256"])
        (licence,) = [name for name in names if name.endswith(".LICENSE.txt")]
        words = (STATIC / "vendored" / licence).read_text()
        assert ("Apache License" if "Apache" in library["licence"] else "Permission") in words
        (code,) = [name for name in names if name != licence]
        assert library["version"] in (STATIC / "vendored" / code).read_text()


def test_modules_import_what_is_there_and_nothing_is_left_over():
    reached, left = set(), [STATIC / "main.js"]
    while left:
        module = left.pop()
        if module in reached:
            continue
        reached.add(module)
        if module.parent.name != "vendored":
            named = IMPORT.findall(module.read_text())
            assert all(name.startswith(("./", "../")) for name in named), module
            left += [(module.parent / name).resolve() for name in named]
    assert reached == set(STATIC.rglob("*.js"))
    assert {(STATIC / path) for path in ON_DEMAND} <= reached


def test_nothing_of_the_page_lies_elsewhere_or_is_written_where_the_policy_forbids_it():
    """No address of another server, no inline script or style, no HTML from strings."""
    for path in OWN:
        assert path.suffix in MEDIA_TYPES, path
        text = path.read_text().replace("http://www.w3.org/", "")
        assert not re.search(r"https?://", text), path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\b", text), path
    index = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", index)


def test_modules_are_small_and_wrap():
    for path in MODULES:
        lines = path.read_text().splitlines()
        assert len(lines) < 250 and max(map(len, lines)) <= 100, path
        assert lines[0].startswith("/**"), f"{path} does not say what it is for"


def test_the_page_is_small():
    files = PageFiles().files
    at_once = [file.gzipped for path, file in files.items() if path not in ON_DEMAND]
    assert sum(map(len, at_once)) < 80_000
