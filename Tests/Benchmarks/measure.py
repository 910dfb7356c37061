"""Instruments: CPU time and memory of a server, arrivals in Maildirs, flushes, load."""

import ctypes
import os
import re
import select
import signal
import socket
import struct
import subprocess
import time
from collections import Counter
from pathlib import Path

import peers

# -- the processes of a server --------------------------------------------------

CGROUPS = Path("/sys/fs/cgroup")


def make_group(name):
    """Control groups called NAME, as {"cpu": path} of strings; {} when there are none to be had.

    A group counts the CPU time of processes that ended without anyone waiting
    for them to be looked at, to the nanosecond."""
    for kind, parent, proof in (("v1", CGROUPS / "cpuacct", "cpuacct.usage"),
                                ("v2", CGROUPS, "cpu.stat"),
                                ("v2", CGROUPS / "unified", "cpu.stat")):
        group = parent / name
        try:
            if not (parent / "cgroup.procs").exists():
                continue
            group.mkdir()
            if (group / proof).exists():
                return {"kind": kind, "path": str(group)}
            group.rmdir()
        except OSError:
            continue
    return {}


def remove_group(group):
    # The last processes may still be on their way out.
    for _ in range(100):
        try:
            os.rmdir(group["path"])
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)


class Processes:
    """Whatever a server consists of at the moment."""

    def __init__(self, group):
        self.group = group
        # Process ids of what was started, each the leader of a session; looked at
        # only where there are no control groups.
        self.roots = []

    def join(self):
        """Called in the child before it becomes the server."""
        if self.group:
            with open(self.group["path"] + "/cgroup.procs", "w") as file:
                file.write("0")

    def numbers(self):
        if self.group:
            try:
                return [int(word) for word in
                        Path(self.group["path"], "cgroup.procs").read_text().split()
                        if int(word) != 0]
            except OSError:
                return []
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[3]) in self.roots and fields[0] != "Z":
                    found.append(int(entry))
        return found

    def await_end(self, seconds=10.0):
        """Waits until the server is gone wholly: its port must be free for the next one."""
        end = time.monotonic() + seconds
        while self.numbers():
            if time.monotonic() > end:
                for number in self.numbers():
                    try:
                        os.kill(number, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                end += seconds
            time.sleep(0.02)
        self.roots = []

    def cpu_seconds(self):
        """User and system time so far, of processes that have ended too."""
        if self.group.get("kind") == "v1":
            return int(Path(self.group["path"], "cpuacct.usage").read_text()) / 1e9
        if self.group.get("kind") == "v2":
            text = Path(self.group["path"], "cpu.stat").read_text()
            return int(re.search(r"usage_usec (\d+)", text)[1]) / 1e6
        total = 0
        for number in self.numbers():
            try:
                fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            # utime, stime, and those of the children that were waited for
            total += sum(int(field) for field in fields[11:15])
        return total / os.sysconf("SC_CLK_TCK")

    def await_rest(self, seconds=5.0):
        """Waits until the server has nothing left to do."""
        end = time.monotonic() + seconds
        last = self.cpu_seconds()
        quiet = 0
        while quiet < 2 and time.monotonic() < end:
            time.sleep(0.1)
            now = self.cpu_seconds()
            quiet = quiet + 1 if now - last < 0.001 else 0
            last = now

    def pss_kilobytes(self):
        """Proportional set size of all: a page that N processes share counts 1/N for each."""
        total = 0
        for number in self.numbers():
            try:
                text = Path(f"/proc/{number}/smaps_rollup").read_text()
                total += int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1])
            except (OSError, TypeError):
                continue        # it ended between the two looks
        return total


# -- arrivals -----------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)
_IN_MOVED_TO, _IN_CREATE = 0x80, 0x100


class Arrivals:
    """Counts names appearing in the `new` directories of Maildirs, by inotify."""

    def __init__(self, maildirs):
        self.descriptor = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        for maildir in maildirs:
            if _libc.inotify_add_watch(self.descriptor, os.fsencode(maildir / "new"),
                                       _IN_MOVED_TO | _IN_CREATE) < 0:
                raise OSError(ctypes.get_errno(), f"cannot watch {maildir}/new")
        self.count = 0

    def close(self):
        os.close(self.descriptor)

    def take(self):
        """Reads what has happened; the number of names so far."""
        while True:
            try:
                data = os.read(self.descriptor, 65536)
            except BlockingIOError:
                return self.count
            position = 0
            while position < len(data):
                _, mask, _, length = struct.unpack_from("iIII", data, position)
                position += 16 + length
                if mask & 0x4000:       # IN_Q_OVERFLOW
                    raise RuntimeError("more arrivals than the kernel keeps for us")
                self.count += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# -- load -----------------------------------------------------------------------

def load(port, maildirs, domain, messages, size, sessions, reuse, stall=30.0):
    """Sends MESSAGES of SIZE octets, evenly to all mailboxes, and waits for their arrival.

    One smtp-source per mailbox, SESSIONS connections among them. Returns the
    seconds until the last 250 and until the last name in a Maildir.
    """
    names = list(maildirs)
    each, left = divmod(messages, len(names))
    connections = max(1, sessions // len(names))
    sources = []
    try:
        with Arrivals(maildirs.values()) as arrivals:
            for index, name in enumerate(names):
                count = each + (1 if index < left else 0)
                if not count:
                    continue
                # Started beforehand and held at a gate: what is measured is the server.
                sources.append(subprocess.Popen(
                    ["sh", "-c", 'read gate; exec "$@"', "gate", *peers.smtp_source(),
                     "-M", "load.semail.test", "-s", str(min(connections, count)), "-m", str(count),
                     "-l", str(size), "-f", "sender@load.semail.test", "-t", f"{name}@{domain}",
                     *(["-d"] if reuse else []), f"127.0.0.1:{port}"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
            time.sleep(0.2)
            begin = time.monotonic()
            for source in sources:
                source.stdin.write(b"\n")
                source.stdin.close()
            accepted = delivered = None
            heard_of = begin
            running = list(sources)
            while True:
                now = time.monotonic()
                if accepted is None:
                    running = [source for source in running if source.poll() is None]
                    if not running:
                        accepted = now
                        for source in sources:
                            if source.returncode != 0:
                                text = source.stdout.read().decode(errors="replace")
                                raise RuntimeError(f"the load was refused: {text[-500:]}")
                before = arrivals.count
                if arrivals.take() >= messages and delivered is None:
                    delivered = now
                if accepted and delivered:
                    return accepted - begin, delivered - begin
                if arrivals.count != before:
                    heard_of = now
                elif now - heard_of > stall:
                    raise RuntimeError(f"nothing has arrived for {stall:g} s; "
                                       f"{arrivals.count} of {messages} so far")
                # Seldom enough to leave the processors to the servers.
                time.sleep(0.004)
    finally:
        for source in sources:
            if source.poll() is None:
                source.kill()
            source.wait()
            source.stdout.close()
            if not source.stdin.closed:
                source.stdin.close()


def reply(stream):
    """One SMTP reply; its last line."""
    while True:
        line = stream.readline()
        if not line:
            raise RuntimeError("the server hung up")
        if line[3:4] != b"-":
            return line


def exchange(stream, line, code):
    stream.write(line + b"\r\n")
    stream.flush()
    answer = reply(stream)
    if not answer.startswith(code):
        raise RuntimeError(f"{line!r} was answered {answer!r}")
    return answer


def lone_message(port, maildir, address, identity, body):
    """One message to an idle server: seconds from connect to the 250, and to the Maildir."""
    with Arrivals([maildir]) as arrivals:
        begin = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = connection.makefile("rwb")
            if not reply(stream).startswith(b"220"):
                raise RuntimeError("no greeting")
            exchange(stream, b"EHLO load.semail.test", b"250")
            exchange(stream, b"MAIL FROM:<sender@load.semail.test>", b"250")
            exchange(stream, b"RCPT TO:<" + address.encode() + b">", b"250")
            exchange(stream, b"DATA", b"354")
            stream.write(b"From: <sender@load.semail.test>\r\nTo: <" + address.encode() +
                         b">\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-Id: <" +
                         identity.encode() + b">\r\n\r\n" + body.replace(b"\n", b"\r\n") + b".\r\n")
            stream.flush()
            accepted = delivered = None
            descriptors = [connection.fileno(), arrivals.descriptor]
            while accepted is None or delivered is None:
                ready, _, _ = select.select(descriptors, [], [], 20)
                if not ready:
                    raise RuntimeError("a lone message did not arrive in 20 s")
                now = time.perf_counter()
                if connection.fileno() in ready:
                    answer = reply(stream)
                    if not answer.startswith(b"250"):
                        raise RuntimeError(f"a lone message was answered {answer!r}")
                    accepted = now - begin
                    descriptors.remove(connection.fileno())
                if arrivals.descriptor in ready and arrivals.take():
                    delivered = now - begin
                    descriptors.remove(arrivals.descriptor)
            accepted_clock = time.time()
            exchange(stream, b"QUIT", b"221")
    return accepted, delivered, accepted_clock


def idle_sessions(port, count):
    """COUNT connections that have said EHLO and now say nothing."""
    opened = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        opened.append(connection)
        stream = connection.makefile("rwb")
        if not reply(stream).startswith(b"220"):
            raise RuntimeError(f"no greeting for session {len(opened)} of {count}")
        exchange(stream, b"EHLO load.semail.test", b"250")
        stream.close()
    return opened


# -- flushes --------------------------------------------------------------------

FLUSHES = ("fsync", "fdatasync", "syncfs", "sync", "sync_file_range", "msync")


def flushes_of(processes, place, send, count):
    """Counts the flushes of COUNT lone messages sent by SEND(), which gives the time of the 250.

    Returns a Counter whose keys say in words what was flushed, and when."""
    output = place / "strace"
    numbers = processes.numbers()
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-y", "-ttt", "-s", "0", "-o", str(output),
         "-e", "trace=" + ",".join(FLUSHES) + ",openat,open", "-e", "signal=none",
         *[word for number in numbers for word in ("-p", str(number))]],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        time.sleep(1.0)
        if tracer.poll() is not None:
            raise RuntimeError(f"strace: {tracer.stderr.read().decode(errors='replace')[-300:]}")
        accepted = []
        for _ in range(count):
            accepted.append(send())
            time.sleep(0.3)
        time.sleep(0.5)
    finally:
        tracer.send_signal(signal.SIGINT)
        try:
            tracer.wait(10)
        except subprocess.TimeoutExpired:
            tracer.kill()
            tracer.wait()
        tracer.stderr.close()
    counted = Counter()
    for line in output.read_text(errors="replace").splitlines():
        call = re.match(r"\d+ +([\d.]+) (\w+)\((?:\d+<([^>]*)>)?(.*)", line)
        if not call:
            continue
        moment, name, path, rest = call.groups()
        if name in ("open", "openat"):
            # A file opened O_SYNC or O_DSYNC is flushed by its writes.
            if "O_SYNC" in rest or "O_DSYNC" in rest:
                counted["files opened O_SYNC"] += 1
            continue
        # Of a call that another one interrupts in the listing, only the first half has a path.
        if name not in FLUSHES or " = -1 " in rest:
            continue
        path = re.sub(r" ?\(deleted\)$", "", path or "")
        # As seen from inside a peer's root.
        path = re.sub(f"^{re.escape(str(peers.CACHE))}/[^/]+", "", path)
        what = name if name in ("sync", "syncfs") else "directory" if os.path.isdir(path) else "file"
        if re.search(r"/Maildir(/|$)", path):
            counted[f"Maildir {what}"] += 1
        else:
            # Messages are 0.3 seconds apart: a 250 that comes long after this flush is not
            # that of its own message but of the next.
            following = [clock for clock in accepted if clock >= float(moment)]
            early = following and following[0] - float(moment) < 0.2
            counted[f"queue {what} {'before' if early else 'after'} the 250"] += 1
    output.unlink()
    return counted
