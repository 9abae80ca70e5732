"""The gallery: projects to run as they are and to read as tutorials.

* `factor`: the prime factors of an integer. `dsage submit factor -p n=11^150+1`
"""
