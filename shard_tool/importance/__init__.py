"""How much the inputs of each matrix count when its weights are quantised, and who says so."""
