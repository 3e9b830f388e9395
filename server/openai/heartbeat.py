"""What a stream says while nothing of an answer comes."""

HEARTBEAT = b": waiting\n"
"""One comment of an event stream: a single line with text behind its colon.

Strict parsers take a blank line for the end of an event without data, and choke on a bare colon;
clients skip a comment, and proxies see bytes.
"""
