"""What the screen shows while this computer works and nobody uses it.

A process of its own that holds no keys, knows no network and reads one small file, the client's `status.json`.
`status` reads it, `scenes` turn it and the time into shapes, `caption` adds the words, and `canvas` draws them with Tk,
which is imported nowhere else.
"""
