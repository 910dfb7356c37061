"""What the tests of remote-relay share: the program by hand, and as the template that qrunner starts.

    home = relay_home()
    done = relay(home, "-p", peer.port, "[127.0.0.1]", "a@b.example", "c@d.example", message=b"...")
    done.code, done.reports, done.log, done.seconds, done.octets

    with Template(home) as template, template.connection("[127.0.0.1]", peer.port) as connection:
        [report] = connection.send(envelope("a@b.example", "c@d.example"), b"...")
"""

import array
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections import namedtuple

import semailtest
from networklab import REMOTE_USER, end_with_tests

Report = namedtuple("Report", "kind status address host text words")
MESSAGE = b"From: a@b.example\nSubject: hello\n\nIt works.\n"


def reports(octets):
    return [Report(*line.decode().split("\t")) for line in octets.splitlines()]


class Done:
    """A run by hand that is over."""

    def __init__(self, code, output, log, seconds, octets):
        self.code, self.log, self.seconds, self.octets = code, log, seconds, octets
        self.reports = reports(output)

    @property
    def report(self):
        [only] = self.reports
        return only

    def __repr__(self):
        return f"exit {self.code} after {self.seconds:.2f} s: {self.reports}\n{self.log}"


def relay_home(hostname="relay.test"):
    return semailtest.Home(hostname=hostname, owners=())


def _before_exec(host, user):
    def prepare():
        if host:
            host.enter()
        if user is not None:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        end_with_tests()
    return prepare


def relay(home, *arguments, message=MESSAGE, host=None, timeout_seconds=None, environment=None, limit=60):
    """remote-relay by hand, on the host HOST of a network or on this one. MESSAGE: octets, which come in a file, or an open
    file or pipe."""
    environment = home.environment(**(environment or {}))
    if timeout_seconds:
        environment["RELAY_TIMEOUT_SECONDS"] = str(timeout_seconds)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as file:
        if isinstance(message, bytes):
            file.write(message)
            file.seek(0)
            message = file
        start = time.monotonic()
        process = subprocess.Popen(
            [home.program("remote-relay"), *map(str, arguments)], stdin=message, stdout=out, stderr=log, env=environment,
            cwd=home.directory, start_new_session=True, preexec_fn=_before_exec(host, home.user))
        octets = 0
        while process.poll() is None:
            if time.monotonic() - start > limit:
                process.kill()
            octets = _memory(process.pid) or octets
            time.sleep(0.002)
        seconds = time.monotonic() - start
        out.seek(0)
        log.seek(0)
        done = Done(process.returncode, out.read(), log.read().decode(), seconds, octets)
    assert seconds < limit, f"remote-relay hangs: {done}"
    return done


def _memory(pid):
    """The most that the program has had; None as long as it is not started."""
    try:
        with open(f"/proc/{pid}/status") as file:
            found = re.match(r"Name:\tremote-relay\n.*\nVmHWM:\s*(\d+) kB", file.read(), re.DOTALL)
            return found and int(found[1]) * 1024
    except OSError:
        return None


def envelope(sender, *recipients, is_8bit=False, is_utf8=False, returned=None, envelope_id=None):
    """As a queue file has it. A recipient: an address, or (address, "notify=...", "orcpt=...")."""
    lines = ["semail 1", "received 1700000000.000000"]
    lines += ["body 8bitmime"] * is_8bit + ["smtputf8 yes"] * is_utf8
    lines += [f"ret {returned}"] if returned else []
    lines += [f"envid {envelope_id}"] if envelope_id else []
    lines.append(f"from {sender}")
    for recipient in recipients:
        words = (recipient,) if isinstance(recipient, str) else recipient
        lines.append("to W " + "\t".join(words))
    return "\n".join(lines).encode() + b"\n\n"


def request(tag, *arguments):
    return struct.pack("<QH", tag, len(arguments)) + b"".join(
        (argument if isinstance(argument, bytes) else str(argument).encode()) + b"\0" for argument in arguments)


class Template:
    """remote-relay as qrunner starts it: from root, under its own user."""

    def __init__(self, home, host=None, timeout_seconds=None, environment=None):
        self.home = home
        environment = home.environment(**(environment or {}))
        if timeout_seconds:
            environment["RELAY_TIMEOUT_SECONDS"] = str(timeout_seconds)
        self.socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._log = tempfile.TemporaryFile()
        user = ["-u", REMOTE_USER] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            [home.program("remote-relay"), *user], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            env={**environment, "TEMPLATEFD": str(other.fileno())}, cwd=home.directory, pass_fds=(other.fileno(),),
            start_new_session=True, preexec_fn=_before_exec(host, None))
        other.close()
        self.tags = 0
        self._ended = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise
        finally:
            self._log.close()

    @property
    def log(self):
        return os.pread(self._log.fileno(), 1 << 24, 0).decode()

    def connection(self, destination, port=25, level="opportunistic", flags=""):
        return Work(self, destination, port, level, flags)

    def ended(self, tag, timeout=20):
        """The status with which the process for TAG has ended."""
        self.socket.settimeout(timeout)
        while tag not in self._ended:
            one, status = struct.unpack("<Qi", self.socket.recv(64))
            self._ended[one] = status
        return self._ended[tag]


class Work:
    """One process for one destination, and qrunner's end of the socket to it."""

    def __init__(self, template, destination, port, level, flags):
        self.template = template
        template.tags += 1
        self.tag = template.tags
        self.socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        socket.send_fds(template.socket, [request(self.tag, destination, port, level, flags)], [other.fileno()])
        other.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def ended(self, timeout=20):
        """The status with which it has ended."""
        return self.template.ended(self.tag, timeout)

    def begin(self, envelope, message=MESSAGE, prefix=b"", id="0000000000000001"):
        """MESSAGE: octets, or a file placed at the message."""
        with tempfile.TemporaryFile() as file:
            if isinstance(message, bytes):
                # In a queue file an envelope stands before it.
                file.write(b"to be passed over\n\n" + message)
                file.seek(19)
                message = file
            self.socket.sendmsg([request(0, id, envelope, prefix)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [message.fileno()]))])

    def answer(self, timeout=30):
        self.socket.settimeout(timeout)
        octets = self.socket.recv(1 << 20)
        assert octets, "the process has ended"
        return reports(octets)

    def send(self, *arguments, timeout=30, **options):
        self.begin(*arguments, **options)
        return self.answer(timeout)
