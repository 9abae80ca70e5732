"""Rules by which two answers are the same, declared in one line of a class: `agree = close(rtol=1e-9)`.

Without one, answers must be equal byte by byte; a class's own `agree` says it in code. Each rule is plain data and
travels in the signed manifest of the app, and whoever judges follows it with the code here.
"""

from __future__ import annotations

from typing import TypeAlias

from dsage.agreement.closeness import Close, close
from dsage.agreement.matching import Detections, detections
from dsage.agreement.pictures import Image, image
from dsage.agreement.rule import Rule, Unfit

Agreement: TypeAlias = Close | Detections | Image
"""Any rule, as a manifest holds it."""

__all__ = ["Agreement", "Close", "Detections", "Image", "Rule", "Unfit", "close", "detections", "image"]
