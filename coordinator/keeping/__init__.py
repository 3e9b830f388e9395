"""Answers that have not ended, written down so that another program can go on with them."""
