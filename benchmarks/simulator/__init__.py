"""A world of simulated volunteers' computers on a fake clock, working against the real scheduling and validation code."""
