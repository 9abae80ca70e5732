"""What the server says in sentences of its own: news, reasons, refusals, deeds. One table of them all.

The tables of the database, the machine API and the command line have them in English. Pages tell them in the visitor's
language: `found.find` knows which sentence an English text is, and what stands in its places.
"""
