"""An app whose import never ends."""

while True:
    pass
