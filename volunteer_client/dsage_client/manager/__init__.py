"""The manager: pages about this computer's part in DSage, served by the agent to its owner's browser alone.

`manager.app.serve` is imported only when the owner opens the manager: an agent whose page nobody opens pays nothing.
"""
