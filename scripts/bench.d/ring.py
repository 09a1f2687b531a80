"""The kernel's switch for FUSE over io_uring.

It is off where nobody turned it on, and a daemon finds out when it mounts. Guarantee: outside of `enabled()` the switch is
as it was found, also after a failure or an interrupt; only SIGKILL leaves it on.
"""

import contextlib
import os
from pathlib import Path

from processes import Failed, descendants, uninterrupted

SWITCH = Path("/sys/module/fuse/parameters/enable_uring")


@contextlib.contextmanager
def enabled():
    """The ring is offered to what is mounted inside."""
    try:
        before = SWITCH.read_text().strip()
        if before != "Y":
            SWITCH.write_text("Y")
    except OSError as error:
        raise Failed(f"{SWITCH}: {error.strerror}: this kernel offers no FUSE over io_uring") from error
    try:
        yield
    finally:
        if before != "Y":
            with uninterrupted():
                SWITCH.write_text(before)


def in_use():
    """Whether a daemon of ours holds an io_uring, seen from outside: a daemon may fall back without a word."""
    for pid in descendants():
        with contextlib.suppress(OSError):
            for descriptor in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(descriptor.path) == "anon_inode:[io_uring]":
                        return True
    return False
