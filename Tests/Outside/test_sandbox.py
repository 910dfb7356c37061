"""Every program, running and locked as in service, tries what it must not, and is refused.

An injector (Tests/Sandbox/inject.c) makes the running process itself try: what is seen here is what
a stranger could do who had taken the process over. The table at the end of what each process is, ATTEMPTS
by PROCESSES, says what must come of each attempt.
"""

import errno
import os
import platform
import signal
import smtplib
import socket
import ssl
import struct
import subprocess
import threading
from pathlib import Path

import pytest

import faultlab
import semailtest
from badpeer import USUAL, BadPeer
from faultlab import (ACCEPT_UID, ACCEPT_GID, AUTH_UID, DKIM_UID, QUEUE_UID, REMOTE_UID, SMTPD_UID, SMTPD_GID, TLS_UID, Ended, Lab, Taken,
                      children, descriptors, errno_name, is_at_work, status)
from semailtest import await_true

AT_FDCWD = -100
O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_NONBLOCK = 1, 2, 0o100, 0o1000, 0o4000
O_TMPFILE = 0o20200000 if platform.machine() == "x86_64" else 0o20040000
O_DIRECTORY = O_TMPFILE & ~0o20000000
# The bit of a queue file that may leave the host.
LEAVING = 0o1000
SIGCHLD = 17
# As the C library's fork has it: CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID, SIGCHLD.
FORK = 0x01200011


# -- the scene --------------------------------------------------------------

class Scene:
    """A home with a message of somebody else in queue/new and in each mailbox, and processes to be hurt."""

    def __init__(self, lab):
        self.lab = lab
        self.home = lab.directory
        # Held in queue/new: the file is there, and qrunner is not told of it.
        self.queued = self.home / "queue/new/0000000000000000"
        self.queued.write_bytes(b"semail 1\nreceived 1.000000\nfrom a@b.example\nto W ssow@semail.test\n\nx\n")
        os.chown(self.queued, SMTPD_UID, SMTPD_GID)
        self.mode = self.mode_of_sessions_files()
        os.chmod(self.queued, self.mode)
        for name in ("later/1", "hold"):
            (self.home / "queue" / name).mkdir(mode=0o700, exist_ok=True)
            os.chown(self.home / "queue" / name, QUEUE_UID, SMTPD_GID)
        self.mail = lab.maildir("xredon") / "new/1.M1P1.mail.semail.test"
        self.mail.write_text("Subject: private\n\n")
        os.chown(self.mail, lab.uid("xredon"), lab.uid("xredon"))
        os.chmod(self.mail, 0o600)
        # Where everybody may write.
        self.playground = self.home / "everybody"
        self.playground.mkdir()
        os.chmod(self.playground, 0o1777)
        # The admin's socket, whoever listens at it.
        with socket.socket(socket.AF_UNIX) as admin:
            admin.bind(str(self.home / "run/qrunner"))
        os.chown(self.home / "run/qrunner", QUEUE_UID, SMTPD_GID)
        os.chmod(self.home / "run/qrunner", 0o600)
        # What sessions and services keep of each other's business, each its owner's alone.
        self.budget = self.keep("run/budgets/ssow@semail.test", SMTPD_UID, 0o600)
        self.guesses = self.keep("run/guesses/ssow", AUTH_UID, 0o600)
        self.tickets = self.keep("run/tls/other", TLS_UID, 0o600)
        self.certificate = self.keep("control/tls/other.key", TLS_UID, 0o400)
        self.passwords = self.keep("control/route-passwords", REMOTE_UID, 0o400)
        self.signing_key = self.keep("control/dkim/other.example/a.pem", DKIM_UID, 0o400)
        # A process of the same user as the one that is looked at, and the listener of a stranger.
        self.victims = {}
        self.connects = False
        self.listener = socket.create_server(("127.0.0.1", 0))

    def keep(self, name, uid, mode):
        path = self.home / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text("secret\n")
        for one in (path.parent, path):
            os.chown(one, uid, uid)
        os.chmod(path, mode)
        return path

    def mode_of_sessions_files(self):
        """As a session leaves its file: found by trying, so that this test need not know it."""
        with self.lab.smtp() as client:
            client.sendmail("ssow@semail.test", ["ssow@semail.test"], b"From: ssow@semail.test\r\nSubject: try\r\n\r\n")
        [path] = await_true(lambda: [path for path in (self.home / "queue/new").iterdir() if path != self.queued])
        mode = path.stat().st_mode & 0o7777
        path.unlink()
        return mode

    def victim(self, uid, gid):
        """A process of the user and the group that sleeps."""
        if (uid, gid) not in self.victims:
            self.victims[uid, gid] = subprocess.Popen(["/usr/bin/sleep", "300"], user=uid, group=gid, extra_groups=[])
        return self.victims[uid, gid].pid

    def close(self):
        self.listener.close()
        for victim in self.victims.values():
            victim.kill()
            victim.wait()


@pytest.fixture
def lab():
    with Lab() as lab:
        yield lab


@pytest.fixture
def scene(lab):
    """Sessions are accepted; the queue stands still, so that its files stay where a test wants them."""
    lab.start_accept()
    scene = Scene(lab)
    yield scene
    scene.close()


# -- what is tried ----------------------------------------------------------

def address(port):
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton("127.0.0.1") + bytes(8)


def reach_by_tcp(process, scene):
    descriptor = process.call("socket", socket.AF_INET, socket.SOCK_STREAM, 0)
    if descriptor < 0:
        # With whatever socket it may have: the call itself. A session of the outgoing server may connect to unix sockets.
        refused = process.call("connect", 0, address(scene.listener.getsockname()[1]), 16)
        assert errno_name(refused) == errno_name(descriptor) or scene.connects, "connect is not refused as socket is"
        assert refused < 0
        return descriptor
    result = process.call("connect", descriptor, address(scene.listener.getsockname()[1]), 16)
    process.call("close", descriptor)
    return result


def bind_a_port(process, scene):
    descriptor = process.call("socket", socket.AF_INET, socket.SOCK_STREAM, 0)
    if descriptor < 0:
        refused = process.call("bind", 0, address(0), 16)
        assert errno_name(refused) == errno_name(descriptor), "bind is not refused as socket is"
        return descriptor
    result = process.call("bind", descriptor, address(0), 16)
    process.call("close", descriptor)
    return result


def listen(process, scene):
    """Without a name of its own a listening socket is given one."""
    descriptor = process.call("socket", socket.AF_INET, socket.SOCK_STREAM, 0)
    if descriptor < 0:
        return descriptor
    result = process.call("listen", descriptor, 1)
    process.call("close", descriptor)
    return result


def make_socket(process, *kind):
    descriptor = process.call("socket", *kind)
    if descriptor >= 0:
        process.call("close", descriptor)
    return descriptor


def reach_admin_socket(process, scene):
    descriptor = process.call("socket", socket.AF_UNIX, socket.SOCK_STREAM, 0)
    if descriptor < 0:
        return descriptor
    path = os.fsencode(scene.home / "run/qrunner")
    result = process.call("connect", descriptor, struct.pack("=H", socket.AF_UNIX) + path + b"\0", 3 + len(path))
    process.call("close", descriptor)
    return result


def open_and_close(process, *arguments):
    descriptor = process.call("openat", AT_FDCWD, *arguments)
    if descriptor >= 0:
        process.call("close", descriptor)
    return descriptor


def make_file(process, path):
    result = open_and_close(process, path, O_WRONLY | O_CREAT, 0o600)
    Path(path).unlink(missing_ok=True)
    return result


def list_directory(process, path):
    descriptor = process.call("openat", AT_FDCWD, path, O_DIRECTORY, 0)
    if descriptor < 0:
        return descriptor
    result, _ = process.call_with_buffers("getdents64", descriptor, bytearray(1024), 1024)
    process.call("close", descriptor)
    return result


def list_what_is_open(process, scene):
    """By the descriptor it flushes names with, if it has one."""
    held = [number for number, what in descriptors(process.pid).items() if what == str(scene.home / "queue/new")]
    result, _ = process.call_with_buffers("getdents64", held[0] if held else 0, bytearray(1024), 1024)
    return result


PTRACE_SEIZE = 0x4206
CLONE_NEWUSER = 0x10000000

ATTEMPTS = {
    # Files of others.
    "read /etc/passwd": lambda p, s: open_and_close(p, "/etc/passwd", 0, 0),
    "read a queued message": lambda p, s: open_and_close(p, s.queued, 0, 0),
    "write a queued message": lambda p, s: open_and_close(p, s.queued, O_WRONLY, 0),
    "append to a queued message without waiting": lambda p, s: open_and_close(p, s.queued, O_WRONLY | O_NONBLOCK, 0),
    "truncate a queued message": lambda p, s: p.call("truncate", s.queued, 0),
    "unlink a queued message": lambda p, s: p.call("unlinkat", AT_FDCWD, s.queued, 0),
    "rename a queued message": lambda p, s: p.call("renameat2", AT_FDCWD, s.queued, AT_FDCWD, s.queued.with_name("1" * 16), 0),
    "link a queued message": lambda p, s: p.call("linkat", AT_FDCWD, s.queued, AT_FDCWD, s.queued.with_name("2" * 16), 0),
    "list the queue": lambda p, s: list_directory(p, s.home / "queue/new"),
    "list the queue by what is open": list_what_is_open,
    "hold a message": lambda p, s: make_file(p, s.home / "queue/hold" / ("3" * 16)),
    "read another's mail": lambda p, s: open_and_close(p, s.mail, 0, 0),
    "list another's mail": lambda p, s: list_directory(p, s.mail.parent),
    "unlink another's mail": lambda p, s: p.call("unlinkat", AT_FDCWD, s.mail, 0),
    "put a file into another's Maildir": lambda p, s: make_file(p, s.mail.with_name("2.M2P2.x")),
    "create a file elsewhere": lambda p, s: make_file(p, s.playground / "made"),
    "make a directory elsewhere": lambda p, s: p.call("mkdirat", AT_FDCWD, s.playground / "directory", 0o700),
    "make a symbolic link": lambda p, s: p.call("symlinkat", "/etc/passwd", AT_FDCWD, s.playground / "symlink"),
    "make a FIFO": lambda p, s: p.call("mknodat", AT_FDCWD, s.playground / "fifo", 0o10600, 0),
    "change a mode": lambda p, s: p.call("fchmodat", AT_FDCWD, s.queued, 0o777),
    "change an owner": lambda p, s: p.call("fchownat", AT_FDCWD, s.queued, 0, 0, 0),
    "write a control file": lambda p, s: open_and_close(p, s.home / "control/hostname", O_WRONLY, 0),
    "write a mailbox file": lambda p, s: open_and_close(p, s.home / "mailboxes/ssow@semail.test", O_WRONLY, 0),
    "read a signing key": lambda p, s: open_and_close(p, s.signing_key, 0, 0),
    "read a certificate's key": lambda p, s: open_and_close(p, s.certificate, 0, 0),
    "write a certificate's key": lambda p, s: open_and_close(p, s.certificate, O_WRONLY | O_TRUNC, 0),
    "read the passwords of routes": lambda p, s: open_and_close(p, s.passwords, 0, 0),
    "read the keys of tickets": lambda p, s: open_and_close(p, s.tickets, 0, 0),
    "change what a mailbox has sent": lambda p, s: open_and_close(p, s.budget, O_RDWR, 0),
    "forget wrong passwords": lambda p, s: open_and_close(p, s.guesses, O_RDWR, 0),
    # Other programs, other processes.
    "execve": lambda p, s: p.call("execve", "/bin/true", 0, 0),
    "execveat": lambda p, s: p.call("execveat", AT_FDCWD, "/bin/true", 0, 0, 0),
    "fork": lambda p, s: p.call("clone", FORK, 0, 0, 0, 0),
    "fork in another way": lambda p, s: p.call("clone", SIGCHLD, 0, 0, 0, 0),
    "clone3": lambda p, s: p.call("clone3", struct.pack("=8Q", 0, 0, 0, 0, SIGCHLD, 0, 0, 0), 64),
    # CLONE_THREAD lacks what it must come with: let through by the filter, it would be EINVAL.
    "a thread": lambda p, s: p.call("clone", 0x00010000, 0, 0, 0, 0),
    "fork into a namespace of its own": lambda p, s: p.call("clone", CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0),
    "ptrace": lambda p, s: p.call("ptrace", PTRACE_SEIZE, s.target, 0, 0),
    "read another's memory": lambda p, s: p.call("process_vm_readv", s.target, 0, 0, 0, 0, 0),
    "open another's memory": lambda p, s: open_and_close(p, f"/proc/{s.target}/mem", O_RDWR, 0),
    "kill": lambda p, s: p.call("kill", s.target, 0),
    "tgkill": lambda p, s: p.call("tgkill", s.target, s.target, 0),
    "pidfd_open": lambda p, s: p.call("pidfd_open", s.target, 0),
    "give another limits": lambda p, s: p.call("prlimit64", s.target, 7, struct.pack("=QQ", 0, 0), 0),
    # The network.
    "connect by TCP": reach_by_tcp,
    "bind a TCP port": bind_a_port,
    "listen for TCP": listen,
    "a netlink socket": lambda p, s: make_socket(p, socket.AF_NETLINK, socket.SOCK_RAW, 0),
    "a packet socket": lambda p, s: make_socket(p, socket.AF_PACKET, socket.SOCK_RAW, 0),
    "a raw socket": lambda p, s: make_socket(p, socket.AF_INET, socket.SOCK_RAW, 1),
    "a socket of the kernel's ciphers": lambda p, s: make_socket(p, socket.AF_ALG, socket.SOCK_SEQPACKET, 0),
    "a socket to other machines on this one": lambda p, s: make_socket(p, socket.AF_VSOCK, socket.SOCK_STREAM, 0),
    "reach the admin's socket": reach_admin_socket,
    # Another user.
    "setuid 0": lambda p, s: p.call("setuid", 0),
    "setresuid 0": lambda p, s: p.call("setresuid", 0, 0, 0),
    "setresuid effective 0": lambda p, s: p.call("setresuid", -1, 0, -1),
    "setresuid 0 in 64 bits": lambda p, s: p.call("setresuid", 1 << 32, 1 << 32, 1 << 32),
    "setreuid 0": lambda p, s: p.call("setreuid", 0, 0),
    "setgid 0": lambda p, s: p.call("setgid", 0),
    "setresgid 0": lambda p, s: p.call("setresgid", 0, 0, 0),
    "setgroups": lambda p, s: p.call("setgroups", 1, struct.pack("=I", 0)),
    "become a mailbox": lambda p, s: p.call("setresuid", -1, s.lab.uid("xredon"), -1),
    "become a service": lambda p, s: p.call("setresuid", -1, s.other_service, -1),
    "take capabilities": lambda p, s: p.call("capset", struct.pack("=II", 0x20080522, 0), b"\xff" * 24),
    # The machine.
    "mount": lambda p, s: p.call("mount", "none", s.playground, "tmpfs", 0, 0),
    "umount": lambda p, s: p.call("umount2", s.playground, 0),
    "chroot": lambda p, s: p.call("chroot", s.playground),
    "unshare": lambda p, s: p.call("unshare", CLONE_NEWUSER),
    "bpf": lambda p, s: p.call("bpf", 0, 0, 0),
    "io_uring": lambda p, s: p.call("io_uring_setup", 1, bytes(120)),
    "keyctl": lambda p, s: p.call("keyctl", 0, 0, 0),
    "userfaultfd": lambda p, s: p.call("userfaultfd", 0),
    "reboot": lambda p, s: p.call("reboot", 0, 0, 0, 0),
}



# -- who tries, and what must come of it ------------------------------------
#
# DEFAULT is what the filter of system calls says. Where a call as such is needed, Landlock (EACCES) or the user's
# rights (EACCES, EPERM) refuse the object. `allowed` is said only of what the program's work needs.

DEFAULT = "EPERM"

FILES = ["read /etc/passwd", "read a queued message", "write a queued message", "append to a queued message without waiting",
         "list the queue", "hold a message", "read another's mail", "list another's mail", "put a file into another's Maildir",
         "create a file elsewhere", "write a control file", "write a mailbox file", "open another's memory", "read a signing key",
         "read a certificate's key", "write a certificate's key", "read the passwords of routes", "read the keys of tickets",
         "change what a mailbox has sent", "forget wrong passwords"]

BY_LANDLOCK = {name: "EACCES" for name in FILES}

# A second name for a message in the queue is one message more, which any client may send: the name of the first can neither
# be listed nor guessed, and what it says is not told. (Before Linux 6.10 a file is named by its path or not at all.)
LINK = {"link a queued message": "allowed"}

EXPECTED = {
    # No file at all: openat is not among its calls.
    "tcp-accept": {},
    # Starts programs of others, which the filters it set would bind as well: what keeps it is being a user who owns nothing,
    # and that it can name no user but the next. It never reads what comes over the network.
    "tcp-accept without a template": {
        **{name: "EACCES" for name in FILES},
        "read /etc/passwd": "allowed", "create a file elsewhere": "allowed", "make a directory elsewhere": "allowed",
        "make a symbolic link": "allowed", "make a FIFO": "allowed",
        "truncate a queued message": "EACCES", "unlink a queued message": "EACCES", "rename a queued message": "EACCES",
        "link a queued message": "EACCES", "change a mode": "EACCES", "change an owner": "EACCES", "unlink another's mail": "EACCES",
        "fork": "allowed", "fork in another way": "allowed", "clone3": "allowed", "a thread": None, "fork into a namespace of its own": None, "kill": "allowed", "tgkill": "allowed", "pidfd_open": "allowed",
        "execve": None, "execveat": None, "read another's memory": None, "io_uring": None, "keyctl": None, "userfaultfd": None,
        "ptrace": None, "open another's memory": None, "list the queue by what is open": None, "bpf": None, "give another limits": None, "unshare": None,
        "connect by TCP": "allowed", "bind a TCP port": "allowed", "listen for TCP": "allowed", "reach the admin's socket": "EACCES",
        "a netlink socket": None, "a socket of the kernel's ciphers": None, "a socket to other machines on this one": None,
    },
    # Forks the sessions; what it may open is what they may open.
    "smtpd-session template": {**BY_LANDLOCK, "fork": "allowed", **LINK},
    "smtpd-session": {**BY_LANDLOCK, **LINK},
    # Asks for passwords at run/auth, and counts what each mailbox sends: those of all, for any of them may be its client.
    "smtpd-session submission template": {
        **BY_LANDLOCK, "fork": "allowed", **LINK, "reach the admin's socket": "EACCES", "change what a mailbox has sent": "allowed",
    },
    "smtpd-session submission": {**BY_LANDLOCK, **LINK, "reach the admin's socket": "EACCES", "change what a mailbox has sent": "allowed"},
    # One question, one answer: it counts, and can start nothing any more.
    "auth-check": {
        **BY_LANDLOCK, "forget wrong passwords": "allowed", "list the queue by what is open": "ENOTDIR",
        "unlink a queued message": "EACCES", "unlink another's mail": "EACCES",
    },
    # Certificates, and the keys of tickets, which it makes anew.
    "tls-wrap template": {
        **BY_LANDLOCK, "fork": "allowed", "read a certificate's key": "allowed", "read the keys of tickets": "allowed", "list the queue by what is open": "ENOTDIR",
        "unlink a queued message": "EACCES", "unlink another's mail": "EACCES",
    },
    "tls-wrap": {},
    # Keys, and nothing else.
    "dkim-sign template": {**BY_LANDLOCK, "fork": "allowed", "read a signing key": "allowed", "list the queue by what is open": "ENOTDIR"},
    "dkim-sign": {**BY_LANDLOCK, "read a signing key": "allowed", "list the queue by what is open": "ENOTDIR"},
    # Settings, and of /etc what others may read: who are the name servers, and the authorities.
    "remote-relay template": {
        **BY_LANDLOCK, "fork": "allowed", "read /etc/passwd": "allowed", "read the passwords of routes": "allowed", "connect by TCP": "allowed",
    },
    # Talks to whoever the DNS names, and opens no file at all.
    "remote-relay": {"connect by TCP": "allowed"},
    # The queue's owner: all that is in the queue is its work.
    "qrunner": {
        **BY_LANDLOCK,
        "read a queued message": "allowed", "write a queued message": "allowed", "append to a queued message without waiting": "allowed",
        "list the queue": "allowed", "list the queue by what is open": "allowed", "hold a message": "allowed",
        "unlink a queued message": "allowed", **LINK,
        "unlink another's mail": "EACCES", "make a directory elsewhere": "EACCES",
    },
    # Has to become the mailboxes' users, and nothing of what it reads comes from a stranger.
    "maildir-deliver template": {
        **BY_LANDLOCK, "list the queue by what is open": "ENOTDIR", "rename a queued message": "EACCES", "link a queued message": "EACCES",
        "fork": "allowed", "become a mailbox": "allowed", "unlink a queued message": "EACCES", "unlink another's mail": "EACCES",
    },
    # Its own Maildir, as its own user.
    "maildir-deliver": {
        **BY_LANDLOCK, "list the queue by what is open": "ENOTDIR", "rename a queued message": "EACCES", "link a queued message": "EACCES",
        "unlink a queued message": "EACCES", "unlink another's mail": "EACCES",
    },
}

# Attempts that would take the process away or change it where they are allowed.
DANGEROUS = {"become a mailbox"}


def assert_refused(process, scene, who, other_service):
    """Makes every attempt: what comes of it must be as the table has it."""
    found = status(process.pid)
    scene.target = scene.victim(int(found["Uid"].split()[0]), int(found["Gid"].split()[0]))
    scene.connects = "submission" in who
    scene.other_service = other_service
    wrong = []
    expected = EXPECTED[who]
    for name, attempt in ATTEMPTS.items():
        wanted = expected.get(name, DEFAULT)
        if wanted is None or (wanted == "allowed" and name in DANGEROUS):
            continue
        # The rights that would let an allowed attempt destroy what the next one needs.
        content = scene.queued.read_bytes(), scene.mail.read_bytes()
        try:
            found = errno_name(attempt(process, scene))
        except Ended as end:
            wrong.append(f"{name}: {end}, expected {wanted}")
            break
        if found != wanted:
            wrong.append(f"{name}: {found}, expected {wanted}")
        restore(scene, *content)
    assert not wrong, f"{who}:\n  " + "\n  ".join(wrong)


def restore(scene, queued, mail):
    for path, content, uid, gid, mode in ((scene.queued, queued, SMTPD_UID, SMTPD_GID, scene.mode),
                                          (scene.mail, mail, scene.lab.uid("xredon"), scene.lab.uid("xredon"), 0o600)):
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
            os.chown(path, uid, gid)
            os.chmod(path, mode)
    for path in scene.playground.iterdir():
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    for digit in "123":
        for place in ("new", "hold"):
            (scene.home / "queue" / place / (digit * 16)).unlink(missing_ok=True)


# -- what a process is ------------------------------------------------------

def assert_locked(pid, uid, gid, capabilities=0, core=False):
    found = status(pid)
    assert found["Uid"].split() == [str(uid)] * 4, found["Uid"]
    assert found["Gid"].split() == [str(gid)] * 4, found["Gid"]
    assert found["Groups"].split() == [], "supplementary groups: " + found["Groups"]
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(found[name], 16) == capabilities, f"{name} {found[name]}"
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2", "no filter of system calls"
    assert core or core_limit(pid) == "0", "a core file could be written"


def core_limit(pid):
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith("Max core file size"):
            return line.split()[5]


def sockets(pid):
    return [what for what in descriptors(pid).values() if what.startswith("socket:")]


SETID = 1 << 6 | 1 << 7  # CAP_SETGID, CAP_SETUID


# -- the processes ----------------------------------------------------------

def test_tcp_accept(scene):
    pid = scene.lab.pid("tcp-accept")
    assert_locked(pid, ACCEPT_UID, ACCEPT_GID)
    with Taken(pid) as process:
        assert process.call("getpid") == pid
        # What it needs: its listener can be asked, nobody waits at it.
        listener = min(number for number, what in descriptors(pid).items() if number > 2 and what.startswith("socket:"))
        assert errno_name(process.call("accept4", listener, 0, 0, 0)) == "EAGAIN"
        assert_refused(process, scene, "tcp-accept", SMTPD_UID)
    scene.lab.send()


def test_tcp_accept_without_a_template(lab):
    lab.start_accept(accept=[option for option in semailtest.ACCEPT if option != "-t"])
    scene = Scene(lab)
    try:
        pid = lab.pid("tcp-accept")
        assert_locked(pid, ACCEPT_UID, ACCEPT_GID, capabilities=SETID, core=True)
        with Taken(pid) as process:
            assert process.call("getpid") == pid
            # What it needs: somebody it starts can become the next user.
            assert process.call("setresuid", SMTPD_UID, -1, -1) == 0
            assert process.call("setresuid", ACCEPT_UID, ACCEPT_UID, ACCEPT_UID) < 0, "can come back to its own user"
            assert process.call("setresuid", -1, QUEUE_UID, -1) < 0
        lab.stop_process("tcp-accept")
        lab.start_accept(accept=[option for option in semailtest.ACCEPT if option != "-t"])
        with Taken(lab.pid("tcp-accept")) as process:
            assert_refused(process, scene, "tcp-accept without a template", QUEUE_UID)
        lab.send()
    finally:
        scene.close()


def test_session_without_a_template(lab):
    """Started by exec, a session locks itself just as well."""
    lab.start_accept(accept=[option for option in semailtest.ACCEPT if option != "-t"])
    scene = Scene(lab)
    try:
        with lab.smtp() as client:
            client.ehlo()
            pid = lab.session(client)
            assert_locked(pid, SMTPD_UID, SMTPD_GID)
            with Taken(pid) as process:
                assert process.call("getpid") == pid
                assert_refused(process, scene, "smtpd-session", QUEUE_UID)
            assert client.noop()[0] == 250
    finally:
        scene.close()


def test_session_template(scene):
    pid = scene.lab.session_template()
    assert_locked(pid, SMTPD_UID, SMTPD_GID)
    with Taken(pid) as process:
        assert process.call("getpid") == pid
        # What its sessions need.
        assert open_and_close(process, scene.home / "mailboxes/ssow@semail.test", 0, 0) >= 0
        assert_refused(process, scene, "smtpd-session template", QUEUE_UID)
    scene.lab.send()


def test_session(scene):
    with scene.lab.smtp() as client:
        client.ehlo()
        pid = scene.lab.session(client)
        assert_locked(pid, SMTPD_UID, SMTPD_GID)
        # Its connection, and no other; not the listener, not the line to tcp-accept.
        assert len(sockets(pid)) == 1, descriptors(pid)
        assert not [what for number, what in descriptors(pid).items() if number > 2 and what.startswith("pipe:")], descriptors(pid)
        with Taken(pid) as process:
            assert process.call("getpid") == pid
            for path in ("mailboxes/ssow@semail.test", "control/hostname"):
                assert open_and_close(process, scene.home / path, 0, 0) >= 0
            assert open_and_close(process, scene.home / "queue/new", O_TMPFILE | O_WRONLY, 0o600) >= 0
            # Whatever it writes into an envelope: such a message does not leave the host.
            for flags, path in ((O_TMPFILE | O_WRONLY, "queue/new"), (O_CREAT | O_WRONLY, "queue/new/" + "8" * 16)):
                assert open_and_close(process, scene.home / path, flags, 0o600 | LEAVING) == -errno.EPERM
            assert_refused(process, scene, "smtpd-session", QUEUE_UID)
        # It was hurt in nothing.
        assert client.noop()[0] == 250
    scene.lab.send()


def test_session_with_a_message_under_way(scene):
    """Its own file is open now: no other has become reachable."""
    with scene.lab.smtp() as client:
        client.ehlo()
        client.mail("a@b.example")
        client.rcpt("ssow@semail.test")
        assert client.docmd("DATA")[0] == 354
        client.send(b"Subject: half\r\n\r\n")
        pid = scene.lab.session(client)
        with Taken(pid) as process:
            assert_refused(process, scene, "smtpd-session", QUEUE_UID)
        client.send(b"more\r\n.\r\n")
        assert client.getreply()[0] == 250


def test_calls_of_another_kind_end_the_session(scene):
    """By the numbers of another table (x32) every call would carry another name: the kernel ends who tries."""
    if platform.machine() != "x86_64":
        return  # arm64 has one table.
    client = scene.lab.smtp()
    client.ehlo()
    pid = scene.lab.session(client)
    with Taken(pid) as process, pytest.raises(Ended, match=f"killed {signal.SIGSYS.value}"):
        process.call(0x40000000 + 39)
    client.close()
    scene.lab.send()


def test_outgoing_session(lab):
    lab.start_accept(session=("submission",))
    scene = Scene(lab)
    try:
        template = lab.session_template()
        assert_locked(template, SMTPD_UID, SMTPD_GID)
        with Taken(template) as process:
            assert_refused(process, scene, "smtpd-session submission template", QUEUE_UID)
        with lab.smtp() as client:
            client.ehlo()
            pid = lab.session(client)
            assert_locked(pid, SMTPD_UID, SMTPD_GID)
            assert len(sockets(pid)) == 1, descriptors(pid)
            with Taken(pid) as process:
                assert open_and_close(process, scene.home / "queue/new", O_TMPFILE | O_WRONLY, 0o600 | LEAVING) >= 0
                assert_refused(process, scene, "smtpd-session submission", QUEUE_UID)
            assert client.noop()[0] == 250
    finally:
        scene.close()


def test_outgoing_session_turns_its_connection_elsewhere(lab):
    """It may call connect and has a TCP socket, its client's. Let loose and connected again, that would be a way out: Landlock
    knows the kind of socket."""
    lab.start_accept(session=("submission",))
    with socket.create_server(("127.0.0.1", 0)) as stranger, lab.connect() as client:
        assert client.recv(100).startswith(b"220")
        pid = lab.session(SocketOf(client))
        [own] = [number for number, what in descriptors(pid).items() if number != 1 and what.startswith("socket:")][:1]
        with Taken(pid) as process:
            assert process.call("connect", own, struct.pack("=H", socket.AF_UNSPEC) + bytes(14), 16) in (0, -1, -13)
            assert errno_name(process.call("connect", own, address(stranger.getsockname()[1]), 16)) == "EACCES"
        stranger.settimeout(0.2)
        with pytest.raises(TimeoutError):
            stranger.accept()


class SocketOf:
    """What lab.session takes for a client."""

    def __init__(self, connection):
        self.sock = connection


def test_auth_check(scene):
    """While it waits for the question. What decides is started before, and is the one process that it can end."""
    lab = scene.lab
    lab.start_authentication("/bin/sh", "-c", "read password <&3; exit 1")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(lab.directory / "run/auth"))
        accept = lab.pid("auth")
        pid = faultlab.only(await_true(lambda: [pid for pid in children(accept) if faultlab.runs(pid) == "auth-check" and status(pid)["Seccomp"] == "2"]))
        child = faultlab.only(children(pid))
        assert_locked(pid, AUTH_UID, AUTH_UID)
        assert len(sockets(pid)) == len([number for number in descriptors(pid) if number in (0, 1)]), descriptors(pid)
        with Taken(pid) as process:
            assert process.call("kill", child, 0) == 0
            assert_refused(process, scene, "auth-check", SMTPD_UID)
        client.sendall(b"127.0.0.1\0ssow\0wrong\0")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b"no\n", lab.report()


def over_tls(port):
    """A client; the certificate is nobody's."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return smtplib.SMTP_SSL("127.0.0.1", port, local_hostname="client.example", timeout=20, context=context)


def tls_processes(lab, client):
    """(tls-wrap's template, its process for CLIENT)."""
    inode = await_true(lambda: faultlab.server_inode(client))
    template = lab.template("tls-wrap", lab.pid("outbound-tls"))
    return template, faultlab.only(pid for pid in children(template) if f"socket:[{inode}]" in descriptors(pid).values())


def test_tls_wrap(scene):
    lab = scene.lab
    port = lab.start_tls()
    with over_tls(port) as client:
        assert client.ehlo()[0] == 250
        template, connection = tls_processes(lab, client)
        assert_locked(template, TLS_UID, TLS_UID)
        assert_locked(connection, TLS_UID, TLS_UID)
        with Taken(template) as process:
            assert_refused(process, scene, "tls-wrap template", SMTPD_UID)
        with Taken(connection) as process:
            assert_refused(process, scene, "tls-wrap", SMTPD_UID)
        assert client.noop()[0] == 250
        # The session behind it is one of the outgoing server, and reads no key.
        sessions = lab.template("smtpd-session", template)
        assert_locked(sessions, SMTPD_UID, SMTPD_GID)
        session = faultlab.only(pid for pid in children(sessions) if is_at_work(pid))
        assert_locked(session, SMTPD_UID, SMTPD_GID)
        with Taken(session) as process:
            assert_refused(process, scene, "smtpd-session submission", TLS_UID)
        assert client.noop()[0] == 250
    with over_tls(port) as client:
        client.sendmail("ssow@semail.test", ["xredon@semail.test"], b"From: ssow@semail.test\r\n\r\n")


def test_tls_wrap_without_a_template(scene):
    """Started by exec it locks itself just as well: the child that started the session is gone."""
    lab = scene.lab
    port = lab.start_tls(accept=[option for option in semailtest.ACCEPT if option != "-t"])
    with over_tls(port) as client:
        assert client.ehlo()[0] == 250
        inode = await_true(lambda: faultlab.server_inode(client))
        pid = faultlab.only(pid for pid in children(lab.pid("outbound-tls")) if f"socket:[{inode}]" in descriptors(pid).values())
        assert_locked(pid, TLS_UID, TLS_UID)
        with Taken(pid) as process:
            assert_refused(process, scene, "tls-wrap", SMTPD_UID)
        assert client.noop()[0] == 250


def put_outgoing(scene, name, port):
    """A message for another host, which listens to this port; qrunner is told of it."""
    lab = scene.lab
    path = lab.directory / "queue/new" / name
    path.write_text("semail 1\nreceived 1700000000.000000\nby ssow@semail.test\nfrom ssow@semail.test\nto W anna@away.example\n\n"
                    "From: ssow@semail.test\n\nout\n")
    os.chown(path, SMTPD_UID, SMTPD_GID)
    os.chmod(path, scene.mode | LEAVING)
    lab.control("queue-lifetime", "3650d")
    lab.control("routes", f"away.example [127.0.0.1]:{port} none")


def test_remote_relay(scene):
    """A connection to a server that has not said a word yet."""
    lab, go_on = scene.lab, threading.Event()

    def greet(session):
        go_on.wait(20)
        return USUAL

    with BadPeer(replies={"greeting": greet}) as peer:
        put_outgoing(scene, "4" * 16, peer.port)
        lab.start_qrunner()
        template = lab.template("remote-relay")
        assert_locked(template, REMOTE_UID, REMOTE_UID)
        assert len(sockets(template)) == 1, descriptors(template)
        pid = faultlab.only(await_true(lambda: [pid for pid in children(template) if is_at_work(pid)]))
        assert await_true(lambda: peer.connections), lab.report()
        assert_locked(pid, REMOTE_UID, REMOTE_UID)
        # Its connection and its own line to qrunner; the one message, and no other's.
        assert len(sockets(pid)) == 2, descriptors(pid)
        assert sum("/queue/" in what for what in descriptors(pid).values()) == 1, descriptors(pid)
        restore_queued(scene)
        with Taken(template) as process:
            assert_refused(process, scene, "remote-relay template", QUEUE_UID)
        with Taken(pid) as process:
            assert_refused(process, scene, "remote-relay", QUEUE_UID)
        go_on.set()
        assert await_true(lambda: peer.messages and peer.messages[0].is_taken), lab.report()
        assert b"out\r\n" in peer.messages[0].text


def test_dkim_sign(scene):
    lab = scene.lab
    lab.make_signing_key()
    with BadPeer() as peer:
        put_outgoing(scene, "5" * 16, peer.port)
        lab.start_qrunner()
        template = lab.template("dkim-sign")
        assert_locked(template, DKIM_UID, DKIM_UID)
        assert len(sockets(template)) == 1, descriptors(template)
        assert await_true(lambda: peer.messages and peer.messages[0].is_taken), lab.report()
        assert b"DKIM-Signature:" in peer.messages[0].text
        # It stays for the next message.
        pid = faultlab.only(await_true(lambda: [pid for pid in children(template) if is_at_work(pid)]))
        assert_locked(pid, DKIM_UID, DKIM_UID)
        assert len(sockets(pid)) == 1 and not [what for what in descriptors(pid).values() if "/queue/" in what], descriptors(pid)
        restore_queued(scene)
        with Taken(template) as process:
            assert_refused(process, scene, "dkim-sign template", QUEUE_UID)
        with Taken(pid) as process:
            assert_refused(process, scene, "dkim-sign", QUEUE_UID)
        put_outgoing(scene, "6" * 16, peer.port)
        lab.flush()
        assert await_true(lambda: len(peer.messages) == 2 and peer.messages[1].is_taken), lab.report()
        assert b"DKIM-Signature:" in peer.messages[1].text


def restore_queued(scene):
    """qrunner has delivered it."""
    await_true(lambda: not scene.queued.exists())
    restore(scene, b"semail 1\nreceived 1.000000\nfrom a@b.example\nto W ssow@semail.test\n\nx\n", scene.mail.read_bytes())


def test_qrunner(scene):
    lab = scene.lab
    lab.start_qrunner()
    assert await_true(lambda: "started" in lab.log("qrunner"))
    pid = lab.pid("qrunner")
    assert_locked(pid, QUEUE_UID, SMTPD_GID)
    restore_queued(scene)
    with Taken(pid) as process:
        assert process.call("getpid") == pid
        assert open_and_close(process, scene.home / "mailboxes/ssow@semail.test", 0, 0) >= 0
        assert_refused(process, scene, "qrunner", SMTPD_UID)
    lab.send("xredon")
    assert await_true(lambda: len(lab.delivered("xredon")) == 2), lab.report()


def test_delivery_template(scene):
    lab = scene.lab
    lab.start_qrunner()
    assert await_true(lambda: "started" in lab.log("qrunner"))
    pid = lab.delivery_template()
    assert_locked(pid, QUEUE_UID, SMTPD_GID, capabilities=SETID)
    restore_queued(scene)
    # One line, to qrunner.
    assert len(sockets(pid)) == 1, descriptors(pid)
    with Taken(pid) as process:
        assert process.call("getpid") == pid
        assert process.call("setresuid", -1, -1, -1) == 0
        assert_refused(process, scene, "maildir-deliver template", SMTPD_UID)
    lab.send("xredon")
    assert await_true(lambda: len(lab.delivered("xredon")) == 2), lab.report()


def test_delivery(scene):
    lab = scene.lab
    lab.start_qrunner()
    await_true(lambda: not scene.queued.exists())
    await_true(lambda: not lab.workers())
    delivered = len(lab.delivered("ssow"))
    restore(scene, b"semail 1\nreceived 1.000000\nfrom a@b.example\nto W ssow@semail.test\n\nx\n", scene.mail.read_bytes())
    with Taken(next_child_of=lab.delivery_template(), until="sendfile") as process:
        # The process that waits already takes this; its successor is the one that is caught.
        lab.send("xredon")
        assert await_true(lambda: len(lab.delivered("xredon")) == 2), lab.report()
        lab.send("ssow", body=b"whole\r\n")
        pid = process.wait()
        assert_locked(pid, lab.uid("ssow"), lab.uid("ssow"))
        # The message and its own line to qrunner: not the template's, no other's message.
        assert len(sockets(pid)) == 1, descriptors(pid)
        assert sum("/queue/" in what for what in descriptors(pid).values()) == 1, descriptors(pid)
        maildir = lab.maildir("ssow")
        own = process.call("openat", AT_FDCWD, maildir / "tmp/own", O_WRONLY | O_CREAT, 0o600)
        assert own >= 0 and process.call("close", own) == 0
        assert process.call("unlinkat", AT_FDCWD, maildir / "tmp/own", 0) == 0
        assert_refused(process, scene, "maildir-deliver", SMTPD_UID)
    # It goes on and delivers.
    assert await_true(lambda: len(lab.delivered("ssow")) == delivered + 1), lab.report()
    assert b"whole\n" in lab.messages("ssow")[-1]


def test_started_by_an_ordinary_user(empty_home):
    """Without -u nobody becomes anybody; the doors are locked all the same."""
    empty_home.start()
    user = empty_home.user
    with empty_home.smtp() as client:
        client.ehlo()
        accept, qrunner = empty_home.processes["tcp-accept"].pid, empty_home.processes["qrunner"].pid
        template = faultlab.only(faultlab.children(accept))
        inode = faultlab.server_inode(client)
        session = faultlab.only(pid for pid in faultlab.children(template) if f"socket:[{inode}]" in descriptors(pid).values())
        for pid in (accept, template, session, qrunner):
            assert_locked(pid, user, user)
        with Taken(session) as process:
            for name, *arguments in (("openat", AT_FDCWD, "/etc/passwd", 0, 0), ("execve", "/bin/true", 0, 0),
                                     ("socket", socket.AF_INET, socket.SOCK_STREAM, 0), ("kill", qrunner, 0),
                                     ("ptrace", PTRACE_SEIZE, qrunner, 0, 0), ("clone", SIGCHLD, 0, 0, 0, 0),
                                     ("openat", AT_FDCWD, empty_home.directory / "queue/later", O_DIRECTORY, 0),
                                     ("openat", AT_FDCWD, empty_home.maildir("ssow") / "new", O_DIRECTORY, 0)):
                assert process.call(name, *arguments) < 0, f"{name} {arguments}"
