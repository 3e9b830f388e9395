"""One node's process: holds a stage of the model, runs it, and forwards to the next.

`service.py` is the network face, `stage/host.py` what is served now, `stage/session.py` the path of
one coordinator's steps through this stage, `shards/vault.py` the shard files on this node's disk,
`shards/transfers.py` how they come and go.
"""
