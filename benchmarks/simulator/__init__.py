"""A world of simulated computers on a fake clock, working against the real scheduling and validation code."""
