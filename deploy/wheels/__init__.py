"""The wheels that hosts get."""
