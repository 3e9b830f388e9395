"""How likely an answer's tokens were, as OpenAI tells it of chats and of continued texts."""

from collections.abc import Sequence

from pi_cluster.coordinator.logprobs import TokenLogprobs
from pi_cluster.coordinator.text_model import TextModel
from pi_cluster.server.openai.answers import (
    Alternative,
    ChatLogprobs,
    TextLogprobs,
    TokenLogprob,
)


class Likelihoods:
    """Spells the tokens of one answer, which come in order."""

    def __init__(self, model: TextModel, *, continuation: bool) -> None:
        """``continuation``: the answer goes on with a text, and its first space counts."""
        self._model = model
        self._continuation = continuation
        self._characters = 0

    def of_chat(self, came: Sequence[TokenLogprobs]) -> ChatLogprobs:
        """Those of the next tokens of a chat's answer."""
        return ChatLogprobs([self._token(one) for one in came])

    def of_text(self, came: Sequence[TokenLogprobs]) -> TextLogprobs:
        """Those of the next tokens of a continued text."""
        tokens, offsets, tops = [], [], []
        for one in came:
            tops.append({_text(self._bytes(i)): logprob for i, logprob in one.top})
            tokens.append(_text(self._bytes(one.id)))
            offsets.append(self._characters)
            self._characters += len(tokens[-1])
            self._continuation = True
        return TextLogprobs(tokens, [one.logprob for one in came], tops, offsets)

    def _token(self, one: TokenLogprobs) -> TokenLogprob:
        top = []
        for token_id, logprob in one.top:
            spelt = self._bytes(token_id)
            top.append(Alternative(_text(spelt), logprob, list(spelt)))
        spelt = self._bytes(one.id)
        self._continuation = True
        return TokenLogprob(_text(spelt), one.logprob, list(spelt), top)

    def _bytes(self, token_id: int) -> bytes:
        return self._model.token_bytes(token_id, continuation=self._continuation)


def _text(spelt: bytes) -> str:
    return spelt.decode(errors="replace")
