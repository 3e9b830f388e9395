"""A pipeline's life: nodes found and measured, shards handed out, stages loaded and watched."""
