"""Draws shapes with Tk, into a window of one's own or of somebody else. Only what has changed is drawn."""

from __future__ import annotations

import tkinter
from collections.abc import Callable
from typing import Any, Final

from dsage_client.saver.arguments import Where
from dsage_client.saver.shapes import BACK, Area, Box, Dot, Line, Picture, Shape, Words
from dsage_client.saver.windows import Windows

FAR: Final = 5
"""Pixels that a mouse moves by itself."""
LOOKS_S: Final = 2.0
"""How often somebody else's window is asked for its size."""
GRABS_MS: Final = 200
OWN_SIZE: Final = "960x540"
FONT: Final = "DejaVu Sans"

Moment = Callable[[int, int], tuple[str, Picture]]
"""From width and height to the name of the picture and its shapes."""


class Canvas:
    """A canvas that holds a picture."""

    def __init__(self, parent: tkinter.Misc) -> None:
        self.widget = tkinter.Canvas(parent, background=BACK, highlightthickness=0, borderwidth=0)
        self.widget.pack(fill="both", expand=True)
        self._name = ""
        self._shown: Picture = {}
        self._items: dict[str, int] = {}

    def show(self, name: str, picture: Picture) -> None:
        """Show a picture. Shapes of the same name replace each other as long as the picture keeps its name."""
        if name != self._name or self._shown.keys() != picture.keys():
            self.widget.delete("all")
            self._items = {key: self._made(shape) for key, shape in picture.items()}
        else:
            for key, shape in picture.items():
                before = self._shown[key]
                if shape is not before and shape != before:
                    self._change(self._items[key], before, shape)
        self._name, self._shown = name, picture

    def _made(self, shape: Shape) -> int:
        points, options = _points(shape), _options(shape)
        match shape:
            case Line():
                return self.widget.create_line(*points, **options)
            case Area():
                return self.widget.create_polygon(*points, **options)
            case Dot():
                return self.widget.create_oval(*points, width=0, **options)
            case Box():
                return self.widget.create_rectangle(*points, width=0, **options)
            case Words():
                return self.widget.create_text(*points, anchor="nw", **options)

    def _change(self, item: int, before: Shape, shape: Shape) -> None:
        # Plain calls of Tcl: tkinter's own make a string of each number first.
        call, path = self.widget.tk.call, str(self.widget)
        if (points := _points(shape)) != _points(before):
            call(path, "coords", item, points)
        if (options := _options(shape)) != _options(before):
            call(
                path, "itemconfigure", item, *(part for name, value in options.items() for part in (f"-{name}", value))
            )


class Screen:
    """The windows of one process, and the clock that has them drawn."""

    def __init__(self, where: Where, moment: Moment, wait_s: Callable[[], float]) -> None:
        """Open them. Raises OSError if the window to draw in is not there, tkinter.TclError if there is no display."""
        self._moment = moment
        self._wait_s = wait_s
        self._windows: Windows | None = None
        self._window = where.window
        self._until_look = 0.0
        self._mouse: tuple[int, int] | None = None
        if where.kind == "window":
            self._windows = Windows()
            self._windows.size(where.window)
            self._root = tkinter.Tk(className="DSage", use=hex(where.window))
            self._root.configure(background=BACK)
            self._canvases = [Canvas(self._root)]
            self._fit()
        else:
            self._root = tkinter.Tk(className="DSage")
            self._canvases = self._full() if where.kind == "full" else [self._own()]
        self._root.title("DSage")

    def run(self) -> None:
        """Draw until the window is closed or, on a whole screen, somebody comes back."""
        self._root.after(0, self._draw)
        self._root.mainloop()

    def _own(self) -> Canvas:
        self._root.geometry(OWN_SIZE)
        self._root.configure(background=BACK)
        self._root.bind("<Escape>", self._end)
        return Canvas(self._root)

    def _full(self) -> list[Canvas]:
        """Cover every monitor; the first key, click or movement of the mouse ends it."""
        try:
            monitors = Windows().monitors()
        except OSError:
            monitors = []
        self._root.withdraw()
        tops = [tkinter.Toplevel(self._root, background=BACK, cursor="none") for _ in range(len(monitors) or 1)]
        for top, (left, high, width, height) in zip(tops, monitors, strict=False):
            top.geometry(f"{width}x{height}+{left}+{high}")
            top.overrideredirect(True)
        if not monitors:
            tops[0].attributes("-fullscreen", True)
        for top in tops:
            top.attributes("-topmost", True)
            for event in ("<KeyPress>", "<ButtonPress>"):
                top.bind(event, self._end)
            top.bind("<Motion>", self._moved)
        tops[0].wait_visibility()
        self._listen(tops[0])
        return [Canvas(top) for top in tops]

    def _listen(self, top: tkinter.Toplevel) -> None:
        """Take the keys from the window that a window manager left them to; an open menu has them a moment longer."""
        try:
            top.grab_set_global()
        except tkinter.TclError:
            self._root.after(GRABS_MS, self._listen, top)
        top.focus_force()

    def _moved(self, event: Any) -> None:
        first = self._mouse = self._mouse or (event.x_root, event.y_root)
        if abs(event.x_root - first[0]) > FAR or abs(event.y_root - first[1]) > FAR:
            self._end()

    def _end(self, _event: object = None) -> None:
        self._root.destroy()

    def _fit(self) -> None:
        assert self._windows is not None
        try:
            width, height = self._windows.size(self._window)
        except OSError:
            self._end()
            return
        self._root.geometry(f"{width}x{height}+0+0")
        self._root.update_idletasks()

    def _draw(self) -> None:
        wait_s = self._wait_s()
        self._until_look -= wait_s
        if self._windows is not None and self._until_look <= 0:
            self._until_look = LOOKS_S
            self._fit()
        for canvas in self._canvases:
            width, height = canvas.widget.winfo_width(), canvas.widget.winfo_height()
            if width > 1 and height > 1:
                canvas.show(*self._moment(width, height))
        self._root.after(max(1, round(1000 * wait_s)), self._draw)


def _points(shape: Shape) -> tuple[int, ...]:
    match shape:
        case Line() | Area():
            return shape.points
        case Dot():
            return (shape.x - shape.radius, shape.y - shape.radius, shape.x + shape.radius, shape.y + shape.radius)
        case Box():
            return (shape.left, shape.top, shape.right, shape.bottom)
        case Words():
            return (shape.x, shape.y)


def _options(shape: Shape) -> dict[str, Any]:
    match shape:
        case Line():
            return {"fill": shape.colour, "width": shape.width}
        case Area():
            return {"fill": shape.fill, "outline": shape.edge, "width": shape.width}
        case Dot() | Box():
            return {"fill": shape.colour}
        case Words():
            font = (FONT, -shape.size, "bold") if shape.bold else (FONT, -shape.size)
            return {"text": shape.text, "fill": shape.colour, "font": font}
