"""Checkpoint -> store: `shard_tool.convert.shard` is the way in."""
