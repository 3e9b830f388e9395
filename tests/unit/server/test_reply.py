"""A reply holds what it asks by until it is closed, however that comes about."""

import asyncio

from pi_cluster.server.asking.reply import Reply


def test_a_reply_lets_go_once_whether_it_was_asked_or_not():
    async def check():
        ends = []
        unread = Reply([], None, on_end=lambda: ends.append("unread"))
        unread.close()
        unread.close()
        read = Reply([], None, on_end=lambda: ends.append("read"))
        assert [event async for event in read] == []
        read.close()
        return ends

    assert asyncio.run(check()) == ["unread", "read"]
