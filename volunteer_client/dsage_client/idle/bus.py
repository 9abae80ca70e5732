"""A connection to a D-Bus with a thread of its own: asked from any thread, and its signals are heard in that one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

CONNECT_S: Final = 3.0
CALL_S: Final = 0.25
"""How long an answer may take. Who asks is often about to decide, and what nobody answers is unknown."""
SYSTEM: Final = "unix:path=/run/dbus/system_bus_socket"
DAEMON: Final = "org.freedesktop.DBus"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"


@dataclass(frozen=True, slots=True)
class Call:
    """A method of an object on the bus, and what to call it with. It never starts a program that does not run."""

    name: str
    path: str
    interface: str
    member: str
    signature: str = ""
    body: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Signal:
    """Signals to listen for: those of one member of an interface, sent by the owner of a name."""

    name: str
    interface: str
    member: str
    arg0: str = ""

    @property
    def rule(self) -> str:
        """The signal as a match rule."""
        rule = f"type='signal',sender='{self.name}',interface='{self.interface}',member='{self.member}'"
        return f"{rule},arg0='{self.arg0}'" if self.arg0 else rule

    def fits(self, message: Message) -> bool:
        """Return whether a message is such a signal."""
        return (
            message.interface == self.interface
            and message.member == self.member
            and (not self.arg0 or (bool(message.body) and message.body[0] == self.arg0))
        )


class Bus:
    """A connection, shared by those who opened it; the last one who closes it ends it.

    `address` is as in DBUS_SESSION_BUS_ADDRESS; "" is no bus, which cannot be opened.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._users = 0
        self._bus: MessageBus | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._heard: list[tuple[Signal, Callable[[Message], None]]] = []
        self._lost: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, lost: Callable[[], None]) -> None:
        """Connect, unless somebody has; `lost` is called, once, if the bus goes. Raises OSError if there is none."""
        with self._lock:
            if not self._users:
                self._start()
            self._users += 1
            self._lost.append(lost)

    def close(self) -> None:
        """End, if nobody else uses it."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
            self._heard.clear()
            self._lost.clear()
            if self._loop is not None and self._bus is not None:
                with suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._bus.disconnect)
        if self._thread is not None and not self.inside:
            self._thread.join(CONNECT_S)

    @property
    def inside(self) -> bool:
        """Whether the caller is the bus's own thread, which must not wait for an answer."""
        return threading.current_thread() is self._thread

    def call(self, call: Call, within_s: float = CALL_S) -> list[Any]:
        """Call from another thread and wait. Raises OSError for an error, no answer in time, or no bus."""
        if self._loop is None or self.inside:
            raise OSError("the bus has gone")
        asking = self.ask(call)
        try:
            future = asyncio.run_coroutine_threadsafe(asking, self._loop)
        except RuntimeError:
            asking.close()
            raise OSError("the bus has gone") from None
        try:
            return future.result(within_s)
        except TimeoutError:
            future.cancel()
            raise OSError(f"{call.name} does not answer") from None

    async def ask(self, call: Call) -> list[Any]:
        """Call in the bus's own thread. Raises OSError for an error, or if there is no bus."""
        from dbus_fast import Message, MessageFlag, MessageType

        if self._bus is None or not self._bus.connected:
            raise OSError("the bus has gone")
        try:
            reply = await self._bus.call(
                Message(
                    destination=call.name, path=call.path, interface=call.interface, member=call.member,
                    signature=call.signature, body=call.body, flags=MessageFlag.NO_AUTOSTART,
                )
            )  # fmt: skip
        except EOFError:
            raise OSError("the bus has gone") from None
        if reply is None or reply.message_type is MessageType.ERROR:
            raise OSError(f"{call.name}: {reply.error_name if reply else 'no answer'}")
        return list(reply.body)

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work in the bus's own thread, from there or from any other; an OSError ends it quietly."""
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._begin, work)
                return
        except RuntimeError:
            pass
        work.close()

    def listen(self, signal: Signal, handler: Callable[[Message], None]) -> None:
        """Call `handler`, in the bus's own thread, for each such signal. Raises OSError."""
        self._heard.append((signal, handler))
        self.call(Call(DAEMON, "/org/freedesktop/DBus", DAEMON, "AddMatch", "s", [signal.rule]), CONNECT_S)

    def get(self, name: str, path: str, interface: str) -> dict[str, Any]:
        """Return all properties of an object's interface, as plain values. Raises OSError."""
        (values,) = self.call(Call(name, path, PROPERTIES, "GetAll", "s", [interface]), CONNECT_S)
        return {key: variant.value for key, variant in values.items()}

    def _start(self) -> None:
        if not self._address:
            raise OSError("this session has no bus")
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="idle-bus", daemon=True)
        self._thread.start()
        ready.result()

    def _run(self, ready: Future[None]) -> None:
        asyncio.run(self._serve(ready))

    async def _serve(self, ready: Future[None]) -> None:
        try:
            from dbus_fast import DBusFastError
            from dbus_fast.aio import MessageBus
        except ImportError as error:
            ready.set_exception(OSError(f"dbus-fast is not installed ({error.name})"))
            return
        try:
            self._bus = MessageBus(bus_address=self._address)
            async with asyncio.timeout(CONNECT_S):
                await self._bus.connect()
        except (OSError, EOFError, DBusFastError) as error:
            ready.set_exception(OSError(f"the bus at {self._address} does not answer ({error})"))
            return
        self._bus.add_message_handler(self._hear)
        self._loop = asyncio.get_running_loop()
        ready.set_result(None)
        ended: Callable[[], Awaitable[None]] = self._bus.wait_for_disconnect
        with suppress(OSError, EOFError, DBusFastError):
            await ended()
        for lost in list(self._lost):
            lost()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _hear(self, message: Message) -> None:
        from dbus_fast import MessageType

        if message.message_type is MessageType.SIGNAL:
            for signal, handler in list(self._heard):
                if signal.fits(message):
                    handler(message)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    """Await work; what cannot be asked any more changes nothing."""
    with suppress(OSError):
        await work
