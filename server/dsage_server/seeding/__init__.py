"""A server's database filled with people and work that look like life: for pages, pictures of them and benchmarks.

Nothing here happens by chance: a seed and an end time give the same rows. `filling.fill` does it. `people` and `play`
make things up and know no database; `ledger` keeps the books as the server does, day by day; `works` and `crowding`
write the rows of runs and of people.
"""
