"""What bubblewrap is told."""

from dsage.sandbox import bubblewrap
from dsage.sandbox.runtime import Runtime

RUNTIME = Runtime("/usr/bin/python3", ("/home/ada/venv/packages",), ("/home/ada/venv/packages",))


def pairs(options, name, width):
    return [tuple(options[i + 1 : i + 1 + width]) for i, option in enumerate(options) if option == name]


def made(**changes):
    options = {"inputs": "/var/in", "disk_bytes": 1000, "filter_fd": 7, **changes}
    return bubblewrap.arguments(RUNTIME, "/home/ada/apps/one", **options)


def test_nothing_is_shared_and_nothing_survives():
    options = made()
    assert {
        "--unshare-user",
        "--unshare-all",
        "--disable-userns",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
    } <= set(options)
    assert "--share-net" not in options
    assert pairs(options, "--cap-drop", 1) == [("ALL",)]
    assert pairs(options, "--seccomp", 1) == [("7",)]


def test_only_the_slot_is_writable_and_it_is_small():
    options = made()
    assert not {"--bind", "--dev-bind", "--bind-try"} & set(options)
    assert pairs(options, "--tmpfs", 1) == [("/slot",)]
    assert options[options.index("--tmpfs") - 2 : options.index("--tmpfs")] == ["--size", "1000"]
    assert pairs(options, "--remount-ro", 1) == [("/dev",), ("/",)]


def test_of_home_only_the_runtime_and_the_app_are_seen():
    options = made()
    seen = [target for source, target in pairs(options, "--ro-bind", 2) if source.startswith("/home")]
    assert seen == ["/home/ada/venv/packages", "/app"]


def test_content_may_come_from_elsewhere():
    options = made(sources={"/home/ada/venv/packages": "/var/copy/packages", "/home/ada/apps/one": "/var/app"})
    bound = pairs(options, "--ro-bind", 2)
    assert ("/var/copy/packages", "/home/ada/venv/packages") in bound
    assert ("/var/app", "/app") in bound
    assert not [source for source, _ in bound if source.startswith("/home")]


def test_inputs_can_only_be_read():
    assert ("/var/in", "/inputs") in pairs(made(), "--ro-bind", 2)


def test_the_kernel_s_settings_are_covered_after_proc_is_mounted():
    options = made()
    assert options.index("--proc") < options.index("/proc/sys")


def test_the_environment_is_fixed():
    names = [name for name, _ in pairs(made(), "--setenv", 2)]
    assert names == list(bubblewrap.ENVIRONMENT)
    assert dict(pairs(made(), "--setenv", 2))["PYTHONHASHSEED"] == "0"


def test_tmp_is_always_writable_also_where_the_runtime_lies_below_it():
    assert pairs(made(), "--symlink", 2)[-1] == ("slot", "/tmp")
    below = Runtime("/usr/bin/python3", ("/tmp/checkout/projects",), ("/tmp/checkout/projects/dsage",))
    options = bubblewrap.arguments(below, "/tmp/app", inputs="/var/in", disk_bytes=1000, filter_fd=7)
    assert options[options.index("/tmp") - 3 : options.index("/tmp")] == ["--size", "1000", "--tmpfs"]
    assert options.index("/tmp") < options.index("/tmp/checkout/projects/dsage")
    assert ("/tmp/checkout/projects/dsage",) * 2 in pairs(options, "--ro-bind", 2)
