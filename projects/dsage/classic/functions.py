"""A computation as the DSage of 2008 had it: its jobs are code, and results are processed here."""

from __future__ import annotations

import threading
from concurrent import futures
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from dsage import codec
from dsage.classic.connection import DSage, Job, JobWrapper
from dsage.errors import DSageError, RunFailed, TimedOut, UsageError

LOOK_S: Final = 0.5
"""How soon a function that was stopped notices it."""
_OWN: Final = ("outstanding_jobs", "waiting_jobs", "processed_jobs", "start_time", "end_time")


class DistributedFunction:
    """A computation whose jobs are code, driven from this program.

    A subclass fills `outstanding_jobs` with code or Jobs and writes `process_result(job)`, called for each job that
    completed, which may `submit_job` more and set `done`. `waiting_jobs` are sent and not processed yet,
    `processed_jobs` are; `result` is the answer. It ends when it is `done`, or when nothing is left.
    """

    def __init__(self, dsage: DSage) -> None:
        self._dsage = dsage
        self.name = type(self).__name__
        self.result: Any = None
        self.outstanding_jobs: list[str | Job] = []
        self.waiting_jobs: list[JobWrapper] = []
        self.processed_jobs: list[JobWrapper] = []
        self.start_time: datetime | None = None
        self.end_time: datetime | None = None
        self._done = False
        self._checker: threading.Thread | None = None
        self._trouble: BaseException | None = None

    # -- what authors override -------------------------------------------------------------------------------

    def process_result(self, job: JobWrapper) -> None:
        """Take one completed job."""
        raise NotImplementedError

    def process_failure(self, job: JobWrapper) -> None:
        """Take one job that failed or was killed; by default that ends everything with an error."""
        raise RunFailed(f"job {job.job_id} of {self.name} {job.status}: {job.output.strip()[-400:]}")

    def next_job(self) -> str | Job | None:
        """Return further code, asked for whenever a job was processed; None: nothing now."""
        return None

    # -- what authors and others call ------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether it has ended; setting it ends it."""
        return self._done

    @done.setter
    def done(self, value: bool) -> None:
        if value and not self._done:
            self.end_time = datetime.now(UTC)
        self._done = value

    @property
    def time(self) -> timedelta | str:
        """How long it took; before its end, a sentence."""
        if self.start_time is None or self.end_time is None:
            return f"{self.name} has not finished yet."
        return self.end_time - self.start_time

    def start(self) -> None:
        """Send the outstanding jobs and begin to process what comes of them. Return at once."""
        self.start_time = datetime.now(UTC)
        self.submit_jobs()
        self._checker = threading.Thread(target=self._check, name=self.name, daemon=True)
        self._checker.start()

    def submit_job(self, job: str | Job, job_name: str = "") -> JobWrapper:
        """Send one job."""
        prepared = job if isinstance(job, Job) else Job(job, timeout=0.0)
        prepared.name = prepared.name or job_name or self.name
        sent = self._dsage.send_job(prepared)
        self.waiting_jobs.append(sent)
        return sent

    def submit_jobs(self, job_name: str = "") -> None:
        """Send every outstanding job."""
        while self.outstanding_jobs:
            self.submit_job(self.outstanding_jobs.pop(0), job_name)

    def wait(self, timeout: float | None = None) -> Any:
        """Return the result, when it is there. Raises TimedOut, and what process_result or process_failure raised."""
        if self._checker is None:
            raise UsageError(f"{self.name} was not started", hint="Call start() first.")
        self._checker.join(timeout)
        if self._checker.is_alive():
            raise TimedOut(f"{self.name} took more than {timeout:g} s")
        if self._trouble is not None:
            raise self._trouble
        return self.result

    def stop(self) -> None:
        """Stop its jobs and end."""
        self.done = True
        self._kill_waiting()

    def save(self, path: str | Path) -> Path:
        """Write down how it stands: its attributes, and the code of what is left."""
        named = {name: value for name, value in vars(self).items() if not name.startswith("_") and name not in _OWN}
        left = [[job.code, job.name] for job in self.waiting_jobs]
        left += [[job.code, job.name] if isinstance(job, Job) else [job, ""] for job in self.outstanding_jobs]
        if any(not code for code, _ in left):
            raise UsageError("a job that is no code cannot be saved", hint="Use code in place of a function.")
        Path(path).write_bytes(codec.encode({"attributes": named, "left": left}))
        return Path(path)

    @classmethod
    def restore(cls, path: str | Path, dsage: DSage) -> Self:
        """Go on, there or at another server, with what was saved: only what was left is computed. It is started."""
        saved = codec.decode(Path(path).read_bytes())
        made = cls.__new__(cls)
        DistributedFunction.__init__(made, dsage)
        for name, value in saved["attributes"].items():
            setattr(made, name, value)
        made.outstanding_jobs = [Job(code, name, timeout=0.0) for code, name in saved["left"]]
        made.start()
        return made

    # -- within ----------------------------------------------------------------------------------------------

    def _check(self) -> None:
        """Process jobs as they end, until everything has ended."""
        try:
            while self.waiting_jobs and not self.done:
                by_end = {each._over(): each for each in self.waiting_jobs}
                ended, _ = futures.wait(by_end, LOOK_S, futures.FIRST_COMPLETED)
                for each in [by_end[end] for end in ended]:
                    if not self.done:
                        self._process(each)
            self.done = True
        except Exception as error:  # noqa: BLE001 - whatever the author's code raises is for wait()
            self._trouble = error
            self.done = True
        finally:
            self._kill_waiting()

    def _process(self, job: JobWrapper) -> None:
        self.waiting_jobs.remove(job)
        (self.process_result if job.status == "completed" else self.process_failure)(job)
        self.processed_jobs.append(job)
        further = None if self.done else self.next_job()
        if further is not None:
            self.submit_job(further)

    def _kill_waiting(self) -> None:
        for each in self.waiting_jobs:
            with suppress(DSageError):
                each.kill()
