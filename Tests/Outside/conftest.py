"""Fixtures shared by every test that drives the built executables."""

import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Peers"))

import semailtest


def pytest_sessionstart(session):
    # So that what the tests have started and made goes away with them in this case too.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("ended by SIGTERM", 143))


@pytest.fixture
def empty_home():
    """A home with the mailboxes ssow and xredon at semail.test; nothing runs in it."""
    with semailtest.Home() as home:
        yield home


@pytest.fixture
def home(empty_home):
    """The same with tcp-accept (empty_home.port) and qrunner running."""
    empty_home.start()
    yield empty_home
