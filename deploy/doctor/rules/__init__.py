"""What facts of machines mean, one file a subject. Pure: facts go in, findings come out.

Thresholds are constants at the top of each file, with the reason or the source beside them.
"""
