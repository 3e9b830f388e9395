"""The two ends of the pipeline: text in, steps through the stages, sampled tokens out.

`client.py` and `async_client.py` are what programs use. Below them, `asking/` brings a question to
its answer, `scheduling/` decides what each step carries, and `session.py` sends it; `generation.py`
is a request on its way, `answer_text.py` turns its tokens into text, and `measurement.py` and
`bench/` say how long it took.
"""
