"""The rule `image`: pixels are compared, whatever the files they came in."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from dsage.agreement import png
from dsage.agreement.rule import Rule, Unfit, amount, declared

MAX_LEVEL: Final = 65535
_DTYPES: Final = {"uint8": 255, "uint16": 65535}


class Image(Rule, frozen=True, tag="image"):
    """Pixels are near, all but a few; see `image`. A picture takes a while to read, so it is read in a sandbox."""

    boxed: ClassVar[bool] = True

    tolerance: int
    share: float

    def __post_init__(self) -> None:
        if type(self.tolerance) is not int or not 0 <= self.tolerance < MAX_LEVEL:
            raise ValueError(f"tolerance={self.tolerance!r} cannot be: it is a whole number of levels, 0 or more")
        amount("share", self.share, below=1.0)

    def read(self, value: Any) -> png.Picture:
        """Return the pixels of a PNG file or an array. Raises Unfit for anything else, and for more than MAX_PIXELS."""
        if type(value) is bytes:
            try:
                return png.read(value)
            except ValueError as error:
                raise Unfit(str(error)) from None
        most = _DTYPES.get(str(getattr(value, "dtype", "")))
        if most is None:
            raise Unfit(f"is a {type(value).__name__}, where a PNG file or an array of uint8 or uint16 belongs")
        if value.ndim not in (2, 3) or not value.size or value.shape[0] * value.shape[1] > png.MAX_PIXELS:
            raise Unfit(f"has the shape {value.shape}, which is no picture, or none that is compared")
        channels = 1 if value.ndim == 2 else value.shape[2]
        height, width = value.shape[:2]
        flat = value.tobytes()
        return png.Picture(width, height, channels, most, flat if most < 256 else array("H", flat))

    def same(self, a: png.Picture, b: png.Picture) -> bool:
        """Count the pixels that differ by more than the tolerance in any channel."""
        if a.form != b.form:
            return False
        step = a.width * a.channels
        apart = 0
        for start in range(0, a.height * step, step):
            one, other = a.samples[start : start + step], b.samples[start : start + step]
            if one != other:
                apart += self._apart(one, other, a.channels)
        return apart <= self.share * a.width * a.height

    def _apart(self, one: Sequence[int], other: Sequence[int], channels: int) -> int:
        far = [abs(x - y) > self.tolerance for x, y in zip(one, other, strict=True)]
        return sum(map(any, zip(*[far[channel::channels] for channel in range(channels)], strict=True)))


def image(*, tolerance: int = 0, share: float = 0.0) -> Image:
    """Return the rule that two pictures are the same if they have the same form and nearly the same pixels.

    An answer is the bytes of a PNG file that is not interlaced, or an array (rows, columns) or (rows, columns,
    channels) of uint8 or uint16. Two pixels are the same if no channel differs by more than `tolerance` levels; at most
    the `share` of all pixels (0 <= share < 1) may differ more. Zero for both asks for the same pixels in any file.
    Raises UsageError for other numbers.
    """
    found: Image = declared(Image, tolerance=tolerance, share=share)
    return found
