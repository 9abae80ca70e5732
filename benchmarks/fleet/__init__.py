"""Thousands of simulated volunteers' hosts against a real server: real HTTPS, real keys, real signatures.

The hosts speak the whole protocol (challenge, login, exchange) and compute nothing: the answer to a unit is its
arguments, so that honest hosts agree. Never point a fleet at a server whose answers matter.
"""
