"""The arithmetic of a Mistral-style transformer in numpy: a specification that can be read and run.

Nothing here knows of a network. A model is computed by one or several stages (`stage.py`), each a
run of layers (`layer.py`) with a rolling key/value cache per sequence and layer (`cache.py`).
Every result of a row is computed in one order, whatever else is in the batch: that is what lets a
cluster split, chunk and replay a text and still give the same tokens (`arithmetic.linear`).
"""
