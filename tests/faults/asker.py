"""Asks a cluster's pipeline for many users, as it is told on standard input, line by line in JSON.

    python -m tests.faults.asker CLUSTER

    {"ask": ROUND, "url": URL or "", "asks": [...]}   each user's pieces and end come as lines
    {"look": [ADDRESS...]}                            what these nodes hold of sessions

Users ask through the Python API, or through the server at ``url``. What broke off with the server
is asked again from its beginning, as the servers' clients do. Every line tells its moment, on the
clock that all processes of a machine share.
"""

import http.client
import json
import sys
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pi_cluster import PipelineClient
from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.pipeline.asker import dialer_to_ask
from pi_cluster.coordinator.records.kept_record import load_record

_PATIENCE_S = 120.0
_AGAIN_S = 0.2
_PENALTY = 1e9


class Asker:
    """One program with one client."""

    def __init__(self, cluster: str) -> None:
        record = load_record(cluster)
        self._dialer = dialer_to_ask(cluster, record, print_error)
        self._client = PipelineClient(record, self._dialer, on_notice=print_error, is_lasting=True)
        self._telling = threading.Lock()

    def obey(self, order: dict[str, Any]) -> None:
        """Begin what a line says."""
        if "look" in order:
            with ThreadPoolExecutor(len(order["look"])) as pool:
                self.tell(look=list(pool.map(self._held_by, order["look"])))
            return
        for user, ask in enumerate(order["asks"]):
            words = (order["ask"], user, order["url"], ask)
            threading.Thread(target=self._answer, args=words, daemon=True).start()

    def _held_by(self, address: str) -> dict[str, Any]:
        """What a node holds of sessions, or why it does not say."""
        try:
            with NodeClient(Peer(address), self._dialer) as client:
                about = client.describe()
        except ClusterError as error:
            return {"error": str(error)}
        if not about.HasField("stage"):
            return {"sequences": 0, "coordinator": "", "epoch": 0}
        stage = about.stage
        return {
            "sequences": stage.sequences,
            "most": stage.max_sequences,
            "coordinator": stage.coordinator,
            "epoch": stage.epoch,
            "layers": stage.layers.stop - stage.layers.start,
        }

    def tell(self, **said: Any) -> None:
        """One line."""
        with self._telling:
            print(json.dumps({"at": time.monotonic(), **said}), flush=True)

    def _answer(self, number: int, user: int, url: str, ask: dict[str, Any]) -> None:
        who = {"round": number, "user": user}
        try:
            result = self._through_server(who, url, ask) if url else self._by_client(who, ask)
            self.tell(**who, answer=result)
        except (ClusterError, OSError, ValueError, http.client.HTTPException) as error:
            self.tell(**who, error=f"{type(error).__name__}: {error}")

    def _by_client(self, who: dict[str, int], ask: dict[str, Any]) -> dict[str, Any]:
        stream = self._client.stream(
            ask["prompt"],
            max_tokens=ask["tokens"],
            seed=ask["seed"],
            temperature=ask["temperature"],
            repeat_penalty=_PENALTY,
            draft=ask["draft"],
        )
        with stream:
            for _ in stream:
                self.tell(**who, piece=1)
            answer = stream.answer
        return {"ids": answer.ids, "text": answer.text}

    def _through_server(self, who: dict[str, int], url: str, ask: dict[str, Any]) -> dict[str, Any]:
        until_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return {"text": self._streamed(who, url, ask)}
            except (ConnectionError, http.client.IncompleteRead):
                if time.monotonic() > until_s:
                    raise
                time.sleep(_AGAIN_S)

    def _streamed(self, who: dict[str, int], url: str, ask: dict[str, Any]) -> str:
        body = {
            "prompt": ask["prompt"],
            "max_tokens": ask["tokens"],
            "seed": ask["seed"],
            "temperature": ask["temperature"],
            "repeat_penalty": _PENALTY,
            "stream": True,
        }
        host = urllib.parse.urlsplit(url).netloc
        connection = http.client.HTTPConnection(host, timeout=_PATIENCE_S)
        text = ""
        try:
            headers = {"content-type": "application/json"}
            connection.request("POST", "/v1/completions", json.dumps(body), headers)
            response = connection.getresponse()
            if response.status != 200:
                raise ValueError(f"{response.status}: {response.read()[:300]!r}")
            for line in response:
                if line == b"data: [DONE]\n":
                    return text
                if line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    if "error" in event:
                        raise ValueError(str(event["error"]))
                    for choice in event["choices"]:
                        text += choice["text"]
                    self.tell(**who, piece=1)
            raise ConnectionError("the server ended in the midst of an answer")
        finally:
            connection.close()


def print_error(text: str) -> None:
    """For whoever looks into a run."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Obey until standard input ends."""
    asker = Asker(sys.argv[1])
    asker.tell(ready=True)
    for line in sys.stdin:
        asker.obey(json.loads(line))


if __name__ == "__main__":
    main()
