"""The servers of the benchmark behind one face: place, start, stop, where the mail goes.

All of a server's data, queue and mailboxes alike, lies under its directory on
the measuring disk.
"""

import peers
import semailtest
import servers

DOMAIN = "bench.test"
MAILBOXES = [f"u{number}" for number in range(10)]


class Unpacked:
    """A server (self.server, of servers.py) out of its unpacked package, whose processes are counted."""

    def start(self):
        self.server.start(before_exec=self.processes.join)
        self.processes.roots = [self.server.process.pid]

    def stop(self):
        self.server.stop()
        self.processes.await_end()

    def report(self):
        return self.server.output()[-3000:]


class Peer(Unpacked):
    """Postfix or OpenSMTPD, out of its unpacked package."""

    def __init__(self, kind, disk, processes):
        self.name, self.label = kind.name, kind.label
        self.processes = processes
        place = disk / kind.name
        # The process namespace of the whole benchmark is theirs too.
        self.server = kind(place, port=2500, own_pid_namespace=False)
        mail = self.server.directory("mail", "vmail")
        self.maildirs = {}
        for name in MAILBOXES:
            for directory in ("", "/Maildir", "/Maildir/tmp", "/Maildir/new", "/Maildir/cur"):
                self.server.directory(f"mail/{name}{directory}", "vmail", 0o700)
            self.maildirs[name] = mail / name / "Maildir"
        self.server.delivers(DOMAIN, MAILBOXES, mail)
        self.port = self.server.port


class SEMail:
    """SEMail as its services start it: by root, each under a user of its own."""

    name, label = "semail", "SEMail"

    def __init__(self, disk, processes):
        self.processes = processes
        self.home = semailtest.Home(hostname="semail.bench.test", domain=DOMAIN, owners=MAILBOXES,
                                    directory=disk / "semail", user="services")
        # A limit that is there against strangers, not for durability.
        self.home.control("messages-per-session", "1000000")
        self.maildirs = {name: self.home.maildir(name) for name in MAILBOXES}

    def start(self):
        self.home.start(before_exec=self.processes.join)
        self.port = self.home.port
        self.processes.roots = [process.pid for process in self.home.processes.values()]

    def stop(self):
        self.home.stop()
        self.processes.await_end()

    def report(self):
        return self.home.report()[-3000:]


def make(name, disk, processes):
    if name == "semail":
        return SEMail(disk, processes)
    return Peer({"postfix": servers.Postfix, "opensmtpd": servers.OpenSMTPD}[name], disk, processes)
