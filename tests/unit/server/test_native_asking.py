"""What commands may say to a server."""

from pi_cluster.coordinator.asking.question import AskKeywords
from pi_cluster.deploy.commands.generation_options import generation_options
from pi_cluster.server.native.asking import AskedKeywords


def test_a_server_takes_every_keyword_that_prompt_has_an_option_for():
    options = {
        *("max_tokens", "temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed"),
        *("chunk_size", "draft"),
    }
    said = generation_options(lambda *, keywords: keywords)(
        **dict.fromkeys(options - {"draft"}, 1), draft="on"
    )
    taken = AskedKeywords.__annotations__.keys()
    assert {*said, "raw", "think", "stop"} == set(taken) <= AskKeywords.__annotations__.keys()
