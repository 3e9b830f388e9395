"""How well the model that is up does on a text, by itself and beside a reference."""
