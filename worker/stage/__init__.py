"""What a worker serves: its layers, and the session of one coordinator through them."""
