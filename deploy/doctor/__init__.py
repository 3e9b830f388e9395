"""What is the matter with a cluster: facts gathered, judged, and told."""
