"""`dsage demo`: a server, volunteers and a researcher on one computer, and what becomes of a number among them.

* `groundwork` reads the number and does what takes no volunteer; `play` is the plot, in the order of its acts;
* `stage` starts and ends the programs: `children` are processes that never outlive the demo, `place` their folders;
* `showing` speaks while it goes on, `outcome` at the end, both in `prose`.
"""
