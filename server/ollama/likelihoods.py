"""How likely an answer's tokens were, as Ollama tells it."""

from collections.abc import Sequence

from pi_cluster.coordinator.logprobs import TokenLogprobs
from pi_cluster.coordinator.text_model import TextModel
from pi_cluster.server.ollama.answers import Likelihood, LikelyToken


class Likelihoods:
    """Spells the tokens of one answer, which come in order."""

    def __init__(self, model: TextModel, *, continuation: bool) -> None:
        """``continuation``: the answer goes on with a text, and its first space counts."""
        self._model = model
        self._continuation = continuation

    def of(self, came: Sequence[TokenLogprobs]) -> list[Likelihood]:
        """Those of the next tokens."""
        return [self._token(one) for one in came]

    def _token(self, one: TokenLogprobs) -> Likelihood:
        top = [LikelyToken(*self._spelt(token), logprob) for token, logprob in one.top]
        token = Likelihood(*self._spelt(one.id), one.logprob, top)
        self._continuation = True
        return token

    def _spelt(self, token_id: int) -> tuple[str, list[int]]:
        spelt = self._model.token_bytes(token_id, continuation=self._continuation)
        return spelt.decode(errors="replace"), list(spelt)
