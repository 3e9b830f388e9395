"""Vectors of texts that are longer than the context: refused, or cut where the API says so."""

import shutil

import numpy as np
import openai
import pytest

from pi_cluster import PipelineClient
from pi_cluster.transformer.errors import PromptTooLong
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.event_stream import post
from tests.support.servers import serving
from tests.support.small_tokenizers import STORYTELLER

CONTEXT, END = 64, 2
LONG = "A brave fox went out to look for a lost kite. " * 20


@pytest.fixture(scope="module")
def served(make_cluster):
    """A server of a small model without a window, and what the library says of texts."""
    with make_cluster() as cluster:
        config = small_config(vocab_size=2048, window=None, max_positions=CONTEXT)
        checkpoint = cluster.folder / "small"
        write_hugging_face_checkpoint(checkpoint, config)
        shutil.copy(STORYTELLER, checkpoint / "tokenizer.model")
        cluster.up(str(checkpoint), "--local", "1")
        with cluster.environment(), PipelineClient.connect(cluster.name) as client:
            ids = client.model.raw_ids(LONG)
            assert len(ids) > CONTEXT
            cut = client.embed([[*ids[: CONTEXT - 2], END]]).vectors[0]
            assert np.array_equal(client.embed([LONG], truncate=True).vectors[0], cut)
            by_ids = client.embed([ids], truncate=True, pooling="mean").vectors[0]
            assert np.array_equal(
                by_ids, client.embed([ids[: CONTEXT - 1]], pooling="mean").vectors[0]
            )
            with pytest.raises(PromptTooLong, match=f"context is {CONTEXT}"):
                client.embed(["short", LONG])
        with serving(cluster, "--embeddings", "last") as server:
            yield server, cut


def test_ollama_s_clients_get_its_beginning_unless_they_say_otherwise(served):
    server, cut = served
    for truncate in ({}, {"truncate": True}, {"truncate": None}):
        status, told = post(
            server, "/api/embed", {"model": "small", "input": [LONG, "a"]} | truncate
        )
        assert status == 200 and np.array_equal(np.float32(told["embeddings"][0]), cut)
        assert told["prompt_eval_count"] == CONTEXT - 1 + 3
    status, told = post(
        server, "/api/embed", {"model": "small", "input": ["a", LONG], "truncate": False}
    )
    assert status == 400 and f"context is {CONTEXT}" in told["error"]
    status, told = post(server, "/api/embeddings", {"model": "small", "prompt": LONG})
    assert status == 400 and f"context is {CONTEXT}" in told["error"]


def test_openai_s_clients_are_refused_with_both_figures(served):
    server, _ = served
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(openai.BadRequestError, match=f"context is {CONTEXT}") as refused,
    ):
        client.embeddings.create(model="any", input=["a", LONG])
    assert refused.value.code == "context_length_exceeded"
