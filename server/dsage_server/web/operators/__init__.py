"""The operator's pages, a room for each idea: its document, what fills it, and its `PAGES`.

Each is for browsers that are logged in as the operator (`dsage admin web`), and says what a command of `dsage admin`
says as well.
"""
