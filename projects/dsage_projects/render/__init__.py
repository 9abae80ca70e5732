"""A picture, painted in bands: `dsage submit render`, or `dsage submit render:PovRay -p scene=mine.pov`.

`picture` cuts it and puts it together (`png` is the file); `builtin` paints a scene of its own with the ray tracer in
`tracer`; `povray` paints any scene where POV-Ray is installed.
"""

from dsage_projects.render.builtin import Render
from dsage_projects.render.povray import PovRay

FUNCTION = "Render"

__all__ = ["FUNCTION", "PovRay", "Render"]
