"""What `eval` takes beside the pipeline: the text, and a reference that is computed here."""
