"""Source that travels: a function, a piece of text or a file, made into a signed app version of its own.

`ship_function` packs a function with the modules it belongs to, or writes a module from a function typed in a script
or notebook; `ship_source` and `ship_file` pack a text that is run as it is. Each gives a `dsage.bundle.Bundle`: its
`data` is what is signed and runs elsewhere, its `function` is the class that drives the run here. `load` brings packed
source to life in this process, out of the way of every other module.
"""

from __future__ import annotations

from dsage.shipping.classes import ship_class
from dsage.shipping.functions import ship_function
from dsage.shipping.refusals import ShipError
from dsage.shipping.snippets import ship_file, ship_source
from dsage.shipping.worlds import load

__all__ = ["ShipError", "load", "ship_class", "ship_file", "ship_function", "ship_source"]
