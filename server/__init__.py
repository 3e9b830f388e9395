"""The front door: HTTP for the clients, pages and assistants that people already use."""
