"""The machine API: HTTP around the hub."""
