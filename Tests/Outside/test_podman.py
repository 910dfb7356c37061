"""Podman in Docker's place: the same calls, the same container, behind the same firewall."""

import re

from containerlab import GATEWAY, Containers, Podman
from networklab import Network
from semailtest import await_true
import semailtest


def test_podman_serves_too():
    with Network() as network, Containers(network, engine=Podman) as site:
        network.names.publish()
        site.start_qrunner()
        site.accept("submission", f"127.0.0.1,{GATEWAY}", "587,25", ["smtpd-session", "-u", semailtest.SMTPD_USER, "submission"],
                    options=("-s", "-t", "-c", "400", "-i", "0", "-r", "0"), become=semailtest.SMTPD_USER)
        site.start_sshd()
        assert "ok       image" in site.engine.build_image().stdout
        for owner in ("ssow", "xredon"):
            site.add_mailbox(owner)
            site.give_key(owner)
        for owner in ("ssow", "xredon"):
            site.wait_ssh(owner)
        assert site.ssh("ssow", "id -un; sudo -n id -un; test -O /Maildir && echo mine").stdout.split() == [b"ssow", b"root", b"mine"]
        # The rights, the limits, the firewall.
        assert int(re.search(r"CapBnd:\s*(\w+)", site.ssh("ssow", "sudo cat /proc/1/status").stdout.decode())[1], 16) == sum(1 << bit for bit in (0, 1, 3, 4, 5, 6, 7, 10, 18, 29))

        def reaches(address, port):
            return site.ssh("ssow", f"timeout 2 bash -c 'exec 3<> /dev/tcp/{address}/{port}'").returncode == 0
        assert reaches(GATEWAY, 587)
        assert not reaches(site.address("xredon"), 22) and not reaches(site.host.v4, 2222) and not reaches(GATEWAY, 2222)
        assert site.ssh("ssow", "echo hello | mail -s 'By Podman' xredon@semail.test").returncode == 0
        assert await_true(lambda: [path for path in site.delivered("xredon") if "By Podman" in path.read_text()], 20), site.report()
        # Stopped, started, made anew, made again, unmade.
        site.semail("container", "stop", "ssow")
        assert site.container("ssow")[0] == "exited"
        site.semail("container", "start", "ssow")
        site.ssh("ssow", "echo lost > ~/lost; echo kept > /Maildir/cur/kept")
        site.semail("container", "rebuild", "--yes", "ssow")
        site.wait_ssh("ssow")
        assert site.ssh("ssow", "ls ~; cat /Maildir/cur/kept").stdout == b"Maildir\nkept\n"
        assert site.semail("container", "create", "ssow").endswith("is running\n")
        for owner in ("ssow", "xredon"):
            site.semail("mailbox", "delete", "--yes", f"{owner}@semail.test")
        assert site.semail("container", "list") == ""
