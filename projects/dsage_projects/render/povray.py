"""`PovRay`: a scene of one's own, where POV-Ray 3.7 is installed.

POV-Ray is called as a program, with one thread. Two of its habits have to be known to cut a picture into bands: its
usual smoothing looks at neighbours that a band does not have, so it is told to use the other method, without chance
(`+AM2 -J`), which gives the same pixels to a band as to the whole; and it writes whole pictures that are empty outside
of the band, so they are cropped.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from dsage import running
from dsage.errors import UsageError
from dsage_projects.render.picture import Band, Picture, band_bytes

PLACES = "/usr/bin:/usr/local/bin:/opt/homebrew/bin"
TOLERANCE = 2
"""Levels (of 255) by which a colour may differ between two computers: processors and compilers round differently."""
STRAYS = 1000
"""One in so many colours may differ by more: at an edge, one more ray can be a matter of rounding."""


class PovRay(Picture):
    """The scene of a POV-Ray file. `pixel_us`: microseconds that a pixel is thought to take; credit follows it.

    Without a `scene` it is the one of this file. A scene may include what comes with POV-Ray, and nothing else.
    """

    title: ClassVar[str] = "A picture by POV-Ray"
    needs: ClassVar[tuple[str, ...]] = ("povray",)

    def __init__(
        self, width: int = 640, height: int = 360, *, scene: str = "", pixel_us: float = 5.0, bands: int = 0
    ) -> None:
        self.scene = str(scene)
        super().__init__(width, height, bands, float(pixel_us) / 1e6)

    def files(self) -> Mapping[str, str | Path]:
        """Return the scene, if it is not the one of this file."""
        return {"scene": Path(self.scene)} if self.scene else {}

    def details(self) -> dict[str, Any]:
        """Return whether the scene is a file."""
        return {"own": bool(self.scene)}

    @staticmethod
    def compute(args: Band) -> bytes:
        """Let POV-Ray paint a band, and crop it out of the picture that comes back."""
        program = shutil.which("povray", path=PLACES)
        if program is None:
            raise UsageError("POV-Ray is not installed here", hint="apt install povray")
        scene = running.input("scene").read_bytes() if args["own"] else SCENE.encode()
        Path("scene.pov").write_bytes(scene)
        size = [f"+W{args['width']}", f"+H{args['height']}", f"+SR{args['top'] + 1}", f"+ER{args['bottom']}"]
        done = subprocess.run(
            [program, "+Iscene.pov", *size, "+FP", "+O-", "-D", "-V", "+A0.3", "+AM2", "-J", "+WT1"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            env={"HOME": str(Path.cwd())},
        )
        whole = 3 * args["width"] * args["height"]
        if done.returncode or len(done.stdout) < whole:
            raise UsageError(f"POV-Ray ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}")
        rows = done.stdout[-whole:]  # a PPM file ends with its pixels
        start = 3 * args["width"] * args["top"]
        return rows[start : start + band_bytes(args)]

    @staticmethod
    def agree(args: Band, a: Any, b: Any) -> bool:
        """Say whether two bands look the same: see `TOLERANCE` and `STRAYS`."""
        if PovRay.verify(args, a) is False or PovRay.verify(args, b) is False:
            return False
        strays = sum(abs(x - y) > TOLERANCE for x, y in zip(a, b, strict=True))
        return bool(strays * STRAYS <= len(a))


SCENE = """\
#version 3.7;
global_settings { assumed_gamma 1.0 }
camera { location <-1.6, 4.6, -8.6> look_at <0.1, 0.35, 0> right x*image_width/image_height angle 79 }
light_source { <-60, 30, 20>, rgb 1.3 }
sky_sphere { pigment { gradient y color_map { [0 rgb <0.66, 0.70, 0.80>] [1 rgb <0.06, 0.18, 0.50>] } } }
plane {
  y, 0
  pigment { checker rgb <0.10, 0.13, 0.19> rgb <0.80, 0.74, 0.64> scale 1.2 }
  finish { reflection 0.12 }
}
sphere { <0, 1.1, 0>, 1.1 pigment { rgb 1 } finish { reflection 0.86 diffuse 0.1 } }
#declare K = 1;
#while (K < 80)
  #declare A = radians(137.50776405) * K;
  #declare S = 0.15 + 0.0028 * K;
  sphere {
    <(0.75 + 0.47 * sqrt(K)) * cos(A), S, (0.75 + 0.47 * sqrt(K)) * sin(A)>, S
    pigment { rgb <0.5 + 0.42 * cos(K/4), 0.42 + 0.3 * sin(K/4 - 0.5), 0.5 - 0.42 * sin(K/4 + 0.5)> }
    finish { phong 0.8 phong_size 60 reflection 0.06 }
  }
  #declare K = K + 1;
#end
"""
