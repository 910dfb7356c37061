"""Mail for many destinations, a third of them down: it must not hold up the rest, nor fill the memory, and it must go when they return.

By default 600 messages for 30 domains; SEMAIL_LONG=1: 20,000 for 200. Of the domains that are down one half refuses
connections, of the other half nothing is ever heard.
"""

import collections
import os
import random
import re
import socket
import subprocess
import threading
import time

import pytest

from faultlab import LONG, children, is_alive, status
from networklab import SUBMISSION_PORT, Network, Sink, Site
from semailtest import await_true

DOMAINS, MESSAGES = (200, 20_000) if LONG else (30, 600)
SSOW = "ssow@semail.test"
BODY = b"".join(b"line %02d of a message like most: %s\r\n" % (number, b"x" * 60) for number in range(40))


class Far:
    """The domains, and which of them can be reached. Each is a host of its own to a client: it has an address of its own."""

    def __init__(self, network, site, sink_host, closed_host):
        self.site, self.sink_host, self.closed_host = site, sink_host, closed_host
        self.domains = [f"d{number:03}.many.test" for number in range(DOMAINS)]
        self.address = {}
        for number, domain in enumerate(self.domains):
            kind = ("up", "up", "refusing" if number % 2 else "silent")[number % 3]
            self.address[domain] = f"172.31.{('up', 'refusing', 'silent').index(kind)}.{number + 1}"
            network.names.address(f"mx.{domain}", self.address[domain])
            network.names.mx(domain, f"mx.{domain}")
        network.names.publish()
        # Whole networks on one host each.
        for host in (sink_host, closed_host):
            host.run("ip", "route", "add", "local", "172.31.0.0/16", "dev", "lo")
        self.site.host.swallow("198.51.100.250")

    def healthy(self):
        return [domain for domain in self.domains if self.address[domain].startswith("172.31.0.")]

    def route(self, refusing, silent):
        """Where the three kinds are reached."""
        for number, gateway in enumerate((self.sink_host.v4, refusing, silent)):
            self.site.host.run("ip", "route", "replace", f"172.31.{number}.0/24", "via", gateway)

    def third_down(self):
        self.route(self.closed_host.v4, "198.51.100.250")

    def all_up(self):
        self.route(self.sink_host.v4, self.sink_host.v4)


@pytest.fixture(scope="module")
def far():
    with Network() as network, Site(network) as site:
        for name in ("messages-per-hour", "recipients-per-hour"):
            site.control(name, "0")
        if not LONG:
            # In proportion: as many that are silent as may be tried at once.
            site.control("connections", "10")
        far = Far(network, site, network.host("sink", 50), network.host("closed", 51))
        far.sink = Sink(far.sink_host, network.directory / "sink")
        try:
            site.start_submission()
            yield far
        finally:
            far.sink.stop()


def submit(site, names):
    """Messages NAME -> recipient, many to a session and several sessions at once; all must be taken."""
    work = list(names.items())
    random.Random(5).shuffle(work)
    parts = [work[number::6] for number in range(6)]
    faults = []

    def send(part):
        try:
            with site.host.inside():
                for start in range(0, len(part), 500):
                    send_some(part[start:start + 500])
        except BaseException as fault:
            faults.append(fault)
            raise

    def send_some(part):
        with socket.create_connection(("127.0.0.1", SUBMISSION_PORT), timeout=60) as connection, connection.makefile("rb") as replies:
            assert replies.readline().startswith(b"220")
            connection.sendall(b"EHLO localhost\r\n")
            while not replies.readline().startswith(b"250 "):
                pass
            for start in range(0, len(part), 20):
                batch = part[start:start + 20]
                text = []
                for name, recipient in batch:
                    content = b"From: %s\r\nTo: %s\r\nSubject: many\r\nX-Name: %s\r\n\r\n" % (SSOW.encode(), recipient.encode(), name.encode()) + BODY
                    text.append(b"MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nBDAT %d LAST\r\n" % (SSOW.encode(), recipient.encode(), len(content)) + content)
                connection.sendall(b"".join(text))
                for _ in range(3 * len(batch)):
                    reply = replies.readline()
                    assert reply.startswith(b"250 "), reply

    threads = [threading.Thread(target=send, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults


class Watch:
    """Looks at qrunner while the `with` block runs: its memory, its processes."""

    def __init__(self, site):
        self._site = site
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.processes = 0
        self.descriptors = 0

    def _run(self):
        pid = self._site.pid("qrunner")
        while not self._ending.wait(0.1):
            if is_alive(pid):
                self.peak = int(status(pid)["VmHWM"].split()[0])
                self.processes = max(self.processes, sum(len(children(child)) for child in children(pid)))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        self._thread.join()

    def __str__(self):
        return f"qrunner at most {self.peak} KB, at most {self.processes} processes of its templates"


def time_out(far, wanted, seconds):
    """Starts qrunner; seconds until the sink has WANTED more messages."""
    before = far.sink.count()
    started = time.monotonic()
    far.site.start_qrunner()
    with Watch(far.site) as watch:
        assert await_true(lambda: far.sink.count() - before >= wanted, seconds, 0.02), \
            f"{far.sink.count() - before} of {wanted} after {seconds} s\n{far.site.report()}"
        taken = time.monotonic() - started
    return taken, watch


def test_a_third_is_down(far):
    site = far.site
    chance = random.Random(3)
    per_domain = MESSAGES // DOMAINS
    healthy = {f"alone-{domain}-{number}": f"anna@{domain}" for domain in far.healthy() for number in range(per_domain)}
    everything = {f"all-{domain}-{number}": f"anna@{domain}" for domain in far.domains for number in range(per_domain)}

    # Alone, as the measure.
    far.all_up()
    submit(site, healthy)
    alone, watch = time_out(far, len(healthy), 300)
    site.wait_queue_empty(60)
    print(f"\n{len(healthy)} messages to {len(far.healthy())} domains alone: {alone:.1f} s, {len(healthy) / alone:.0f}/s; {watch}")
    site.stop_process("qrunner", 60)

    # The same together with those that nobody takes.
    far.third_down()
    submit(site, everything)
    wanted = len(everything) * len(far.healthy()) // DOMAINS
    together, watch = time_out(far, wanted, 600)
    print(f"the same and {len(everything) - wanted} to {DOMAINS - len(far.healthy())} that are down: {together:.1f} s, {together / alone:.2f} times; {watch}")
    if os.environ.get("TIMELINE"):
        times=[w for w,_,_,name in far.sink.records() if name.startswith("all-")]
        c=collections.Counter(int(w-times[0]) for w in times); print([c[i] for i in range(int(max(times)-times[0])+1)])
    taken = collections.Counter(name for _, _, _, name in far.sink.records() if name.startswith("all-"))
    assert set(taken) == {name for name, recipient in everything.items() if recipient.partition("@")[2] in far.healthy()}
    # Those that are silent are waited for, two seconds, when nobody else can be tried: at this size that is more than all the rest.
    assert together <= 1.2 * alone + (0 if LONG else 2.7)
    assert watch.peak < 48 * 1024

    # Whoever is down is not asked again and again: a few times for all its messages.
    unreachable = collections.Counter(re.findall(r'remote-relay: info: unreachable host="(\S+) ', site.log("qrunner")))
    assert not unreachable or max(unreachable.values()) <= 3, unreachable.most_common(5)

    # They return, and the admin says so.
    far.all_up()
    started = time.monotonic()
    site.semail("queue", "flush")
    with Watch(site) as watch:
        assert await_true(lambda: not site.queue_files(), 600, 0.5), f"{len(site.queue_files())} are left\n{site.report()}"
    print(f"{len(everything) - wanted} messages after the return: {time.monotonic() - started:.1f} s; {watch}")
    records = [record for record in far.sink.records() if record[3].startswith("all-")]
    taken = collections.Counter(name for _, _, _, name in records)
    assert set(taken) == set(everything) and max(taken.values()) == 1
    assert all(address == far.address[everything[name].partition("@")[2]] for _, address, _, name in records)
    assert not site.reports("ssow", "many.test")
    assert watch.peak < 48 * 1024
    site.stop_process("qrunner", 60)
