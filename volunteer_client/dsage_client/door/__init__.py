"""The agent's private door: a socket by which the tray, the manager's openers and the command line reach it."""
