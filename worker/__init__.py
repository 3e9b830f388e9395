"""One node's process: holds a stage of the model, runs it, and forwards to the next.

Start reading at `process.py`, which puts the parts together, and `service.py`, the network face.
`stage/` is what is served: `state.py` draws the states of a stage and who uses it, `host.py` loads
it and lets go of it, `sessions.py` lets coordinators in, `session.py` is one of them on its way
through. `shards/` are the files on this node's disk, `trust/` says who may call, and `machine/`
knows the computer: how fast it is, and how it fares.
"""
