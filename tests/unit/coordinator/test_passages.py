"""Texts are cut, and scored, where llama.cpp's perplexity tool cuts and scores them."""

import pytest

from pi_cluster.coordinator.evaluating.passages import passages
from pi_cluster.transformer.errors import PromptError

BOS = 1


def llama_cpp(ids, n_ctx, n_chunks):
    """Its loop, written out: what is read, and (row, id to score) of each passage."""
    found = []
    for chunk in range(min(n_chunks, len(ids) // n_ctx)):
        tokens = ids[chunk * n_ctx : (chunk + 1) * n_ctx]
        tokens[0] = BOS
        first = n_ctx // 2
        found.append((tokens, [(row, tokens[row + 1]) for row in range(first, n_ctx - 1)]))
    return found


@pytest.mark.parametrize("size", [16, 17, 512])
@pytest.mark.parametrize("count", [1, 2, 100])
def test_each_passage_is_read_and_scored_as_by_llama_cpp(size, count):
    ids = [BOS, *range(10, 10 + 3 * size)]
    found = []
    for one in passages(ids, [BOS], size, count):
        rows = range(len(one.prompt) - len(one.scored), len(one.prompt))
        assert list(one.prompt) == list(one.ids)[:-1]
        found.append((list(one.ids), list(zip(rows, one.scored, strict=True))))
    assert found == llama_cpp(ids, size, count)


def test_all_passages_are_read_unless_fewer_are_asked_for():
    assert len(passages(range(100), [], 16)) == 6
    assert len(passages(range(100), [], 16, 2)) == 2


def test_without_a_token_that_begins_texts_passages_are_as_they_stand():
    first, second = passages(list(range(40)), [], 20)
    assert (first.ids, second.ids) == (list(range(20)), list(range(20, 40)))


def test_a_text_that_is_shorter_than_a_passage_is_refused_with_both_lengths():
    with pytest.raises(PromptError, match=r"the text has 15 tokens, and a passage 16: .*--context"):
        passages(range(15), [BOS], 16)
