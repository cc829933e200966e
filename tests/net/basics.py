"""For every test of this folder: failing, skipping, and waiting for an event with a deadline."""

import os
import shutil
import time

# Sanitizers make everything slower, and a busy machine, too.
PATIENCE = 20.0 if os.environ.get("ADIT_FLAVOUR", "release") == "release" else 60.0
# A sanitizer's shadow counts as memory of the process, too.
MEMORY_FACTOR = 1 if os.environ.get("ADIT_FLAVOUR", "release") == "release" else 12
DOMAIN = "t.test"
KIB, MIB = 1 << 10, 1 << 20


class Skip(Exception):
    """A plain sentence about what this machine lacks."""


class Failed(AssertionError):
    pass


def check(condition, what):
    if not condition:
        raise Failed(what)


def equal(got, wanted, what):
    if got != wanted:
        raise Failed(f"{what}: {got!r}, not {wanted!r}")


def bounded(size, most, what):
    """Bytes of memory."""
    if size > most * MEMORY_FACTOR:
        raise Failed(f"{size} bytes of memory for {what}")


def until(what, event, patience=None, every=0.02):
    """Polls `event` until it gives something true, and returns that."""
    end = time.monotonic() + (patience or PATIENCE)
    while True:
        value = event()
        if value:
            return value
        if time.monotonic() >= end:
            raise Failed(f"did not happen in time: {what}")
        time.sleep(every)


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            raise Skip(f"there is no {program} on this machine")
