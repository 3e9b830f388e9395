"""A door before a server that refuses the first requests as the server itself would."""

import http.client
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pi_cluster.cluster.errors import NodeLost, QueueFull
from pi_cluster.server.http.failures import error_body, refusal_of
from tests.support.servers import Server

_REFUSALS = (QueueFull("64 requests wait"), NodeLost("pi2 does not answer"))


@contextmanager
def failing_first(server: Server) -> Iterator[str]:
    """The address of a door that says 429, then 503, and then lets through."""
    left = list(_REFUSALS)

    class Door(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if left:
                refusal = refusal_of(left.pop(0))
                told = error_body(self.path, refusal)
                self.send_response(refusal.status)
                for name, value in refusal.headers.items():
                    # At once, or the test would wait as long as people should.
                    self.send_header(name, "0" if name == "retry-after" else value)
            else:
                connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
                connection.request("POST", self.path, body, {"content-type": "application/json"})
                response = connection.getresponse()
                told = response.read()
                connection.close()
                self.send_response(response.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: object) -> None:
            pass

    door = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
    serving = threading.Thread(target=door.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{door.server_port}/v1"
        assert not left, "nobody came back after a refusal"
    finally:
        door.shutdown()
        serving.join()
        door.server_close()
