"""The two ends of the pipeline: text in, steps through the stages, sampled tokens out.

`pipeline.py` moves steps, `generation.py` turns a prompt into tokens, `answer.py` tokens into
text, `measurement.py` and `bench.py` say how long it took.
"""
