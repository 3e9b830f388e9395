"""How the demo model was made: the generator of its stories, the trainer and the checks."""
