"""From what an adapter understood of a request to the pipeline, and back as events."""
