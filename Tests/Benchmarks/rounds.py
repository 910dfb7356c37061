"""The rounds: a disk, each server in turn on it, every message accounted for, a table.

Runs inside of the namespaces that `run` makes.
"""

import contextlib
import hashlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import contestants
import measure
import peers
import relaying
import tls

SMALL = 4096
LARGE = 1 << 20

# name, what the row says, unit, target against Postfix ("at least"/"at most" a ratio,
# or "below" a number of the unit)
MEASURES = [
    ("delivered", "delivered, one message per connection", "1/s", ("least", 1.6)),
    ("accepted", "accepted, one message per connection", "1/s", None),
    ("cpu", "CPU per message, one per connection", "ms", ("most", 0.6)),
    ("delivered_reuse", "delivered, many per connection", "1/s", ("least", 2.0)),
    ("accepted_reuse", "accepted, many per connection", "1/s", None),
    ("cpu_reuse", "CPU per message, many per connection", "ms", ("most", 0.6)),
    ("large", "1 MB messages delivered, ten sessions", "MB/s", ("least", 2.0)),
    ("lone_accepted", "lone message, connect to 250", "ms", ("most", 1.0)),
    ("lone_delivered", "lone message, connect to Maildir", "ms", ("most", 1.0)),
    ("relayed", "relayed to one destination", "1/s", ("least", 1.2)),
    ("cpu_relay", "CPU per relayed message", "ms", ("most", 0.7)),
    ("tls_full", "full TLS 1.3 handshakes", "1/s", ("least", 1.0)),
    ("cpu_tls_full", "CPU per full handshake", "ms", None),
    ("tls_resumed", "resumed TLS 1.3 handshakes", "1/s", ("least", 1.0)),
    ("cpu_tls_resumed", "CPU per resumed handshake", "ms", None),
    ("idle", "memory (PSS) per idle session", "KB", ("below", 200)),
]


class Amounts:
    """How much is sent in one round."""

    def __init__(self, quick):
        self.warm_up = 100 if quick else 400
        self.small = 200 if quick else 3000
        self.large = 20 if quick else 300
        self.lone = 10 if quick else 50
        self.idle = 30 if quick else 300
        self.handshakes = 200 if quick else 3000
        self.flush_samples = 4
        self.disk_gigabytes = 1 if quick else 3


class Damage(Exception):
    """A message was lost, doubled, damaged or put into the wrong mailbox."""


def say(text):
    print(text, flush=True)


@contextlib.contextmanager
def disk(place, gigabytes):
    """An ext4 with a journal on a loop device, mounted at PLACE/disk."""
    image, mounted = place / "image", place / "disk"
    mounted.mkdir()
    # Written, not sparse: the file system below must not allocate while we measure.
    subprocess.run(["dd", "if=/dev/zero", f"of={image}", "bs=16M", f"count={gigabytes * 64}",
                    "conv=fsync", "status=none"], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m0", "-O", "has_journal",
                    "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image)], check=True)
    # `mount` lets the kernel free the loop device by itself; with the name gone
    # too, nothing of the disk can survive this process.
    subprocess.run(["mount", "-o", "loop,noatime,nosuid,nodev", str(image), str(mounted)], check=True)
    image.unlink()
    try:
        yield mounted
    finally:
        for _ in range(50):
            if subprocess.run(["umount", str(mounted)], stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.1)
        else:
            subprocess.run(["umount", "-l", str(mounted)])


def check_and_clear(server, expected, body, identities):
    """Every delivered file: exactly once, whole, in the right mailbox. Then removes them.

    EXPECTED maps mailbox to count; IDENTITIES, when known, maps Message-Id to mailbox."""
    digest = hashlib.sha256(body).digest()
    seen = set()
    faults = []
    for name, maildir in server.maildirs.items():
        files = list((maildir / "new").iterdir())
        if len(files) != expected.get(name, 0):
            faults.append(f"{name}: {len(files)} files, {expected.get(name, 0)} expected")
        for path in files:
            header, _, content = path.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")
            found = re.search(rb"(?mi)^Message-Id: <([^>]*)>$", header)
            identity = found[1] if found else None
            if identity is None or identity in seen:
                faults.append(f"{path}: Message-Id {identity} missing or seen before")
            seen.add(identity)
            if identities is not None and identities.get(identity) != name:
                faults.append(f"{path}: {identity} was not sent to {name}")
            if f"To: <{name}@{contestants.DOMAIN}>".encode() not in header.split(b"\n"):
                faults.append(f"{path}: not for {name}")
            if hashlib.sha256(content).digest() != digest:
                faults.append(f"{path}: body of {len(content)} octets is not what was sent")
            path.unlink()
        rest = list((maildir / "tmp").iterdir())
        if rest:
            faults.append(f"{name}: {len(rest)} files left in tmp")
        for path in rest:
            path.unlink()
        if list((maildir / "cur").iterdir()):
            faults.append(f"{name}: something is in cur")
    if faults:
        raise Damage(f"{server.label}: {len(faults)} faults: " + "; ".join(faults[:5]))


def even(total):
    each, left = divmod(total, len(contestants.MAILBOXES))
    return {name: each + (1 if index < left else 0)
            for index, name in enumerate(contestants.MAILBOXES)}


def settle():
    os.sync()
    time.sleep(0.3)


def measure_load(server, processes, messages, size, sessions, reuse):
    """(accepted/s, delivered/s, CPU ms per message) of one load."""
    settle()
    processes.await_rest()
    cpu = processes.cpu_seconds()
    accepted, delivered = measure.load(server.port, server.maildirs, contestants.DOMAIN,
                                       messages, size, sessions, reuse)
    # What a server tidies up afterwards belongs to the message too.
    processes.await_rest()
    cpu = processes.cpu_seconds() - cpu
    check_and_clear(server, even(messages), peers.smtp_source_body(size), None)
    return messages / accepted, messages / delivered, 1000 * cpu / messages


def measure_lone(server, amounts):
    settle()
    accepted, delivered, sent = [], [], {}
    body = peers.smtp_source_body(SMALL)
    for number in range(amounts.lone):
        name = contestants.MAILBOXES[number % len(contestants.MAILBOXES)]
        identity = f"lone.{number}@load.semail.test"
        sent[identity.encode()] = name
        one, other, _ = measure.lone_message(server.port, server.maildirs[name],
                                             f"{name}@{contestants.DOMAIN}", identity, body)
        accepted.append(1000 * one)
        delivered.append(1000 * other)
        time.sleep(0.02)
    check_and_clear(server, even(amounts.lone), body, sent)
    return statistics.median(accepted), statistics.median(delivered)


def measure_idle(server, processes, count):
    processes.await_rest()
    before = processes.pss_kilobytes()
    connections = measure.idle_sessions(server.port, count)
    try:
        processes.await_rest()
        return (processes.pss_kilobytes() - before) / count
    finally:
        for connection in connections:
            connection.close()
        processes.await_rest()


def one_turn(server, processes, amounts):
    """One server, one round: everything that is measured."""
    figures = {}
    server.start()
    try:
        measure_load(server, processes, amounts.warm_up, SMALL, 20, False)
        (figures["accepted"], figures["delivered"], figures["cpu"]) = measure_load(
            server, processes, amounts.small, SMALL, 20, False)
        (figures["accepted_reuse"], figures["delivered_reuse"], figures["cpu_reuse"]) = measure_load(
            server, processes, amounts.small, SMALL, 20, True)
        _, rate, _ = measure_load(server, processes, amounts.large, LARGE, 10, False)
        figures["large"] = rate * LARGE / 1e6
        figures["lone_accepted"], figures["lone_delivered"] = measure_lone(server, amounts)
        server.stop()
        # Idle sessions at a server that has just started: none is left over from the load.
        server.start()
        measure_load(server, processes, 20, SMALL, 10, False)
        figures["idle"] = measure_idle(server, processes, amounts.idle)
    except Exception:
        say(f"--- what {server.label} said last\n{server.report()}")
        raise
    finally:
        server.stop()
    return figures


def flush_policy(server, processes, place, amounts):
    """What one lone message flushes, and how much of it before the 250, in words."""
    body = peers.smtp_source_body(SMALL)
    sent = {}
    name = contestants.MAILBOXES[0]

    def send():
        identity = f"flush.{len(sent)}@load.semail.test"
        sent[identity.encode()] = name
        _, _, accepted_clock = measure.lone_message(
            server.port, server.maildirs[name], f"{name}@{contestants.DOMAIN}", identity, body)
        return accepted_clock

    server.start()
    try:
        send()
        processes.await_rest()
        counted = measure.flushes_of(processes, place, send, amounts.flush_samples)
        check_and_clear(server, {name: len(sent)}, body, sent)
    finally:
        server.stop()
    return {what: number / amounts.flush_samples
            for what, number in sorted(counted.items(), reverse=True)}


def median_of(rounds, name, measure_name):
    values = [figures[measure_name] for figures in rounds[name] if measure_name in figures]
    return statistics.median(values) if values else None


def verdict(target, value, reference):
    """PASS or short, and the target in words."""
    kind, bound = target
    if kind == "below":
        return ("PASS" if value <= bound else "short"), f"<= {bound}"
    if reference is None:
        return "", f"{'>=' if kind == 'least' else '<='} {bound:g}x"
    ratio = value / reference
    good = ratio >= bound if kind == "least" else ratio <= bound
    return ("PASS" if good else "short"), f"{'>=' if kind == 'least' else '<='} {bound:g}x"


def table(rounds, labels, flushes):
    """The result as lines, and the names of the targets that were missed."""
    names = list(rounds)
    short = []
    head = ["", "", *[labels[name] for name in names], "SEMail/Postfix", "target", ""]
    rows = [head]
    for key, words, unit, target in MEASURES:
        values = {name: median_of(rounds, name, key) for name in names}
        if not any(values.values()):
            continue
        ratio = ""
        reference = values.get("postfix")
        if values.get("semail") is not None and reference:
            ratio = f"{values['semail'] / reference:.2f}"
        mark = aim = ""
        if target and values.get("semail") is not None:
            mark, aim = verdict(target, values["semail"], reference)
            if mark == "short":
                short.append(words)
        rows.append([words, unit, *["" if values[name] is None else f"{values[name]:.{0 if values[name] >= 100 else 2}f}"
                                    for name in names], ratio, aim, mark])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1]),
                        *[cell.rjust(width) for cell, width in zip(row[2:], widths[2:])]]).rstrip()
             for row in rows]
    if flushes:
        lines += ["", "Flush policy, as shipped: what one lone message flushes (counted with strace):"]
    for name in flushes:
        words = ", ".join(f"{what} {number:g}" for what, number in flushes[name].items()) or "none"
        lines.append(f"  {labels[name]}: {words}")
    return lines, short


def profile(server, processes, amounts):
    """One more load on SEMail, watched by perf; prints where the time went."""
    data = "/run/semail-benchmark.perf"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(data)
    server.start()
    recorder = None
    try:
        measure_load(server, processes, amounts.warm_up, SMALL, 20, False)
        recorder = subprocess.Popen(["perf", "record", "-q", "-a", "-g", "-F", "997", "-o", data],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.STDOUT)
        measure_load(server, processes, amounts.small, SMALL, 20, False)
        recorder.send_signal(signal.SIGINT)
        recorder.wait(30)
        ours = "tcp-accept,smtpd-session,qrunner,maildir-deliver"
        for title, options in (
                ("by program (all of the machine)", ["--no-children", "--sort", "comm", "--percent-limit", "0.5"]),
                ("by function, SEMail alone, itself",
                 ["--no-children", "--comms", ours, "--sort", "comm,symbol",
                  "--percent-limit", "0.7"]),
                ("by function, SEMail alone, with what it calls",
                 ["--children", "--comms", ours, "--sort", "comm,symbol", "--percent-limit", "1.5"])):
            done = subprocess.run(["perf", "report", "-i", data, "--stdio", "-g", "none",
                                   *options],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            say(f"\nProfile {title}, percent of all samples:")
            say("\n".join(" ".join(line.split()).removesuffix(" - -")
                          for line in done.stdout.splitlines()
                          if line.strip() and not line.startswith("#")))
    except FileNotFoundError:
        say("no profile: perf is not installed")
    finally:
        if recorder and recorder.poll() is None:
            recorder.kill()
            recorder.wait()
        server.stop()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(data)


def inside(chosen, place, groups):
    def ended(number, _):
        raise SystemExit(128 + number)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    place = Path(place)
    amounts = Amounts(chosen.quick)
    count = 1 if chosen.quick else chosen.rounds
    processes = measure.Processes(groups)
    began = time.monotonic()
    say(f"{count} round{'s' if count > 1 else ''} of {', '.join(chosen.servers)}: per round "
        f"{amounts.small} messages of 4 KB twice, {amounts.large} of 1 MB, {amounts.lone} lone ones; "
        f"{os.cpu_count()} processors; CPU time from "
        f"{'control group ' + groups['kind'] if groups else '/proc'}")
    damage = []
    rounds = {name: [] for name in chosen.servers}
    flushes = {}
    with disk(place, amounts.disk_gigabytes) as mounted:
        os.chmod(mounted, 0o755)
        all_servers = {name: contestants.make(name, mounted, processes) for name in chosen.servers}
        labels = {name: server.label for name, server in all_servers.items()}
        try:
            with relaying.Sink(place) as sink:
                relays = {name: relaying.make(name, mounted, processes, sink) for name in chosen.servers}
                certificate, load = tls.make_certificate(place), tls.Load(place)
                secured = {name: tls.make(name, mounted, processes, certificate) for name in chosen.servers if name in tls.SERVERS}
                for number in range(1, count + 1):
                    for name, server in all_servers.items():
                        figures = one_turn(server, processes, amounts) if "local" in chosen.parts else {}
                        if "relay" in chosen.parts:
                            figures.update(relaying.one_turn(relays[name], processes, sink, amounts, SMALL))
                        if "tls" in chosen.parts and name in secured:
                            figures.update(tls.one_turn(secured[name], processes, load, amounts.handshakes))
                        rounds[name].append(figures)
                        say(f"round {number} {labels[name]}: " + ", ".join(
                            f"{key} {value:.{0 if value >= 100 else 2}f}"
                            for key, value in figures.items()))
                for name, server in all_servers.items() if "local" in chosen.parts else ():
                    flushes[name] = flush_policy(server, processes, place, amounts)
                if chosen.profile and "semail" in all_servers:
                    profile(all_servers["semail"], processes, amounts)
        except (Damage, RuntimeError, OSError, AssertionError) as error:
            damage.append(str(error))
            say(f"run: {error}")
    if damage:
        return 1
    lines, short = table(rounds, labels, flushes)
    say("")
    for line in lines:
        say(line)
    say(f"\nEvery delivered file was compared: exactly once, whole, in the right mailbox. "
        f"Medians of {count} round{'s' if count > 1 else ''}, {time.monotonic() - began:.0f} s.")
    if short:
        say("Short of its target: " + "; ".join(short))
    if chosen.json:
        Path(chosen.json).write_text(json.dumps({
            "rounds": rounds, "flushes": flushes,
            "medians": {name: {key: median_of(rounds, name, key) for key, *_ in MEASURES}
                        for name in rounds},
            "targets": {key: list(target) for key, _, _, target in MEASURES if target},
            "short": short, "quick": chosen.quick}, indent=1) + "\n")
    return 1 if short and chosen.strict else 0
