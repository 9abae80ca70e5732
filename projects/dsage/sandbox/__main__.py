"""`python -m dsage.sandbox`: say what protects this computer from strangers' code, or why it takes none."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from dsage.sandbox.level import Level, Report
from dsage.sandbox.selftest import self_test


async def _reports() -> list[Report]:
    with tempfile.TemporaryDirectory(prefix="dsage-") as work_dir:
        return [await self_test(level, Path(work_dir)) for level in Level]


def _main() -> int:
    reports = asyncio.run(_reports())
    for report in reports:
        sys.stdout.write(f"{report.level}: {'holds' if report.passed else 'NOT USED'}\n  {report.sentence}\n")
        for failure in report.failures:
            sys.stdout.write(f"  - {failure}\n")
    return 0 if reports[0].passed else 1


if __name__ == "__main__":
    sys.exit(_main())
