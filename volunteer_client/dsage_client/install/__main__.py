"""`python -m dsage_client.install on|off|state|write`, for packages: what `dsage autostart` does."""

from dsage_client.install.command import autostart

autostart(prog_name="dsage_client.install")
