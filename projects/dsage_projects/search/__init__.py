"""All totally real number fields of a degree up to a discriminant: `dsage submit search -p degree=6 -p bound=735091`.

A search tree whose branches nobody can measure beforehand: one that takes too long is split on the way. In the order
to be read: `tree` walks over all polynomials that could be the one, `fields` says exactly which field a polynomial has,
`function` makes branches into units and puts together what they find.
"""

from dsage_projects.search.function import Search

FUNCTION = "Search"

__all__ = ["FUNCTION", "Search"]
