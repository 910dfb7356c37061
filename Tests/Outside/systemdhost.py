"""A machine of one's own (machine.py) whose first process is systemd, as on an ordinary Debian host; it can lose its power and start again.

    with SystemdHost() as host:
        host.run(["systemctl", "is-active", "runit"])
        host.power_cut()

What the machine has changed stays in memory outside of it until the `with` block ends; what it had in /run and /tmp is gone after a start,
and so are its processes, mounts and network. Needs root, control groups and the package systemd-sysv.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from machine import REPOSITORY, Machine, await_true, end_with_tests

# $1 the directory for all this
_DISK = r"""
set -eu
mount -t tmpfs -o mode=0755 machine "$1"
cd "$1"
mkdir upper work root docker
echo ready
exec sleep infinity
"""

# $1 the same, $2 the repository. Of what the kernel has for all nothing can be written, but what is the network's. Who is in a container does not look for devices.
_START = r"""
set -eu
cd "$1"
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work machine root
mount -t proc proc root/proc
mount --bind root/proc/sys root/proc/sys
mount --bind root/proc/sys/net root/proc/sys/net
mount -o remount,bind,ro root/proc/sys
mount -t sysfs -o ro sysfs root/sys
@GROUPS@
mount -t devtmpfs devices root/dev
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 terminals root/dev/pts
mount --bind root/dev/pts/ptmx root/dev/ptmx
mount -t tmpfs memory root/dev/shm
for directory in tmp var/tmp run; do mount -t tmpfs -o "mode=$(stat -c %a "/$directory")" machine "root/$directory"; done
mkdir -p "root/$2"
mount --bind "$2" "root/$2"
# What Docker keeps is no layer above another layer.
mkdir -p root/var/lib/docker
mount --bind docker root/var/lib/docker
ip link set lo up
ip address add 198.51.100.7/24 dev lo scope global
cd root
mkdir -p old
pivot_root . old
umount -l old
# As systemd does where it is not in a container: services with mounts of their own see what the host mounts and unmounts.
mount --make-rshared /
exec env -i container=semail PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb /lib/systemd/systemd --log-target=journal --unit=multi-user.target
"""

# Nothing starts by itself but what a fresh Debian starts, and nobody forbids it; the machine's devices are the host's, and stay as they are.
_FRESH = r"""
rm -f etc/systemd/system/multi-user.target.wants/* usr/sbin/policy-rc.d
rm -f etc/rc?.d/[SK]*
ln -sf /dev/null etc/systemd/system/systemd-tmpfiles-setup-dev.service
: > etc/machine-id
"""


def hierarchies():
    """The kinds of control groups on this host (empty for version 2), each with where it is mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        place, (system, _, options) = Path(before.split()[4]), after.split(maxsplit=2)
        if system == "cgroup2":
            yield "", place
        elif system == "cgroup":
            yield ",".join(word for word in options.split(",") if word not in ("rw", "none", "xattr") and "release_agent" not in word), place


class SystemdHost(Machine):
    def __init__(self):
        self._directory = Path(tempfile.mkdtemp(prefix="semail-systemd-"))
        self._groups = {kind: parent / self._directory.name for kind, parent in hierarchies()}
        self._unshare = self._disk = None
        try:
            self._disk = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c", _DISK, "sh", self._directory], stdin=subprocess.DEVNULL,
                                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=end_with_tests)
            assert self._disk.stdout.readline() == b"ready\n"
            self._on_disk(f"mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work machine root; cd root; {_FRESH} cd ..; umount root")
            for group in self._groups.values():
                group.mkdir()
                # Without them nobody may be in it.
                for name in ("cpuset.cpus", "cpuset.mems"):
                    if (group / name).exists():
                        (group / name).write_text((group.parent / name).read_text())
            self.start_up()
        except BaseException:
            self.close()
            raise

    def _on_disk(self, script):
        subprocess.run(["nsenter", "-t", str(self._disk.pid), "-m", f"--wdns={self._directory}", "sh", "-euc", script], stdin=subprocess.DEVNULL, check=True)

    def start_up(self):
        """Until systemd says that all is done."""
        def enter():
            end_with_tests()
            for group in self._groups.values():
                (group / "cgroup.procs").write_text("0")
        self._unshare = subprocess.Popen(
            ["nsenter", "-t", str(self._disk.pid), "-m", "unshare", "-m", "-n", "-p", "-i", "-u", "-C", "--propagation", "private", "--fork", "--kill-child",
             "sh", "-c", _START.replace("@GROUPS@", self._mount_groups()), "sh", self._directory, REPOSITORY],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=enter)
        self.init = await_true(self._find_init, 20)
        assert self.init, self._unshare.stdout.read().decode()
        assert await_true(lambda: self.run(["systemctl", "is-system-running", "--wait"]).stdout.strip() in ("running", "degraded"), 60), self.failures()

    def _mount_groups(self):
        """As the host has them, but the machine's own."""
        if set(self._groups) == {""}:
            return "mount -t cgroup2 cgroup root/sys/fs/cgroup"
        lines = ["mount -t tmpfs -o mode=0755 cgroup root/sys/fs/cgroup"]
        for kind, group in self._groups.items():
            place = f"root/sys/fs/cgroup/{group.parent.name}"
            lines.append(f"mkdir {place}; mount -t " + (f"cgroup -o {'none,' if '=' in kind else ''}{kind} cgroup {place}" if kind else f"cgroup2 cgroup {place}"))
        return "\n".join(lines)

    def _find_init(self):
        for child in Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split():
            if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                return int(child)

    def failures(self):
        return self.run(["sh", "-c", "systemctl --failed --no-pager --plain; journalctl --no-pager -p warning -n 50"]).stdout

    def command(self, arguments):
        command = super().command(arguments)
        return [*command[:3], "-C", *command[3:]]

    def shut_off(self):
        """Everything ends at once, as it stood."""
        if not self._unshare:
            return
        self._unmount_loops()
        self._unshare.kill()
        self._unshare.wait()
        self._unshare.stdout.close()
        self._unshare = None
        await_true(self._empty_groups, 20)

    def _empty_groups(self):
        """Those of services go, once they are empty."""
        groups = list(self._groups.values())
        subprocess.run(["find", *groups, "-mindepth", "1", "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"], stderr=subprocess.DEVNULL)
        return not any(path.is_dir() or path.name == "cgroup.procs" and path.read_text() for group in groups for path in group.iterdir())

    def power_cut(self):
        self.shut_off()
        self.start_up()

    def close(self):
        self.shut_off()
        if self._disk:
            self._disk.kill()
            self._disk.wait()
            self._disk.stdout.close()
        for group in self._groups.values():
            if group.exists():
                group.rmdir()
        shutil.rmtree(self._directory)
