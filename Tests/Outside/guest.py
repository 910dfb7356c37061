"""A virtual machine for what needs a kernel of its own: device-mapper, and file systems that grow while they are in use.

    guest = Guest()
    output = guest.run(script, files={"/usr/local/bin/x": path}, disks=["64M"])

It has Debian's kernel, LVM and e2fsprogs; the script is run by bash as root, and its standard output comes back. The first boot in a checkout
fetches packages (under a minute); what was fetched is kept in .build-guest. Emulated: some fifteen seconds before the script begins.
Needs root.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from semailtest import REPOSITORY, tool

CACHE = Path(os.environ.get("SEMAIL_GUEST_CACHE") or REPOSITORY / ".build-guest")
PACKAGES = "linux-image-cloud-amd64,initramfs-tools,lvm2,kmod,udev,e2fsprogs,util-linux,mount,openssl,ca-certificates,libldap-2.5-0"

_INIT = r"""#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs run /run; mount -t tmpfs tmp /tmp
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/pts; mount -t devpts pts /dev/pts
modprobe -a loop dm-mod ext4
mount -o remount,rw /
echo '--- script'
bash /script 2>&1
echo "--- end $?"
sync
echo o > /proc/sysrq-trigger
sleep 60
"""


class Guest:
    def __init__(self):
        CACHE.mkdir(exist_ok=True)
        name = hashlib.sha256(PACKAGES.encode()).hexdigest()[:16]
        self._root = CACHE / f"{name}.tar"
        if not self._root.exists():
            part = self._root.with_suffix(".part")
            made = subprocess.run([tool("mmdebstrap"), "--variant=minbase", "--format=tar", f"--include={PACKAGES}", "--aptopt=Acquire::Languages \"none\"", "bookworm", part],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900)
            assert made.returncode == 0, made.stderr[-2000:]
            part.rename(self._root)

    def run(self, script, files=(), disks=(), timeout=240):
        """What the script says, and its exit code."""
        place = Path(tempfile.mkdtemp(prefix="semail-guest-"))
        try:
            image, mounted = place / "disk.img", place / "root"
            mounted.mkdir()
            with open(image, "wb") as file:
                file.truncate(3 << 30)
            subprocess.run([tool("mkfs.ext4"), "-q", "-F", image], check=True)
            subprocess.run(["mount", "-o", "loop", image, mounted], check=True)
            try:
                subprocess.run(["tar", "-xf", self._root, "-C", mounted], check=True)
                for target, source in dict(files).items():
                    path = mounted / target.lstrip("/")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, path)
                    os.chmod(path, 0o755)
                for name, text in (("vmtest", _INIT), ("script", script)):
                    (mounted / name).write_text(text)
                    os.chmod(mounted / name, 0o755)
                [kernel] = (mounted / "boot").glob("vmlinuz-*")
                [initrd] = (mounted / "boot").glob("initrd.img-*")
                shutil.copy(kernel, place / "vmlinuz")
                shutil.copy(initrd, place / "initrd")
            finally:
                subprocess.run(["umount", mounted], check=True)
            command = [tool("qemu-system-x86_64"), "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1024", "-nographic", "-no-reboot", "-nic", "none",
                       "-kernel", place / "vmlinuz", "-initrd", place / "initrd", "-append", "root=/dev/vda rw console=ttyS0 init=/vmtest panic=1 quiet mitigations=off",
                       "-drive", f"file={image},format=raw,if=virtio,cache=unsafe"]
            for number, size in enumerate(disks):
                disk = place / f"more{number}.img"
                subprocess.run(["truncate", "-s", size, disk], check=True)
                command += ["-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
            text = done.stdout.decode(errors="replace").replace("\r\n", "\n")
            assert "--- script\n" in text and "\n--- end " in text, text[-3000:]
            output, _, code = text.partition("--- script\n")[2].rpartition("--- end ")
            return output, int(code.split()[0])
        finally:
            shutil.rmtree(place, ignore_errors=True)
