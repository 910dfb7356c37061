"""A machine of one's own (machine.py) whose first process is systemd, as on an ordinary Debian host; it can lose its power and start again.

    with SystemdHost() as host:
        host.run(["systemctl", "is-active", "runit"])
        host.power_cut()

What the machine has changed stays in memory outside of it until the `with` block ends; what it had in /run and /tmp is gone after a start,
and so are its processes, mounts and network. Needs root, control groups (version 2, with or without controllers) and the package systemd-sysv.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from machine import REPOSITORY, UNMOUNT_LOOPS, Machine, await_true
from networklab import end_with_tests

# $1 the directory for all this
_DISK = r"""
set -eu
mount -t tmpfs -o mode=0755 machine "$1"
cd "$1"
mkdir upper work root
echo ready
exec sleep infinity
"""

# $1 the same, $2 the repository. Of what the kernel has for all, nothing can be written. Who is in a container does not look for devices.
_START = r"""
set -eu
cd "$1"
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work machine root
mount -t proc proc root/proc
mount --bind root/proc/sys root/proc/sys
mount -o remount,bind,ro root/proc/sys
mount -t sysfs -o ro sysfs root/sys
mount -t cgroup2 cgroup root/sys/fs/cgroup
mount -t devtmpfs devices root/dev
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 terminals root/dev/pts
mount --bind root/dev/pts/ptmx root/dev/ptmx
mount -t tmpfs memory root/dev/shm
for directory in tmp var/tmp run; do mount -t tmpfs -o "mode=$(stat -c %a "/$directory")" machine "root/$directory"; done
mkdir -p "root/$2"
mount --bind "$2" "root/$2"
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


class SystemdHost(Machine):
    def __init__(self):
        self._directory = Path(tempfile.mkdtemp(prefix="semail-systemd-"))
        self._group = Path("/sys/fs/cgroup/unified" if os.path.exists("/sys/fs/cgroup/unified") else "/sys/fs/cgroup") / self._directory.name
        self._unshare = self._disk = None
        try:
            self._disk = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c", _DISK, "sh", self._directory], stdin=subprocess.DEVNULL,
                                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=end_with_tests)
            assert self._disk.stdout.readline() == b"ready\n"
            self._on_disk(f"mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work machine root; cd root; {_FRESH} cd ..; umount root")
            self._group.mkdir()
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
            (self._group / "cgroup.procs").write_text("0")
        self._unshare = subprocess.Popen(
            ["nsenter", "-t", str(self._disk.pid), "-m", "unshare", "-m", "-n", "-p", "-i", "-u", "-C", "--propagation", "private", "--fork", "--kill-child",
             "sh", "-c", _START, "sh", self._directory, REPOSITORY],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=enter)
        self.init = await_true(self._find_init, 20)
        assert self.init, self._unshare.stdout.read().decode()
        assert await_true(lambda: self.run(["systemctl", "is-system-running", "--wait"]).stdout.strip() in ("running", "degraded"), 60), self.failures()

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
        # But for volumes, which would hold their images and be held by them for ever.
        subprocess.run(self.command(["sh", "-c", UNMOUNT_LOOPS]), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._unshare.kill()
        self._unshare.wait()
        self._unshare.stdout.close()
        self._unshare = None
        await_true(lambda: not (self._group / "cgroup.procs").read_text() and self._remove_groups(), 20)

    def _remove_groups(self):
        """Those of services, which are empty now."""
        subprocess.run(["find", self._group, "-mindepth", "1", "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"], stderr=subprocess.DEVNULL)
        return not any(path.is_dir() for path in self._group.iterdir())

    def power_cut(self):
        self.shut_off()
        self.start_up()

    def close(self):
        self.shut_off()
        if self._disk:
            self._disk.kill()
            self._disk.wait()
            self._disk.stdout.close()
        if self._group.exists():
            self._group.rmdir()
        shutil.rmtree(self._directory)
