"""kill -9, at any time, of any program and of all: what was acknowledged arrives, whole, and once.

First under load, by chance; then at every call that a message's way consists of, on purpose. A supervisor starts again
what has ended, as runit does.
"""

import os
import random
import signal
import time

import pytest

import faultlab
from faultlab import LONG, Account, Dialogue, Killing, Lab, Load, Supervisor, children, is_alive
from semailtest import await_true

OWNERS = ["ssow", "xredon", "third", "fourth"]

TARGETS = ["tcp-accept", "session template", "session", "qrunner", "delivery template", "delivery", "all"]
KILLS = 100 if LONG else 14


def processes(lab, target):
    """The ids of what TARGET names, as far as there are any now."""
    # For a moment the supervisor has none: the old one is taken off its list, the new one not yet on it.
    running = [lab.processes.get(name) for name in ("tcp-accept", "qrunner")]
    if None in running:
        return []
    accept, qrunner = (process.pid for process in running)
    session_templates, delivery_templates = children(accept), children(qrunner)
    sessions = [pid for template in session_templates for pid in children(template)]
    deliveries = [pid for template in delivery_templates for pid in children(template)]
    if target == "session":
        # Those that talk to somebody, not those that wait for one.
        sessions = [pid for pid in sessions if faultlab.connections(pid)]
    if target == "delivery":
        deliveries = [pid for pid in deliveries if lab.is_worker(pid)]
    return [pid for pid in {"tcp-accept": [accept], "session template": session_templates, "session": sessions, "qrunner": [qrunner],
                            "delivery template": delivery_templates, "delivery": deliveries,
                            "all": [accept, qrunner, *session_templates, *delivery_templates, *sessions, *deliveries]}[target] if is_alive(pid)]


def kill(lab, target, chance):
    """Kills one such process, or all there are; the number killed."""
    found = processes(lab, target)
    if target != "all":
        found = chance.sample(found, min(1, len(found)))
    killed = 0
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
            killed += 1
        except ProcessLookupError:
            pass
    return killed


def test_kill_under_load():
    chance = random.Random(20)
    with Lab(owners=OWNERS) as lab, Supervisor(lab) as supervisor:
        started = time.monotonic()
        kills = dict.fromkeys(TARGETS, 0)
        processes_killed = 0
        with Load(lab, OWNERS, pause=0.01 if LONG else 0.004) as load:
            load.wait_acknowledged(50)
            while sum(kills.values()) < KILLS:
                # In turn, while mail flows. Not every program is there at every moment: then the next.
                time.sleep(chance.uniform(0, 0.3))
                for target in sorted(TARGETS, key=kills.get):
                    if killed := kill(lab, target, chance):
                        kills[target] += 1
                        processes_killed += killed
                        break
                load.wait_acknowledged(20, 30)
        lab.settle()
        # A killed delivery may have had its successor, and be at work still.
        await_true(lambda: not processes(lab, "delivery"))
        account = Account(load, lab)
        leftovers = {owner: lab.leftovers(owner) for owner in OWNERS}
        print(f"\n{sum(kills.values())} kills ({', '.join(f'{name} {number}' for name, number in kills.items())}), {processes_killed} processes, "
              f"restarts {supervisor.restarts}, {time.monotonic() - started:.0f} s, {len(load.sent)} messages offered\n{account}; "
              f"{sum(map(len, leftovers.values()))} files left in tmp")
        account.assert_nothing_lost()
        assert account.acknowledged > KILLS * 20
        for name in ("hold", "reason"):
            assert not list((lab.directory / "queue" / name).iterdir())
        # What the killed deliveries left goes in time, and not before.
        old = {owner: paths[::2] for owner, paths in leftovers.items()}
        for owner, paths in leftovers.items():
            for path in paths:
                age = 37 if path in old[owner] else 35
                os.utime(path, (time.time() - age * 3600,) * 2)
            lab.send(owner)
        for owner, paths in old.items():
            assert await_true(lambda: not any(path.exists() for path in paths)), f"{paths} stay"
            assert all(path.exists() for path in set(leftovers[owner]) - set(paths))


def test_leftovers_in_tmp():
    """By hand as well: 36 hours is the bound, and only files are removed."""
    with Lab() as lab:
        lab.start()
        tmp = lab.maildir("ssow") / "tmp"
        for name, hours in (("young", 35.9), ("old", 36.1), ("very-old", 1000)):
            (tmp / name).write_text("left")
            os.utime(tmp / name, (time.time() - hours * 3600,) * 2)
        (tmp / "directory").mkdir()
        os.utime(tmp / "directory", (0, 0))
        lab.send("xredon")
        lab.wait_delivered("xredon", 1)
        lab.send("ssow")
        lab.wait_delivered("ssow", 1)
        assert await_true(lambda: {path.name for path in lab.leftovers("ssow")} == {"young", "directory"}), lab.leftovers("ssow")


# -- at every call ----------------------------------------------------------

# What a message's way consists of: who is killed, and at which calls.
STEPS = {
    "session": ["openat", "write", "fsync", "linkat"],
    "qrunner": ["openat", "pread64", "sendmsg", "recvmsg", "unlinkat"],
    "delivery": ["recvmsg", "openat", "write", "sendfile", "fsync", "renameat2", "sendmsg"],
}
MOST = 8 if LONG else 3


@pytest.mark.parametrize("who", STEPS)
def test_kill_at_every_call(who):
    """At the entrance and at the exit of each call: the first of its kind, the second, and so on."""
    cases, acknowledged = 0, []
    with Lab() as lab, Supervisor(lab, pause=(0, 0.05)):
        for call in STEPS[who]:
            for number in range(1, MOST + 1):
                reached = False
                for when in ("entry", "exit"):
                    marker = f"{who} {call} {number} {when}"
                    was_taken, was_killed = kill_at(lab, who, call, number, when, marker)
                    acknowledged += [marker] * was_taken
                    reached |= was_killed
                    cases += was_killed
                if not reached:
                    break
        lab.settle()
        found = {}
        for owner in ("ssow", "xredon"):
            for message in lab.messages(owner):
                marker = message.partition(b"X-Marker: ")[2].partition(b"\n")[0].decode()
                assert message.endswith(b"whole\n"), message
                found[marker, owner] = found.get((marker, owner), 0) + 1
        lost = [(marker, owner) for marker in acknowledged for owner in ("ssow", "xredon") if (marker, owner) not in found]
        doubled = [key for key, copies in found.items() if copies > 1]
        print(f"\n{who}: killed at {cases} calls, {len(lost)} lost, {len(doubled)} duplicates")
        assert not lost and not doubled, (lost, doubled)


def kill_at(lab, who, call, number, when, marker):
    """Sends a message to two mailboxes while the call is waited for; whether it was acknowledged, and whether somebody was killed."""
    was_taken = False
    victim = {"session": lab.session_template, "qrunner": lambda: lab.pid("qrunner"), "delivery": lab.delivery_template}[who]
    assert await_true(lambda: lab.is_up()), lab.report()
    with Killing(victim(), call, number, when, children_only=who != "qrunner") as killing:
        try:
            with Dialogue(lab.port, timeout=2) as client:
                if client.reply()[0] == 220 and client.say("EHLO client.example") == 250:
                    client.say("MAIL FROM:<someone@elsewhere.example>")
                    for owner in ("ssow", "xredon"):
                        client.say(f"RCPT TO:<{owner}@semail.test>")
                    was_taken = client.say("DATA") == 354 and client.message(f"X-Marker: {marker}\r\n\r\nwhole\r\n".encode()) == 250
        except OSError:
            pass
        if who != "session":
            # Until it was worked on, and nobody was killed.
            await_true(lambda: killing.has_killed() or not list((lab.directory / "queue/new").iterdir()), 3)
        time.sleep(0.05)
        return was_taken, killing.has_killed()
