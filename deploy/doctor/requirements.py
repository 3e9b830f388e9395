"""What a machine must have: asked by `up --hosts` before and by the doctor afterwards."""

OLDEST_PYTHON = (3, 11)  # requires-python of pi-cluster
PYTHON_NEEDED = "pi-cluster needs Python {}.{}".format(*OLDEST_PYTHON)
