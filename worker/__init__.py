"""One node's process: holds a stage of the model, runs it, and forwards to the next.

`service.py` is the network face, `host.py` what is served now, `session.py` the path of one
coordinator's steps through this stage, `vault.py` the shard files on this node's disk,
`transfers.py` how they come and go.
"""
