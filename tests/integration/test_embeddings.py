"""Vectors of texts by the library, by OpenAI's API and by Ollama's, all the same."""

import asyncio
import base64

import numpy as np
import openai
import pytest

from pi_cluster import AsyncPipelineClient, PipelineClient, PromptError, SettingsError
from pi_cluster.coordinator.pipeline.asker import dialer_to_ask
from pi_cluster.coordinator.records.kept_record import load_record
from pi_cluster.coordinator.scheduling.scheduler import SchedulerSettings
from tests.support.event_stream import post
from tests.support.servers import serving

TEXTS = ["A brave fox.", "A fox who is brave.", "Deep water and a lost kite"]


@pytest.fixture(scope="module", params=["last", "mean"])
def served(request, make_cluster):
    """A server of the embedded model, what it makes vectors of, and the library's vectors."""
    with make_cluster() as cluster:
        cluster.up("--local", "2", "--texts", "8")
        with cluster.environment(), PipelineClient.connect(cluster.name) as client:
            found = client.embed(TEXTS, pooling=request.param)
            for pooling in ("first", None):
                with pytest.raises(SettingsError, match="it must be last or mean"):
                    client.embed(TEXTS, pooling=pooling)
            with pytest.raises(PromptError, match="empty"):
                client.embed([""])
            assert client.embed([]).vectors.shape == (0, 0)

            async def embed():
                async with AsyncPipelineClient.over(client) as over:
                    with pytest.raises(PromptError, match="empty"):
                        await over.embed([*TEXTS, ""])
                    return await over.embed(TEXTS, pooling=request.param)

            assert np.array_equal(asyncio.run(embed()).vectors, found.vectors)
        with serving(cluster, "--embeddings", request.param) as server:
            yield server, found


@pytest.fixture(scope="module")
def client(served):
    with openai.OpenAI(base_url=f"{served[0].url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_vectors_have_length_1_and_likeness_shows(served):
    _, found = served
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1)
    likeness = found.vectors @ found.vectors.T
    assert likeness[0, 1] > likeness[0, 2]


def test_openai_s_clients_get_the_library_s_vectors(served, client):
    _, found = served
    told = client.embeddings.create(model="any", input=TEXTS, encoding_format="float")
    vectors = np.array([one.embedding for one in told.data], np.float32)
    assert np.array_equal(vectors, found.vectors)
    assert [one.index for one in told.data] == [0, 1, 2]
    assert told.usage.prompt_tokens == found.prompt_tokens
    packed = client.embeddings.create(model="any", input=TEXTS[0], encoding_format="base64")
    numbers = np.frombuffer(base64.b64decode(packed.data[0].embedding), "<f4")
    assert np.array_equal(numbers, found.vectors[0])


def test_many_texts_come_in_their_order(client):
    many = [f"{TEXTS[n % 3]} {n}" for n in range(40)]
    told = client.embeddings.create(model="any", input=many)
    alone = client.embeddings.create(model="any", input=many[37])
    assert told.data[37].embedding == alone.data[0].embedding and len(told.data) == 40


def test_the_first_dimensions_have_length_1_again(served, client):
    _, found = served
    (one,) = client.embeddings.create(model="any", input=TEXTS[0], dimensions=8).data
    first = found.vectors[0, :8]
    assert np.allclose(one.embedding, first / np.linalg.norm(first), atol=1e-6)
    with pytest.raises(openai.BadRequestError, match="it must be from 1 to"):
        client.embeddings.create(model="any", input=TEXTS[0], dimensions=10**6)


@pytest.mark.parametrize("given", [[], ["a", 1], "", [""], [[]], [-1], [10**9]])
def test_what_is_no_text_is_refused(client, given):
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="any", input=given)


@pytest.mark.parametrize("ids", [[10**9], [[5, 6], [7, 100_000]]])
def test_ids_of_another_tokenizer_are_refused_by_the_name_of_the_switch(client, ids):
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        client.embeddings.create(model="any", input=ids)


def test_ollama_s_clients_get_the_same(served):
    server, found = served
    asked = {"model": "storyteller", "input": TEXTS}
    status, told = post(server, "/api/embed", asked)
    assert status == 200 and told["prompt_eval_count"] == found.prompt_tokens
    assert np.array_equal(np.array(told["embeddings"], np.float32), found.vectors)
    status, told = post(server, "/api/embed", {"model": "storyteller", "input": []})
    assert (status, told["embeddings"]) == (200, [])
    status, told = post(server, "/api/embeddings", {"model": "storyteller", "prompt": TEXTS[0]})
    assert np.array_equal(np.array(told["embedding"], np.float32), found.vectors[0])
    assert post(server, "/api/embed", {"model": "other", "input": "a"})[0] == 404
    for dimensions, expected in ((8, 8), (0, found.vectors.shape[1]), (10**6, None), (-1, None)):
        asked = {"model": "storyteller", "input": "a", "dimensions": dimensions}
        (vector,) = post(server, "/api/embed", asked)[1]["embeddings"]
        assert len(vector) == (expected or found.vectors.shape[1])
    nothing = {"model": "storyteller", "input": "", "prompt": ""}
    assert post(server, "/api/embed", nothing)[1]["embeddings"] == []
    assert post(server, "/api/embeddings", nothing) == (200, {"embedding": []})


def test_a_server_that_was_not_told_how_names_the_way_out(served_story):
    status, told = post(served_story, "/v1/embeddings", {"input": "a"})
    assert status == 501 and "--embeddings" in told["error"]["message"]
    status, told = post(served_story, "/api/embed", {"model": "storyteller", "input": "a"})
    assert status == 501 and "--embeddings" in told["error"]


def test_more_texts_than_may_wait_come_in_their_order_by_the_library(story):
    many = [f"{number} {TEXTS[0]}" for number in range(90)]
    with story.environment():
        record = load_record(story.name)
        dialer = dialer_to_ask(story.name, record, print)
        few = SchedulerSettings(max_waiting=64)
        with PipelineClient(record, dialer, scheduling=few) as client:
            found = client.embed(many).vectors
            alone = client.embed(many[70:71]).vectors

            async def embed():
                async with AsyncPipelineClient.over(client) as asynchronous:
                    return await asynchronous.embed(many)

            assert np.array_equal(asyncio.run(embed()).vectors, found)
    assert len(found) == 90 and np.array_equal(found[70], alone[0])
