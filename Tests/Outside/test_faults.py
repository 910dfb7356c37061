"""What goes wrong around the programs: disks that are full, broken, read-only or hang; nothing left of descriptors
and processes; clients that stall, flood and vanish; a queue nobody works on; mailboxes that go away.

In every case the same is asked: what was acknowledged arrives, what was not leaves nothing behind, and nobody
else notices.
"""

import base64
import email
import email.policy
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest

import faultlab
import semailtest
from badpeer import USUAL, BadPeer
from faultlab import LONG, Dialogue, Injection, Lab, children, fill_to, is_alive, peak_memory, status
from semailtest import await_true


@pytest.fixture
def lab():
    with Lab() as lab:
        yield lab


@pytest.fixture
def running(lab):
    lab.start()
    return lab


WITHOUT_TEMPLATE = [option for option in semailtest.ACCEPT if option != "-t"]
MODES = pytest.mark.parametrize("accept", [semailtest.ACCEPT, WITHOUT_TEMPLATE], ids=["template", "exec"])

LARGE = b"Subject: large\r\n\r\n"


def text_of(content):
    """The body as a Maildir holds it."""
    return content.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n")


def later(lab):
    """The messages that wait for another try: {id: minute}."""
    return {path.name: int(path.parent.name) for path in lab.queue_files() if path.parent.parent.name == "later"}


def bodies(lab, owner):
    return sorted(message.partition(b"\n\n")[2] for message in lab.messages(owner))


# -- disks ------------------------------------------------------------------

def test_full_queue_disk():
    """452 or 451, never a 250 for what is not there; and when there is room again, all is well."""
    with Lab(queue="16M") as lab:
        lab.start_accept()
        content = LARGE + fill_to(1 << 20)
        taken = 0
        with Dialogue(lab.port) as client:
            client.begin()
            while (code := client.message(content)) == 250:
                taken += 1
                assert taken < 20
                if client.say("MAIL FROM:<someone@elsewhere.example>") != 250:
                    code = 452
                    break
                assert client.say("RCPT TO:<ssow@semail.test>") == 250
                if (code := client.say("DATA")) != 354:
                    break
            assert code in (451, 452)
            assert taken > 8
            # The session lives, and says at once what cannot be.
            client.say("RSET")
            assert client.say(f"MAIL FROM:<a@b.example> SIZE={8 << 20}") == 452
        assert len(lab.queue_files()) == taken
        lab.start_qrunner()
        lab.wait_exactly({"ssow": taken})
        assert bodies(lab, "ssow") == [text_of(content)] * taken
        lab.send("xredon", body=content)
        lab.wait_delivered("xredon", 1)


def test_queue_disk_without_inodes():
    with Lab(queue="16M") as lab:
        lab.start_accept()
        place = lab.directory / "queue"
        number = 0
        try:
            while True:
                (place / f"inode{number}").touch()
                number += 1
        except OSError:
            pass
        with Dialogue(lab.port) as client:
            assert client.reply()[0] == 220
            client.say("EHLO client.example")
            assert client.say("MAIL FROM:<a@b.example>") == 452
        for path in place.glob("inode*"):
            path.unlink()
        lab.send()
        assert len(lab.queue_files()) == 1


def test_full_mailbox():
    """Deferred with nothing left behind; others get theirs; delivered once there is room."""
    with Lab(mailboxes={"ssow": "16M"}) as lab:
        lab.start()
        volume = lab.volumes["ssow"]
        # Declared, it is refused at once.
        filling = volume.fill(leave=1 << 20)
        content = LARGE + fill_to(3 << 20)
        with Dialogue(lab.port) as client:
            assert client.reply()[0] == 220
            client.say("EHLO client.example")
            client.say(f"MAIL FROM:<a@b.example> SIZE={3 << 20}")
            assert client.say("RCPT TO:<ssow@semail.test>") == 452
            client.say("RSET")
            client.say(f"MAIL FROM:<a@b.example> SIZE={20 << 20}")
            assert client.say("RCPT TO:<ssow@semail.test>") == 552
        # Not declared, it waits.
        with Dialogue(lab.port) as client:
            assert client.begin().message(content) == 250
        assert await_true(lambda: later(lab)), lab.report()
        assert "4.2.2" in lab.log("qrunner")
        assert lab.delivered("ssow") == [] and lab.leftovers("ssow") == []
        lab.send("xredon")
        lab.wait_delivered("xredon", 1, 5)
        filling.unlink()
        lab.flush()
        lab.wait_exactly({"ssow": 1})
        assert bodies(lab, "ssow") == [text_of(content)]


def test_read_only_queue():
    with Lab(queue="16M") as lab:
        lab.start_accept()
        lab.send(body=b"before\r\n")
        lab.volumes["queue"].remount("ro")
        with Dialogue(lab.port) as client:
            assert client.reply()[0] == 220
            client.say("EHLO client.example")
            code = client.say("MAIL FROM:<a@b.example>")
            if code == 250:
                assert client.say("RCPT TO:<ssow@semail.test>") == 250
                code = client.say("DATA")
            assert code in (451, 452)
        lab.volumes["queue"].remount("rw")
        lab.send(body=b"after\r\n")
        lab.start_qrunner()
        lab.wait_exactly({"ssow": 2})


def test_queue_that_became_read_only_with_messages_in_it():
    """Not delivered again and again while their delivery cannot be recorded."""
    with Lab(queue="16M") as lab:
        lab.start_accept()
        for number in range(5):
            lab.send(body=b"%d\r\n" % number)
        lab.volumes["queue"].remount("ro")
        lab.start_qrunner()
        # Whether it waits or gives up for its supervisor to try again: it delivers nothing it cannot forget.
        time.sleep(2)
        assert lab.delivered("ssow") == []
        lab.volumes["queue"].remount("rw")
        if lab.processes["qrunner"].poll() is not None:
            lab.start_qrunner()
        else:
            lab.flush()
        lab.wait_exactly({"ssow": 5})


def test_read_only_mailbox():
    with Lab(mailboxes={"ssow": "16M"}) as lab:
        lab.start()
        lab.volumes["ssow"].remount("ro")
        lab.send()
        lab.send("xredon")
        assert await_true(lambda: later(lab)), lab.report()
        lab.wait_delivered("xredon", 1, 5)
        lab.volumes["ssow"].remount("rw")
        lab.flush()
        lab.wait_exactly({"ssow": 1})


def test_full_queue_disk_while_a_bounce_is_due():
    """The bounce has nowhere to go; it is made when there is room, without a restart."""
    with Lab(queue="16M") as lab:
        lab.start()
        lab.set_state("ssow@semail.test", "suspended")
        lab.control("queue-lifetime", "1s")
        lab.set_state("ssow@semail.test", "active")
        subprocess.run(["mv", str(lab.maildir("ssow")), str(lab.maildir("ssow")) + ".aside"], check=True)
        lab.control("queue-lifetime", "1h")
        lab.stop_process("qrunner")
        lab.start_qrunner()
        lab.send("ssow", sender="xredon@semail.test")
        assert await_true(lambda: later(lab)), lab.report()
        lab.control("queue-lifetime", "1s")
        lab.stop_process("qrunner")
        filling = lab.volumes["queue"].fill()
        lab.start_qrunner()
        time.sleep(1.2)
        lab.flush()
        assert await_true(lambda: "not-recorded" in lab.log("qrunner")), lab.report()
        assert len(later(lab)) == 1 and lab.delivered("xredon") == []
        filling.unlink()
        lab.flush()
        lab.wait_exactly({"xredon": 1}, 10)


ACCEPTING = [
    # (call, error, the how manieth): of one session, from its first message on.
    ("fsync", "EIO", 1), ("fsync", "EIO", 2), ("fsync", "ENOSPC", 1), ("fsync", "EDQUOT", 1),
    ("linkat", "EIO", 1), ("linkat", "ENOSPC", 1), ("linkat", "EEXIST", 1), ("linkat", "EMLINK", 1),
]


@pytest.mark.parametrize("call,error,number", ACCEPTING)
def test_failing_calls_while_accepting(running, call, error, number):
    """No 250; the next message, when the disk behaves, is taken."""
    lab = running
    with Injection(lab.session_template(), call, error, number):
        with Dialogue(lab.port) as client:
            assert client.begin().message(b"Subject: x\r\n\r\nfails\r\n") in (451, 452)
            client.transaction()
            assert client.message(b"Subject: x\r\n\r\nworks\r\n") == 250
    # The second flush is that of the name: it is in the queue already, and a duplicate is the lesser evil.
    count = 2 if (call, number) == ("fsync", 2) else 1
    lab.wait_exactly({"ssow": count})
    assert b"works\n" in bodies(lab, "ssow")


def test_write_errors_while_accepting(running):
    """The socket is written to as well: writes fail by a limit on the file's size instead."""
    lab = running
    with Dialogue(lab.port) as client:
        client.begin()
        pid = lab.session(client)
        prlimit(pid, "--fsize=65536:65536")
        code = client.message(fill_to(1 << 20))
        # EFBIG comes with SIGXFSZ: an answer to try again, or a session that ended.
        assert code in (0, 451, 452)
    assert await_true(lambda: not is_alive(pid))
    assert lab.queue_files() == []
    lab.send()
    lab.wait_exactly({"ssow": 1})


DELIVERING = [
    ("fsync", "EIO", 1), ("fsync", "EIO", 2), ("fsync", "ENOSPC", 1), ("renameat", "EIO", 1), ("renameat", "ENOSPC", 1), ("sendfile", "EIO", 1),
    ("sendfile", "ENOSPC", 1), ("sendfile", "EDQUOT", 1), ("write", "EIO", 1), ("write", "EIO", 2), ("write", "ENOSPC", 2), ("openat", "EMFILE", 1),
    ("openat", "EIO", 2), ("openat", "EACCES", 3), ("openat", "ENOSPC", 4),
]


@pytest.mark.parametrize("call,error,number", DELIVERING)
def test_failing_calls_while_delivering(running, call, error, number):
    """Tried again, and nothing to be seen of the try; then delivered, once and whole."""
    lab = running
    content = LARGE + fill_to(100_000)
    with Injection(lab.delivery_template(), call, error, number):
        with Dialogue(lab.port) as client:
            assert client.begin().message(content) == 250
        settled = await_true(lambda: later(lab) or lab.delivered("ssow"))
        assert settled, lab.report()
    if later(lab):
        assert lab.delivered("ssow") == [] and lab.leftovers("ssow") == []
        lab.flush()
    lab.wait_exactly({"ssow": 1})
    assert bodies(lab, "ssow") == [text_of(content)]
    assert lab.leftovers("ssow") == []


SETTLING = [("unlinkat", "EIO", 1), ("unlinkat", "EROFS", 1), ("openat", "EMFILE", 1), ("openat", "EIO", 1), ("socketpair", "EMFILE", 1),
            ("sendmsg", "ENOBUFS", 1), ("sendmsg", "ETOOMANYREFS", 1), ("pread64", "EIO", 1)]


@pytest.mark.parametrize("call,error,number", SETTLING)
def test_failing_calls_of_qrunner(running, call, error, number):
    """Nothing is forgotten: `flush` brings it in when the trouble is over, without a restart."""
    lab = running
    with Injection(lab.pid("qrunner"), call, error, number):
        lab.send(body=b"kept\r\n")
        time.sleep(0.7)
    assert lab.processes["qrunner"].poll() is None, lab.report()
    if lab.queue_files():
        lab.flush()
    lab.wait_queue_empty(10)
    copies = len(lab.delivered("ssow"))
    assert copies == 1 or (call == "unlinkat" and copies == 2), lab.report()


def test_hung_mailbox_does_not_delay_others():
    with Lab(mailboxes={"ssow": "64M"}) as lab:
        lab.start()
        lab.volumes["ssow"].freeze()
        for _ in range(3):
            lab.send("ssow")
        begun = time.monotonic()
        lab.send("xredon")
        lab.wait_delivered("xredon", 1, 5)
        print(f"beside a hung mailbox delivered after {time.monotonic() - begun:.3f} s")
        lab.volumes["ssow"].thaw()
        lab.wait_exactly({"ssow": 3})


def test_a_thousand_messages_for_a_hung_mailbox_do_not_delay_others():
    """More than are in work at once."""
    with Lab(mailboxes={"ssow": "64M"}) as lab:
        lab.start()
        lab.volumes["ssow"].freeze()
        total = 1300
        send_many(lab, ["ssow"] * total)
        lab.send("xredon")
        lab.wait_delivered("xredon", 1, 10)
        lab.volumes["ssow"].thaw()
        lab.wait_exactly({"ssow": total}, 60)


def send_many(lab, recipients, threads=4, body=b"hello\r\n"):
    """One message to each, over a few connections, without waiting for each other."""
    failures = []

    def work(mine):
        try:
            with Dialogue(lab.port, timeout=60) as client:
                assert client.reply()[0] == 220
                client.say("EHLO client.example")
                for number, owner in enumerate(mine):
                    client.socket.sendall(b"MAIL FROM:<someone@elsewhere.example>\r\nRCPT TO:<%s@semail.test>\r\nDATA\r\n" % owner.encode())
                    assert [client.reply()[0] for _ in range(3)] == [250, 250, 354]
                    assert client.message(b"Subject: %d\r\n\r\n" % number + body) == 250
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(recipients[start::threads],)) for start in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures, failures


# -- nothing left -----------------------------------------------------------

def prlimit(pid, *options):
    """As the process' own user: root itself may lack the right to give others limits."""
    found = status(pid)
    uid, gid = int(found["Uid"].split()[0]), int(found["Gid"].split()[0])
    return subprocess.run([semailtest.tool("prlimit"), f"--pid={pid}", *options], check=True, capture_output=True, text=True,
                          user=uid, group=gid, extra_groups=[]).stdout


def limit(pid, **limits):
    """nofile=10: soft limits, so that they can be given back."""
    for name, value in limits.items():
        try:
            prlimit(pid, f"--{name}={value}:")
        except (FileNotFoundError, subprocess.CalledProcessError):
            # It has ended meanwhile.
            if is_alive(pid):
                raise


def limits_of(pid, name):
    return prlimit(pid, f"--{name}", "--output=SOFT", "--noheadings").strip()


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_no_descriptors_for_tcp_accept(running):
    """Connections wait, nobody spins, and those that are open go on."""
    lab = running
    pid = lab.pid("tcp-accept")
    with Dialogue(lab.port) as old:
        old.begin()
        before, soft = cpu_seconds(pid), limits_of(pid, "nofile")
        limit(pid, nofile=len(os.listdir(f"/proc/{pid}/fd")))
        new = Dialogue(lab.port)
        new.socket.settimeout(1.5)
        with pytest.raises(socket.timeout):
            new.reply()
        assert cpu_seconds(pid) - before < 0.5, "it spins"
        assert old.message(b"Subject: x\r\n\r\n") == 250
        limit(pid, nofile=soft)
        new.socket.settimeout(10)
        assert new.reply()[0] == 220
        new.close()
    lab.wait_exactly({"ssow": 1})


@pytest.mark.parametrize("room", [0, 1, 2, 3])
def test_no_descriptors_for_sessions(running, room):
    """421, 451, or a connection closed; never a 250 without a message."""
    lab = running
    template = lab.session_template()
    soft = limits_of(template, "nofile")
    for pid in (template, *children(template)):
        limit(pid, nofile=len(os.listdir(f"/proc/{pid}/fd")) + room)
    for _ in range(3):
        with Dialogue(lab.port) as client:
            codes = [client.reply()[0]]
            for line in ("EHLO client.example", "MAIL FROM:<a@b.example>", "RCPT TO:<ssow@semail.test>", "DATA", b"Subject: x\r\n\r\n.\r\n"):
                if codes[-1] not in (220, 250, 354):
                    break
                codes.append(client.say(line))
            assert len(codes) == 6 and codes[-1] == 250 or codes[-1] in (0, 421, 451, 452), codes
            print("replies with", room, "descriptors:", codes)
    for pid in (template, *children(template)):
        limit(pid, nofile=soft)
    assert is_alive(template)
    lab.send("xredon")
    lab.wait_delivered("xredon", 1)


def test_no_descriptors_for_qrunner(running):
    lab = running
    pid = lab.pid("qrunner")
    soft, before = limits_of(pid, "nofile"), cpu_seconds(pid)
    limit(pid, nofile=len(os.listdir(f"/proc/{pid}/fd")) + 1)
    for _ in range(10):
        lab.send()
    time.sleep(1)
    assert cpu_seconds(pid) - before < 0.5, "it spins"
    assert is_alive(pid)
    limit(pid, nofile=soft)
    lab.flush()
    lab.wait_exactly({"ssow": 10}, 10)


def test_no_descriptors_for_deliveries(running):
    lab = running
    template = lab.delivery_template()
    soft = limits_of(template, "nofile")
    for pid in (template, *children(template)):
        limit(pid, nofile=len(os.listdir(f"/proc/{pid}/fd")) + 1)
    for _ in range(10):
        lab.send()
    assert await_true(lambda: len(later(lab)) == 10), lab.report()
    for pid in (template, *children(template)):
        limit(pid, nofile=soft)
    lab.flush()
    lab.wait_exactly({"ssow": 10})
    assert lab.leftovers("ssow") == []


def test_no_processes_for_sessions(running):
    """Those who cannot be served hear it; the template lives, and so do those who are served."""
    lab = running
    template = lab.session_template()
    soft = limits_of(template, "nproc")
    limit(template, nproc=1)
    # As many as there are processes waiting.
    served = [Dialogue(lab.port).begin() for _ in children(template)]
    for _ in range(3):
        with Dialogue(lab.port) as client:
            code, text = client.reply()
            assert code == 421, (code, text)
    for client in served:
        assert client.message(b"Subject: x\r\n\r\n") == 250
        client.close()
    limit(template, nproc=soft)
    assert await_true(lambda: greets(lab))
    lab.send()
    lab.wait_exactly({"ssow": len(served) + 1})


def test_no_processes_for_sessions_without_a_template(lab):
    lab.start(accept=[option for option in semailtest.ACCEPT if option != "-t"])
    pid = lab.pid("tcp-accept")
    soft = limits_of(pid, "nproc")
    limit(pid, nproc=1)
    for _ in range(3):
        with Dialogue(lab.port) as client:
            assert client.reply()[0] == 421
    limit(pid, nproc=soft)
    lab.send()
    lab.wait_exactly({"ssow": 1})


def test_no_processes_for_deliveries():
    owners = [f"owner{number}" for number in range(5)]
    with Lab(owners=owners) as lab:
        lab.start()
        template = lab.delivery_template()
        soft = limits_of(template, "nproc")
        limit(template, nproc=1)
        spare = len(children(template))
        for owner in owners:
            lab.send(owner)
        assert await_true(lambda: len(later(lab)) == len(owners) - spare), lab.report()
        limit(template, nproc=soft)
        # Not before the template has somebody again.
        time.sleep(0.3)
        lab.flush()
        lab.wait_exactly({owner: 1 for owner in owners})


# -- clients ----------------------------------------------------------------

def test_client_stalls_in_a_message(running):
    lab = running
    lab.control("idle-time", "1s")
    with Dialogue(lab.port) as client:
        client.begin()
        client.socket.sendall(b"Subject: half\r\n\r\nhalf a mess")
        pid = lab.session(client)
        begun = time.monotonic()
        assert client.reply()[0] == 421
        assert 0.8 < time.monotonic() - begun < 5
    assert await_true(lambda: not is_alive(pid))
    assert lab.queue_files() == []


def test_client_does_not_read(running):
    """It sends commands and takes no answer: silence as well, in the other direction."""
    lab = running
    lab.control("idle-time", "1s")
    with Dialogue(lab.port) as client:
        assert client.reply()[0] == 220
        client.say("EHLO client.example")
        pid = lab.session(client)
        client.socket.settimeout(1)
        try:
            while True:
                client.socket.sendall(b"NOOP\r\n" * 1000)
        except (socket.timeout, ConnectionError):
            pass
        peak = peak_memory(pid)
        print(f"not reading costs {peak} KB")
        assert peak < 4096
        assert await_true(lambda: not is_alive(pid), 6), "the session waits for its client to read"


def test_clients_vanish(running):
    """At every point of a dialogue."""
    lab = running
    pieces = [b"", b"EHLO client.example\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<ssow@semail.test>\r\n", b"DATA\r\n",
              b"Subject: x\r\n\r\n", fill_to(300_000), b"last\r\n."]
    for count in range(1, len(pieces) + 1):
        for how in ("reset", "close"):
            client = Dialogue(lab.port)
            assert client.reply()[0] == 220
            for index, piece in enumerate(pieces[:count]):
                client.socket.sendall(piece)
                if 1 <= index <= 4:
                    client.reply()
            getattr(client, how)()
    assert await_true(lambda: not lab.sessions()), "sessions without clients go on"
    assert lab.queue_files() == [] and lab.delivered("ssow") == []
    lab.send()
    lab.wait_exactly({"ssow": 1})


def test_client_vanishes_in_chunks(running):
    lab = running
    for _ in range(5):
        client = Dialogue(lab.port)
        assert client.reply()[0] == 220
        client.say("EHLO client.example")
        client.say("MAIL FROM:<a@b.example>")
        client.say("RCPT TO:<ssow@semail.test>")
        assert client.say(b"BDAT 10\r\n12345678\r\n") == 250
        client.socket.sendall(b"BDAT 100000 LAST\r\nhalf")
        client.reset()
    assert await_true(lambda: not lab.sessions())
    assert lab.queue_files() == []


@pytest.mark.parametrize("how", ["DATA", "BDAT", "a line without end", "a command without end"])
def test_far_too_much(running, how):
    """Bounded memory, nothing on the disk, and an answer."""
    lab = running
    lab.control("message-size", "1M")
    total = (10 << 30) if LONG else (400 << 20)
    with Dialogue(lab.port, timeout=120) as client:
        assert client.reply()[0] == 220
        client.say("EHLO client.example")
        pid = lab.session(client)
        block = fill_to(1 << 20)
        if how == "a line without end":
            block = b"x" * (1 << 20)
        if how == "a command without end":
            block = b"N" * (1 << 20)
        else:
            client.say("MAIL FROM:<a@b.example>")
            client.say("RCPT TO:<ssow@semail.test>")
            if how == "BDAT":
                client.socket.sendall(b"BDAT %d LAST\r\n" % total)
            else:
                assert client.say("DATA") == 354
        begun = time.monotonic()
        most = 0
        try:
            for number in range(total >> 20):
                client.socket.sendall(block)
                if number % 64 == 0:
                    most = max(most, sum(os.fstat(descriptor).st_size for descriptor in open_files(pid)))
        except ConnectionError:
            assert how == "a command without end"
        peak = peak_memory(pid)
        print(f"{how}: {total >> 20} MB in {time.monotonic() - begun:.1f} s, {peak} KB")
        if how == "BDAT":
            code = client.reply()[0]
        elif how == "a command without end":
            code = client.reply()[0]
        else:
            code = client.message(b"\r\n")
        assert code == {"DATA": 552, "BDAT": 552, "a line without end": 500}.get(how, 500), code
        assert peak < 4096
        assert most <= 2 << 20
    assert await_true(lambda: not is_alive(pid))
    assert lab.queue_files() == []


def open_files(pid):
    """Our own descriptors of the regular files that a process has open for writing."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            info = Path(f"/proc/{pid}/fdinfo/{name}").read_text()
            if int(re.search(r"flags:\s+(\d+)", info)[1], 8) & 3:
                descriptor = os.open(f"/proc/{pid}/fd/{name}", os.O_PATH)
                if os.path.isfile(f"/proc/self/fd/{descriptor}") or "deleted" in os.readlink(f"/proc/self/fd/{descriptor}"):
                    found.append(descriptor)
                else:
                    os.close(descriptor)
        except (FileNotFoundError, ProcessLookupError):
            pass
    return Closing(found)


class Closing(list):
    def __del__(self):
        for descriptor in self:
            os.close(descriptor)


def test_many_commands(running):
    """A flood of commands is answered one by one, in bounded memory."""
    lab = running
    with Dialogue(lab.port, timeout=60) as client:
        assert client.reply()[0] == 220
        client.say("EHLO client.example")
        pid = lab.session(client)
        total = 200_000
        sender = threading.Thread(target=lambda: [client.socket.sendall(b"NOOP\r\n" * 1000) for _ in range(total // 1000)])
        sender.start()
        received = 0
        while received < total * len("250 2.0.0 "):
            got = client.socket.recv(1 << 20)
            assert got
            received += len(got)
        sender.join()
        peak = peak_memory(pid)
        print(f"{total} NOOPs: {peak} KB")
        assert 0 < peak < 4096


# -- queue and trigger ------------------------------------------------------

def test_trigger_is_gone(running):
    """Mail is accepted, and found when qrunner looks through the queue."""
    lab = running
    lab.send()
    lab.wait_delivered("ssow", 1)
    (lab.directory / "run/trigger").unlink()
    lab.send()
    assert len(lab.queue_files()) == 1
    lab.flush()
    lab.wait_exactly({"ssow": 2}, 10)


def test_trigger_is_full(running):
    """Nobody waits for room in it; nothing is forgotten."""
    lab = running
    qrunner = lab.pid("qrunner")
    os.kill(qrunner, signal.SIGSTOP)
    try:
        descriptor = os.open(lab.directory / "run/trigger", os.O_WRONLY | os.O_NONBLOCK)
        name = 0
        with pytest.raises(BlockingIOError):
            while True:
                os.write(descriptor, b"".join(b"%016d\n" % (name := name + 1) for _ in range(240)))
        with pytest.raises(BlockingIOError):
            while True:
                os.write(descriptor, b"%016d\n" % (name := name + 1))
        os.close(descriptor)
        begun = time.monotonic()
        for _ in range(20):
            lab.send()
        assert time.monotonic() - begun < 5
    finally:
        os.kill(qrunner, signal.SIGCONT)
    lab.wait_exactly({"ssow": 20})


def test_nonsense_in_the_trigger(running):
    lab = running
    with open(lab.directory / "run/trigger", "wb", buffering=0) as trigger:
        for text in (b"\n\n\n", b"../../../etc/passwd\n", b"x" * 3000, b"\n0000000000000000\n", b"\0" * 100, b"0" * 15, b"\xff\xfe\n"):
            trigger.write(text)
    lab.send()
    lab.wait_exactly({"ssow": 1})
    assert is_alive(lab.pid("qrunner"))


def test_nonsense_in_the_queue(running):
    """Files that no session wrote are set aside or left alone; they stop nobody."""
    lab = running
    new = lab.directory / "queue/new"
    contents = {"0" * 15 + "1": b"", "0" * 15 + "2": b"semail 1\n", "0" * 15 + "3": os.urandom(5000), "0" * 15 + "4": b"semail 1\n" + b"x" * 2_000_000,
                "0" * 15 + "5": b"semail 1\nreceived 1.000000\nfrom \n\nx", "not-a-name": b"x"}
    for name, content in contents.items():
        (new / name).write_bytes(content)
        os.chown(new / name, faultlab.QUEUE_UID, faultlab.SMTPD_GID)
    (new / ("0" * 15 + "6")).symlink_to("/etc/passwd")
    (new / ("0" * 15 + "7")).mkdir()
    os.mkfifo(new / ("0" * 15 + "8"))
    lab.stop_process("qrunner")
    lab.start_qrunner()
    lab.send()
    lab.wait_delivered("ssow", 1)
    assert is_alive(lab.pid("qrunner")), lab.report()
    assert cpu_is_quiet(lab.pid("qrunner"))


def cpu_is_quiet(pid, seconds=1.0):
    before = cpu_seconds(pid)
    time.sleep(seconds)
    return cpu_seconds(pid) - before < 0.3


def test_qrunner_was_down(lab):
    """Everything that came in meanwhile goes out, in bounded memory."""
    lab.start_accept()
    total = 2200
    send_many(lab, ["ssow", "xredon"] * (total // 2))
    assert len(lab.queue_files()) == total
    lab.start_qrunner()
    lab.wait_exactly({"ssow": total // 2, "xredon": total // 2}, 60)
    print(f"qrunner with {total} messages: {status(lab.pid('qrunner'))['VmHWM']}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_restart_of_qrunner_in_the_middle(lab, number):
    lab.start_accept()
    total = 1500
    send_many(lab, ["ssow", "xredon", "ssow"] * (total // 3))
    restarts = 0
    while True:
        lab.start_qrunner()
        if restarts == 5:
            break
        before = len(lab.delivered("ssow"))
        assert await_true(lambda: len(lab.delivered("ssow")) > before + 30 or not lab.queue_files())
        process = lab.processes["qrunner"]
        process.send_signal(number)
        code = process.wait(20)
        if number == signal.SIGTERM:
            assert code == 0, lab.report()
        restarts += 1
    lab.wait_queue_empty(60)
    counts = {owner: len(lab.delivered(owner)) for owner in ("ssow", "xredon")}
    if number == signal.SIGTERM:
        assert counts == {"ssow": 1000, "xredon": 500}, "SIGTERM finishes what runs: no message comes twice"
    else:
        assert counts["ssow"] >= 1000 and counts["xredon"] >= 500
        print("duplicates after", restarts, "kills:", sum(counts.values()) - total)
    assert lab.leftovers("ssow") == [] or number == signal.SIGKILL


def test_one_qrunner_is_enough(running):
    process = running.spawn(running.program("qrunner"), ["-u", semailtest.QUEUE_USER], log="second")
    assert process.wait(10) == 111
    assert "lock" in running.log("second")
    running.send()
    running.wait_exactly({"ssow": 1})


def test_once(lab):
    """Delivers what is due and ends."""
    lab.start_accept()
    for _ in range(60):
        lab.send()
    lab.set_state("xredon@semail.test", "active")
    process = lab.spawn(lab.program("qrunner"), ["-u", semailtest.QUEUE_USER, "--once"], log="once")
    assert process.wait(20) == 0, lab.report()
    assert len(lab.delivered("ssow")) == 60 and lab.queue_files() == []


@MODES
def test_killed_session_template(lab, accept):
    """Nobody is left waiting: who connects then is served, hears 421, or is hung up on; and tcp-accept ends for its supervisor."""
    lab.start_accept(accept=accept)
    process = lab.processes["tcp-accept"]
    with Dialogue(lab.port) as client:
        client.begin()
        if accept is semailtest.ACCEPT:
            os.kill(lab.session_template(), signal.SIGKILL)
        else:
            os.kill(lab.session(client), signal.SIGKILL)
        for _ in range(10):
            try:
                other = Dialogue(lab.port, timeout=5)
            except ConnectionRefusedError:
                break
            with other:
                assert other.reply()[0] in (220, 421, 0)
        if accept is semailtest.ACCEPT:
            assert process.wait(5) == 111
            # A session under way is not hurt.
            assert client.message(b"Subject: x\r\n\r\n") == 250
            lab.start_accept(accept=accept)
    lab.start_qrunner()
    lab.send()
    lab.wait_exactly({"ssow": 2 if accept is semailtest.ACCEPT else 1})


def test_killed_delivery_template(running):
    """Nothing waits for ever: qrunner ends, and its successor delivers."""
    lab = running
    process = lab.processes["qrunner"]
    os.kill(lab.delivery_template(), signal.SIGKILL)
    for owner in ("ssow", "xredon"):
        lab.send(owner)
    assert process.wait(5) == 111
    lab.start_qrunner()
    lab.wait_exactly({"ssow": 1, "xredon": 1})


# -- sending ----------------------------------------------------------------

@pytest.fixture
def sending(lab):
    """The outgoing server, where this host's programs send as any mailbox of it."""
    lab.start_accept(session=("submission",))
    return lab


def send_out(lab, recipient="anna@away.example", sender="ssow@semail.test", body=b"out\r\n"):
    with lab.smtp() as client:
        client.sendmail(sender, [recipient], b"From: %s\r\nSubject: out\r\n\r\n" % sender.encode() + body)


def route(lab, peer, domain="away.example"):
    """Everything for DOMAIN goes to this peer, from now on."""
    lab.control("routes", f"{domain} [127.0.0.1]:{peer.port} none")


def route_each(lab, peer, count):
    """So many destinations, each at an address of its own, at all of which this peer listens; their names."""
    names = [f"away{number}.example" for number in range(count)]
    lab.control("routes", "\n".join(f"{name} [127.0.0.{number + 1}]:{peer.port} none" for number, name in enumerate(names)))
    return names


def taken(peer):
    return [message for message in peer.messages if message.is_taken]


def wait_taken(lab, peer, count):
    """So many messages and no more, each once; and nothing is left here."""
    assert await_true(lambda: len(taken(peer)) >= count), lab.report()
    lab.wait_queue_empty()
    assert len(taken(peer)) == count, lab.report()


def deferrals(lab):
    return lab.log("qrunner").count(" deferred ")


def test_full_queue_disk_while_sending():
    """The outgoing server as well: 452, and nothing half."""
    with Lab(queue="16M") as lab:
        lab.start_accept(session=("submission",))
        filling = lab.volumes["queue"].fill(leave=1 << 20)
        with Dialogue(lab.port) as client:
            client.begin(sender="ssow@semail.test", recipient="xredon@semail.test")
            assert client.message(b"From: ssow@semail.test\r\n" + LARGE + fill_to(4 << 20)) == 452
            assert client.say(f"MAIL FROM:<ssow@semail.test> SIZE={8 << 20}") == 452
            assert lab.queue_files() == []
            filling.unlink()
            client.transaction(sender="ssow@semail.test", recipient="xredon@semail.test")
            assert client.message(b"From: ssow@semail.test\r\n" + LARGE + fill_to(4 << 20)) == 250
        lab.start_qrunner()
        lab.wait_exactly({"xredon": 1})


def test_budgets_cannot_be_kept(sending):
    """Who cannot be counted cannot send: 451; and can when that is mended."""
    lab = sending
    budgets = lab.directory / "run/budgets"
    os.chmod(budgets, 0)
    with Dialogue(lab.port) as client:
        assert client.reply()[0] == 220
        client.say("EHLO client.example")
        assert client.say("MAIL FROM:<ssow@semail.test>") == 250
        assert client.say("RCPT TO:<xredon@semail.test>") == 250
        code = client.say("DATA")
        if code == 354:
            code = client.message(b"From: ssow@semail.test\r\n\r\n")
        assert code == 451
        assert lab.queue_files() == [] and list(budgets.iterdir()) == []
        os.chmod(budgets, 0o700)
        client.say("RSET")
        client.transaction(sender="ssow@semail.test", recipient="xredon@semail.test")
        assert client.message(b"From: ssow@semail.test\r\n\r\n") == 250
    assert "not-stored" in lab.log("tcp-accept")
    assert len(list(budgets.iterdir())) == 1


def test_nobody_knows_passwords(sending):
    """454, which is no refusal; and when the service is there, the same session is let in."""
    lab = sending
    lab.control("auth-without-tls", "yes")
    credentials = "AUTH PLAIN " + base64.b64encode(b"\0ssow\0secret").decode()
    with Dialogue(lab.port) as client:
        assert client.reply()[0] == 220
        assert client.say("EHLO client.example") == 250
        assert client.say(credentials) == 454
        # A socket at which nobody listens any more.
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(lab.directory / "run/auth"))
        assert client.say(credentials) == 454
        lab.start_authentication("/bin/sh", "-c", 'test "$(tr "\\0" : <&3)" = ssow:secret:: && USER=ssow exec "$@"', "check")
        assert client.say(credentials.replace("c2VjcmV0", "d3Jvbmc=")) == 535
        assert client.say(credentials) == 235, lab.report()
    assert lab.log("tcp-accept").count("smtpd-session: error: authentication ") == 2


def test_killed_relay_template(sending):
    """With a message under way: qrunner ends, its successor sends it, and the relay that lives on does not."""
    lab, go_on = sending, threading.Event()

    def wait(session):
        go_on.wait(20)
        return USUAL

    with BadPeer(replies={"RCPT": [wait, USUAL]}, address="0.0.0.0") as peer:
        names = route_each(lab, peer, 4)
        process = lab.start_qrunner()
        send_out(lab, f"anna@{names[0]}")
        assert await_true(lambda: any(line.startswith(b"RCPT") for _, line in peer.commands)), lab.report()
        template = lab.template("remote-relay")
        assert len(children(template)) <= 3
        os.kill(template, signal.SIGKILL)
        # Those it has forked in advance do their work; then there is nobody.
        for count, name in enumerate(names[1:], 1):
            send_out(lab, f"anna@{name}")
            assert await_true(lambda: lab.log("qrunner").count("qrunner: info: relayed ") == count or process.poll() is not None), lab.report()
        assert process.wait(5) == 111
        lab.start_qrunner()
        wait_taken(lab, peer, 4)
        go_on.set()
        time.sleep(0.5)
        assert len(taken(peer)) == 4 and all(message.connection > 1 for message in taken(peer)), lab.report()


@pytest.mark.parametrize("who", ["template", "worker", "all"])
def test_killed_signer(sending, who):
    """What was to be signed is signed, and sent once; nothing leaves unsigned."""
    lab = sending
    lab.make_signing_key()
    with BadPeer() as peer:
        route(lab, peer)
        process = lab.start_qrunner()
        send_out(lab)
        wait_taken(lab, peer, 1)
        template = lab.template("dkim-sign")
        worker = faultlab.only(pid for pid in children(template) if faultlab.is_at_work(pid))
        for pid in {"template": [template], "worker": [worker], "all": [template, *children(template)]}[who]:
            os.kill(pid, signal.SIGKILL)
        if who == "all":
            assert process.wait(5) == 111
        for _ in range(3):
            send_out(lab)
        if who == "all":
            lab.start_qrunner()
        lab.settle(20)
        wait_taken(lab, peer, 4)
        assert all(message.octets.startswith(b"DKIM-Signature: ") for message in taken(peer))


def test_signer_dies_over_a_message(sending):
    """Each time it is asked: the message waits and does not leave unsigned."""
    lab = sending
    lab.make_signing_key()
    with BadPeer() as peer:
        route(lab, peer)
        lab.start_qrunner()
        with faultlab.Killing(lab.template("dkim-sign"), "pread64", 1, "entry", children_only=True) as killing:
            send_out(lab)
            assert await_true(killing.has_killed)
            assert await_true(lambda: deferrals(lab) == 1), lab.report()
        assert taken(peer) == [] and "status=4.7.0" in lab.log("qrunner")
        assert lab.processes["qrunner"].poll() is None
        lab.flush()
        wait_taken(lab, peer, 1)
        assert taken(peer)[0].octets.startswith(b"DKIM-Signature: ")


def test_signing_key_cannot_be_read(sending):
    """Said with its path, and tried again; the key is mended, and the message goes out signed."""
    lab = sending
    key = lab.make_signing_key()
    text = key.read_text()
    key.write_text("no key")
    with BadPeer() as peer:
        route(lab, peer)
        lab.start_qrunner()
        send_out(lab)
        assert await_true(lambda: deferrals(lab) == 1), lab.report()
        assert "not-signed" in lab.log("qrunner") and key.name in lab.log("qrunner")
        assert peer.connections == 0
        key.write_text(text)
        lab.flush()
        wait_taken(lab, peer, 1)
        assert taken(peer)[0].octets.startswith(b"DKIM-Signature: ")


def test_no_descriptors_for_relays(sending):
    lab = sending
    with BadPeer() as peer:
        route(lab, peer)
        lab.start_qrunner()
        template = lab.template("remote-relay")
        soft = limits_of(template, "nofile")
        for pid in (template, *children(template)):
            limit(pid, nofile=len(os.listdir(f"/proc/{pid}/fd")))
        for _ in range(3):
            send_out(lab)
        assert await_true(lambda: len(later(lab)) == 3), lab.report()
        assert is_alive(template) and peer.connections == 0
        # It first: what it forks meanwhile has its limit.
        limit(template, nofile=soft)
        for pid in children(template):
            limit(pid, nofile=soft)
        lab.flush()
        wait_taken(lab, peer, 3)


def test_no_processes_for_relays(sending):
    """As many destinations as there are processes waiting are served; the others later."""
    lab = sending
    with BadPeer(address="0.0.0.0") as peer:
        names = route_each(lab, peer, 5)
        lab.start_qrunner()
        template = lab.template("remote-relay")
        soft = limits_of(template, "nproc")
        limit(template, nproc=1)
        spare = len(children(template))
        for name in names:
            send_out(lab, f"anna@{name}")
        assert await_true(lambda: len(taken(peer)) + len(later(lab)) == len(names)), lab.report()
        assert len(taken(peer)) >= spare and is_alive(template)
        limit(template, nproc=soft)
        time.sleep(0.3)
        lab.flush()
        wait_taken(lab, peer, len(names))


def test_routes_make_no_sense(sending):
    """What was in force stays so, and the log says what is wrong; started with such routes, qrunner does not."""
    lab = sending
    with BadPeer() as old, BadPeer() as new:
        route(lab, old)
        process = lab.start_qrunner()
        send_out(lab)
        wait_taken(lab, old, 1)
        time.sleep(1)
        lab.control("routes", f"away.example [127.0.0.1]:{new.port} none\nother.example nowhere nonsense")
        for _ in range(2):
            send_out(lab)
            time.sleep(1.1)
        wait_taken(lab, old, 3)
        assert lab.log("qrunner").count("warning: settings") == 1 and "other.example nowhere nonsense" in lab.log("qrunner")
        route(lab, new)
        time.sleep(1)
        send_out(lab)
        wait_taken(lab, new, 1)
        lab.control("routes", "nonsense")
        lab.stop_process("qrunner")
        process = lab.start_qrunner()
        assert process.wait(5) == 111


def test_an_envelope_that_a_session_made_up(sending):
    """It says that a mailbox of ours sent it, or that it is a report of qrunner's: the file lacks what the inbound server cannot give it."""
    lab = sending
    with BadPeer() as peer:
        route(lab, peer)
        paths = []
        for number, lines in enumerate(("by ssow@semail.test\nfrom ssow@semail.test\n", "from \n")):
            for mode in (0o660, 0o1660):
                path = lab.directory / "queue/new" / (str(number) * 12 + f"{mode:04o}")
                path.write_text(f"semail 1\nreceived {int(time.time())}.000000\n{lines}to W anna@away.example\n\nFrom: ssow@semail.test\n\n{path.name}\n")
                os.chown(path, faultlab.SMTPD_UID, faultlab.SMTPD_GID)
                os.chmod(path, mode)
                paths.append(path.name.encode())
        lab.start_qrunner()
        lab.wait_queue_empty()
        # Those who have it went; of the two others ssow, who is said to have sent one, hears once.
        assert sorted(message.octets.strip().split(b"\r\n")[-1] for message in taken(peer)) == [paths[1], paths[3]]
        lab.wait_exactly({"ssow": 1})


def test_lines_of_a_later_version(sending):
    """An envelope with lines, and words of a recipient, that nobody knows: they mean nothing, and hurt nothing."""
    lab = sending
    with BadPeer() as peer:
        route(lab, peer)
        path = lab.directory / "queue/new" / ("7" * 16)
        path.write_text(f"semail 1\nreceived {int(time.time())}.000000\npriority high\nby ssow@semail.test\nfrom ssow@semail.test\nx-unknown \n"
                        "to W anna@away.example\tcolour=blue\tnotify=failure\nto W xredon@semail.test\tshape=round\n\nFrom: ssow@semail.test\n\nlater\n")
        os.chown(path, faultlab.SMTPD_UID, faultlab.SMTPD_GID)
        os.chmod(path, 0o1660)
        break_maildir(lab, "xredon")
        lab.start_qrunner()
        # The one recipient is done and marked so, the other waits.
        assert await_true(lambda: taken(peer) and later(lab)), lab.report()
        mend_maildir(lab, "xredon")
        lab.flush()
        lab.wait_exactly({"xredon": 1})
        assert len(taken(peer)) == 1 and b"later\r\n" in taken(peer)[0].octets
        assert any(b"NOTIFY=FAILURE" in line for _, line in peer.commands)


@pytest.mark.parametrize("who", ["tls-wrap", "smtpd-session"])
def test_killed_template_of_tls(lab, who):
    """Either of the two that are nested: no client waits for ever, and tcp-accept ends for its supervisor."""
    port = lab.start_tls()
    process = lab.processes["outbound-tls"]
    outer = lab.template("tls-wrap", process.pid)
    os.kill(outer if who == "tls-wrap" else lab.template("smtpd-session", outer), signal.SIGKILL)
    for _ in range(5):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection, anybody().wrap_socket(connection) as client:
                assert client.recv(100)[:3] in (b"", b"220", b"421")
        except (ConnectionError, ssl.SSLError):
            pass
    assert process.wait(10) == 111, lab.report()
    port = lab.start_tls()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection, anybody().wrap_socket(connection) as client:
        assert client.recv(100).startswith(b"220")


def anybody():
    """A client that takes every certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


# -- tries and bounces ------------------------------------------------------

def put_into_queue(lab, recipient, age, sender="xredon@semail.test", place="new"):
    """A message that was accepted AGE seconds ago."""
    name = "0" * 8 + "%08d" % (int(time.time() * 100) % 10**8)
    path = lab.directory / "queue" / place / name
    path.write_text(f"semail 1\nreceived {int(time.time()) - age}.000000\nfrom {sender}\nto W {recipient}\n\nSubject: old\n\nold\n")
    os.chown(path, faultlab.QUEUE_UID, faultlab.SMTPD_GID)
    os.chmod(path, 0o660)
    return name


def break_maildir(lab, owner):
    lab.maildir(owner).rename(lab.maildir(owner).with_name("aside"))


def mend_maildir(lab, owner):
    lab.maildir(owner).with_name("aside").rename(lab.maildir(owner))


@pytest.mark.parametrize("age,least,most", [(0, 48, 72), (600, 240, 360), (3600, 1440, 2160), (86400, 5760, 8640), (400_000, 5760, 8640)])
def test_pause_before_the_next_try(lab, age, least, most):
    """Half the message's age, from one minute to two hours, give or take a fifth."""
    break_maildir(lab, "ssow")
    name = put_into_queue(lab, "ssow@semail.test", age)
    lab.start_qrunner()
    assert await_true(lambda: later(lab)), lab.report()
    pause = later(lab)[name] * 60 - time.time()
    assert least - 5 <= pause <= most + 60
    assert "4.2.1" in (lab.directory / "queue/reason" / name).read_text()


def test_tried_again_when_due(lab):
    """Without anybody's order: the minute comes."""
    lab.start_qrunner()
    minute = int(time.time()) // 60 + 1
    place = lab.directory / f"queue/later/{minute}"
    if minute * 60 - time.time() > 3 and not LONG:
        # The minute before is due already; what matters is that a running qrunner comes to it, tried in the long form.
        minute -= 1
        lab.stop_process("qrunner")
    place = lab.directory / f"queue/later/{minute}"
    place.mkdir(mode=0o700)
    os.chown(place, faultlab.QUEUE_UID, faultlab.SMTPD_GID)
    put_into_queue(lab, "ssow@semail.test", 100, place=f"later/{minute}")
    if "qrunner" in lab.processes:
        lab.stop_process("qrunner")
    lab.start_qrunner()
    lab.wait_exactly({"ssow": 1}, 70)
    assert await_true(lambda: not place.exists()), "the emptied minute stays"


def test_mended_mailbox(running):
    lab = running
    break_maildir(lab, "ssow")
    lab.send(body=b"late\r\n")
    lab.send("xredon", body=b"at once\r\n")
    lab.wait_delivered("xredon", 1)
    assert await_true(lambda: later(lab))
    mend_maildir(lab, "ssow")
    lab.flush()
    lab.wait_exactly({"ssow": 1})
    assert list((lab.directory / "queue/reason").iterdir()) == []
    assert await_true(lambda: list((lab.directory / "queue/later").iterdir()) == []), "the emptied minute stays"


def bounce_in(lab, owner, count=1):
    """The bounces in a Maildir, parsed and checked for their form (RFC 3462, 3464)."""
    lab.wait_delivered(owner, count)
    found = []
    for path in lab.delivered(owner):
        raw = path.read_bytes()
        assert raw.startswith(b"Return-Path: <>\n")
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert not message.defects and not any(part.defects for part in message.walk()), raw.decode()
        assert message.get_content_type() == "multipart/report"
        assert message.get_param("report-type") == "delivery-status"
        assert message["Auto-Submitted"] == "auto-replied"
        assert message["From"].addresses[0].addr_spec == "postmaster@mail.semail.test"
        assert message["Message-ID"] and message["Date"].datetime
        text, report, original = message.iter_parts()
        assert text.get_content_type() == "text/plain"
        assert report.get_content_type() == "message/delivery-status"
        assert original.get_content_type() == "text/rfc822-headers"
        per_message, *per_recipient = report.get_payload()
        assert per_message["Reporting-MTA"] == "dns; mail.semail.test"
        for fields in per_recipient:
            assert fields["Action"] == "failed" and fields["Status"].startswith("5.")
        found.append((message, per_recipient, original))
    return found


def test_bounce_after_the_lifetime(running):
    """To a sender who has a mailbox here."""
    lab = running
    lab.control("queue-lifetime", "1s")
    break_maildir(lab, "ssow")
    lab.send("ssow", sender="xredon@semail.test", subject=b"never read")
    time.sleep(1.2)
    lab.flush()
    [(message, [fields], original)] = bounce_in(lab, "xredon")
    assert message["To"] == "xredon@semail.test"
    assert fields["Final-Recipient"] == "rfc822; ssow@semail.test"
    assert fields["Status"] == "5.4.7"
    assert "Subject: never read" in original.get_content()
    lab.wait_queue_empty()


def test_lifetime_is_read_when_used(running):
    """qrunner runs, the control file changes: no signal, no restart."""
    lab = running
    lab.set_state("ssow@semail.test", "active")
    break_maildir(lab, "ssow")
    lab.send("ssow", sender="xredon@semail.test")
    assert await_true(lambda: later(lab))
    lab.control("queue-lifetime", "1s")
    time.sleep(1.3)
    lab.flush()
    if not await_true(lambda: lab.delivered("xredon"), 2):
        lab.flush()
    bounce_in(lab, "xredon")


def test_suspended_after_acceptance(lab):
    lab.start_accept()
    lab.send("ssow", sender="xredon@semail.test")
    lab.set_state("ssow@semail.test", "suspended")
    lab.start_qrunner()
    assert await_true(lambda: later(lab)), lab.report()
    assert lab.delivered("ssow") == []
    lab.set_state("ssow@semail.test", "active")
    lab.flush()
    lab.wait_exactly({"ssow": 1, "xredon": 0})


def test_deleted_after_acceptance(lab):
    """A bounce at once: nobody will come."""
    lab.start_accept()
    lab.send("ssow", sender="xredon@semail.test")
    (lab.directory / "mailboxes/ssow@semail.test").unlink()
    lab.start_qrunner()
    [(_, [fields], _)] = bounce_in(lab, "xredon")
    assert fields["Status"] == "5.1.1"
    lab.wait_queue_empty()


def test_one_of_several_recipients_fails(lab):
    """The others get theirs once; the bounce names the one."""
    lab.add_mailbox("third")
    lab.start_accept()
    with lab.smtp() as client:
        client.sendmail("xredon@semail.test", ["ssow@semail.test", "third@semail.test"], b"Subject: two\r\n\r\n")
    break_maildir(lab, "ssow")
    lab.start_qrunner()
    lab.wait_delivered("third", 1)
    assert await_true(lambda: later(lab))
    # Some tries more: what was delivered is not delivered again, also not after a restart.
    lab.flush()
    time.sleep(0.3)
    lab.stop_process("qrunner")
    lab.control("queue-lifetime", "1s")
    time.sleep(1)
    lab.start_qrunner()
    lab.flush()
    [(_, [fields], _)] = bounce_in(lab, "xredon")
    assert fields["Final-Recipient"] == "rfc822; ssow@semail.test"
    lab.wait_exactly({"third": 1, "xredon": 1})


def test_bounce_of_a_bounce(lab):
    """Goes to postmaster, says so, and is the last."""
    lab.add_mailbox("boss", "postmaster@mail.semail.test")
    lab.start_accept()
    lab.send("ssow", sender="xredon@semail.test")
    for owner in ("ssow", "xredon"):
        (lab.directory / f"mailboxes/{owner}@semail.test").unlink()
    lab.start_qrunner()
    [(message, [fields], _)] = bounce_in(lab, "boss")
    assert fields["Final-Recipient"] == "rfc822; xredon@semail.test"
    assert "bounce" in message["Subject"]
    lab.wait_queue_empty()


def test_postmaster_named_by_control(lab):
    lab.add_mailbox("boss")
    lab.control("postmaster", "boss@semail.test")
    lab.start_accept()
    lab.send("ssow", sender="")
    (lab.directory / "mailboxes/ssow@semail.test").unlink()
    lab.start_qrunner()
    [(_, [fields], _)] = bounce_in(lab, "boss")
    assert fields["Final-Recipient"] == "rfc822; ssow@semail.test"


@pytest.mark.parametrize("postmaster", ["none", "broken"])
def test_postmaster_fails_too(lab, postmaster):
    """A line in the log, and an end."""
    lab.control("queue-lifetime", "1s")
    if postmaster == "broken":
        lab.add_mailbox("boss", "postmaster@mail.semail.test")
    lab.start_accept()
    lab.send("ssow", sender="")
    (lab.directory / "mailboxes/ssow@semail.test").unlink()
    if postmaster == "broken":
        break_maildir(lab, "boss")
    lab.start_qrunner()
    for _ in range(4):
        time.sleep(1.1)
        lab.flush()
        if not lab.queue_files():
            break
    lab.wait_queue_empty()
    assert "discarded" in lab.log("qrunner"), lab.report()


def test_sender_elsewhere(lab):
    """There is no way out of this host yet: the bounce waits, and in the end postmaster hears of it."""
    lab.add_mailbox("boss", "postmaster@mail.semail.test")
    lab.control("queue-lifetime", "1s")
    lab.start_accept()
    lab.send("ssow", sender="someone@elsewhere.example")
    (lab.directory / "mailboxes/ssow@semail.test").unlink()
    lab.start_qrunner()
    for _ in range(4):
        time.sleep(1.1)
        lab.flush()
        if lab.delivered("boss"):
            break
    [(_, [fields], _)] = bounce_in(lab, "boss")
    assert fields["Final-Recipient"] == "rfc822; someone@elsewhere.example"
    lab.wait_queue_empty()


# -- tcp-accept -------------------------------------------------------------

@MODES
def test_sigterm_lets_sessions_end(lab, accept):
    lab.start_qrunner()
    process = lab.start_accept(accept=accept)
    with Dialogue(lab.port) as client:
        client.begin()
        process.send_signal(signal.SIGTERM)
        assert await_true(lambda: not is_listening(lab.port))
        assert process.poll() is None
        assert client.message(b"Subject: last\r\n\r\n") == 250
        assert client.say("QUIT") == 221
    assert process.wait(5) == 0
    lab.wait_exactly({"ssow": 1})


def is_listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except ConnectionRefusedError:
        return False


@MODES
def test_second_sigterm_cuts_sessions(lab, accept):
    process = lab.start_accept(accept=accept)
    with Dialogue(lab.port, timeout=5) as client:
        client.begin()
        client.socket.sendall(b"Subject: never\r\n\r\n")
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert client.reply()[0] in (0, 421)
    assert process.wait(5) == 0
    assert lab.queue_files() == []


@MODES
def test_connections_at_once(lab, accept):
    accept = [*accept[:accept.index("-c")], "-c", "3", *accept[accept.index("-c") + 2:]]
    lab.start_accept(accept=accept)
    clients = [Dialogue(lab.port) for _ in range(3)]
    assert [client.reply()[0] for client in clients] == [220] * 3
    with Dialogue(lab.port) as turned_away:
        assert turned_away.reply() == (421, "421 4.7.0 Too many connections, try later")
        assert turned_away.reply()[0] == 0
    clients.pop().say("QUIT")
    assert await_true(lambda: greets(lab)), "no room after one has left"
    for client in clients:
        client.close()


def greets(lab, source=None):
    with Dialogue(lab.port, source=source) as client:
        return client.reply()[0] == 220


@MODES
def test_connections_of_one_address(lab, accept):
    accept = [*accept[:accept.index("-i")], "-i", "2", *accept[accept.index("-i") + 2:]]
    lab.start_accept(accept=accept)
    clients = [Dialogue(lab.port) for _ in range(2)]
    assert [client.reply()[0] for client in clients] == [220] * 2
    with Dialogue(lab.port) as turned_away:
        assert turned_away.reply()[0] == 421
    # Another address is none of its business.
    assert greets(lab, source="127.0.0.2")
    clients.pop().close()
    assert await_true(lambda: greets(lab))
    for client in clients:
        client.close()
    assert "limit=address" in lab.log("tcp-accept")


@MODES
def test_connections_per_minute(lab, accept):
    accept = [*accept[:accept.index("-r")], "-r", "5", *accept[accept.index("-r") + 2:]]
    lab.start_accept(accept=accept)
    assert [greets(lab) for _ in range(8)] == [True] * 5 + [False] * 3
    assert greets(lab, source="127.0.0.2")
    assert "limit=rate" in lab.log("tcp-accept")


def test_turned_away_without_a_line(lab):
    lab.start_accept(accept=["-t", "-c", "1"])
    with Dialogue(lab.port) as client:
        assert client.reply()[0] == 220
        with Dialogue(lab.port) as turned_away:
            assert turned_away.reply() == (0, "")


def ask_for_environment(lab, host, port, connect):
    """What a program is given: `env` as the UCSPI program."""
    process = lab.spawn(lab.program("tcp-accept"), ["-u", semailtest.ACCEPT_USER, host, str(port), "/usr/bin/env"], log="environment",
                        environment={"TCPREMOTEIP": "192.0.2.9", "PROTO": "OLD", "TCPREMOTEHOST": "old.example", "KEPT": "yes"})
    assert await_true(lambda: "listening" in lab.log("environment")), lab.report()
    number = re.findall(r"port=(\S+)", lab.log("environment"))[-1]
    with connect(number) as connection:
        connection.settimeout(10)
        name = connection.getsockname()
        text = b""
        while got := connection.recv(65536):
            text += got
    lab.stop_process("environment")
    return dict(line.split("=", 1) for line in text.decode().splitlines()), name, number


def test_environment_ipv4(lab):
    found, name, port = ask_for_environment(lab, "127.0.0.1", 0, lambda port: socket.create_connection(("127.0.0.1", int(port))))
    assert found["PROTO"] == "TCP"
    assert (found["TCPREMOTEIP"], found["TCPREMOTEPORT"]) == ("127.0.0.1", str(name[1]))
    assert (found["TCPLOCALIP"], found["TCPLOCALPORT"]) == ("127.0.0.1", port)
    assert "TCPREMOTEHOST" not in found and found["KEPT"] == "yes"


def test_environment_ipv6(lab):
    found, name, port = ask_for_environment(lab, "::1", 0, lambda port: socket.create_connection(("::1", int(port))))
    assert (found["TCPREMOTEIP"], found["TCPREMOTEPORT"]) == ("::1", str(name[1]))
    assert (found["TCPLOCALIP"], found["TCPLOCALPORT"]) == ("::1", port)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_environment_of_both_families(lab, address):
    """One socket for all; an IPv4 client is told by its IPv4 address."""
    found, _, _ = ask_for_environment(lab, "0", 0, lambda port: socket.create_connection((address, int(port))))
    assert found["TCPREMOTEIP"] == found["TCPLOCALIP"] == address


def test_environment_of_a_unix_socket(lab):
    def connect(path):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        return connection
    found, _, _ = ask_for_environment(lab, "unix", lab.directory / "run/public", connect)
    assert found["PROTO"] == "UNIX"
    assert (found["UNIXREMOTEPID"], found["UNIXREMOTEEUID"], found["UNIXREMOTEEGID"]) == (str(os.getpid()), "0", "0")
    assert not [name for name in found if name.startswith("TCP")]


def test_mail_over_a_unix_socket(lab):
    lab.start_qrunner()
    path = lab.directory / "run/public"
    lab.start_accept(host="unix", port=path)
    for _ in range(2):
        with Dialogue(path) as client:
            assert client.begin().message(b"Subject: x\r\n\r\n") == 250
        # A socket that a killed predecessor left is no obstacle.
        if not lab.delivered("ssow"):
            lab.processes["tcp-accept"].kill()
            lab.processes["tcp-accept"].wait()
            lab.start_accept(host="unix", port=path)
    lab.wait_exactly({"ssow": 2})


def test_mail_over_ipv6(lab):
    lab.start_qrunner()
    lab.start_accept(host="::1")
    with Dialogue(lab.port, host="::1") as client:
        assert client.begin().message(b"Subject: x\r\n\r\n") == 250
    lab.wait_exactly({"ssow": 1})
    assert b"[IPv6:::1]" in lab.messages("ssow")[0]


def test_port_in_use(running):
    process = running.spawn(running.program("tcp-accept"), ["127.0.0.1", running.port, "/bin/true"], log="second")
    assert process.wait(10) == 111
    assert "in use" in running.log("second")
