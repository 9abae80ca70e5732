"""`DistributedFunction`: the one class that a researcher writes.

The object lives with the driver (the researcher's process). Its state, which is every attribute whose name has no
leading underscore, is committed on the server together with the results folded and the units made, so a driver
that dies anywhere goes on from its last committed step on any machine that holds the key. Only `compute`, `perturb`,
`restore`, `verify`, `agree` and `partial` leave the driver: they are static, and run in a sandbox on other machines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from dsage.wire import Discovered

    A = TypeVar("A", default=Any)
    V = TypeVar("V", default=Any)
else:
    from typing import TypeVar

    A, V = TypeVar("A"), TypeVar("V")

from dsage import codec
from dsage.errors import UsageError

MAX_STATE_BYTES: Final = 1 << 20
"""A driver's state travels with each step; collections that outgrow this belong into results."""
MAX_WAITING: Final = 100
"""Discoveries after which a step folds no further answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one replica may use at most."""

    cpu_s: float = 3600.0
    wall_s: float = 7200.0
    memory_bytes: int = 1 << 30
    disk_bytes: int = 256 << 20
    output_bytes: int = 4 << 20


@dataclass(frozen=True, slots=True)
class Unit(Generic[A]):
    """One piece of work: what `compute` gets, and how the server should treat it.

    `key` names the unit inside its run (one key, one unit: submitting it twice makes it once); `group` is a label
    to cancel by. `credit` is in minutes of the reference core. `quorum` is how many independent replicas must agree
    unless the answer proves itself; `deadline_s` is how long one replica may be away before a replacement is
    issued, at least 10 (a server adapts it to each host's speed). `id` is given by the server and is 0 before that.
    `inputs` are files that `compute` may read, by the name that it gives to `dsage.running.input`: a path, sent to
    the server before the unit is made, or the SHA-256 of a file that the server has. Together they may have
    `limits.disk_bytes`. `retries` is how many failures are followed by another try (None: on a server until it is
    clear that it is not the computers, on one's own machines none). Of a unit that is folded, `cpu_s` and `wall_s`
    are what the computer that brought its answer says it took. An `adaptive` unit is answered by one computer alone if
    that has proved itself on units of this app version before, and by a quorum otherwise and at random; False: always
    by a quorum.
    """

    args: A
    key: str = ""
    group: str = ""
    credit: float = 1.0
    quorum: int = 2
    deadline_s: float = 3600.0
    limits: Limits = field(default_factory=Limits)
    id: int = 0
    inputs: Mapping[str, str | Path] = field(default_factory=dict)
    cpu_s: float = 0.0
    wall_s: float = 0.0
    retries: int | None = None
    adaptive: bool = True


class DistributedFunction(Generic[A, V]):
    """A computation that makes units of work, folds their results, and ends with an answer.

    Subclass it, write `compute`, `process_result` and one of `units` or `next_job`. Keyword arguments of the
    constructor become attributes. Set `done` to end the run early; otherwise it ends when `next_job` has nothing
    more and every unit is folded. Set `wake_at` (Unix seconds) to have `next_job` asked at that time even if nothing
    has happened; until then the run goes on. `result` is the answer.

    `DistributedFunction[A, V]` tells type checkers what `compute` takes and gives; a dataclass or msgspec struct that
    `compute` is annotated with arrives as one.
    """

    title: ClassVar[str] = ""
    """One line for people; the class's name if empty."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Modules that a host must be able to import to run this (`"gmpy2"`, `"flint"`)."""
    platforms: ClassVar[tuple[str, ...]] = ()
    """Kinds of computers that this is for, by the beginning of their name (`"linux-x86_64"`, `"linux"`); empty: any."""
    tags: ClassVar[tuple[str, ...]] = ()
    """Labels that a computer's owner must have given it; empty: none."""
    homogeneous: ClassVar[bool] = False
    """Whether all copies of a unit go to computers of one kind (`"linux-x86_64"`): that of the first that got one."""
    shown_as: ClassVar[str] = ""
    """The picture that volunteers' screens show while a unit runs (`"curves"`, `"tiles"`, `"spectrum"`); empty: a plain
    one. What `dsage.progress` tells beside the share is drawn in it."""
    limits: ClassVar[Limits] = Limits()
    """The most that any of its units may ask for: signed with the run, and held by volunteers' computers."""

    def __init__(self, **params: Any) -> None:
        self.result: Any = None
        self.done = False
        self.wake_at = 0.0
        self.units_taken = 0
        for name, value in params.items():
            if name.startswith("_") or hasattr(type(self), name):
                raise UsageError(f"{name!r} cannot be a parameter of {type(self).__name__}")
            setattr(self, name, value)
        self._outbox: list[Unit[A]] = []
        self._cancelled_groups: list[str] = []
        self._discovered: list[Discovered] = []
        self._source: Iterator[Any] | None = None

    # -- what authors override -------------------------------------------------------------------------------

    def units(self) -> Iterable[A | Unit[A]]:
        """Yield the units (or bare arguments) of the run, in an order that is the same each time."""
        return iter(())

    def next_job(self) -> A | Unit[A] | None:
        """Return one more unit (or bare arguments), pulled when volunteers are hungry; None: nothing now."""
        if self._source is None:
            self._source = iter(self.units())
            for _ in range(self.units_taken):
                next(self._source, None)
        job = next(self._source, None)
        self.units_taken += job is not None
        return job

    @staticmethod
    def compute(args: A, /) -> V:
        """Do one unit's work on a volunteer's computer."""
        raise NotImplementedError

    @staticmethod
    def perturb(args: A, seed: int, /) -> A:
        """Return arguments for one copy of a unit that lead to the same answer another way, chosen by `seed` (0 to
        2^64 - 1): data shifted, points in another order, other random numbers. Each copy has another seed, so a fault
        cannot agree with itself; on one's own computers, where nothing is compared, this is not called."""
        return args

    @staticmethod
    def restore(args: A, value: V, seed: int, /) -> V:
        """Return what the answer to `perturb(args, seed)` says of `args`. Without an override it is the same answer."""
        return value

    @staticmethod
    def verify(args: A, value: V, /) -> bool | None:
        """Say whether an answer proves itself: True it does, False it is a lie, None ask for a second opinion."""
        return None

    @staticmethod
    def agree(args: A, a: V, b: V, /) -> bool:
        """Say whether two answers are the same. Without an override, canonical bytes are compared."""
        return codec.encode(a) == codec.encode(b)

    @staticmethod
    def partial(args: A, value: V, seed: int, /) -> float:
        """Return the share (0..1) of a cancelled unit that `value` shows to be done, checked at random by `seed`."""
        return 0.0

    def process_result(self, unit: Unit[A], value: V, /) -> None:
        """Fold one accepted answer; may call `submit` and `cancel`."""
        raise NotImplementedError

    def retract(self, unit: Unit[A], value: V, /) -> None:
        """Take back an answer that was folded and turned out to be wrong; the unit's next answer is folded as usual.

        Without an override the run goes back to its state before that answer was folded, and folds again from there.
        """
        raise NotImplementedError

    def split(self, unit: Unit[A], /) -> Iterable[A | Unit[A]]:
        """Return smaller units for one that ran into its time limit.

        Without an override such a unit is tried on other computers, and then `unit_failed` is called.
        """
        raise NotImplementedError

    def unit_failed(self, unit: Unit[A], reason: str, /) -> None:
        """Learn that a unit was given up. By default the run fails with the reason."""
        raise UsageError(f"unit {unit.key or unit.id} failed: {reason}")

    def progress(self) -> dict[str, Any]:
        """Return what a live page shows of this run: small, plain data. Every view understands `phase` and `summary`
        (text), `fraction` (0..1) and `eta_s` (seconds; None: nobody can know)."""
        return {}

    # -- what authors call -----------------------------------------------------------------------------------

    def submit(self, unit: A | Unit[A]) -> None:
        """Create a unit in the step that is being folded."""
        self._outbox.append(self.as_unit(unit))

    def cancel(self, group: str) -> None:
        """Cancel every unfinished unit of a group, at once on the volunteers' machines too."""
        self._cancelled_groups.append(group)

    def discover(
        self, unit: Unit[A], *, title: str, facts: Mapping[str, str | int | float] | None = None, check: str = ""
    ) -> None:
        """Declare a discovery that the accepted answer of `unit` shows, once for each title; call it where the answer
        is folded. It stays yours alone until another volunteer has confirmed the answer and you publish it.

        `facts` are shown by name (text, numbers), `check` is a line of Python that convinces whoever pastes it. Raises
        UsageError for a unit that has no answer, or what cannot be shown in a line each.
        """
        from dsage.discoveries import declared

        self._discovered.append(declared(unit.id, title, facts or {}, check))

    def as_unit(self, job: A | Unit[A]) -> Unit[A]:
        """Return `job` as a Unit: bare arguments get the class's limits, and every default."""
        return job if isinstance(job, Unit) else Unit(job, limits=self.limits)

    # -- what the driver calls -------------------------------------------------------------------------------

    def dump_state(self) -> bytes:
        """Return the state as canonical bytes. Raises CodecError for attributes that are not data."""
        state = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        data = codec.encode(state, name="self")
        if len(data) > MAX_STATE_BYTES:
            raise UsageError(
                f"the driver's state is {len(data)} bytes; at most {MAX_STATE_BYTES} are kept",
                hint="Keep large things in results, or start their attribute's name with an underscore.",
            )
        return data

    def load_state(self, data: bytes) -> None:
        """Go on from a state that `dump_state` gave. Lists stand where tuples stood.

        The server kept it, so it is no more to be trusted than the server is: it sets data, never a method.
        """
        for name, value in codec.decode(data).items():
            if name.startswith("_") or callable(getattr(type(self), name, None)):
                raise UsageError(f"the stored state is not one of {type(self).__name__}: it holds {name[:60]!r}")
            setattr(self, name, value)
        self._source = None

    @classmethod
    def hosted_step(cls, params: dict[str, Any], stand: bytes, heard: bytes) -> bytes:
        """Do one step of a hosted run (see dsage.hosted): called by the server in its sandbox, by nobody else."""
        from dsage import hosted

        return hosted.step(cls, params, stand, heard)

    @classmethod
    def compute_perturbed(cls, args: Any, seed: int) -> Any:
        """Compute one copy of a unit its own way (see dsage.perturbing): called in a sandbox, by nobody else."""
        from dsage import perturbing

        return perturbing.computed(cls, args, seed)

    @property
    def discoveries_wait(self) -> bool:
        """Whether so many discoveries were declared that a step should take them."""
        return len(self._discovered) >= MAX_WAITING

    def take_discoveries(self) -> list[Discovered]:
        """Return and forget the discoveries declared since the last call."""
        found, self._discovered = self._discovered, []
        return found

    def take_outbox(self) -> tuple[list[Unit[A]], list[str]]:
        """Return and forget the units submitted and the groups cancelled since the last call."""
        units, groups = self._outbox, self._cancelled_groups
        self._outbox, self._cancelled_groups = [], []
        return units, groups
