"""Relaying: taken in by twenty client sessions, sent on to one destination, a sink.

The sink is Postfix's smtp-sink, the same for every server, outside of the processes whose CPU time is counted.
"""

import re
import subprocess
import time

import contestants
import measure
import peers
import semailtest
import servers

SESSIONS = 20
SENDER = f"{contestants.MAILBOXES[0]}@{contestants.DOMAIN}"


class Sink:
    """Takes everything and counts it."""

    def __init__(self, place):
        self.port = servers.free_port()
        self.counts = place / "sink.counts"

    def __enter__(self):
        with open(self.counts, "wb") as output:
            self.process = subprocess.Popen(
                [*peers.smtp_sink(), "-u", "nobody", "-c", f"127.0.0.1:{self.port}", "1000"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL)
        if not servers.await_banner(self.port):
            raise RuntimeError("smtp-sink does not greet")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.counts.unlink(missing_ok=True)

    def count(self):
        with open(self.counts, "rb") as file:
            file.seek(max(0, self.counts.stat().st_size - 200))
            found = re.findall(rb"mesg=(\d+)", file.read())
        return int(found[-1]) if found else 0


class SEMail(contestants.SEMail):
    """The outgoing server as installed; the load comes over the loopback."""

    share = 1

    def __init__(self, disk, processes, sink):
        self.processes = processes
        self.home = semailtest.Home(hostname="semail.bench.test", domain=contestants.DOMAIN,
                                    owners=contestants.MAILBOXES, directory=disk / "semail-relay", user="services")
        # Limits that are there against people, not for durability.
        for name in ("messages-per-session", "messages-per-hour", "recipients-per-hour"):
            self.home.control(name, "100000000")
        self.home.control("routes", f"* [127.0.0.1]:{sink.port}")

    def start(self):
        self.home.start(session=("submission",), before_exec=self.processes.join)
        self.port = self.home.port
        self.processes.roots = [process.pid for process in self.home.processes.values()]

    def stop(self):
        self.home.stop()
        self.processes.await_end()


class Peer(contestants.Unpacked):
    """Postfix or OpenSMTPD as a relay."""

    def __init__(self, kind, disk, processes, sink):
        self.label, self.processes = kind.label, processes
        # OpenSMTPD sends one message after the other over one connection, each held up twice by a delayed acknowledgement of TCP: a
        # tenth of the messages says as much.
        self.share = 10 if kind is servers.OpenSMTPD else 1
        self.server = kind(disk / f"{kind.name}-relay", own_pid_namespace=False)
        self.server.relays(sink.port)
        self.port = self.server.port


def make(name, disk, processes, sink):
    if name == "semail":
        return SEMail(disk, processes, sink)
    return Peer({"postfix": servers.Postfix, "opensmtpd": servers.OpenSMTPD}[name], disk, processes, sink)


def load(server, processes, sink, messages, size, stall=60.0):
    """Sends so many messages, and waits until the sink has them: (relayed/s, CPU ms per message)."""
    processes.await_rest()
    cpu, before = processes.cpu_seconds(), sink.count()
    begin = heard_of = time.monotonic()
    source = subprocess.Popen(
        [*peers.smtp_source(), "-M", "load.semail.test", "-s", str(SESSIONS), "-m", str(messages), "-l", str(size),
         "-f", SENDER, "-t", "somebody@elsewhere.test", f"127.0.0.1:{server.port}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        last = before
        while (count := sink.count()) < before + messages:
            now = time.monotonic()
            if count != last:
                last, heard_of = count, now
            elif now - heard_of > stall:
                raise RuntimeError(f"{server.label} has relayed {count - before} of {messages} and then nothing for {stall:g} s")
            if source.poll() not in (None, 0):
                raise RuntimeError(f"the load was refused: {source.stdout.read().decode(errors='replace')[-500:]}")
            time.sleep(0.004)
        seconds = time.monotonic() - begin
    finally:
        if source.poll() is None:
            source.kill()
        source.wait()
        source.stdout.close()
    processes.await_rest()
    if sink.count() != before + messages:
        raise RuntimeError(f"{server.label} has relayed {sink.count() - before} of {messages}: some of them twice")
    return messages / seconds, 1000 * (processes.cpu_seconds() - cpu) / messages


def one_turn(server, processes, sink, amounts, size):
    """One server, one round."""
    server.start()
    try:
        load(server, processes, sink, amounts.warm_up // server.share, size)
        relayed, cpu = load(server, processes, sink, amounts.small // server.share, size)
    except Exception:
        print(f"--- what {server.label} said last\n{server.report()}", flush=True)
        raise
    finally:
        server.stop()
    return {"relayed": relayed, "cpu_relay": cpu}
