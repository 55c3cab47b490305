"""The standard streams of a server process."""

import os

_STDERR = 2


def have_standard_streams() -> None:
    """Where a server is started without them, a socket of its own would take their place, and be printed to."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
