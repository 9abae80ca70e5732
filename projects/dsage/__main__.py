"""`python -m dsage` is the `dsage` command."""

import sys

from dsage.cli.main import main

sys.exit(main())
