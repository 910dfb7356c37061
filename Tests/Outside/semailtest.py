"""A SEMail of one's own, for tests that drive the built executables.

    with Home() as home:                      # ssow and xredon at semail.test
        home.start()                          # tcp-accept on a free port, qrunner
        home.smtp().sendmail(...)
        [file] = home.wait_delivered("xredon", 1)

A Home is a directory under the system's temporary directory, laid out as
semail.7 draws it. When the tests run as root the programs do not: they run as
an ordinary user without an account, the way an admin tries a stage by hand.
Everything started is ended by its process id, and the directory is removed,
when the `with` block (or the fixture) ends.

Standard library only: the benchmark uses this too.
"""

import atexit
import ctypes
import os
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("SEMAIL_BIN") or REPOSITORY / ".build/release").absolute()

# Whom the programs run as when the tests are root. No account has this number.
PLAIN_USER = 61020

# The users of an installation, as the -u and -n options take them by number: its
# services, when a test starts them as root. No accounts are made.
ACCEPT_USER, SMTPD_USER, QUEUE_USER = "61021:61021", "61022:61024", "61023:61024"
REMOTE_USER, DKIM_USER = "61025:61025", "61026:61026"

# What the service scripts of an installation start, less the -u options.
ACCEPT = ["-t", "-c", "400", "-i", "0", "-r", "0", "-m", "421 4.7.0 Too many connections, try later"]

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


class ProgramMissing(AssertionError):
    """A program that a test needs is not there. Never a reason to skip."""


def program(name):
    """The path of one of SEMail's executables."""
    path = BUILD / name
    if not os.access(path, os.X_OK):
        raise ProgramMissing(f"{name} is not in {BUILD}: build first (swift build -c release), "
                             "or name the directory in SEMAIL_BIN")
    return path


def tool(name):
    """The path of a program of others, from PATH or the system's directories."""
    path = shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")
    if not path:
        raise ProgramMissing(f"{name} is not installed, and a test needs it")
    return path


_reachable_build = None


def _build_for(user):
    """The build directory, or a copy of it where USER can reach it."""
    global _reachable_build
    if user is None or _is_reachable(BUILD):
        return BUILD
    if _reachable_build is None:
        _reachable_build = Path(tempfile.mkdtemp(prefix="semail-bin-"))
        atexit.register(shutil.rmtree, _reachable_build, ignore_errors=True)
        os.chmod(_reachable_build, 0o755)
        for path in BUILD.iterdir():
            if path.is_file() and os.access(path, os.X_OK) and "." not in path.name:
                shutil.copy(path, _reachable_build / path.name)
                os.chmod(_reachable_build / path.name, 0o755)
    return _reachable_build


def _is_reachable(directory):
    return all(part.stat().st_mode & 0o001 for part in [directory, *directory.parents])


def await_true(condition, seconds=20.0, interval=0.01):
    """Calls CONDITION until it is true, and returns what it gave; None after SECONDS."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            return None
        time.sleep(interval)


class Home:
    """One home with its services. See the head of this file."""

    def __init__(self, hostname="mail.semail.test", domain="semail.test",
                 owners=("ssow", "xredon"), directory=None, user="plain"):
        """USER "plain": an ordinary user when the tests are root. "services": as installed,
        each service under a user of its own, started by root. None: whoever runs the tests."""
        self.services = user == "services"
        if self.services:
            assert os.geteuid() == 0, "only root can start services under their users"
            user = None
        if user == "plain":
            user = PLAIN_USER if os.geteuid() == 0 else None
        self.user = user
        self.domain = domain
        self.hostname = hostname
        self.port = None
        self.processes = {}            # name -> Popen, in the order they were started
        self._logs = {}
        self._uids = {}
        if directory is None:
            self.directory = Path(tempfile.mkdtemp(prefix="semail-test-"))
        else:
            self.directory = Path(directory)
            self.directory.mkdir(parents=True)
        os.chmod(self.directory, 0o755)
        self._own(self.directory)
        # The log is beside what the programs see of the home.
        self._log_directory = self._make("log", 0o700)
        # As semail init lays it out for a user of its own.
        for name, mode in (("control", 0o755), ("mailboxes", 0o755), ("queue", 0o711),
                           ("queue/new", 0o700), ("queue/later", 0o700), ("queue/hold", 0o700),
                           ("queue/reason", 0o700), ("run", 0o711), ("mnt", 0o711),
                           ("requests", 0o700), ("volumes", 0o700), ("control/tls", 0o700),
                           ("control/dkim", 0o700), ("run/budgets", 0o700), ("run/guesses", 0o700),
                           ("run/tls", 0o700), ("run/containers", 0o755), ("ssh", 0o755)):
            self._make(name, mode)
        if self.services:
            for name, owner in (("run/budgets", SMTPD_USER), ("control/dkim", DKIM_USER)):
                os.chown(self.directory / name, *map(int, owner.split(":")))
            os.chmod(self.directory / "control/dkim", 0o755)
        os.mkfifo(self.directory / "run/trigger", 0o600)
        self._own(self.directory / "run/trigger")
        if self.services:
            queue_uid, group = map(int, QUEUE_USER.split(":"))
            for name in ("queue", "queue/new", "queue/later", "queue/hold", "queue/reason", "run",
                         "run/trigger"):
                os.chown(self.directory / name, queue_uid, group)
            # As etc/hier has it.
            os.chmod(self.directory / "queue/new", 0o3770)
            os.chmod(self.directory / "run/trigger", 0o620)
        self.control("hostname", hostname)
        # A test that makes mistakes on purpose should not wait a second for each.
        self.control("error-pause", "0s")
        for owner in owners:
            self.add_mailbox(owner)

    # -- what is in the home ------------------------------------------------

    def _own(self, path):
        if self.user is not None:
            os.chown(path, self.user, self.user)

    def _make(self, name, mode):
        path = self.directory / name
        path.mkdir(exist_ok=True)
        os.chmod(path, mode)
        self._own(path)
        return path

    def control(self, name, value):
        """Sets a control file; a VALUE of None removes it."""
        path = self.directory / "control" / name
        if value is None:
            path.unlink(missing_ok=True)
        else:
            # Replaced in one step: programs that run read it when they use it.
            fresh = path.with_name(f".{name}.fresh")
            fresh.write_text(f"{value}\n")
            os.chmod(fresh, 0o644)
            self._own(fresh)
            fresh.rename(path)

    def add_mailbox(self, owner, *addresses, state="active"):
        """A mailbox of OWNER with ADDRESSES (owner@domain when none is given)."""
        maildir = self.maildir(owner)
        uid, gid = self._mailbox_user(owner)
        self._make(f"mnt/{owner}", 0o711)
        for name in ("", "/tmp", "/new", "/cur"):
            made = self._make(f"mnt/{owner}/Maildir{name}", 0o700)
            os.chown(made, uid, gid)
        for address in addresses or [f"{owner}@{self.domain}"]:
            text = (f"owner {owner}\nuid {uid}\ngid {gid}\nmaildir {maildir}\n"
                    f"state {state}\n")
            domain = address.rpartition("@")[2]
            for name in (address.lower(), f"@{domain.lower()}"):
                path = self.directory / "mailboxes" / name
                if name.startswith("@") and path.exists():
                    continue
                fresh = path.with_name(".fresh")
                fresh.write_text("" if name.startswith("@") else text)
                os.chmod(fresh, 0o644)
                self._own(fresh)
                fresh.rename(path)
            for link in [f"~{owner}"] + ([f"#{uid}"] if self.user is None and os.geteuid() == 0 else []):
                path = self.directory / "mailboxes" / link
                path.unlink(missing_ok=True)
                path.symlink_to(address.lower())
        return maildir

    def _mailbox_user(self, owner):
        """(uid, gid): one for each owner, which only root can give, or the home's own."""
        if self.user is not None:
            return self.user, self.user
        if os.geteuid() != 0:
            return os.geteuid(), os.getegid()
        number = self._uids.setdefault(owner, 30001 + len(self._uids))
        return number, number

    def set_state(self, address, state):
        """Makes the mailbox of ADDRESS `active` or `suspended`."""
        path = self.directory / "mailboxes" / address.lower()
        text = re.sub(r"(?m)^state .*$", f"state {state}", path.read_text())
        fresh = path.with_name(".fresh")
        fresh.write_text(text)
        os.chmod(fresh, 0o644)
        self._own(fresh)
        fresh.rename(path)

    def maildir(self, owner):
        return self.directory / "mnt" / owner / "Maildir"

    def delivered(self, owner):
        """The files in new/, oldest first."""
        return sorted((self.maildir(owner) / "new").iterdir(), key=lambda path: (
            path.stat().st_mtime_ns, path.name))

    def wait_delivered(self, owner, count, seconds=20.0):
        """Waits for COUNT messages in new/ of OWNER; never for more, never for less."""
        if not await_true(lambda: len(self.delivered(owner)) >= count, seconds):
            raise AssertionError(f"{len(self.delivered(owner))} of {count} messages in the Maildir "
                                 f"of {owner} after {seconds:g} s\n{self.report()}")
        found = self.delivered(owner)
        assert len(found) == count, (f"{len(found)} messages in the Maildir of {owner}, "
                                     f"{count} expected\n{self.report()}")
        return found

    def queue_files(self):
        """Every message in the queue, whatever its state."""
        return sorted(path for state in ("new", "later", "hold")
                      for path in (self.directory / "queue" / state).rglob("*") if path.is_file())

    def wait_queue_empty(self, seconds=20.0):
        if not await_true(lambda: not self.queue_files(), seconds):
            raise AssertionError(f"still in the queue after {seconds:g} s: "
                                 f"{[path.name for path in self.queue_files()]}\n{self.report()}")

    def wait_exactly(self, counts, seconds=20.0):
        """Waits until COUNTS ({owner: number}) are delivered and the queue is empty, then
        looks again, so that a second copy on its way does not go unseen."""
        for owner, count in counts.items():
            self.wait_delivered(owner, count, seconds)
        self.wait_queue_empty(seconds)
        return {owner: self.wait_delivered(owner, count, 0) for owner, count in counts.items()}

    # -- programs -----------------------------------------------------------

    def environment(self, **more):
        build = _build_for(self.user)
        return {"PATH": f"{build}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8",
                "SEMAIL_HOME": str(self.directory), "SWIFT_BACKTRACE": "enable=no", **more}

    def program(self, name):
        program(name)
        return str(_build_for(self.user) / name)

    def _identity(self):
        if self.user is None:
            return {}
        return {"user": self.user, "group": self.user, "extra_groups": []}

    def run(self, name, *arguments, input=b"", timeout=60, environment=None):
        """Runs one of SEMail's programs in this home to its end."""
        return subprocess.run([self.program(name), *map(str, arguments)], input=input,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                              cwd=self.directory, env=self.environment(**(environment or {})),
                              **self._identity())

    def spawn(self, name, arguments, log=None, as_user=True, environment=None, before_exec=None,
              umask=0o077, **options):
        """Starts a process that is ended with this home; its stderr goes to the log LOG."""
        log = log or Path(name).name
        while log in self.processes:
            if self.processes[log].poll() is not None:
                del self.processes[log]
            else:
                raise AssertionError(f"{log} is running already")
        path = self._logs.setdefault(log, self._log_directory / log)

        def prepare():
            os.umask(umask)
            if before_exec:
                before_exec()
            if as_user and self.user is not None:
                os.setgroups([])
                os.setgid(self.user)
                os.setuid(self.user)
            # Ends with the tests, even when those are killed. After a change of user:
            # that would take it back.
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

        with open(path, "ab") as stderr:
            process = subprocess.Popen(
                [name, *map(str, arguments)], stdin=subprocess.DEVNULL,
                stdout=options.pop("stdout", stderr), stderr=stderr, cwd=self.directory,
                env=self.environment(**(environment or {})), start_new_session=True,
                preexec_fn=prepare, **options)
        self.processes[log] = process
        return process

    def start(self, accept=ACCEPT, session=("inbound",), **options):
        """tcp-accept with smtpd-session on a port the kernel chooses, and qrunner."""
        self.start_qrunner(**options)
        self.start_accept(accept, session, **options)
        return self

    def start_qrunner(self, *arguments, **options):
        if self.services:
            arguments = ("-u", QUEUE_USER, "-r", REMOTE_USER, "-k", DKIM_USER, *arguments)
        return self.spawn(self.program("qrunner"), arguments, **options)

    def start_accept(self, accept=ACCEPT, session=("inbound",), host="127.0.0.1", port=0,
                     session_program="smtpd-session", **options):
        """Starts tcp-accept and learns from its log which port it got."""
        if self.services:
            # The umask of the service script: qrunner reads a message by its group.
            options = {"umask": 0o007, **options}
            accept = ["-u", ACCEPT_USER, "-n", SMTPD_USER, *accept]
            session = ["-u", SMTPD_USER, *session]
        before = len(self.log("tcp-accept"))
        process = self.spawn(
            self.program("tcp-accept"),
            [*accept, host, port, self.program(session_program), *session], **options)

        def listening():
            found = re.search(r"^tcp-accept: info: listening .*\bport=(\S+)",
                              self.log("tcp-accept")[before:], re.MULTILINE)
            return found or process.poll() is not None

        found = await_true(listening, 15)
        if not isinstance(found, re.Match):
            raise AssertionError(f"tcp-accept does not listen (exit {process.poll()})\n{self.report()}")
        self.port = int(found[1]) if found[1].isdigit() else None
        return process

    def log(self, name):
        """What the process called NAME has written on stderr so far."""
        path = self._log_directory / name
        return path.read_text(errors="replace") if path.exists() else ""

    def report(self):
        """The logs, for the text of a failure."""
        return "".join(f"--- {name}\n{self.log(name)[-3000:]}" for name in self._logs)

    def smtp(self, timeout=20):
        """A client connected to this home."""
        return smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.example",
                            timeout=timeout)

    def connect(self, timeout=20):
        """A bare connection to this home."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    # -- the end ------------------------------------------------------------

    def stop_process(self, name, seconds=10.0, signals=(signal.SIGTERM, signal.SIGTERM)):
        """Ends one process the way its supervisor would; returns its exit status.

        A second SIGTERM follows after SECONDS, and SIGKILL for the whole process
        group when that is not heard either."""
        process = self.processes.pop(name, None)
        if process is None:
            return None
        for number in signals:
            if process.poll() is None:
                process.send_signal(number)
                try:
                    process.wait(seconds)
                except subprocess.TimeoutExpired:
                    pass
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        return process.wait()

    def stop(self, seconds=3.0):
        """Ends everything that was started here, the last one first."""
        for name in reversed(list(self.processes)):
            self.stop_process(name, seconds)

    def remove(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


# -- messages ---------------------------------------------------------------

def lines_of(message):
    """MESSAGE with LF for CRLF, the way a Maildir holds text."""
    return message.replace(b"\r\n", b"\n")


def split_message(message):
    """(header, body) of a message with LF line ends; the header ends in LF."""
    header, separator, body = message.partition(b"\n\n")
    return (header + b"\n", body) if separator else (header, b"")


def fields_of(header):
    """The fields of a header as [(name, whole field)]; continuations stay with theirs."""
    fields = re.split(rb"\n(?![ \t])", header.rstrip(b"\n"))
    return [(field.partition(b":")[0].decode("ascii", "replace"), field) for field in fields]


def assert_whole(path, sent, peer_adds=()):
    """The file at PATH is SENT with trace fields in front, and nothing else has changed.

    A relaying peer may add the fields named in PEER_ADDS (and its own Received)
    anywhere; every other field must be there, once, in its order, unaltered.
    """
    stored = path.read_bytes()
    sent = lines_of(sent)
    if not sent.endswith(b"\n"):
        # SMTP knows no last line without an end.
        sent += b"\n"
    stored = lines_of(stored)
    sent_header, sent_body = split_message(sent)
    header, body = split_message(stored)
    assert body == sent_body, (
        f"{path.name}: the body has changed: {len(sent_body)} bytes sent, {len(body)} arrived, "
        f"first difference at {first_difference(sent_body, body)}")
    fields = fields_of(header)
    names = [name.lower() for name, _ in fields]
    for trace in ("return-path", "delivered-to"):
        assert names.count(trace) == 1, f"{path.name}: {trace} {names.count(trace)} times:\n{header}"
    sent_fields = fields_of(sent_header)
    if peer_adds == ():
        tail = [field for _, field in fields[len(fields) - len(sent_fields):]]
        assert tail == [field for _, field in sent_fields], f"{path.name}: header changed:\n{header}"
        added = names[:len(fields) - len(sent_fields)]
        assert sorted(added) == ["delivered-to", "received", "return-path"], (
            f"{path.name}: fields added: {added}")
    else:
        allowed = {name.lower() for name in peer_adds} | {"received", "return-path", "delivered-to"}
        remaining = list(sent_fields)
        for name, field in fields:
            if remaining and field == remaining[0][1]:
                remaining.pop(0)
            else:
                assert name.lower() in allowed, f"{path.name}: field not sent: {field}"
        assert not remaining, f"{path.name}: fields lost: {[field for _, field in remaining]}"


def first_difference(left, right):
    for position, (one, other) in enumerate(zip(left, right)):
        if one != other:
            return position
    return min(len(left), len(right))


def field(path, name):
    """The values of the field NAME in the message at PATH, unfolded."""
    header, _ = split_message(lines_of(path.read_bytes()))
    return [re.sub(rb"\n[ \t]+", b" ", whole.partition(b":")[2].strip()).decode("utf-8", "replace")
            for found, whole in fields_of(header) if found.lower() == name.lower()]
