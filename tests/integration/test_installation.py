"""What an installation is made of: one package, its kernels where they could be compiled."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from pi_cluster.cluster.errors import HostError
from pi_cluster.deploy.wheels.wheelhouse import Target, wheelhouse
from tests.support.own_sources import INSTALLED, ROOT

pytestmark = pytest.mark.timeout(600)

KERNELS = "pi_cluster/kernels/libkernels.so"
DATA = (".jinja", ".json", ".proto", ".pyi", ".model", ".safetensors", ".md", ".so", "py.typed")
PAGE = (".css", ".html", ".js", ".svg", ".LICENSE.txt", "vendored.toml")
NEEDED = ("env", "git", "sh", "uname")  # by pip and by the build, beside compilers
_PIP_TIMEOUT_S = 300


def pip(*words, path=None, cwd):
    """Run pip, and whatever it builds with, on this PATH."""
    environment = os.environ | ({"PATH": str(path)} if path else {})
    environment.pop("PYTHONPATH", None)
    return subprocess.run(
        [sys.executable, "-I", "-m", "pip", *map(str, words), "--disable-pip-version-check"],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=_PIP_TIMEOUT_S,
    )


def built(source, folder, *words, path=None):
    """The wheel that pip makes of a source, and what pip said."""
    build = ("-C", f"build-dir={folder}/build")
    done = pip(
        "wheel", "-v", "--no-deps", *build, *words, "-w", folder, source, path=path, cwd=folder
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (wheel,) = folder.glob("*.whl")
    return wheel, done.stdout + done.stderr


def names_in(wheel):
    with zipfile.ZipFile(wheel) as file:
        return {name for name in file.namelist() if not name.endswith("/")}


def installed_from(wheel, folder):
    """The folder that a new environment's packages are in, with this wheel and nothing else."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    done = pip("--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    assert done.returncode == 0, done.stderr
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))


def run_in(folder, *words, standing_in=None):
    """Run the environment's Python, to which this one lends the packages of others.

    ``standing_in`` is a folder from which it may import, as people's Python does.
    """
    lent = Path(sysconfig.get_path("purelib"))
    ours = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    # Behind its own, and as a path alone: the editable installation there is not read.
    (ours / "lent.pth").write_text(f"{lent}\n")
    return subprocess.run(
        [folder / "bin" / "python", *([] if standing_in else ["-P"]), *words],
        cwd=standing_in or folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """As built here, where there is a compiler."""
    return built(ROOT, tmp_path_factory.mktemp("wheel"))[0]


@pytest.fixture(scope="module")
def path_without_compilers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bin")
    for name in NEEDED:
        found = [Path(one) / name for one in os.environ["PATH"].split(":")]
        if place := next((path for path in found if path.exists()), None):
            (folder / name).symlink_to(place)
    return folder


@pytest.fixture(scope="module")
def wheel_of_python(tmp_path_factory, path_without_compilers):
    """As built where there is no compiler, and what was said of that."""
    return built(ROOT, tmp_path_factory.mktemp("python"), path=path_without_compilers)


def assert_holds_the_program(names, kernels):
    ours = {name for name in names if name.startswith("pi_cluster/")}
    others = {name.split("/")[0] for name in names - ours}
    assert [name.endswith(".dist-info") for name in others] == [True]
    assert {n for n in ours if n.endswith(".py")} == {
        f"pi_cluster/{name.removeprefix('python_api/pi_cluster/')}" for name in INSTALLED
    }
    strange = {name for name in ours if not name.endswith((".py", *DATA))}
    strange -= {
        name
        for name in strange
        if name.startswith("pi_cluster/server/page/") and name.endswith(PAGE)
    }
    assert not strange and (KERNELS in ours) == kernels


def test_a_wheel_holds_the_program_and_nothing_of_tests_benchmarks_or_sources(wheel):
    assert_holds_the_program(names_in(wheel), kernels=True)
    assert wheel.name.endswith(f"-py3-none-linux_{os.uname().machine}.whl")


def test_an_installation_adds_one_name_and_its_worker_starts(wheel, tmp_path):
    packages = installed_from(wheel, tmp_path / "venv")
    (record,) = packages.glob("*.dist-info")
    assert {path.name for path in packages.iterdir()} == {"pi_cluster", record.name}
    shown = run_in(tmp_path / "venv", "-m", "pi_cluster.worker", "--help")
    assert shown.returncode == 0 and "--listen" in shown.stdout, shown
    where = run_in(tmp_path / "venv", "-c", "import pi_cluster; print(pi_cluster.__file__)")
    assert Path(where.stdout.strip()).is_relative_to(packages), where


def test_who_stands_in_a_clone_gets_what_is_installed(wheel, tmp_path):
    packages = installed_from(wheel, tmp_path / "venv")
    shown = run_in(tmp_path / "venv", "-m", "pi_cluster.worker", "--help", standing_in=ROOT)
    assert shown.returncode == 0 and "--listen" in shown.stdout, shown
    program = "import pi_cluster; print(pi_cluster.PipelineClient, pi_cluster.__file__)"
    where = run_in(tmp_path / "venv", "-c", program, standing_in=ROOT)
    assert str(packages) in where.stdout, where


def test_a_source_archive_makes_the_same_wheel(wheel, tmp_path):
    code = "import backend, sys; print(backend.build_sdist(sys.argv[1]))"
    building = tmp_path / "building"
    done = pip("install", "--quiet", "--target", building, "scikit-build-core>=0.11", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    paths = f"{building}:{ROOT / 'kernels' / 'building'}"
    words = [sys.executable, "-S", "-c", code, str(tmp_path)]
    subprocess.run(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, check=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        tops = {name.split("/")[0] for name in file.getnames()}
    assert len(tops) == 1
    (tmp_path / "again").mkdir()
    again, _ = built(archive, tmp_path / "again")
    assert again.name == wheel.name and names_in(again) == names_in(wheel)


def test_an_editable_installation_adds_one_name_beside_what_finds_it(tmp_path):
    (tmp_path / "wheel").mkdir()
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    words = ("--python", folder / "bin" / "python", "install", "--no-deps")
    build = ("-C", f"build-dir={tmp_path}/build")
    done = pip(*words, *build, "--editable", ROOT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    names = {path.name for path in packages.iterdir()} - {"__pycache__"}
    finders = {name for name in names if name.startswith("_editable_skbc_pi_cluster.")}
    (record,) = packages.glob("*.dist-info")
    assert names - finders == {"pi_cluster", record.name}
    assert {p.name for p in (packages / "pi_cluster").rglob("*") if p.is_file()} == {
        "libkernels.so"
    }
    shown = run_in(folder, "-m", "pi_cluster.worker", "--help")
    assert shown.returncode == 0 and "--listen" in shown.stdout, shown


def test_without_a_compiler_python_alone_is_installed_and_says_so(wheel_of_python, tmp_path):
    wheel, said = wheel_of_python
    assert_holds_the_program(names_in(wheel), kernels=False)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "installing WITHOUT kernels, for there is no C compiler" in said
    installed_from(wheel, tmp_path / "venv")
    refused = run_in(tmp_path / "venv", "-m", "pi_cluster.worker", "--data-dir", tmp_path / "data")
    assert refused.returncode == 1 and "sudo apt install gcc libc6-dev" in refused.stderr, refused
    assert not (tmp_path / "data").exists()


def test_a_compiler_that_fails_ends_the_installation(tmp_path, path_without_compilers):
    for name in NEEDED:
        if (path_without_compilers / name).exists():
            (tmp_path / name).symlink_to(path_without_compilers / name)
    (tmp_path / "cc").write_text("#!/bin/sh\necho no headers >&2\nexit 1\n")
    (tmp_path / "cc").chmod(0o755)
    words = ("wheel", "--no-deps", "-w", tmp_path / "out", "-C", f"build-dir={tmp_path}/build")
    done = pip(*words, ROOT, path=tmp_path, cwd=tmp_path)
    assert done.returncode != 0 and not list(tmp_path.glob("out/*.whl"))


def test_hosts_get_no_wheel_of_python_alone(
    wheel_of_python, path_without_compilers, tmp_path, monkeypatch
):
    target = Target((3, 11), os.uname().machine, 36)
    with pytest.raises(HostError, match="has no wheel of pi-cluster for"):
        wheelhouse(target, wheel_of_python[0].parent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(path_without_compilers))
    with pytest.raises(HostError, match="holds no kernels, so no host could run it: sudo apt"):
        wheelhouse(target, None)
    assert list(tmp_path.rglob("complete")) == []
