"""What is acknowledged survives a power cut, and what is not whole is never seen.

First the calls themselves, as strace(1) sees them; then the power goes, many times, while clients send.
"""

import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

import faultlab
import semailtest
from faultlab import LONG, Account, Dialogue, Lab, Load, Volume, children, examine, examine_queued
from semailtest import await_true

# -- flushes ----------------------------------------------------------------


class Strace:
    """The calls of processes, of their children, and of those to come.

        with Strace(pids, "fsync,linkat") as strace:
            ...
        for pid, name, line in strace.calls: ...
    """

    def __init__(self, pids, calls):
        self._directory = Path(tempfile.mkdtemp(prefix="semail-strace-"))
        attach = [option for pid in pids for option in ("-p", str(pid))]
        self._command = [semailtest.tool("strace"), "-f", "-qq", "-y", "-s", "64", "-e", f"trace={calls}", "-e", "signal=none",
                         "-o", str(self._directory / "calls"), *attach]
        self._pids = pids

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert await_true(lambda: all(faultlab.status(pid)["TracerPid"] == str(self._process.pid) for pid in self._pids)), "strace is not there"
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.communicate()
        unfinished, self.calls = {}, []
        for line in (self._directory / "calls").read_text(errors="replace").splitlines():
            pid, _, text = line.partition(" ")
            text = text.strip()
            # A call counts when it is over: that is when it has had its effect.
            if text.endswith("<unfinished ...>"):
                unfinished[pid] = text.removesuffix("<unfinished ...>").rstrip()
                continue
            if found := re.match(r"<\.\.\. \w+ resumed>(.*)", text):
                text = unfinished.pop(pid, "") + found[1]
            if found := re.match(r"(\w+)\(", text):
                self.calls.append((int(pid), found[1], text))
        shutil.rmtree(self._directory)


def steps(calls, meanings):
    """The names of those calls that MEANINGS ({name: regular expression}) knows, in order."""
    found = []
    for _, _, text in calls:
        found += [name for name, pattern in meanings.items() if re.search(pattern, text)][:1]
    return found


ACCEPTING = {
    "flush of the file": r"^fsync\(\d+<[^>]*/queue/new/[^>]+>(\(deleted\))?\) += 0",
    "name": r"^linkat\(.*/queue/new>, \"[0-9a-z]{16}\".* = 0",
    "flush of names": r"^fsync\(\d+<[^>]*/queue/new>\) += 0",
    "another flush": r"^(fsync|fdatasync|syncfs|sync)\(",
    "qrunner is told": r"^write\(\d+<[^>]*/run/trigger>",
    "250": r"^(write|sendto)\(\d+<[^>]*>, \"250 2.0.0 queued",
}
DELIVERING = {
    "flush of the file": r"^fsync\(\d+<[^>]*/Maildir/tmp/[^>]+>\) += 0",
    "name": r"^renameat2?\(.*/Maildir/tmp>.*/Maildir/new>.* = 0",
    "flush of names": r"^fsync\(\d+<[^>]*/Maildir/new>\) += 0",
    "another flush": r"^(fsync|fdatasync|syncfs|sync)\(",
    "report": r"^sendmsg\(.*\"K\\n",
    "forgotten": r"^unlinkat\(.*\"new/[0-9a-z]{16}\".* = 0",
}
FLUSHES = "fsync,fdatasync,syncfs,sync,msync,sync_file_range"
CALLS = FLUSHES + ",linkat,write,sendto,sendmsg,renameat,renameat2,unlinkat"


@pytest.mark.parametrize("how", ["DATA", "BDAT"])
def test_flushed_before_the_250(how):
    """File, name, flush of names, and only then the 250: for each message of a session."""
    with Lab() as lab:
        lab.start()
        template = lab.session_template()
        count = 10
        with Strace([template, *children(template)], CALLS) as strace:
            with Dialogue(lab.port) as client:
                assert client.reply()[0] == 220
                assert client.say("EHLO client.example") == 250
                for number in range(count):
                    content = b"Subject: %d\r\n\r\nhello\r\n" % number
                    assert client.say("MAIL FROM:<a@b.example>") == 250
                    assert client.say("RCPT TO:<ssow@semail.test>") == 250
                    if how == "DATA":
                        assert client.say("DATA") == 354
                        assert client.message(content) == 250
                    else:
                        assert client.say(b"BDAT %d LAST\r\n" % len(content) + content) == 250
        found = steps(strace.calls, ACCEPTING)
        print(f"\n{how}: {found.count('flush of the file') + found.count('flush of names') + found.count('another flush')} flushes for {count} messages accepted: "
              + ", ".join(found[:5]))
        assert found == ["flush of the file", "name", "flush of names", "qrunner is told", "250"] * count


@pytest.mark.parametrize("count", [1, 20])
def test_flushed_before_it_is_forgotten(count):
    """Every file, its name, the names once, and only then the report by which qrunner forgets."""
    with Lab() as lab:
        lab.start_accept()
        for _ in range(count):
            lab.send()
        lab.control("deliveries", "1")
        # It finds them all at its start: they go together. Traced from its first call on.
        trace = lab.directory / "calls"
        strace = [semailtest.tool("strace"), "-f", "-qq", "-y", "-s", "64", "-e", f"trace={CALLS}", "-o", str(trace)]
        process = lab.spawn(strace[0], [*strace[1:], lab.program("qrunner"), "-u", semailtest.QUEUE_USER, "--once"], log="strace")
        assert process.wait(30) == 0, lab.report()
        lab.wait_exactly({"ssow": count})
        calls = [(0, "", line.partition(" ")[2].strip()) for line in trace.read_text(errors="replace").splitlines()]
        # No two of these calls overlap: one delivery at work, and qrunner waiting for it.
        found = steps(calls, DELIVERING)
        flushes = [name for name in found if "flush" in name]
        print(f"\n{count} messages delivered together: {len(flushes)} flushes")
        assert found == ["flush of the file"] * count + ["name"] * count + ["flush of names", "report"] + ["forgotten"] * count


# -- the power goes ---------------------------------------------------------

OWNERS = ["ssow", "xredon", "third", "fourth"]
CUTS = 25 if LONG else 3
# Of these, so many by a shutdown of the file systems, one after the other; the others are pictures of all disks at one moment.
SHUTDOWNS = 5 if LONG else 1


class PowerLab(Lab):
    """Queue and mailboxes on file systems of their own, all of whose disks lie on one that can be made to stand still."""

    def __init__(self, kind="ext4"):
        super().__init__(owners=OWNERS)
        self.kind = kind
        self.ground = None
        try:
            self.ground = Volume(self.directory / "ground", "6G" if kind == "xfs" else "2G")
            self.ground.mount(self.directory / "volumes")
            for name, path in self.places().items():
                self.give_volume(name, path, "320M" if kind == "xfs" else "256M", kind)
        except BaseException:
            self.remove()
            raise

    def places(self):
        return {"queue": self.directory / "queue", **{owner: self.directory / "mnt" / owner for owner in OWNERS}}

    def picture(self, target):
        """Copies of all disks as they are at one moment; returns when that was (before: nothing later is in them)."""
        begun = time.monotonic()
        self.ground.freeze()
        try:
            for name, volume in self.volumes.items():
                subprocess.run(["cp", "--sparse=always", str(volume.image), str(target / name)], check=True)
        finally:
            self.ground.thaw()
        return begun

    def remove(self):
        if self.ground:
            self.ground.thaw()
        self.stop()
        for volume in self.volumes.values():
            volume.umount()
        if self.ground:
            self.ground.remove()
        super().remove()


class Recovered(Lab):
    """The machine after the power has come back: the disks as they were found."""

    def __init__(self, images):
        super().__init__(owners=OWNERS)
        try:
            for name, path in {"queue": self.directory / "queue", **{owner: self.directory / "mnt" / owner for owner in OWNERS}}.items():
                shutil.rmtree(path)
                path.mkdir()
                volume = Volume(images / name)
                self.volumes[name] = volume
                volume.mount(path)
        except BaseException:
            self.remove()
            raise


def assert_recovers(lab, load, what, before=None):
    """Nothing torn is to be seen; and once qrunner has run, everything is in its place. Returns the account."""
    torn = []
    waiting = lab.queue_files()
    for path in waiting:
        if fault := examine_queued(path, load):
            torn.append(fault)
    in_maildirs = 0
    for owner in OWNERS:
        for place in ("new", "cur"):
            for path in (lab.maildir(owner) / place).iterdir():
                in_maildirs += 1
                if fault := examine(path.read_bytes(), owner, lab.domain, load)[0]:
                    torn.append(fault)
    assert not torn, f"{what}: torn after the cut: {torn[:10]}"
    tmp = sum(len(lab.leftovers(owner)) for owner in OWNERS)
    lab.start_qrunner()
    lab.settle()
    assert lab.stop_process("qrunner") == 0, lab.report()
    account = Account(load, lab, before)
    print(f"{what}: {len(waiting)} in the queue, {in_maildirs} in Maildirs, {tmp} in tmp; then {account}")
    account.assert_nothing_lost()
    return account


def test_power_cut():
    """Pictures of all disks at one moment while clients send; each is a machine whose power went then."""
    total = {"acknowledged": 0, "more": 0, "duplicates": 0}
    print()
    number = 0
    while number < CUTS - SHUTDOWNS:
        load = pictures = None
        directory = Path(tempfile.mkdtemp(prefix="semail-pictures-"))
        try:
            with PowerLab() as lab:
                lab.start()
                taken = []
                with Load(lab, OWNERS, large=0.01) as load:
                    while number < CUTS - SHUTDOWNS and len(taken) < 5:
                        load.wait_acknowledged(150 + 37 * number % 200, 60)
                        target = directory / str(number)
                        target.mkdir()
                        taken.append((target, lab.picture(target)))
                        number += 1
            for target, before in taken:
                with Recovered(target) as recovered:
                    account = assert_recovers(recovered, load, f"cut {target.name}", before)
                    total["acknowledged"] += account.acknowledged
                    total["more"] += account.unacknowledged
                    total["duplicates"] += sum(account.duplicates.values()) - len(account.duplicates)
                shutil.rmtree(target)
        finally:
            shutil.rmtree(directory)
    print(f"{CUTS - SHUTDOWNS} pictures: {total['acknowledged']} acknowledged messages checked, 0 lost, {total['duplicates']} duplicates, "
          f"{total['more']} more arrived")


@pytest.mark.parametrize("number", range(SHUTDOWNS))
def test_shutdown(number):
    """The disks go one after the other while everything runs; whatever was acknowledged before, between or after is there."""
    with PowerLab() as lab:
        lab.start()
        names = list(lab.volumes)
        names = names[number % len(names):] + names[:number % len(names)]
        with Load(lab, OWNERS, large=0.01) as load:
            load.wait_acknowledged(300 + 50 * number, 60)
            for name in names:
                lab.volumes[name].cut()
            time.sleep(0.3)
        for name in list(lab.processes):
            lab.processes[name].kill()
        lab.stop()
        for name, path in lab.places().items():
            lab.volumes[name].umount()
            lab.volumes[name].mount(path)
        print()
        account = assert_recovers(lab, load, f"shutdown, {names[0]} first")
        assert account.acknowledged >= 300


def test_power_cut_on_xfs():
    """It promises less than ext4 about what goes with a flush, and does not write data before its names."""
    directory = Path(tempfile.mkdtemp(prefix="semail-pictures-"))
    try:
        with PowerLab("xfs") as lab:
            lab.start()
            with Load(lab, OWNERS, large=0.01) as load:
                load.wait_acknowledged(500, 60)
                before = lab.picture(directory)
        with Recovered(directory) as recovered:
            print()
            assert_recovers(recovered, load, "cut on XFS", before)
    finally:
        shutil.rmtree(directory)
