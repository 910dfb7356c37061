"""Mail for other hosts, with SIGKILL at any moment: of a relay in the middle of a transfer, of the signer, of those who fork them, of
qrunner, of all at once. A supervisor starts again what has ended.

Nothing is lost. Twice comes only what falls into the one window that SMTP leaves: the other host has taken a message, and nobody has
written that down yet. That is counted.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import faultlab
from faultlab import LONG, Dialogue, Killing, Lab, Supervisor, children, fill_to, is_alive, runs
from semailtest import await_true

KILLS = 1000 if LONG else 100
TARGETS = ("relay", "relay template", "signer", "signer template", "qrunner", "all")


class Sink:
    """The other hosts: five of them, at addresses of their own, which write down what they take."""

    def __init__(self, lab):
        self.port = faultlab.free_port()
        self.record = lab.directory / "taken"
        self.process = subprocess.Popen([sys.executable, str(Path(__file__).with_name("sink.py")), str(self.record), "0.0.0.0", str(self.port)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"
        self.names = [f"away{number}.example" for number in range(5)]
        lab.control("routes", "\n".join(f"{name} [127.0.0.{number + 1}]:{self.port} none" for number, name in enumerate(self.names)))

    def taken(self):
        """{name: {address: how often it was taken there}}"""
        found = defaultdict(Counter)
        for line in self.record.read_text().splitlines() if self.record.exists() else []:
            _, address, _, name = line.split()
            found[name][address] += 1
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Senders:
    """Clients that send until they are told to stop; what was acknowledged, and its name in the queue."""

    def __init__(self, lab, names, count=3):
        self.lab, self.names = lab, names
        self.acknowledged = {}
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, number):
        chance, count = random.Random(number), 0
        while not self._ending.is_set():
            try:
                with Dialogue(self.lab.port, timeout=15) as client:
                    assert client.reply()[0] == 220 and client.say("EHLO client.example") == 250
                    while not self._ending.is_set():
                        count += 1
                        self._send(client, f"{number}-{count}", chance)
                        self._ending.wait(0.004)
            except (OSError, AssertionError):
                self._ending.wait(0.05)

    def _send(self, client, name, chance):
        client.transaction(f"anna@{chance.choice(self.names)}", "ssow@semail.test")
        body = fill_to(300_000 if chance.random() < 0.05 else 3000)
        client.socket.sendall(f"From: ssow@semail.test\r\nX-Name: {name}\r\n\r\n".encode() + body + b".\r\n")
        code, text = client.reply()
        if code == 250:
            self.acknowledged[name] = text.split()[-1]


def outgoing(lab):
    for name in ("messages-per-hour", "recipients-per-hour"):
        lab.control(name, "0")
    lab.make_signing_key()


def victims(lab, target):
    """The ids of what TARGET names, as far as there are any now."""
    qrunner = lab.processes.get("qrunner")
    if qrunner is None or qrunner.poll() is not None:
        return []
    templates = {runs(pid): pid for pid in children(qrunner.pid)}
    work = {name: [pid for pid in children(pid) if faultlab.is_at_work(pid)] for name, pid in templates.items()}
    relay, signer = templates.get("remote-relay"), templates.get("dkim-sign")
    relays, signers = work.get("remote-relay", []), work.get("dkim-sign", [])
    everybody = [qrunner.pid, *templates.values(), *relays, *signers]
    found = {"relay": relays, "relay template": [relay], "signer": signers, "signer template": [signer], "qrunner": [qrunner.pid], "all": everybody}[target]
    return [pid for pid in found if pid and is_alive(pid)]


def test_kill_while_sending():
    chance = random.Random(21)
    with Lab() as lab, Sink(lab) as sink:
        outgoing(lab)
        kills = Counter({name: 0 for name in TARGETS})
        with Supervisor(lab, pause=(0.1, 0.4), session=("submission",)) as supervisor:
            with Senders(lab, sink.names) as senders:
                while sum(kills.values()) < KILLS:
                    time.sleep(chance.uniform(0.25, 0.45))
                    # What was put off is tried now, as if its minute had come.
                    qrunner = lab.processes.get("qrunner")
                    if qrunner and qrunner.poll() is None:
                        qrunner.send_signal(signal.SIGALRM)
                    for target in sorted(TARGETS, key=kills.get):
                        found = victims(lab, target)
                        found = found if target == "all" else chance.sample(found, min(1, len(found)))
                        if not found:
                            continue
                        for pid in found:
                            try:
                                os.kill(pid, signal.SIGKILL)
                            except ProcessLookupError:
                                pass
                        kills[target] += 1
                        break
            lab.settle()
            # What a relay that has lost its qrunner had under way.
            time.sleep(0.5)
            taken = sink.taken()
        log = lab.log("qrunner").splitlines()
        lost = [name for name in senders.acknowledged if name not in taken]
        twice = {name: sum(found.values()) for name, found in taken.items() if sum(found.values()) > 1}
        unexplained = [name for name, copies in twice.items() if copies - 1 > interruptions(log, senders.acknowledged[name])]
        print(f"\n{sum(kills.values())} kills ({', '.join(f'{name} {number}' for name, number in kills.items())}), restarts {supervisor.restarts}: "
              f"{len(senders.acknowledged)} messages acknowledged, {len(lost)} lost, {sum(twice.values()) - len(twice)} sent twice within the window")
        assert not lost, f"lost: {lost[:10]}"
        assert not unexplained, f"sent again after it was recorded: {unexplained[:10]}\n" + "\n".join(line for line in log if senders.acknowledged[unexplained[0]] in line)
        assert len(senders.acknowledged) > KILLS * 5
        assert not list((lab.directory / "queue/hold").iterdir())


def interruptions(log, id):
    """How often, between the first try to send this message and its record, qrunner was started anew, or lost the relay that had it."""
    first = next(number for number, line in enumerate(log) if f"id={id} " in line)
    last = next(number for number, line in enumerate(log) if line.startswith(f"qrunner: info: relayed id={id} "))
    # The record follows its line in the log: a kill may come between them.
    again = next((number for number, line in enumerate(log) if number > last and f"id={id} " in line), last)
    return sum(line.startswith("qrunner: info: started ") or line.startswith(f"qrunner: info: deferred id={id} ") for line in log[first:again])


# What a message's way out consists of: who is killed, and at which calls; and those of them that are behind the window's beginning.
STEPS = {
    "remote-relay": ["recvmsg", "connect", "write", "read", "pread64", "sendmsg"],
    "dkim-sign": ["recvmsg", "pread64", "sendmsg"],
    "qrunner": ["openat", "sendmsg", "recvmsg", "unlinkat"],
}
MOST = 6 if LONG else 3


def test_kill_at_every_call_of_sending():
    """At the entrance and at the exit of each call: the first of its kind, the second, and so on. One message for two hosts each time."""
    cases, acknowledged = Counter(), []
    with Lab() as lab, Sink(lab) as sink, Supervisor(lab, pause=(0, 0.05), session=("submission",)):
        outgoing(lab)
        lab.stop_process("qrunner")
        for who, calls in STEPS.items():
            for call in calls:
                for number in range(1, MOST + 1):
                    reached = [kill_at(lab, sink, who, call, number, when, f"{who}.{call}.{number}.{when}", acknowledged) for when in ("entry", "exit")]
                    cases[who] += sum(reached)
                    if not any(reached):
                        break
        lab.settle()
        time.sleep(0.3)
        copies = sink.taken()
    lost = [name for name in acknowledged if len(copies[name]) < 2]
    more = {name: dict(found) for name, found in copies.items() if max(found.values(), default=0) > 1}
    print(f"\nkilled at {sum(cases.values())} calls ({', '.join(f'{name} {number}' for name, number in cases.items())}): {len(lost)} lost, {len(more)} sent twice: {more}")
    assert not lost, lost
    # The signer has nothing to do with what was sent, a relay has not sent anything when it connects or reads the message, nor qrunner when
    # it opens it. (It opens it again for each host: by the last time the first one may have it.)
    assert all(max(found.values()) == 2 for found in more.values()), more
    assert not [name for name in more if name.startswith(("dkim-sign", "remote-relay.connect", "remote-relay.pread64", "qrunner.openat.1."))], more
    assert all(cases[who] >= 6 for who in STEPS), cases


def kill_at(lab, sink, who, call, number, when, name, acknowledged):
    """Sends a message to two hosts while the call is waited for; whether somebody was killed."""
    # One killing for each message: those before are through.
    lab.settle(20)
    assert await_true(lambda: lab.is_up() and lab.processes["qrunner"].poll() is None), lab.report()
    try:
        victim = lab.pid("qrunner") if who == "qrunner" else lab.template(who)
    except AssertionError:
        return False
    with Killing(victim, call, number, when, children_only=who != "qrunner") as killing:
        try:
            with Dialogue(lab.port, timeout=2) as client:
                if client.reply()[0] == 220 and client.say("EHLO client.example") == 250:
                    client.say("MAIL FROM:<ssow@semail.test>")
                    for domain in sink.names[:2]:
                        client.say(f"RCPT TO:<anna@{domain}>")
                    if client.say("DATA") == 354 and client.message(f"From: ssow@semail.test\r\nX-Name: {name}\r\n\r\nwhole\r\n".encode()) == 250:
                        acknowledged.append(name)
        except OSError:
            pass
        await_true(lambda: killing.has_killed() or not list((lab.directory / "queue/new").iterdir()), 3)
        time.sleep(0.05)
        return killing.has_killed()
