"""Hosted drivers: the server steps a researcher's runs in the sandbox, so that the laptop may be closed.

`keeper` is the server's side: it starts a process of its own for this, as another user where it can, and gives it
tokens that are good for one run each. `house` is that process, which never sees the server's keys or tables: it
drives each run over the machine API like any researcher's program, and the author's code runs in boxes inside it.
"""
