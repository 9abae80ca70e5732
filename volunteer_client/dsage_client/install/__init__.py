"""Being installed on a computer: starting with it, leaving it without a trace, hearing of a newer version."""
