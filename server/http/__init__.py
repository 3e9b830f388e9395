"""HTTP itself: who is let in, bodies in, answers out; it knows no API."""
