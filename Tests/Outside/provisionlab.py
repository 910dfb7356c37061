"""A home with real volumes, for tests of provision: as root, in mounts of its own, which vanish with it.

    with House() as house:
        id = house.ask("create", owner="ssow", address="ssow@ssow.semail.test")
        house.provision_once()
        assert house.answer(id).end == ["done"]
"""

import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from networklab import end_with_tests
from semailtest import await_true, program

PORTAL_USER = 61040


class Answer:
    """requests/state/ID as provision wrote it."""

    def __init__(self, text):
        self.lines = [line.split("\t") for line in text.splitlines()]

    def of(self, key):
        return [line[1:] for line in self.lines if line[0] == key]

    @property
    def end(self):
        ends = self.of("end")
        return ends[0] if ends else None

    @property
    def steps(self):
        return {line[0]: line[1] for line in self.of("step")}


class House:
    def __init__(self, domain="semail.test", volumes="image", size="16M", network=False, settings=()):
        assert os.geteuid() == 0, "only root can mount"
        self.directory = Path(tempfile.mkdtemp(prefix="semail-house-"))
        os.chmod(self.directory, 0o755)
        self.home = self.directory / "home"
        kinds = ["--mount", "--propagation", "private"] + (["--net"] if network else [])
        self.holder = subprocess.Popen(["unshare", *kinds, "sh", "-c", "echo ready; exec sleep infinity"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True,
                                       preexec_fn=end_with_tests)
        assert self.holder.stdout.readline() == b"ready\n"
        self.inside = ["nsenter", "-t", str(self.holder.pid), "-m"] + (["-n"] if network else [])
        self.daemon = None
        self.was_killed = False
        self.semail("init", self.home, "--hostname", "mail.semail.test")
        for name, value in {"domain": domain, "volumes": volumes, "volume-size": size, **dict(settings)}.items():
            self.semail("config", name, value)
        os.chown(self.home / "requests/new", 0, PORTAL_USER)
        os.chmod(self.home / "requests/new", 0o1730)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        # Mounts first: removing files must not reach into volumes.
        for place in sorted(self.mounts(), reverse=True):
            self.run(["umount", "-l", place], check=False)
        self.holder.kill()
        self.holder.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    # -- running things -------------------------------------------------------

    def run(self, command, check=True, timeout=120, **more):
        environment = {"PATH": os.environ["PATH"], "SEMAIL_HOME": str(self.home), "LC_ALL": "C.UTF-8", "SWIFT_BACKTRACE": "enable=no"}
        result = subprocess.run([*self.inside, *map(str, command)], env=environment, capture_output=True, text=True, timeout=timeout, stdin=more.pop("stdin", subprocess.DEVNULL) if "input" not in more else None, **more)
        if check:
            assert result.returncode == 0, f"{command}: {result.returncode}\n{result.stdout}{result.stderr}"
        return result

    def semail(self, *words, check=True, **more):
        return self.run([program("semail"), *words], check=check, **more)

    def provision_once(self, check=0, timeout=300):
        def once():
            result = self.run([program("provision"), "--once"], check=False, timeout=timeout)
            # One that was killed holds its lock until the kernel has ended all of it.
            return None if self.was_killed and "another provision is at work" in result.stderr else result

        result = await_true(once, 20)
        if check is not None:
            assert result.returncode == check, f"{result.returncode}\n{result.stderr}"
        return result

    def start(self, *options):
        """provision as a service has it: in a group of its own, all of which can be killed."""
        self.log = open(self.directory / "provision.log", "ab")
        environment = {"PATH": os.environ["PATH"], "SEMAIL_HOME": str(self.home), "SWIFT_BACKTRACE": "enable=no"}
        self.daemon = subprocess.Popen([*self.inside, str(program("provision")), *options], env=environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True)
        return self.daemon

    def kill(self):
        """Everything provision is and has started, at once and without a warning."""
        if self.daemon:
            self.was_killed = True
            os.killpg(self.daemon.pid, signal.SIGKILL)
            self.daemon.wait()
            self.daemon = None

    def stop(self):
        if self.daemon:
            # nsenter has become provision: -t without -p forks nothing.
            self.daemon.terminate()
            try:
                self.daemon.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
            self.daemon = None

    # -- requests -------------------------------------------------------------

    def ask(self, what, **fields):
        lines = [f"do {what}"]
        for key, value in fields.items():
            lines += [f"{key.rstrip('_')} {one}" for one in (value if isinstance(value, list) else [value])]
        return self.put("\n".join(lines) + "\n")

    def put(self, content):
        id = secrets.token_hex(16)
        path = self.home / "requests/new" / f".{id}.tmp"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.chown(path, PORTAL_USER, PORTAL_USER)
        os.chmod(path, 0o640)
        path.rename(path.with_name(id))
        return id

    def answer(self, id):
        try:
            return Answer((self.home / "requests/state" / id).read_text())
        except FileNotFoundError:
            return None

    def await_end(self, id, seconds=60):
        assert await_true(lambda: self.answer(id) and self.answer(id).end, seconds), f"{id}: {self.answer(id) and self.answer(id).lines}\n{(self.directory / 'provision.log').read_text()[-2000:]}"
        return self.answer(id)

    # -- what there is --------------------------------------------------------

    def mounts(self):
        text = self.run(["cat", "/proc/self/mountinfo"]).stdout
        return [line.split()[4] for line in text.splitlines() if line.split()[4].startswith(f"{self.home}/mnt/")]

    def loops(self):
        return [line for line in subprocess.run(["losetup", "-a"], capture_output=True, text=True).stdout.splitlines() if str(self.home) in line]

    def mailbox(self, address, inner=""):
        try:
            text = (self.home / "mailboxes" / inner / address).read_text()
        except FileNotFoundError:
            return None
        return dict(line.split(" ", 1) for line in text.splitlines())

    def traces(self):
        """Everything that a mailbox consists of, whoever's it is, but for postmaster's."""
        found = set()
        for directory in ("mailboxes", "mailboxes/.making", "mailboxes/.leaving", "volumes", "mnt", "ssh", "run/dkim", "control/dkim"):
            path = self.home / directory
            if path.is_dir():
                found |= {f"{directory}/{name}" for name in os.listdir(path) if "postmaster" not in name and name not in (".lock", ".making", ".leaving", "#30000", "@mail.semail.test", "authorized_keys")}
        found |= {f"mounted {place}" for place in self.mounts() if not place.endswith("/postmaster")}
        found |= {f"loop {line}" for line in self.loops() if "/postmaster" not in line}
        return found

    def is_whole(self, owner, address):
        """Nothing is missing of the mailbox."""
        mailbox = self.mailbox(address)
        place = f"{self.home}/mnt/{owner}"
        assert mailbox and mailbox["owner"] == owner and mailbox["state"] == "active", mailbox
        if mailbox.get("volume", "").startswith("image"):
            assert self.mounts().count(place) == 1, self.mounts()
            assert (self.home / "volumes" / owner).stat().st_size == int(mailbox["volume"].split()[1])
        listing = self.run(["stat", "-c", "%n %a %u", *(f"{place}/Maildir{inner}" for inner in ("", "/tmp", "/new", "/cur"))]).stdout
        assert re.findall(r" (\d+) (\d+)$", listing, re.MULTILINE) == [("700", mailbox["uid"])] * 4, listing
        for link in (f"~{owner}", f"#{mailbox['uid']}"):
            assert os.readlink(self.home / "mailboxes" / link) == address
        assert (self.home / "mailboxes" / f"@{address.partition('@')[2]}").exists()
        return mailbox
