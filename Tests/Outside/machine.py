"""A machine of one's own, for tests that really install.

    with Machine() as machine:
        machine.run(["./install.sh", "--domain", "semail.example"])
        machine.changes()                 # every path that differs from the host's

It is the host's file system under an overlay in memory, with its own processes,
its own network (loopback only) and its own mounts: whatever is installed, started
or broken in it, the host keeps as it was, and all of it ends when the `with`
block does. The repository is there under its own path, and is the real one.

Root is needed, and nothing else.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = [REPOSITORY / ".build/release" / name for name in ("tcp-accept", "smtpd-session", "qrunner", "maildir-deliver", "remote-relay", "dkim-sign", "semail")]

# Major number 7: loop devices.
UNMOUNT_LOOPS = "awk '$3 ~ /^7:/ { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount -l"

# The same in every space of mounts there is, for what runs in others than its first process: a demo that was cut off has two.
_UNMOUNT_EVERYWHERE = r"""
seen=
for process in /proc/[0-9]*; do
    space=$(readlink "$process/ns/mnt") || continue
    case $seen in *"$space"*) continue ;; esac
    seen="$seen $space"
    nsenter -t "${process#/proc/}" -m -r sh -c "$0"
done
"""

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def end_with_tests():
    """For a process before its exec: it ends when the tests do."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


# $1 the directory for all this, $2 the repository
_SETUP = r"""
set -eu
mount -t tmpfs -o mode=0755 machine "$1"
cd "$1"
mkdir upper work root
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work machine root
mount -t proc proc root/proc
mount --rbind /sys root/sys
mount --rbind /dev root/dev
for directory in tmp var/tmp run; do mount -t tmpfs -o "mode=$(stat -c %a "/$directory")" machine "root/$directory"; done
mkdir -p "root/$2"
mount --bind "$2" "root/$2"
ip link set lo up
exec chroot root tini -s -- sh -c 'echo ready; exec sleep infinity' < /dev/null
"""

# Prints what is under the directories named, but for the first, as {path: [type, mode, uid, gid, content, mtime]}.
_LISTING = r"""
import hashlib, json, os, stat, sys
found = {}
def look(path):
    if path == sys.argv[1]: return
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    kind = stat.S_IFMT(status.st_mode)
    content = ""
    if kind == stat.S_IFLNK: content = os.readlink(path)
    if kind == stat.S_IFREG:
        with open(path, "rb") as file: content = hashlib.sha256(file.read()).hexdigest()
    if kind == stat.S_IFCHR: content = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    found[path] = [{stat.S_IFDIR: "d", stat.S_IFREG: "f", stat.S_IFLNK: "l", stat.S_IFIFO: "p",
                    stat.S_IFSOCK: "s"}.get(kind, "?"), oct(stat.S_IMODE(status.st_mode))[2:].zfill(4),
                   status.st_uid, status.st_gid, content, status.st_mtime_ns]
    if kind == stat.S_IFDIR:
        for name in sorted(os.listdir(path)): look(os.path.join(path, name))
for path in sys.argv[2:]: look(path)
json.dump(found, sys.stdout)
"""


class Machine:
    def __init__(self):
        self._directory = Path(tempfile.mkdtemp(prefix="semail-machine-"))
        self._unshare = subprocess.Popen(
            ["unshare", "-m", "-n", "-p", "-i", "-u", "--propagation", "private", "--fork", "--kill-child",
             "sh", "-c", _SETUP, "sh", str(self._directory), str(REPOSITORY)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=end_with_tests)
        line = self._unshare.stdout.readline()
        if line != b"ready\n":
            output = line + self._unshare.stdout.read()
            self.close()
            raise AssertionError(f"no machine: {output.decode()}")
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()
        self.init = int(children[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._unmount_loops()
        self._unshare.kill()
        self._unshare.wait()
        self._unshare.stdout.close()
        self._directory.rmdir()

    def _unmount_loops(self):
        """Before the first process is killed. The kernel ends every other with it, and with the last of them the mounts; but for a volume
        within what it is itself a file of: each would hold the other for ever."""
        subprocess.run(self.command(["sh", "-c", _UNMOUNT_EVERYWHERE, UNMOUNT_LOOPS]), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    # -- processes ----------------------------------------------------------

    @property
    def environment(self):
        """What a root shell of the host has: the tests' own settings are not for what is installed."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TERM") if name in os.environ}
        return {"LC_ALL": "C.UTF-8", **kept}

    def command(self, arguments):
        """ARGUMENTS as a command of the host that runs inside."""
        return ["nsenter", "-t", str(self.init), "-m", "-n", "-p", "-i", "-u", "-r", f"--wdns={REPOSITORY}",
                *map(str, arguments)]

    def run(self, arguments, input=None, timeout=300, environment=None, check=False):
        """Runs a command to its end; .stdout has its errors too, in their place."""
        done = subprocess.run(self.command(arguments), input=input, stdin=None if input is not None else subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              timeout=timeout, env=environment or self.environment)
        if check:
            assert done.returncode == 0, f"{arguments}: exit {done.returncode}:\n{done.stdout}"
        return done

    def start(self, arguments, **options):
        """Starts a command; it ends with the machine at the latest."""
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.DEVNULL)
        options.setdefault("stderr", subprocess.DEVNULL)
        return subprocess.Popen(self.command(arguments), env=self.environment, start_new_session=True, **options)

    @contextlib.contextmanager
    def holding(self, script):
        """While the `with` block runs, so does a Python script inside, from the moment it has said something."""
        script = f"import os, socket, time\nprint(os.getpid(), flush=True)\n{script}\nprint(flush=True)\ntime.sleep(3600)\n"
        process = self.start(["/usr/bin/python3", "-c", script], stdout=subprocess.PIPE)
        try:
            pid = int(process.stdout.readline())
            assert process.stdout.readline() == b"\n"
            yield
        finally:
            self.run(["kill", "-KILL", pid])
            process.communicate()

    def client(self, port=25):
        """A client that has been greeted and says nothing, as long as the `with` block runs."""
        return self.holding(f"s = socket.create_connection(('127.0.0.1', {port})); s.recv(100)")

    def listener(self, port):
        """Somebody else who has the port, as long as the `with` block runs."""
        return self.holding(f"s = socket.create_server(('127.0.0.1', {port}))")

    def python(self, script, *arguments):
        """What a Python script prints that runs inside."""
        return self.run(["/usr/bin/python3", "-c", script, *arguments], check=True).stdout

    def processes(self):
        """{pid inside: command line} of all but the first two processes (tini and what it waits for)."""
        script = ("import json, os\nfound = {}\n"
                  "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
                  "    try: found[pid] = open(f'/proc/{pid}/cmdline').read().replace('\\0', ' ').strip()\n"
                  "    except OSError: pass\n"
                  "found.pop(str(os.getpid()))\nprint(json.dumps(found))")
        return {int(pid): text for pid, text in json.loads(self.python(script)).items()
                if text and text != "sleep infinity" and not text.startswith("tini ")}

    def facts(self, pid):
        """/proc/PID/status as a dictionary; empty when it has ended."""
        done = self.run(["cat", f"/proc/{pid}/status"])
        lines = done.stdout.splitlines() if done.returncode == 0 else []
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    # -- files --------------------------------------------------------------

    def listing(self, *paths):
        """{path: [type, mode, uid, gid, content, mtime]} of all that is under PATHS."""
        return json.loads(self.python(_LISTING, REPOSITORY, *map(str, paths)))

    def read(self, path):
        return self.run(["cat", path], check=True).stdout

    def changes(self):
        """{path: what} of all that was added, changed or removed since the machine began; directories that
        merely had something done in them are not counted."""
        upper = self._directory / "upper"
        listed = subprocess.run(["nsenter", "-t", str(self.init), "-m", "/usr/bin/python3", "-c", _LISTING,
                                 f"{upper}{REPOSITORY}", upper],
                                stdout=subprocess.PIPE, check=True, env=self.environment).stdout
        result = {}
        for path, (kind, mode, uid, gid, content, _) in json.loads(listed).items():
            path = "/" + os.path.relpath(path, upper)
            if path == "/.":
                continue
            try:
                old = os.lstat(path)
            except FileNotFoundError:
                old = None
            if kind == "?" and content == "0:0":
                if old is not None:
                    result[path] = "removed"
            elif old is None:
                result[path] = "added"
            elif (oct(stat.S_IMODE(old.st_mode))[2:].zfill(4), old.st_uid, old.st_gid) != (mode, uid, gid):
                result[path] = "changed"
            elif kind == "f" and hashlib.sha256(Path(path).read_bytes()).hexdigest() != content:
                result[path] = "changed"
            elif kind == "l" and os.readlink(path) != content:
                result[path] = "changed"
        # What lies outside of the overlay, in memory of its own.
        for path in self.listing("/tmp", "/var/tmp", "/run"):
            if path not in ("/tmp", "/var/tmp", "/run") and not str(REPOSITORY).startswith(path + "/"):
                result[path] = "added"
        return result


def await_true(condition, seconds=20.0):
    """Calls CONDITION until it is true, and returns what it gave; None after SECONDS."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result or time.monotonic() > end:
            return result or None
        time.sleep(0.1)
