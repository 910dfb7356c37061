"""Users by name and by number, with more groups than one; and whose a unix socket is."""

import os
import subprocess

import pytest

import semailtest
from semailtest import await_true


@pytest.fixture
def place(tmp_path):
    assert os.geteuid() == 0, "only root can become others"
    os.chmod(tmp_path, 0o755)
    return tmp_path


def listening(path, *options):
    """tcp-accept at a unix socket, once it is there; ended when the `with` block is."""
    process = subprocess.Popen([semailtest.program("tcp-accept"), *options, "unix", path, "true"], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    if not await_true(lambda: path.exists() or process.poll() is not None, 10) or process.poll() is not None:
        pytest.fail(process.communicate()[1].decode())
    # The line comes when all is as it should be.
    assert b"listening" in process.stderr.readline()
    return process


def facts(process, user):
    path = f"/proc/{process.pid}/status"
    read = lambda: dict(line.split(":\t", 1) for line in open(path).read().splitlines() if ":\t" in line)
    assert await_true(lambda: read()["Uid"].split()[1] == user, 5), read()["Uid"]
    return read()


@pytest.mark.parametrize("user, uid, gid, groups", [
    ("61021", "61021", "61021", []), ("61021:61022", "61021", "61022", []), ("61021:61022:61030", "61021", "61022", ["61030"]), ("61021:61022:61030:61031", "61021", "61022", ["61030", "61031"]),
    ("nobody", "65534", "65534", []),
])
def test_who_a_program_becomes(place, user, uid, gid, groups):
    with listening(place / "socket", "-u", user) as process:
        try:
            found = facts(process, uid)
            assert set(found["Uid"].split()) == {uid} and set(found["Gid"].split()) == {gid} and found["Groups"].split() == groups
            assert found["CapEff"] == "0" * 16
        finally:
            process.kill()


@pytest.mark.parametrize("user", ["61021:", ":61021", "61021::61030", "61021:x", "61021:61022,61030", "61021:-1", "61021:4294967295", "4294967295", "nobody:65534", "no-such-user", "",
                                  "61021" + ":1" * 40])
def test_users_that_are_none(place, user):
    done = subprocess.run([semailtest.program("tcp-accept"), "-u", user, "unix", place / "socket", "true"], capture_output=True, timeout=10)
    assert done.returncode == 100 and b"there is no user" in done.stderr, done


@pytest.mark.parametrize("access, mode, group, owner", [("0660:61030", 0o660, 61030, 0), ("0660:61030:61040", 0o660, 61030, 61040), ("0600:nogroup:nobody", 0o600, 65534, 65534)])
def test_whose_a_socket_is(place, access, mode, group, owner):
    with listening(place / "socket", "-u", "61021", "-o", access) as process:
        try:
            there = (place / "socket").stat()
            assert (there.st_mode & 0o777, there.st_gid, there.st_uid) == (mode, group, owner)
        finally:
            process.kill()


@pytest.mark.parametrize("access", ["0660", "0660:", "9:61030", "0660:61030:61040:61050", "0660:no-such-group", "0660:61030:no-such-user"])
def test_access_that_makes_no_sense(place, access):
    done = subprocess.run([semailtest.program("tcp-accept"), "-o", access, "unix", place / "socket", "true"], capture_output=True, timeout=10)
    assert done.returncode == 100, done
