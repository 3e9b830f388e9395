"""What commands have imported by the time that they have done their work."""

import subprocess

import pytest

# At its end a program tells what it has imported.
AT_EXIT = """
import atexit, sys
atexit.register(lambda: print("imported", *sys.modules, file=sys.stderr))
"""
FOR_OTHERS = {
    *("cryptography", "zeroconf", "packaging", "safetensors"),
    *("tokenizers", "tiktoken"),  # the storyteller has a SentencePiece file
    *("pi_cluster.shard_tool", "pi_cluster.deploy.hosts", "pi_cluster.worker.process"),
}


@pytest.mark.parametrize(
    ("words", "needless"),
    [
        (["status"], {"numpy", "jinja2", "sentencepiece", "pi_cluster.kernels"}),
        (["prompt", "Hello", "--max-tokens", "2"], set()),
    ],
    ids=["status", "prompt"],
)
def test_without_certificates_or_a_failure_neither_tls_nor_mdns_is_loaded(
    words, needless, story, tmp_path
):
    (tmp_path / "sitecustomize.py").write_text(AT_EXIT)
    env = story.env | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(story.words(*words), env=env, capture_output=True, text=True, timeout=40)
    assert done.returncode == 0, done
    told = done.stderr.splitlines()[-1].split()
    assert told[0] == "imported" and "grpc" in told
    assert set(told) & (FOR_OTHERS | needless) == set()
