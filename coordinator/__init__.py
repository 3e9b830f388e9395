"""The two ends of the pipeline: text in, steps through the stages, sampled tokens out.

`session.py` moves steps, `scheduling/scheduler.py` decides what they carry, `text_model.py` turns a
question into a prompt and `answer.py` tokens into text. `planning/`, `pipeline/` and `records/` are
a pipeline's life: planned, brought up, remembered. `measurement.py` and `bench/` say how long it
took.
"""
