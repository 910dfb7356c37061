"""What the tests of faults share: a home as installed, processes to look at and to take over,
file systems of one's own, load, and a supervisor.

Needs root: services start under users of their own, file systems are mounted. Everything made
here is unmade, also when a test fails: file systems when their `with` block ends, processes by
their ids with the home they belong to.
"""

import atexit
import contextlib
import ctypes
import errno
import hashlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import semailtest
from semailtest import await_true

LONG = os.environ.get("SEMAIL_LONG") == "1"

ACCEPT_UID, SMTPD_UID, QUEUE_UID = (int(user.split(":")[0]) for user in (
    semailtest.ACCEPT_USER, semailtest.SMTPD_USER, semailtest.QUEUE_USER))
SMTPD_GID = int(semailtest.SMTPD_USER.split(":")[1])
ACCEPT_GID = int(semailtest.ACCEPT_USER.split(":")[1])
REMOTE_UID, DKIM_UID = (int(user.split(":")[0]) for user in (semailtest.REMOTE_USER, semailtest.DKIM_USER))
# The users of auth-check and tls-wrap; each has a group of the same number.
AUTH_UID, TLS_UID = 61027, 61028


class Lab(semailtest.Home):
    """A home whose services run as installed: started by root, each under its own user."""

    umask = 0o022

    def __init__(self, owners=("ssow", "xredon"), queue=None, mailboxes=None, **options):
        """QUEUE: the size of a file system of its own for the queue ("8M"). MAILBOXES: {owner: size}."""
        self.volumes = {}
        super().__init__(owners=(), user="services", **options)
        try:
            if queue:
                self.give_volume("queue", self.directory / "queue", queue)
            for owner in owners:
                self.add_mailbox(owner)
            for owner, size in (mailboxes or {}).items():
                self.give_volume(owner, self.directory / "mnt" / owner, size)
        except BaseException:
            self.remove()
            raise

    def give_volume(self, name, path, size, kind="ext4"):
        """Puts a directory and what is in it on a file system of its own."""
        volume = Volume(self.directory / f"volumes/{name}", size, kind)
        self.volumes[name] = volume
        aside = path.with_name(path.name + ".aside")
        path.rename(aside)
        path.mkdir()
        volume.mount(path)
        if kind == "ext4":
            (path / "lost+found").rmdir()
        subprocess.run(["cp", "-a", f"{aside}/.", str(path)], check=True)
        shutil.rmtree(aside)
        # As it would have been long before.
        subprocess.run(["sync", "-f", str(path)], check=True)
        return volume

    def stop(self, seconds=3.0):
        for volume in self.volumes.values():
            volume.thaw()
        super().stop(seconds)

    def remove(self):
        self.stop()
        for volume in self.volumes.values():
            volume.remove()
        super().remove()

    def spawn(self, name, arguments, **options):
        # What root's shells and supervisors usually have.
        options.setdefault("umask", self.umask)
        return super().spawn(name, arguments, **options)

    def start_qrunner(self, *arguments, **options):
        """Returns once its signals mean what they should, and what it has started has locked itself in."""
        before = len(self.log("qrunner"))
        process = super().start_qrunner(*arguments, **options)
        assert await_true(lambda: process.poll() is not None or (
            "started" in self.log("qrunner")[before:] and all(is_ready(pid) for pid in children(process.pid))))
        return process

    # -- services of sending ------------------------------------------------

    def start_authentication(self, *command, arguments=()):
        """The service at run/auth: auth-check, which has COMMAND decide; a way of knowing passwords, or a program's."""
        os.chown(self.directory / "run/guesses", AUTH_UID, AUTH_UID)
        path = self.directory / "run/auth"
        process = self.spawn(self.program("tcp-accept"), [
            "-u", f"{AUTH_UID}:{AUTH_UID}", "-c", "50", "-i", "0", "-r", "0", "-o", f"0660:{SMTPD_GID}", "unix", path,
            self.program("auth-check"), "-d", self.directory / "run/guesses", *arguments, *command], log="auth", umask=0o077)
        assert await_true(lambda: "listening" in self.log("auth") or process.poll() is not None) and process.poll() is None, self.report()
        return process

    def start_tls(self, accept=semailtest.ACCEPT, session=("submission",)):
        """The service of port 465, on a port that the kernel chooses; returns it. The certificate is one of our own making."""
        keys = self.directory / "control/tls"
        certificate = keys / "default.pem"
        if not certificate.exists():
            subprocess.run([semailtest.tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                            "-subj", f"/CN={self.hostname}", "-keyout", f"{certificate}.key", "-out", f"{certificate}.crt"], check=True, capture_output=True)
            certificate.write_text(Path(f"{certificate}.crt").read_text() + Path(f"{certificate}.key").read_text())
            for path in (Path(f"{certificate}.crt"), Path(f"{certificate}.key")):
                path.unlink()
            for path in (keys, self.directory / "run/tls"):
                os.chown(path, TLS_UID, TLS_UID)
            os.chown(certificate, TLS_UID, TLS_UID)
            os.chmod(certificate, 0o400)
        before = len(self.log("outbound-tls"))
        process = self.spawn(self.program("tcp-accept"), [
            "-u", semailtest.ACCEPT_USER, "-n", f"{TLS_UID}:{TLS_UID},{semailtest.SMTPD_USER}", *accept, "127.0.0.1", 0,
            self.program("tls-wrap"), "-u", f"{TLS_UID}:{TLS_UID}", "-n", semailtest.SMTPD_USER, "-k", keys,
            self.program("smtpd-session"), "-u", semailtest.SMTPD_USER, *session], log="outbound-tls", umask=0o007)
        found = await_true(lambda: re.search(r"listening .*port=(\d+)", self.log("outbound-tls")[before:]) or process.poll() is not None)
        assert isinstance(found, re.Match), self.report()
        return int(found[1])

    def make_signing_key(self, selector="ed"):
        """A key for the lab's domain, so that dkim-sign is asked; made before qrunner starts, which looks once a minute."""
        directory = self.directory / "control/dkim" / self.domain
        directory.mkdir(mode=0o755)
        key = directory / f"{selector}.pem"
        subprocess.run([semailtest.tool("openssl"), "genpkey", "-algorithm", "ed25519", "-out", str(key)], check=True, capture_output=True)
        for path, mode in ((directory, 0o755), (key, 0o400)):
            os.chown(path, DKIM_UID, DKIM_UID)
            os.chmod(path, mode)
        return key

    def uid(self, owner):
        """The mailbox' user."""
        return self.maildir(owner).stat().st_uid

    # -- processes ----------------------------------------------------------

    def pid(self, name):
        return self.processes[name].pid

    def session_template(self):
        return only(await_true(lambda: [pid for pid in children(self.pid("tcp-accept")) if is_ready(pid)]))

    def delivery_template(self):
        return self.template("maildir-deliver")

    def template(self, program, parent=None):
        """One of the programs that qrunner (or PARENT) has started to fork from."""
        return only(await_true(lambda: [pid for pid in children(parent or self.pid("qrunner")) if runs(pid) == program and is_ready(pid)]) or [])

    def session(self, client):
        """The process that talks to CLIENT (anything with a socket)."""
        inode = await_true(lambda: server_inode(client))
        return only(await_true(lambda: [pid for pid in children(self._session_parent()) if f"socket:[{inode}]" in descriptors(pid).values()]))

    def sessions(self):
        """The processes that talk to anybody; a template has others that wait."""
        known = tcp_table()
        return [pid for pid in children(self._session_parent()) if connections(pid, known)]

    def _session_parent(self):
        accept = self.pid("tcp-accept")
        return self.session_template() if "-t" in Path(f"/proc/{accept}/cmdline").read_text().split("\0") else accept

    def workers(self):
        """The deliveries that have become a mailbox' user, busy or not."""
        return [pid for pid in children(self.delivery_template()) if self.is_worker(pid)]

    @staticmethod
    def is_worker(pid):
        try:
            return is_alive(pid) and int(status(pid)["Uid"].split()[0]) != QUEUE_UID
        except FileNotFoundError:
            return False

    def is_up(self):
        """Both services run, and have processes waiting for work."""
        services = [self.processes.get(name) for name in ("tcp-accept", "qrunner")]
        return all(service and service.poll() is None and children(service.pid) and all(is_ready(pid) for pid in children(service.pid)) for service in services)

    def flush(self):
        """What `semail queue flush` does: everything is tried now."""
        self.processes["qrunner"].send_signal(signal.SIGALRM)

    def settle(self, seconds=120):
        """Until the queue is empty: what was put off is tried now."""
        end = time.monotonic() + seconds
        while self.queue_files():
            assert time.monotonic() < end, f"still in the queue: {[str(path) for path in self.queue_files()[:10]]}\n{self.report()}"
            # Under a supervisor there may be none just now.
            qrunner = self.processes.get("qrunner")
            if qrunner and qrunner.poll() is None:
                qrunner.send_signal(signal.SIGALRM)
            await_true(lambda: not self.queue_files(), 2)

    def messages(self, owner):
        return [path.read_bytes() for path in self.delivered(owner)]

    def leftovers(self, owner):
        return sorted((self.maildir(owner) / "tmp").iterdir())

    def send(self, recipient="ssow", body=b"hello\r\n", sender="someone@elsewhere.example", subject=b"test"):
        with self.smtp() as client:
            client.sendmail(sender, [f"{recipient}@{self.domain}"], b"Subject: " + subject + b"\r\n\r\n" + body)


class Volume:
    """A file system in a file, as a mailbox has one."""

    def __init__(self, image, size=None, kind="ext4"):
        """Without a SIZE: the image is there, with whatever file system is in it."""
        self.image = Path(image)
        self.place = None
        self._is_frozen = False
        if size:
            self._make(size, kind)

    def _make(self, size, kind):
        subprocess.run(["truncate", "-s", size, str(self.image)], check=True)
        if kind != "ext4":
            subprocess.run([semailtest.tool(f"mkfs.{kind}"), "-q", "-f", str(self.image)], check=True, capture_output=True)
            return
        # With a journal, also where mkfs would think the file too small for one.
        journal = ["-b", "1024", "-J", "size=1"] if self.image.stat().st_size < 32 << 20 else ["-b", "4096", "-J", "size=4"]
        subprocess.run([semailtest.tool("mkfs.ext4"), "-q", "-F", "-m0", "-O", "has_journal", *journal, str(self.image)],
                       check=True, capture_output=True)

    def mount(self, place):
        enter_own_mounts()
        subprocess.run(["mount", "-o", "loop,nodev,nosuid,noexec", str(self.image), str(place)], check=True)
        self.place = Path(place)

    def remount(self, how):
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.place)], check=True)

    def freeze(self):
        """Whoever writes to it waits, uninterruptibly, until `thaw`."""
        subprocess.run([semailtest.tool("fsfreeze"), "-f", str(self.place)], check=True)
        self._is_frozen = True

    def thaw(self):
        if self._is_frozen:
            self._is_frozen = False
            subprocess.run([semailtest.tool("fsfreeze"), "-u", str(self.place)], check=True)

    def cut(self):
        """The power goes: what has not reached the disk never will."""
        subprocess.run([semailtest.tool("xfs_io"), "-x", "-c", "shutdown", str(self.place)], check=True)

    def umount(self):
        place, self.place = self.place, None
        if place is None:
            return
        # A process that was just killed may hold it for a moment longer.
        for _ in range(50):
            if subprocess.run(["umount", str(place)], capture_output=True).returncode == 0:
                return
            time.sleep(0.1)
        subprocess.run(["umount", "--lazy", str(place)], check=True)

    def free(self):
        space = os.statvfs(self.place)
        return space.f_bavail * space.f_frsize

    def fill(self, leave=0):
        """Fills it up to LEAVE octets; returns the file that does."""
        path = self.place / "filling"
        with open(path, "wb") as file:
            while self.free() > leave:
                count = min(1 << 20, max(4096, self.free() - leave))
                try:
                    os.posix_fallocate(file.fileno(), file.tell(), count)
                    file.seek(count, 1)
                except OSError as error:
                    if error.errno != errno.ENOSPC or count <= 4096:
                        break
                    try:
                        file.write(bytes(4096)), file.flush()
                    except OSError:
                        break
        return path

    def remove(self):
        self.thaw()
        self.umount()
        self.image.unlink(missing_ok=True)


_own_mounts = False
_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x20000, 0x4000, 1 << 18


def enter_own_mounts():
    """What is mounted from now on is mounted for this process and those it starts, and goes with them. In nobody else's
    copy of our mounts does a file system live on that we have unmounted."""
    global _own_mounts
    if _own_mounts:
        return
    if _libc.unshare(_CLONE_NEWNS) or _libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "no mounts of our own")
    _own_mounts = True


def only(found):
    found = list(found)
    assert len(found) == 1, f"one process expected, there are {found}"
    return found[0]


def children(pid):
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def status(pid):
    """The fields of /proc/PID/status."""
    text = Path(f"/proc/{pid}/status").read_text()
    return {line.partition(":")[0]: line.partition(":")[2].strip() for line in text.splitlines()}


def runs(pid):
    """The name of the program that a process runs."""
    try:
        return Path(os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")).name
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_at_work(pid):
    """A template's child that has been given its work: it has locked more behind itself than those that wait for some."""
    try:
        found = status(pid)
        return int(found["Seccomp_filters"]) > int(status(found["PPid"])["Seccomp_filters"])
    except (FileNotFoundError, ProcessLookupError, KeyError):
        return False


def is_ready(template):
    """It has become who it should be, and has processes waiting for work."""
    return len(children(template)) > 0


def descriptors(pid):
    """What the process holds open: {number: what}."""
    found = {}
    try:
        for path in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found[int(path.name)] = os.readlink(path)
            except FileNotFoundError:
                pass
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def tcp_table():
    """{inode: (local port, remote port)} of every TCP socket here."""
    found = {}
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            found[words[9]] = tuple(int(word.rpartition(":")[2], 16) for word in words[1:3])
    return found


def server_inode(client):
    """The inode of the other end of a TCP connection."""
    connection = getattr(client, "sock", None) or client.socket
    own, other = connection.getsockname()[1], connection.getpeername()[1]
    return next((inode for inode, ports in tcp_table().items() if ports == (other, own) and inode != "0"), None)


def connections(pid, known=None):
    """The TCP sockets a process holds."""
    known = known or tcp_table()
    return [what for what in descriptors(pid).values() if what.startswith("socket:[") and what[8:-1] in known]


def is_alive(pid):
    try:
        return status(pid)["State"][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def rollup(pid, name="Pss"):
    """A figure of /proc/PID/smaps_rollup in KB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0


def peak_memory(pid):
    """The most memory it ever had, in KB, without the code that a template shares with its forks (in huge pages); 0 when it ends just now."""
    try:
        return int(status(pid)["VmHWM"].split()[0]) - rollup(pid, "AnonHugePages")
    except (FileNotFoundError, ProcessLookupError, KeyError):
        return 0


# -- taking a process over --------------------------------------------------

_injector = None


def injector():
    """The built Tests/Sandbox/inject.c."""
    global _injector
    if _injector is None:
        directory = tempfile.mkdtemp(prefix="semail-inject-")
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        source = semailtest.REPOSITORY / "Tests/Sandbox/inject.c"
        compiler = shutil.which("cc") or semailtest.tool("clang")
        subprocess.run([compiler, "-O1", "-o", f"{directory}/inject", str(source)], check=True)
        _injector = f"{directory}/inject"
    return _injector


_numbers = {}


def call_number(name):
    """The number of a system call on this machine; None if it has no such call."""
    if name not in _numbers:
        compiler = shutil.which("cc") or semailtest.tool("clang")
        text = subprocess.run([compiler, "-E", "-P", "-"], check=True, capture_output=True, text=True,
                              input=f"#include <sys/syscall.h>\nnumber SYS_{name} __NR_{name}\n").stdout
        found = re.search(r"^number\s+(.*)$", text, re.MULTILINE)[1].split()
        number = next((word for word in found if word.isdigit()), None)
        _numbers[name] = int(number) if number else None
    return _numbers[name]


class Ended(Exception):
    """The process did not outlive the call."""


class Taken:
    """A process that makes the calls it is told to, until the `with` block ends.

        with Taken(pid) as process:
            process.call("openat", -100, b"/etc/passwd", 0, 0)      # -13: EACCES
    """

    def __init__(self, pid=None, next_child_of=None, until=None):
        """PID: that process, now. NEXT_CHILD_OF: a process' next child, when it makes the call UNTIL."""
        self.pid = pid
        self._arguments = [str(pid)] if pid else ["--child", str(next_child_of), str(call_number(until))]
        self._waits = pid is None
        self._process = None

    def __enter__(self):
        self._process = subprocess.Popen([injector(), *self._arguments], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True, bufsize=1)
        if self._waits:
            assert self._answer() == ["waiting"]
        else:
            self._take()
        return self

    def _take(self):
        words = self._answer()
        assert words[0] == "ready", words
        self.pid = int(words[1])

    def wait(self):
        """With NEXT_CHILD_OF: until that child is where it should be."""
        self._take()
        return self.pid

    def _answer(self):
        line = self._process.stdout.readline()
        assert line, "the injector has died"
        words = line.split()
        assert words[0] != "failed", line
        if words[0] in ("exec", "killed", "ended"):
            raise Ended(line.strip())
        return words

    def call(self, name, *arguments):
        """The result; negative: an errno."""
        return self.call_with_buffers(name, *arguments)[0]

    def call_with_buffers(self, name, *arguments):
        number = name if isinstance(name, int) else call_number(name)
        assert number is not None, f"this machine has no {name}"
        words = []
        for argument in arguments:
            if isinstance(argument, str):
                argument = argument.encode() + b"\0"
            if isinstance(argument, os.PathLike):
                argument = os.fsencode(argument) + b"\0"
            if isinstance(argument, bytes):
                words.append("=" + argument.hex())
            elif isinstance(argument, bytearray):
                words.append(f"+{len(argument)}")
            else:
                words.append(str(argument))
        self._process.stdin.write(" ".join([str(number), *words]) + "\n")
        self._process.stdin.flush()
        words = self._answer()
        if "child" in words:
            words = words[:words.index("child")]
        return int(words[0]), [bytes.fromhex(word) for word in words[1:]]

    def __exit__(self, *_):
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def errno_name(result):
    """`EPERM` for -1; the result itself as text if it is no error."""
    return errno.errorcode.get(-result, str(result)) if result < 0 else "allowed"


# -- clients ----------------------------------------------------------------

class Dialogue:
    """A connection on which a test says each octet itself."""

    def __init__(self, port, timeout=20.0, host="127.0.0.1", source=None):
        if isinstance(port, (str, os.PathLike)):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(os.fspath(port))
        else:
            self.socket = socket.create_connection((host, port), timeout=timeout,
                                                   source_address=(source, 0) if source else None)
        self._rest = b""

    def reply(self):
        """(code, text) of the next reply; (0, "") when the connection has ended."""
        lines = []
        while True:
            while b"\n" not in self._rest:
                try:
                    got = self.socket.recv(65536)
                except ConnectionResetError:
                    got = b""
                if not got:
                    return 0, ""
                self._rest += got
            line, _, self._rest = self._rest.partition(b"\n")
            lines.append(line.decode("utf-8", "replace").rstrip("\r"))
            if lines[-1][3:4] != "-":
                return int(lines[-1][:3]), "\n".join(lines)

    def say(self, line):
        """Sends a line and returns the reply's code."""
        try:
            self.socket.sendall(line.encode() + b"\r\n" if isinstance(line, str) else line)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return self.reply()[0]

    def begin(self, recipient="ssow@semail.test", sender="someone@elsewhere.example"):
        """Up to the 354."""
        assert self.reply()[0] == 220
        assert self.say("EHLO client.example") == 250
        self.transaction(recipient, sender)
        return self

    def transaction(self, recipient="ssow@semail.test", sender="someone@elsewhere.example"):
        assert self.say(f"MAIL FROM:<{sender}>") == 250
        assert self.say(f"RCPT TO:<{recipient}>") == 250
        assert self.say("DATA") == 354

    def message(self, content):
        """Content and its end; the reply's code."""
        return self.say(content + b".\r\n")

    def reset(self):
        """Vanishes: no goodbye, not even a FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def fill_to(size, seed=b"x"):
    """SIZE octets of lines that no compression makes small."""
    line = hashlib.sha256(seed).hexdigest().encode() + b"\r\n"
    return (line * (size // len(line) + 1))[:size - 2] + b"\r\n"


# -- load, and what became of it --------------------------------------------

class Sent:
    """One message as its client knows it."""

    __slots__ = ("owners", "body", "state", "time")

    def __init__(self, owners, body):
        self.owners = owners
        self.body = body            # Its checksum, as a Maildir holds it.
        self.state = "unknown"      # Offered, and perhaps taken; else "acknowledged" or "refused".
        self.time = None            # When the 250 was read.


class Load:
    """Clients that send until they are told to stop, and keep account of every answer.

        with Load(lab, ["ssow", "xredon"]) as load:
            ...                     # The services may be killed meanwhile.
        Account(load, lab).assert_nothing_lost()

    A client is never the one to send again: each try is a message of its own.
    """

    KINDS = ("one", "many", "pipelined", "chunks", "one", "pipelined")

    def __init__(self, lab, owners, kinds=KINDS, pause=0.004, large=0.02):
        """PAUSE: seconds between messages of a client. LARGE: the share of messages with a third of a megabyte."""
        self.lab, self.owners, self.pause, self.large = lab, list(owners), pause, large
        self.sent = {}
        self.acknowledged = 0
        self.errors = []
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number, kind)) for number, kind in enumerate(kinds)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._ending.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a client hangs"
        assert not self.errors, self.errors

    def wait_acknowledged(self, count, seconds=20.0):
        """Until so many more messages have been taken."""
        goal = self.acknowledged + count
        assert await_true(lambda: self.acknowledged >= goal or self.errors, seconds), self.lab.report()
        assert not self.errors, self.errors

    def _run(self, number, kind):
        chance = random.Random(number)
        client = _LoadClient(self, number, chance)
        while not self._ending.is_set():
            try:
                with Dialogue(self.lab.port, timeout=15) as dialogue:
                    if dialogue.reply()[0] == 220 and dialogue.say("EHLO client.example") == 250:
                        getattr(client, kind)(dialogue)
                        continue
            except OSError:
                pass
            except BaseException as error:
                self.errors.append(error)
                raise
            # Whoever served us is gone: its successor is on the way.
            self._ending.wait(0.05)


class _LoadClient:
    def __init__(self, load, number, chance):
        self._load, self._number, self._chance = load, number, chance
        self._count = 0

    def _next(self):
        """(name, envelope, content) of the next message."""
        self._count += 1
        name = f"{self._number}-{self._count}"
        owners = self._chance.sample(self._load.owners, 2 if self._chance.random() < 0.1 else 1)
        size = 300_000 if self._chance.random() < self._load.large else self._chance.choice((100, 900, 4000, 4000, 9000))
        body = fill_to(size, name.encode())
        self._load.sent[name] = Sent(owners, hashlib.sha256(body.replace(b"\r\n", b"\n")).hexdigest())
        content = f"Subject: load\r\nX-Name: {name}\r\nX-Sum: {self._load.sent[name].body}\r\n\r\n".encode() + body
        return name, b"MAIL FROM:<load@elsewhere.example>\r\n" + b"".join(
            f"RCPT TO:<{owner}@{self._load.lab.domain}>\r\n".encode() for owner in owners), content

    def _note(self, name, code):
        sent = self._load.sent[name]
        if code == 250:
            sent.state, sent.time = "acknowledged", time.monotonic()
            self._load.acknowledged += 1
            self._load._ending.wait(self._load.pause)
        # After 451 it may be in the queue all the same: its name is there, and only the flush of names has failed.

    def _refuse(self, name):
        self._load.sent[name].state = "refused"

    def one(self, dialogue):
        """A connection for each message."""
        self._send(dialogue)
        dialogue.say("QUIT")

    def many(self, dialogue):
        """Message after message, one command at a time."""
        for _ in range(100):
            if self._load._ending.is_set() or not self._send(dialogue):
                return

    def _send(self, dialogue):
        name, envelope, content = self._next()
        for line in [*envelope.splitlines(keepends=True), b"DATA\r\n"]:
            if dialogue.say(line) not in (250, 354):
                self._refuse(name)
                return False
        code = dialogue.message(content)
        self._note(name, code)
        return code == 250

    def pipelined(self, dialogue):
        """The end of a message and all commands of the next in one piece (RFC 2920)."""
        before, rest = None, b""
        for _ in range(100):
            ending = self._load._ending.is_set()
            name, envelope, content = (None, b"", b"") if ending else self._next()
            dialogue.socket.sendall(rest + envelope + (b"" if ending else b"DATA\r\n"))
            if before:
                code = dialogue.reply()[0]
                self._note(before, code)
                if code != 250:
                    if name:
                        self._refuse(name)
                    return
            if ending:
                return
            codes = [dialogue.reply()[0] for _ in range(envelope.count(b"\n") + 1)]
            if codes[-1] != 354:
                self._refuse(name)
                return
            before, rest = name, content + b".\r\n"
        dialogue.socket.sendall(rest)
        self._note(before, dialogue.reply()[0])

    def chunks(self, dialogue):
        """Whole transactions one behind the other, with BDAT (RFC 3030), and all answers afterwards."""
        while not self._load._ending.is_set():
            batch = [self._next() for _ in range(3)]
            dialogue.socket.sendall(b"".join(envelope + b"BDAT %d LAST\r\n" % len(content) + content for _, envelope, content in batch))
            for name, envelope, _ in batch:
                codes = [dialogue.reply()[0] for _ in range(envelope.count(b"\n") + 1)]
                self._note(name, codes[-1])
                if codes[-1] != 250:
                    return


class Account:
    """What is in the Maildirs of a lab, compared with what a load was told."""

    def __init__(self, load, lab, before=None):
        """BEFORE: messages acknowledged later than this need not be there."""
        self.copies = {}            # (name, owner) -> number
        self.torn = []
        self.acknowledged = self.unacknowledged = 0
        for owner in load.owners:
            for path in sorted([*(lab.maildir(owner) / "new").iterdir(), *(lab.maildir(owner) / "cur").iterdir()]):
                fault, name = examine(path.read_bytes(), owner, lab.domain, load)
                if fault:
                    self.torn.append(f"{path}: {fault}")
                else:
                    self.copies[name, owner] = self.copies.get((name, owner), 0) + 1
        self.lost, self.uninvited = [], []
        for name, sent in list(load.sent.items()):
            known = sent.state == "acknowledged" and (before is None or sent.time < before)
            self.acknowledged += known
            arrived = [owner for owner in sent.owners if (name, owner) in self.copies]
            if known:
                self.lost += [(name, owner) for owner in sent.owners if owner not in arrived]
            elif arrived:
                self.unacknowledged += 1
                if sent.state == "refused":
                    self.uninvited.append(name)
                # Accepted is accepted for all its recipients.
                self.lost += [(name, owner) for owner in sent.owners if owner not in arrived]
        self.duplicates = {key: number for key, number in self.copies.items() if number > 1}

    def __str__(self):
        return (f"{self.acknowledged} messages acknowledged, {len(self.lost)} lost, {len(self.torn)} torn, "
                f"{sum(self.duplicates.values()) - len(self.duplicates)} duplicates; {self.unacknowledged} more arrived whose 250 was not seen")

    def assert_nothing_lost(self, duplicates=0):
        assert not self.lost, f"{self}: lost {self.lost[:10]}"
        assert not self.torn, f"{self}: torn {self.torn[:10]}"
        assert not self.uninvited, f"{self}: {self.uninvited[:10]} arrived, which were never offered"
        assert sum(self.duplicates.values()) - len(self.duplicates) <= duplicates, f"{self}: {list(self.duplicates.items())[:10]}"


def examine(stored, owner, domain, load):
    """(what is wrong or None, name) of a message of a load as it is stored; without an owner, as it was received."""
    header, separator, body = stored.partition(b"\n\n")
    fields = dict(line.split(b": ", 1) for line in header.split(b"\n") if b": " in line and line[:1] not in b" \t")
    name = fields.get(b"X-Name", b"").decode()
    if not separator or name not in load.sent:
        return f"{len(stored)} octets, not one of ours", name
    sent = load.sent[name]
    if hashlib.sha256(body).hexdigest() != sent.body or fields.get(b"X-Sum", b"").decode() != sent.body:
        return f"{name}: {len(body)} octets of body, not those that were sent", name
    if not header.startswith(b"Return-Path: <load@elsewhere.example>\nDelivered-To: %s@%s\nReceived: " % (owner.encode(), domain.encode()) if owner else b"Received: "):
        return f"{name}: begins with {header[:100]}", name
    if owner and owner not in sent.owners:
        return f"{name}: in the Maildir of {owner}, was sent to {sent.owners}", name
    return None, name


def examine_queued(path, load):
    """What is wrong with a message of a load in the queue; None: it is whole."""
    envelope, separator, message = path.read_bytes().partition(b"\n\n")
    lines = envelope.split(b"\n")
    if not separator or lines[0] != b"semail 1":
        return f"{path.name}: {path.stat().st_size} octets, not a message"
    fault, name = examine(message, None, None, load)
    if fault:
        return f"{path.name}: {fault}"
    owners = sorted(line.split(b" ")[2].partition(b"@")[0].decode() for line in lines if line.startswith(b"to "))
    return None if owners == sorted(load.sent[name].owners) else f"{path.name}: for {owners}"


class Supervisor:
    """Starts a lab's services again whenever they have ended, a moment later, as runit does."""

    def __init__(self, lab, pause=(0.2, 1.0), session=("inbound",)):
        self._lab, self._pause = lab, pause
        self._ending = threading.Event()
        self._chance = random.Random(7)
        # Not counting the first start.
        self.restarts = {"tcp-accept": -1, "qrunner": -1}
        # When it was seen that one has ended.
        self.ends = []
        # Not one that the kernel gives to clients: a client of a closed port could be connected to itself.
        self.port = free_port()
        self._threads = [threading.Thread(target=self._watch, args=arguments) for arguments in (
            ("qrunner", lab.start_qrunner), ("tcp-accept", lambda: lab.start_accept(port=self.port, session=session)))]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        assert await_true(lambda: all(self._is_up(name) for name in self.restarts)), self._lab.report()
        return self

    def _is_up(self, name):
        process = self._lab.processes.get(name)
        return process is not None and process.poll() is None and (name != "tcp-accept" or self._lab.port == self.port)

    def _watch(self, name, start):
        while not self._ending.is_set():
            process = self._lab.processes.get(name)
            if process is None or process.poll() is not None:
                if process is not None:
                    self.ends.append(time.time())
                try:
                    start()
                    self.restarts[name] += 1
                except AssertionError:
                    pass  # Killed while it started.
                self._ending.wait(self._chance.uniform(*self._pause))
            self._ending.wait(0.01)

    def __exit__(self, *_):
        self._ending.set()
        for thread in self._threads:
            thread.join()
        self._lab.stop()


def free_port():
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(10000, first), 100):
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    raise AssertionError("no free port")


class Injection:
    """Makes a system call of a process and of its children, also those to come, fail: the NUMBERth of each.

        with Injection(pid, "fsync", "EIO", 1):
            ...
    """

    def __init__(self, pid, call, error, number):
        self._arguments = ["--fail", str(pid), str(call_number(call)), str(getattr(errno, error)), str(number)]

    def __enter__(self):
        self._process = subprocess.Popen([injector(), *self._arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout.readline().startswith("ready")
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(10)
        self._process.stdout.close()


class Killing:
    """Kills, once, who makes its NUMBERth CALL: the process, or a child it has or makes; WHEN it enters the call or leaves it.

        with Killing(pid, "fsync", 2, "exit", children_only=True) as killing:
            ...
            assert killing.has_killed()
    """

    def __init__(self, pid, call, number, when, children_only=False):
        self._arguments = ["--kill", str(pid), str(call_number(call)), when, str(number), *(["children"] if children_only else [])]

    def __enter__(self):
        self._process = subprocess.Popen([injector(), *self._arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self._process.stdout.readline().startswith(b"ready")
        os.set_blocking(self._process.stdout.fileno(), False)
        self._output = b""
        return self

    def has_killed(self):
        self._output += self._process.stdout.read() or b""
        return b"killed" in self._output

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(10)
        self._process.stdout.close()
