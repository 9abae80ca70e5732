"""`python -m dsage_client.saver` is `dsage saver`."""

from __future__ import annotations

from dsage_client.saver.command import main

if __name__ == "__main__":
    main()
