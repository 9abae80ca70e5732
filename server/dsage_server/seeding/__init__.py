"""A server's database filled with people and work that look like life: for pages, pictures of them and benchmarks.

Nothing here happens by chance: a seed and an end time give the same rows. `people` and `play` make things up and know
no database; `ledger` keeps the books as the server does; `filling` writes.
"""

from dsage_server.seeding.filling import Seeded, Signers, fill
from dsage_server.seeding.people import Size

__all__ = ["Seeded", "Signers", "Size", "fill"]
