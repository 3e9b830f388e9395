"""The two ends of the pipeline: text in, steps through the stages, sampled tokens out.

`client.py` and `async_client.py` are what programs use. `asking/` brings a question to its answer:
`text_model.py` turns it into a prompt, `scheduling/` decides what each step carries, `session.py`
moves steps, and `answer_text.py` turns tokens into text. `planning/`, `pipeline/` and `records/`
are a pipeline's life: planned, brought up, remembered. `measurement.py` and `bench/` say how long
it took.
"""
