"""What sessions cost in memory: those that wait, and those that carry large messages; and relays and signers that carry them on."""

import threading
import time
from pathlib import Path

import pytest

from badpeer import BadPeer
from faultlab import LONG, Dialogue, Lab, children, fill_to, peak_memory, rollup
from semailtest import await_true

SESSIONS = 300
SESSION_LIMIT = 200             # KB
LARGE = (1 << 30) if LONG else (200 << 20)
RESIDENT_LIMIT = 4096           # KB
RELAY_LIMIT = 8192              # KB; OpenSSL is in it, and the certificates of the authorities


def family(pid):
    """The process and all its descendants."""
    return [pid] + [found for child in children(pid) for found in family(child)]


def cost(lab):
    """(PSS of the sessions that talk, PSS of everything else that runs, in KB)."""
    talking = set(lab.sessions())
    everything = {pid for process in lab.processes.values() for pid in family(process.pid)}
    return sum(map(rollup, talking)), sum(map(rollup, everything - talking))


@pytest.mark.parametrize("state", ["greeted", "EHLO", "RCPT"])
def test_idle_sessions(state):
    """The mean of 300, with what they make everybody else grow by."""
    with Lab() as lab:
        lab.start()
        lab.send()
        lab.wait_delivered("ssow", 1)
        assert await_true(lambda: not lab.workers() and not lab.sessions())
        _, before = cost(lab)
        clients = [Dialogue(lab.port, timeout=60) for _ in range(SESSIONS)]
        try:
            for client in clients:
                assert client.reply()[0] == 220
                for line in {"greeted": [], "EHLO": ["EHLO client.example"]}.get(
                        state, ["EHLO client.example", "MAIL FROM:<a@b.example>", "RCPT TO:<ssow@semail.test>"]):
                    assert client.say(line) == 250
            # Each is a process of its own; the template has forked the next ones.
            assert await_true(lambda: len(lab.sessions()) == SESSIONS)
            time.sleep(0.5)
            sessions, others = cost(lab)
        finally:
            for client in clients:
                client.close()
        own, growth = sessions / SESSIONS, (others - before) / SESSIONS
        print(f"\nan idle session ({state}) costs {own + growth:.0f} KB: {own:.1f} of its own, {growth:+.1f} elsewhere (PSS, mean of {SESSIONS})")
        assert own + growth <= SESSION_LIMIT
        assert await_true(lambda: not lab.sessions()), "sessions stay without their clients"


def test_a_template_gives_its_forks_the_code():
    """In huge pages: of a mapped file each fork would have to find its pages anew."""
    # Of a memory that is all in pieces the kernel would give none, and all would go on without.
    Path("/proc/sys/vm/compact_memory").write_text("1")
    with Lab() as lab:
        lab.start()
        with Dialogue(lab.port) as client:
            assert client.reply()[0] == 220
            for pid in (lab.session_template(), lab.session(client), lab.delivery_template()):
                code = next(line for line in Path(f"/proc/{pid}/smaps").read_text().splitlines() if " r-xp " in line)
                assert code.endswith(" 00:00 0 "), code
                assert rollup(pid, "AnonHugePages") >= 2048


@pytest.mark.parametrize("how", ["DATA", "BDAT", "BDAT in many chunks"])
def test_large_message(how):
    """It passes through a session, the queue, qrunner and a delivery: none holds more of it than a piece."""
    with Lab() as lab:
        lab.control("message-size", "2G")
        lab.start()
        block = fill_to(1 << 20, b"large")
        with Dialogue(lab.port, timeout=120) as client:
            assert client.reply()[0] == 220
            for line in ("EHLO client.example", "MAIL FROM:<a@b.example>", "RCPT TO:<ssow@semail.test>"):
                assert client.say(line) == 250
            pid = lab.session(client)
            begun = time.monotonic()
            head = b"Subject: large\r\n\r\n"
            count = LARGE >> 20
            if how == "DATA":
                assert client.say("DATA") == 354
                client.socket.sendall(head)
            elif how == "BDAT":
                client.socket.sendall(b"BDAT %d LAST\r\n" % (len(head) + LARGE) + head)
            else:
                assert client.say(b"BDAT %d\r\n" % len(head) + head) == 250
            before = peak_memory(lab.pid("qrunner"))
            watch = Watch(lab)
            for _ in range(count):
                if how == "BDAT in many chunks":
                    assert client.say(b"BDAT %d\r\n" % len(block) + block) == 250
                else:
                    client.socket.sendall(block)
            code = {"DATA": lambda: client.say("."), "BDAT": lambda: client.reply()[0]}.get(how, lambda: client.say("BDAT 0 LAST"))()
            seconds = time.monotonic() - begun
            assert code == 250
            session = peak_memory(pid)
        [path] = lab.wait_delivered("ssow", 1, 120)
        peaks = watch.stop()
        lab.wait_queue_empty()
        print(f"\n{LARGE >> 20} MB by {how}: session {session} KB resident at most, {LARGE / seconds / 1e6:.0f} MB/s; "
              + ", ".join(f"{name} {peak} KB" for name, peak in peaks.items()))
        with open(path, "rb") as file:
            text = block.replace(b"\r\n", b"\n")
            header = file.read(4096).partition(b"\n\n")[0]
            file.seek(len(header) + 2)
            for _ in range(count):
                assert file.read(len(text)) == text
            assert file.read() == b""
        assert 0 < session < RESIDENT_LIMIT
        # The others are what they are; a large message adds nothing.
        assert 0 < peaks["delivery"] < RESIDENT_LIMIT
        assert peaks["qrunner"] - before < 1024


def test_large_message_that_leaves():
    """Read by the signer twice and by the relay once, and held by none."""
    with Lab() as lab, BadPeer(capabilities=("PIPELINING", "8BITMIME"), keep=False) as peer:
        lab.control("message-size", "2G")
        lab.control("routes", f"away.example [127.0.0.1]:{peer.port} none")
        lab.make_signing_key()
        lab.start(session=("submission",))
        before = peak_memory(lab.pid("qrunner"))
        signers, relays = lab.template("dkim-sign"), lab.template("remote-relay")
        with Watch(lab, {"qrunner": lambda: [lab.pid("qrunner")], "signer": lambda: children(signers), "relay": lambda: children(relays)}) as watch:
            block = fill_to(1 << 20, b"large")
            with Dialogue(lab.port, timeout=120) as client:
                client.begin(sender="ssow@semail.test", recipient="anna@away.example")
                client.socket.sendall(b"From: ssow@semail.test\r\n\r\n")
                for _ in range(LARGE >> 20):
                    client.socket.sendall(block)
                assert client.say(".") == 250
            begun = time.monotonic()
            assert await_true(lambda: peer.messages and peer.messages[0].is_taken, 120), lab.report()
            seconds = time.monotonic() - begun
            lab.wait_queue_empty()
        assert "info: signed " in lab.log("qrunner")
    print(f"\n{LARGE >> 20} MB signed and relayed in {seconds:.1f} s; " + ", ".join(f"{name} {peak} KB" for name, peak in watch.peaks.items()))
    assert watch.peaks["qrunner"] - before < 1024
    assert 0 < watch.peaks["signer"] < RELAY_LIMIT and 0 < watch.peaks["relay"] < RELAY_LIMIT


class Watch:
    """The highest resident sizes of those who handle a message after its session."""

    def __init__(self, lab, who=None):
        """WHO: {name: a function that returns ids}."""
        self._who = who or {"qrunner": lambda: [lab.pid("qrunner")], "delivery": lab.workers}
        self.peaks = dict.fromkeys(self._who, 0)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._ending.wait(0.02):
            for name, pids in self._who.items():
                for pid in pids():
                    self.peaks[name] = max(self.peaks[name], peak_memory(pid))

    def stop(self):
        self._ending.set()
        self._thread.join()
        return self.peaks

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
