"""Jobs as the DSage of 2008 had them: each is a run of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from dsage import codec, job
from dsage.calls_job import CallsJob, FoundCalls
from dsage.errors import NotAllowed, UsageError
from dsage.family import Family
from dsage.grid import Grid
from dsage.options import CallOptions, normal
from dsage.states import RunState

TIMEOUT_S: Final = 600.0
LOWEST: Final = 5
"""The old priorities: 1 is the most urgent, 5 the usual one."""
NO_OUTPUT: Final = "No output yet."


class Job:
    """Code with variables and files, to be sent by `send_job`. `timeout` is in seconds, 0 for none."""

    def __init__(self, code: str = "", name: str = "", priority: int = LOWEST, timeout: float = TIMEOUT_S) -> None:
        self.code = code
        self.name = name
        self.priority = priority
        self.timeout = timeout
        self.variables: dict[str, Any] = {}
        self.files: dict[str, Path] = {}

    def attach(self, name: str, value: Any) -> None:
        """Have a variable set before the code runs: any data that can travel."""
        codec.encode(value)
        self.variables[name] = value

    def attach_file(self, path: str | Path) -> None:
        """Have a file lie in the job's folder, byte for byte."""
        self.files[Path(path).name] = Path(path)


class JobWrapper:
    """A job that was sent. Attributes look where it stands."""

    def __init__(self, dsage: DSage, sent: job.Job[Any], *, code: str = "", name: str = "", input: Any = None) -> None:
        self.job_id = sent.id
        self.code = code
        self.name = name or sent.view.title
        self.input = input
        self._dsage = dsage
        self._job = sent
        single = codec.decode(sent.view.params).get("single")
        self._listed = isinstance(sent, CallsJob | FoundCalls) and not single

    def __repr__(self) -> str:
        if self.status in ("new", "processing"):
            return NO_OUTPUT
        return self.output or str(self.result if self.status == "completed" else self.status)

    @property
    def status(self) -> str:
        """new, processing, completed, failed or killed."""
        view = self._job.view
        if view.state in (RunState.RUNNING, RunState.PAUSED):
            return "processing" if view.replicas.get("leased") or view.units.get("valid") else "new"
        if view.state == RunState.CANCELLED:
            return "killed"
        return "failed" if view.state == RunState.FAILED or self._job.errors() else "completed"

    @property
    def output(self) -> str:
        """What it has printed so far; of a job that failed, with the reason."""
        said = self._job.output
        errors = "\n".join(self._job.errors().values()) if self._job.done else ""
        return said + (f"{errors}\n" if errors else "")

    @property
    def result(self) -> Any:
        """Its value, None before it is there and if it failed."""
        return self.wait() if self.status == "completed" else None

    @property
    def username(self) -> str:
        """Whose job it is."""
        return self._job.view.researcher

    @property
    def priority(self) -> int:
        """Its priority, 1 (first) to 5."""
        return LOWEST - self._job.view.priority // 10

    @property
    def killed(self) -> bool:
        """Whether it was killed."""
        return self.status == "killed"

    @property
    def failures(self) -> int:
        """How often it failed on a computer."""
        return sum(attempt.state == "error" for attempt in self._job.attempts())

    @property
    def creation_time(self) -> Any:
        """When it was sent."""
        return self._job.start_time

    @property
    def finish_time(self) -> Any:
        """When it ended; None while it goes on."""
        return self._job.end_time

    @property
    def cpu_time(self) -> float:
        """Processor seconds that it took."""
        return self._job.cpu_time

    @property
    def wall_time(self) -> float:
        """Seconds that it took."""
        return self._job.wall_time

    def wait(self, timeout: float | None = None) -> Any:
        """Return its value, when it is there.

        Raises TimedOut after `timeout` seconds, CallFailed or RunFailed, and RunCancelled if it was killed.
        """
        value = self._job.wait(timeout)
        return value[0] if self._listed and len(value) == 1 else value

    def get_job(self) -> JobWrapper:
        """Look again; return itself."""
        self._job.refresh()
        return self

    def get_job_output(self) -> str:
        """Return `output`."""
        return self.output

    def get_job_result(self) -> Any:
        """Return `result`."""
        return self.result

    def kill(self) -> None:
        """Stop it wherever it runs."""
        self._job.kill()

    def rerun(self) -> JobWrapper:
        """Send it again, as another job."""
        return JobWrapper(self._dsage, self._job.rerun(), code=self.code, name=self.name, input=self.input)

    def write_result(self, path: str | Path) -> Path:
        """Write its value as JSON; return the path."""
        return self._job.write_result(path)

    def save(self, path: str | Path) -> Path:
        """Write down which job it is: `restore` finds it again at its server, in another program too."""
        known = {"job": self.job_id, "server": self._dsage.server, "code": self.code, "name": self.name}
        Path(path).write_text(json.dumps(known))
        return Path(path)

    @staticmethod
    def restore(path: str | Path, dsage: DSage) -> JobWrapper:
        """Return a job that was saved. Raises NotFound, or UsageError if it was sent to another server."""
        known = json.loads(Path(path).read_text())
        if known["server"] != dsage.server:
            raise UsageError(f"job {known['job']} is at {known['server']}", hint="Connect there first.")
        return JobWrapper(dsage, dsage.grid.job(known["job"]), code=known["code"], name=known["name"])

    def _over(self) -> futures.Future[Any]:
        """Return a future that ends with the job."""
        return self._job.future()


class DSage:
    """A connection. `server` is its address, `grid` today's interface to the same."""

    def __init__(
        self, grid: Grid, *, family: Family | None = None, retries: int | None = None, own: bool = True
    ) -> None:
        self.grid = grid
        self.server = grid.place.name
        self.family = family
        self._options: CallOptions = {"quorum": 1} if own else {}
        if retries is not None:
            self._options["retries"] = retries

    def __call__(self, code: str, user_vars: Mapping[str, Any] | None = None, **options: Any) -> JobWrapper:
        """Send an expression or some code; as `eval`."""
        return self.eval(code, user_vars, **options)

    def eval(
        self, code: str, user_vars: Mapping[str, Any] | None = None, job_name: str = "", timeout: float = TIMEOUT_S,
        load_files: Sequence[str | Path] = (), priority: int = LOWEST,
    ) -> JobWrapper:  # fmt: skip
        """Run code elsewhere: its value is that of its last expression, or of DSAGE_RESULT.

        `load_files` that are Python run before it, others lie in its folder. Raises ShipError or CodecError for what
        cannot travel.
        """
        prepared = Job(code, job_name, priority, timeout)
        for name, value in (user_vars or {}).items():
            prepared.attach(name, value)
        python = [Path(path) for path in load_files if Path(path).suffix in (".py", ".sage")]
        for path in map(Path, load_files):
            if path not in python:
                prepared.attach_file(path)
        prepared.code = "\n".join([*(path.read_text() for path in python), code])
        return self.send_job(prepared)

    def eval_file(self, path: str | Path, job_name: str = "", **options: Any) -> JobWrapper:
        """Run a file elsewhere, as `eval` does."""
        return self.eval(Path(path).read_text(), job_name=job_name or Path(path).name, **options)

    def send_job(self, prepared: Job) -> JobWrapper:
        """Send a job that was prepared."""
        options = self._of(prepared.priority, prepared.timeout)
        options["inputs"] = prepared.files
        sent = self.grid.eval(prepared.code, prepared.variables, **options)
        return JobWrapper(self, sent, code=prepared.code, name=prepared.name)

    def eval_function(
        self, function: Callable[..., Any], arguments: Any = (), job_name: str = "", timeout: float = 0.0,
        priority: int = LOWEST,
    ) -> JobWrapper:  # fmt: skip
        """Call a function elsewhere; `arguments` are a tuple, a dict, a tuple of both, or a single value."""
        call = normal(arguments)
        sent = self.grid.starmap(function, [call], chunk=1, **self._of(priority, timeout))
        return JobWrapper(self, sent, name=job_name or function.__name__, input=call)

    def map(self, function: Callable[..., Any], *iterables: Iterable[Any]) -> list[JobWrapper]:
        """Call a function with the items of one or more iterables, as the built-in map; return a job for each."""
        return [self.eval_function(function, args) for args in zip(*iterables, strict=False)]

    def parallel_iter(self, function: Callable[..., Any], inputs: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Yield ((arguments, named arguments), value) for each input, as they finish."""
        return self.grid.starmap(function, inputs, chunk=1, **self._of(LOWEST, 0.0)).as_completed()

    def block_on_jobs(self, jobs: Sequence[JobWrapper], timeout: float | None = None) -> None:
        """Return when all jobs have ended, well or not, or after `timeout` seconds."""
        futures.wait([each._over() for each in jobs], timeout)

    def job_results_iter(self, jobs: Sequence[JobWrapper]) -> Iterator[tuple[Any, JobWrapper]]:
        """Yield (what it was called with, job) as jobs end, well or not."""
        by_end = {each._over(): each for each in jobs}
        for ended in futures.as_completed(by_end):
            yield by_end[ended].input, by_end[ended]

    def kill(self, job: JobWrapper | int) -> None:
        """Stop a job, by itself or by its number."""
        (job if isinstance(job, JobWrapper) else JobWrapper(self, self.grid.job(job))).kill()

    def kill_all(self) -> None:
        """Stop every job of mine, and end what `start_all` has started."""
        for mine in self.get_my_jobs():
            if mine.status in ("new", "processing"):
                mine.kill()
        self.disconnect()

    def get_my_jobs(self, status: str = "") -> list[JobWrapper]:
        """Return my jobs, of one status or all, also those of earlier programs."""
        found: list[JobWrapper] = []
        for view in self.grid.jobs():
            with suppress(NotAllowed):
                found.append(JobWrapper(self, self.grid.job(view.run)))
        return [each for each in found if not status or each.status == status]

    def server_log(self, n: int = 50) -> str:
        """Return the last `n` lines of the server's log. Raises UsageError if the server is not of this program."""
        return self._mine().log("server", n)

    def worker_log(self, n: int = 50) -> str:
        """Return the last `n` lines of each worker's log. Raises UsageError if they are not of this program."""
        family = self._mine()
        return "\n".join(family.log(f"worker {number}", n) for number in range(1, family.workers + 1))

    @property
    def web_server_url(self) -> str:
        """Where the pages are; empty where there are none."""
        return "" if self.family is None else self.family.pages_url

    def is_connected(self) -> bool:
        """Whether it has not been disconnected."""
        return self.grid.background.alive

    def disconnect(self) -> None:
        """Let go, and end what `start_all` has started."""
        self.grid.close()
        if self.family is not None:
            self.family.close()

    def _of(self, priority: int, timeout: float) -> CallOptions:
        if priority not in range(1, LOWEST + 1):
            raise UsageError(f"priority {priority} is none of 1 (first) to {LOWEST}")
        options: CallOptions = {**self._options, "priority": 10 * (LOWEST - priority)}
        if timeout:
            options["timeout"] = timeout
        return options

    def _mine(self) -> Family:
        if self.family is None:
            raise UsageError("these logs are not of this program", hint="`dsage logs RUN` is about one job.")
        return self.family
