"""Notebooks: what is shown, what is shipped from their cells, and what an interrupt leaves alone. In real kernels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.notebooknode import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
FIRST_STEPS = ROOT / "docs" / "notebooks" / "first-steps.ipynb"
LONGEST_S = 60
SLOW = "def slow(x):\n    import time\n    time.sleep(x)\n    return x\n"

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(120)]


class Watched(NotebookClient):
    """A notebook's client that keeps what was shown, in the order in which it came."""

    shown: list[dict[str, Any]]

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        if msg["msg_type"] in ("display_data", "update_display_data"):
            self.shown.append({"cell": cell_index, "update": msg["msg_type"] != "display_data", **msg["content"]})
        return super().process_message(msg, cell, cell_index)


def execute(*cells: str) -> tuple[list[NotebookNode], list[dict[str, Any]]]:
    """Execute cells in a kernel of their own; return them with their outputs, and all that was shown."""
    notebook = nbformat.v4.new_notebook(cells=[_cell(cell) for cell in cells])  # type: ignore[no-untyped-call]
    client = Watched(notebook, timeout=LONGEST_S, kernel_name="python3")
    client.shown = []
    client.execute()
    return notebook.cells, client.shown


def _cell(source: str) -> NotebookNode:
    made: NotebookNode = nbformat.v4.new_code_cell(source)  # type: ignore[no-untyped-call]
    return made


def value(cell: NotebookNode) -> str:
    """Return what a cell's last line gave."""
    (result,) = [each for each in cell.outputs if each.output_type == "execute_result"]
    return str(result.data["text/plain"])


class Kernel:
    """A kernel that is spoken to as a front end does, cell by cell."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client
        self.updates: list[dict[str, Any]] = []

    def send(self, code: str, cell: str = "") -> str:
        """Have a cell executed; return the request's id. One that fails takes none with it that was sent meanwhile."""
        content = {
            "code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False,
            "stop_on_error": False,
        }  # fmt: skip
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell} if cell else {})
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def update(self) -> dict[str, Any]:
        """Wait until something that is shown changes, and return the message."""
        while True:
            message: dict[str, Any] = self.client.get_iopub_msg(timeout=LONGEST_S)
            if message["msg_type"] == "update_display_data":
                return message

    def reply(self, request: str) -> dict[str, Any]:
        """Return how a cell ended."""
        while True:
            message = self.client.get_shell_msg(timeout=LONGEST_S)
            if message["parent_header"]["msg_id"] == request:
                content: dict[str, Any] = message["content"]
                return content

    def do(self, code: str, cell: str = "") -> str:
        """Execute a cell that must work; return what it printed."""
        request = self.send(code, cell)
        printed = ""
        while True:
            message = self.client.get_iopub_msg(timeout=LONGEST_S)
            if message["msg_type"] == "update_display_data":
                self.updates.append(message)
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "stream":
                printed += message["content"]["text"]
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        ended = self.reply(request)
        assert ended["status"] == "ok", ended
        return printed


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def test_a_job_is_shown_once_and_changes_where_it_stands() -> None:
    cells, shown = execute(
        "from dsage import local\ngrid = local(2)",
        SLOW + "job = grid.map(slow, [0.4] * 12, chunk=1)\njob",
        "job.wait(60) == [0.4] * 12",
    )
    assert len({each["transient"]["display_id"] for each in shown}) == 1
    assert [each["cell"] for each in shown if not each["update"]] == [1]
    assert len([each for each in shown if each["update"]]) >= 2
    (output,) = cells[1].outputs
    assert "done" in output.data["text/plain"]
    assert 'aria-valuenow="100"' in output.data["text/html"]
    assert "12 valid" in output.data["text/plain"]
    assert "running" in shown[0]["data"]["text/plain"]
    assert value(cells[2]) == "True"


def test_cells_are_shipped_as_they_were_last_defined() -> None:
    cells, _ = execute(
        "from dsage import DistributedFunction, local\ngrid = local(2)\nK = 2",
        "def f(x):\n    return helper(x)\ndef helper(x):\n    return K * x\nlist(grid.map(f, [1, 2]))",
        "K = 5\ndef helper(x):\n    return K * x + 1\nlist(grid.map(f, [1, 2]))",
        "class Sum(DistributedFunction):\n"
        "    def units(self):\n        yield from range(1, self.n + 1)\n"
        "    @staticmethod\n    def compute(i):\n        return helper(i)\n"
        "    def process_result(self, unit, value):\n        self.result += value\n"
        "grid.run(Sum(n=3), result=0).wait()",
        "def helper(x):\n    return x\ngrid.run(Sum(n=3), result=0).wait()",
    )
    assert [value(cell) for cell in cells[1:]] == ["[2, 4]", "[6, 11]", "33", "6"]


def test_it_works_where_an_event_loop_runs_already() -> None:
    cells, _ = execute(
        "import asyncio\nfrom dsage import local\ngrid = local(1)",
        "asyncio.get_running_loop()\nawait asyncio.sleep(0)\ngrid.eval('2 + 2').wait()",
        "async def here():\n    return grid('3 * 3')\nawait here()",
    )
    assert [value(cell) for cell in cells[1:]] == ["4", "9"]


def test_a_grid_and_a_job_that_is_over() -> None:
    cells, shown = execute(
        "from dsage import local\ngrid = local(2)",
        "job = grid.eval('1')\njob.wait()\njob",
        "grid",
        "repr(job._repr_mimebundle_())",
        "grid.close()\ngrid",
    )
    assert "done" in shown[0]["data"]["text/plain"]
    assert not [each for each in shown if each["update"]]
    (grid,) = cells[2].outputs
    assert grid.data["text/plain"].startswith("<Grid: this computer, workers 2, sandbox ")
    assert "runs</span> <span" in grid.data["text/html"]
    assert "text/html" in value(cells[3])
    assert value(cells[4]) == "<Grid: this computer, state closed>"


def test_an_interrupt_while_waiting_leaves_the_run_going(kernel: Kernel) -> None:
    kernel.do("from dsage import local\ngrid = local(2)\n" + SLOW + "job = grid.map(slow, [0.5] * 8, chunk=1)\njob")
    waiting = kernel.send("job.wait()")
    kernel.update()
    kernel.manager.interrupt_kernel()
    assert kernel.reply(waiting)["ename"] == "KeyboardInterrupt"
    printed = kernel.do("print(job.state, flush=True)\nprint(len(job.wait(60)), job.state)")
    assert printed.split() == ["running", "8", "done"]


def test_displays_cost_no_threads_and_end_with_the_run(kernel: Kernel) -> None:
    kernel.do("import threading\nfrom dsage import local\ngrid = local(2)\n" + SLOW)
    kernel.do("from IPython.display import display\njobs = [grid.map(slow, [0.6], chunk=1) for _ in range(5)]")
    before = kernel.do("print(threading.active_count())")
    for number in range(5):
        kernel.do(f"jobs[{number}]")
        kernel.do(f"jobs[{number}]")
    kernel.do("for job in jobs: job.wait(60)")
    listening = "len(get_ipython().events.callbacks['pre_run_cell'])"
    going = "[job._live._going.result(30) for job in jobs]"
    printed = kernel.do(f"{going}\nprint({listening}, threading.active_count())")
    assert json.loads(printed.split()[0]) == 0
    assert int(printed.split()[1]) <= int(before)


def test_a_cell_that_runs_again_has_a_new_display_and_the_old_one_rests(kernel: Kernel) -> None:
    kernel.do("from dsage import local\ngrid = local(2)\n" + SLOW)
    kernel.do("first = grid.map(slow, [30], chunk=1)\nfirst", cell="cell-1")
    old = kernel.update()["content"]["transient"]["display_id"]
    kernel.do("second = grid.map(slow, [30], chunk=1)\nsecond", cell="cell-1")
    kernel.updates.clear()
    new = kernel.update()["content"]["transient"]["display_id"]
    assert new != old
    assert kernel.do("print(first._live._going, second._live._going is None, first.state)").split() == [
        "None", "False", "running",
    ]  # fmt: skip
    kernel.do("first.kill()\nsecond.kill()\nsecond._live._going.result(30)")
    assert {each["content"]["transient"]["display_id"] for each in kernel.updates} == {new}
    assert "cancelled" in kernel.updates[-1]["content"]["data"]["text/plain"]


def test_a_failed_run_says_why_where_it_is_shown() -> None:
    with pytest.raises(CellExecutionError, match="RunFailed"):
        execute(
            "from dsage import DistributedFunction, local\ngrid = local(1)",
            "class Bad(DistributedFunction):\n"
            "    def units(self):\n        yield 1\n"
            "    @staticmethod\n    def compute(i):\n        raise ValueError('no such number')\n"
            "job = grid.run(Bad())\njob",
            "job.wait()",
        )


def test_the_first_steps_work_from_top_to_bottom_and_show_what_they_give() -> None:
    notebook = nbformat.read(FIRST_STEPS, as_version=4)  # type: ignore[no-untyped-call]
    told = [[_shown(each) for each in cell.get("outputs", [])] for cell in notebook.cells]
    NotebookClient(notebook, timeout=LONGEST_S, kernel_name="python3").execute()
    assert [[_shown(each) for each in cell.get("outputs", [])] for cell in notebook.cells] == told


def _shown(output: NotebookNode) -> str:
    """Return an output's text; what changes each time (a job's display) only as what it is."""
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    return str(text).split(":")[0] if "text/html" in output.get("data", {}) else str(text)
