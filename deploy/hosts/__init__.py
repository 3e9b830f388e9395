"""Hosts that are set up over SSH, or set themselves up."""
