"""Which node holds which layers, and what that will reach. Pure: figures in, plans out."""
