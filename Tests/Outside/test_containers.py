"""Containers of mailboxes with a real Docker, in a network of its own: what an owner can do in theirs, what nobody can, and that all of it
can be repeated. Needs root. The image is built once, from what etc/container says."""

import contextlib
import http.server
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

import semailtest
from containerlab import GATEWAY, NETWORK, Containers
from networklab import Holder, Network
from semailtest import await_true, tool

OWNERS = ("ssow", "xredon")


@pytest.fixture(scope="module")
def network():
    with Network() as network:
        network.host("world.test", 60)
        network.names.address("world.test", network.host("world.test").v4)
        yield network


def main_rules():
    """Of the network in which the tests run; a SEMail may be installed there."""
    done = subprocess.run([tool("nft"), "-s", "list", "ruleset"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def site(network):
    """All of SEMail and two containers, whose mail is on volumes of 32M; sshd on 127.0.0.1:2222 of their host."""
    before = main_rules()
    with Containers(network) as site:
        site.main_rules_before = before
        network.names.publish()
        site.control("volumes", "image")
        site.control("volume-size", "32M")
        site.start_qrunner()
        services = ("-s", "-t", "-c", "400", "-i", "0", "-r", "0")
        # Before the first container: the address of their bridge is not there yet.
        site.accept("submission", f"127.0.0.1,{GATEWAY}", "587,25", ["smtpd-session", "-u", semailtest.SMTPD_USER, "submission"],
                    options=services, become=semailtest.SMTPD_USER)
        site.accept("inbound", "0", 25, ["smtpd-session", "-u", semailtest.SMTPD_USER, "inbound"], options=services, become=semailtest.SMTPD_USER)
        site.start_sshd()
        for owner in OWNERS:
            site.add_mailbox(owner)
            site.give_key(owner)
        for owner in OWNERS:
            site.wait_ssh(owner)
        yield site


@contextlib.contextmanager
def listening(host, address, port):
    """A server there that greets; whoever connects is noted."""
    seen = []
    listener = host.listen(address, port)
    listener.settimeout(0.1)
    ended = threading.Event()

    def serve():
        while not ended.is_set():
            with contextlib.suppress(OSError):
                connection, peer = listener.accept()
                seen.append(peer[0])
                connection.close()
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
        listener.close()


# -- the image ----------------------------------------------------------------

def test_the_image_is_built_once(site):
    start = time.monotonic()
    again = site.engine.build_image()
    assert again.stdout.startswith("   ok ") and time.monotonic() - start < 5
    # Another name is another image, from what is unpacked already.
    other = site.engine.build_image(image="semail-other")
    assert "made     image semail-other" in other.stdout and "fetching" not in other.stdout
    site.engine.docker("rmi", "semail-other")


def test_nothing_secret_is_in_the_image(site):
    listed = site.engine.docker("run", "--rm", "--pull", "never", "--network", "none", "--entrypoint", "sh", "semail-home", "-c",
                                "ls /etc/ssh/ssh_host_* 2>/dev/null; ls -A /Maildir /etc/ssh/semail /root/.ssh 2>/dev/null; cat /etc/hostname; awk -F: '$2 !~ /^[*!]/' /etc/shadow").stdout
    assert "ssh_host" not in listed and "authorized" not in listed and ":" not in listed.replace("/Maildir:", "").replace("/etc/ssh/semail:", ""), listed


@pytest.mark.parametrize("arguments, code, words", [
    ([], 100, "is to be named"), (["--what", "x"], 100, "no option"), (["--suite"], 100, "needs a value"), (["/run/x", "UPPER"], 100, "no image's name"),
    (["/nonexistent/socket"], 111, "no engine of containers answers")])
def test_building_called_wrongly(arguments, code, words):
    done = subprocess.run([semailtest.REPOSITORY / "etc/container/build", *arguments], capture_output=True, text=True)
    assert done.returncode == code and words in done.stderr


# -- inside -------------------------------------------------------------------

def test_the_owner_in_it(site):
    mailbox = site.semail("mailbox", "show", "ssow@semail.test")
    uid = re.search(r"^uid\t(\d+)$", mailbox, re.M)[1]
    assert site.ssh("ssow", "id -un; id -u; id -g; pwd; readlink ~/Maildir; stat -c %u:%a /Maildir ~; echo $MAIL $LANG; hostname").stdout.decode().split() == [
        "ssow", uid, uid, "/home/ssow", "/Maildir", f"{uid}:700", f"{uid}:700", "/Maildir", "C.UTF-8", "ssow"]
    # Both ways, a file is the same person's.
    assert site.ssh("ssow", "echo inside > /Maildir/cur/inside; sudo -n id -u").stdout == b"0\n"
    inside = site.maildir("ssow") / "cur/inside"
    assert inside.read_text() == "inside\n" and inside.stat().st_uid == int(uid)
    outside = site.maildir("ssow") / "cur/outside"
    outside.write_text("outside\n")
    os.chown(outside, int(uid), int(uid))
    assert site.ssh("ssow", "cat ~/Maildir/cur/outside; rm ~/Maildir/cur/*").stdout == b"outside\n"
    assert not inside.exists() and not outside.exists()


def test_software_is_there(site):
    done = site.ssh("ssow", "for name in mutt msmtp mail vim less sudo apt sftp scp sendmail; do command -v $name /usr/sbin/$name | head -n 1 || echo no $name; done")
    assert b"no " not in done.stdout and done.stdout.count(b"\n") == 10, done


@pytest.mark.parametrize("owner", ["mail", "a.long-name_with.dots" + "x" * 43, "12345"])
def test_names_that_are_hard_for_debian(site, owner):
    """One is a system user's in every Debian, one has dots and 64 letters, one is a number."""
    site.add_mailbox(owner, f"{owner[:20].rstrip('.')}@semail.test")
    try:
        site.give_key(owner)
        site.wait_ssh(owner)
        done = site.ssh(owner, "id -un; sudo -n id -un; sudo -n apt-get check > /dev/null && echo apt; test -O /Maildir && echo mine")
        assert done.stdout.decode().split() == [owner, "root", "apt", "mine"], done
    finally:
        site.semail("mailbox", "delete", "--yes", f"{owner[:20].rstrip('.')}@semail.test")
    assert site.container(owner) is None
    assert not (site.directory / "ssh" / owner).exists()
    assert f" {owner}\n" not in (site.directory / "ssh/authorized_keys").read_text()


@pytest.mark.parametrize("owner", ["root", "sshd"])
def test_names_that_cannot_be(site, owner):
    done = site.run("semail", "mailbox", "create", owner, f"{owner}.person@semail.test")
    try:
        assert done.returncode == 1 and b"can have no container" in done.stderr, done
    finally:
        site.semail("mailbox", "delete", "--yes", f"{owner}.person@semail.test")


def test_its_end_is_quick_and_clean(site):
    """Whoever is at work is told, and has time to write."""
    site.inside("xredon", "trap-me() { trap 'echo told > /root/told; exit' TERM; while :; do sleep 0.1; done; }; trap-me > /dev/null 2>&1 &", timeout=20)
    start = time.monotonic()
    site.semail("container", "stop", "xredon")
    took = time.monotonic() - start
    assert took < 5, took
    state = site.engine.docker("inspect", "semail-xredon", "--format", "{{.State.Status}} {{.State.ExitCode}}").stdout.split()
    assert state == ["exited", "0"]
    site.semail("container", "start", "xredon")
    site.wait_ssh("xredon")
    assert site.inside("xredon", "cat /root/told") == "told\n"


def test_what_the_owner_changes_stays(site):
    """The first start sets things up; later ones leave alone what is there."""
    site.inside("xredon", "sed -i 's/^port .*/port 25/' /etc/msmtprc; sed -i '/^xredon:/s,/bin/bash,/bin/sh,' /etc/passwd; printf '#!/bin/sh\\necho ran >> /root/ran\\n' > /etc/rc.local; chmod 755 /etc/rc.local")
    site.semail("container", "restart", "xredon")
    site.wait_ssh("xredon")
    assert "port 25" in site.inside("xredon", "cat /etc/msmtprc")
    assert site.inside("xredon", "grep -c ^xredon: /etc/passwd; grep ^xredon: /etc/passwd").splitlines()[0] == "1"
    assert await_true(lambda: site.inside("xredon", "cat /root/ran", check=False).stdout == "ran\n", 5)
    site.semail("container", "rebuild", "--yes", "xredon")
    site.wait_ssh("xredon")


# -- SSH ----------------------------------------------------------------------

def test_through_the_host_and_nowhere_else(site):
    own, other = site.address("ssow"), site.address("xredon")
    assert site.ssh("ssow", "echo in").stdout == b"in\n"
    # No command, no shell, no terminal, no file transfer.
    for words in (["true"], [], ["-tt"], ["-tt", "bash"], ["-s", "sftp"]):
        done = site.at_the_door("ssow", *[word for word in words if word.startswith("-")], "semail-ssh@127.0.0.1", *[word for word in words if not word.startswith("-")])
        assert done.returncode in (1, 255) and done.stdout.count(b"\n") <= 1 and b"$" not in done.stdout, (words, done)
        assert {"-tt", "-s"} & set(words) or b"has no shell" in done.stderr, (words, done)
    # Nothing else that could be opened from there: other ports, other containers, the host, the world, sockets.
    for target in (f"{own}:587", f"{own}:80", f"{other}:22", f"{GATEWAY}:587", "127.0.0.1:2222", "127.0.0.1:22", "localhost:22", f"{site.host.v4}:25", "world.test:22", "198.51.100.60:22"):
        done = site.at_the_door("ssow", "-W", target, "semail-ssh@127.0.0.1")
        assert done.returncode != 0 and b"SSH-" not in done.stdout and b"220" not in done.stdout, (target, done)
    done = site.at_the_door("ssow", "-W", f"{own}:22", "semail-ssh@127.0.0.1", input=b"x\r\n")
    assert done.stdout.startswith(b"SSH-2.0-"), done
    # Listening there, the agent, a tunnel, sockets of the host.
    for options in (["-N", "-R", "10022:127.0.0.1:22"], ["-N", "-R", "/tmp/semail-test-socket:127.0.0.1:22"], ["-N", "-w", "any"]):
        done = site.at_the_door("ssow", "-o", "ExitOnForwardFailure=yes", *options, "semail-ssh@127.0.0.1", timeout=15)
        assert done.returncode != 0, (options, done)
    forward = site.host.spawn([*site.ssh_command("ssow", "-p", "2222", "-N", "-L", f"127.0.0.1:18999:{site.engine.socket}", jump=False), "semail-ssh@127.0.0.1"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def connect():
            with contextlib.suppress(ConnectionRefusedError):
                return site.host.connect("127.0.0.1", 18999, timeout=5)
        client = await_true(connect, 10)
        assert client, "ssh does not listen"
        with client:
            # Closed at once; a reset where the question was still unread.
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                assert client.recv(100) == b""
    finally:
        forward.kill()
        forward.wait()
    # Another person's container does not open to the key either, were one there already.
    assert site.ssh("xredon", "true", key="ssow", user="xredon").returncode == 255
    assert site.inside("ssow", f"timeout 2 bash -c 'exec 3<> /dev/tcp/{other}/22'", check=False).returncode != 0


def test_only_by_a_key_that_is_known(site):
    site.make_key("stranger")
    done = site.at_the_door("stranger", "semail-ssh@127.0.0.1", "true")
    assert done.returncode == 255 and b"Permission denied (publickey)" in done.stderr
    # In the container too there is nothing but keys; not for root, not for others.
    for user in ("root", "www-data", "nobody", "sshd"):
        done = site.ssh("ssow", "true", user=user)
        assert done.returncode == 255 and b"(publickey)" in done.stderr, (user, done)


def test_keys_hold_at_once(site):
    site.give_key("ssow", "ssow", "ssow-phone")
    assert site.ssh("ssow", "echo in", key="ssow-phone").stdout == b"in\n"
    site.give_key("ssow", "ssow")
    assert site.ssh("ssow", "echo in", key="ssow-phone").returncode == 255
    assert site.ssh("ssow", "echo in").stdout == b"in\n"


def test_files_go_in_and_out(site, tmp_path):
    (tmp_path / "file").write_bytes(os.urandom(300000))
    target = f"ssow@{site.address('ssow')}"
    for command in (["scp", tmp_path / "file", f"{target}:file"], ["scp", f"{target}:file", tmp_path / "back"]):
        done = site._run_inside([*site.ssh_command("ssow", command="scp"), *map(str, command[1:])])
        assert done.returncode == 0, done
    assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()


def test_keys_cannot_be_changed_inside(site):
    done = site.inside("ssow", "echo x >> /etc/ssh/semail/authorized_keys; mount -o remount,rw /etc/ssh/semail; rm /etc/ssh/semail/host_ed25519; chmod 777 /etc/ssh/semail", check=False)
    assert done.returncode != 0 and done.stdout.count("Read-only file system") >= 3, done.stdout
    assert site.ssh("ssow", "echo in").stdout == b"in\n"


# -- what cannot be done ----------------------------------------------------------

PERL = {
    "packet-socket": "socket(S, 17, 3, 0x0300)",
    "raw-socket": "socket(S, 2, 3, 1)",
    "raw-ip": "socket(S, 2, 3, 255)",
    # SIOCSIFADDR, SIOCSIFHWADDR, SIOCSIFFLAGS of eth0.
    "change-address": "socket(S, 2, 2, 0) && ioctl(S, 0x8916, $r = pack('a16 S n C4 x8', 'eth0', 2, 0, 172, 31, 0, 99))",
    "change-hardware-address": "socket(S, 2, 2, 0) && ioctl(S, 0x8924, $r = pack('a16 S C6 x8', 'eth0', 1, 2, 2, 2, 2, 2, 2))",
    "promiscuous": "socket(S, 2, 2, 0) && ioctl(S, 0x8914, $r = pack('a16 s x14', 'eth0', 0x1143))",
    "forward": "open(F, '>', '/proc/sys/net/ipv4/ip_forward') && syswrite(F, '1')",
    "device": "!syscall(133, $a = '/root/disk', 0060600, 0xfe00)",
    "mount": "!syscall(165, $a = 'none', $b = '/mnt', $c = 'tmpfs', 0, 0)",
    "user-namespace": "!syscall(272, 0x10000000)",
    "network-namespace": "!syscall(272, 0x40000000)",
    "kernel-module": "!syscall(175, $a = 'x', 1, $b = 'y')",
    "clock": "!syscall(227, 0, $a = pack('q2', 1, 1))",
    "host-name": "!syscall(170, $a = 'evil', 4)",
    "bpf": "syscall(321, 0, $a = pack('x64'), 64) >= 0",
    "swap": "!syscall(167, $a = '/x', 0)",
    "ports-of-the-machine": "!syscall(172, 3)",
    "kernel-log": "syscall(103, 3, $a = ' ' x 100, 100) >= 0",
    "restart-of-the-host": "!syscall(169, 0xfee1dead, 672274793, 0x89abcdef)",
    "handles-of-files": "syscall(304, 0, $a = pack('I2 x128', 8, 1), 0) >= 0",
}


@pytest.mark.parametrize("what", PERL)
def test_root_in_it_cannot(site, what):
    done = site.engine.docker("exec", "-i", "semail-ssow", "perl", input=f"{PERL[what]} and exit 0; print qq($!\\n); exit 1", check=False)
    assert done.returncode == 1 and re.search("not permitted|denied|not implemented|Read-only", done.stdout), (what, done.stdout)


def test_rights_of_its_processes(site):
    expected = {0: "CHOWN", 1: "DAC_OVERRIDE", 3: "FOWNER", 4: "FSETID", 5: "KILL", 6: "SETGID", 7: "SETUID", 10: "NET_BIND_SERVICE", 18: "SYS_CHROOT", 29: "AUDIT_WRITE"}
    status = site.inside("ssow", "cat /proc/1/status")
    bounds = int(re.search(r"CapBnd:\s*(\w+)", status)[1], 16)
    assert {bit for bit in range(64) if bounds >> bit & 1} == set(expected)
    assert re.search(r"^Seccomp:\s*2$", status, re.M)
    # Nothing of the host to write to.
    assert site.inside("ssow", "for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/kernel/uevent_helper /sys/fs/cgroup/*/x /sys/fs/cgroup/*/pids.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do (echo x > $f) 2> /dev/null && echo wrote $f; done; true") == ""
    assert not re.search(r"\b(loop|sd|vd|dm-|mem|kmsg|kvm)", site.inside("ssow", "ls /dev"))


def test_a_neighbours_address_cannot_be_borrowed(site):
    """Binding to an address that is not one's own is allowed by the kernel; to send from it is not."""
    other = site.address("xredon")
    script = (f"use Socket; socket(S, AF_INET, SOCK_STREAM, 0); setsockopt(S, 0, 15, 1); "
              f"bind(S, sockaddr_in(0, inet_aton(q({other})))) or exit 3; connect(S, sockaddr_in(587, inet_aton(q({GATEWAY})))) and exit 0; exit 1")
    assert site.inside("ssow", f"timeout 5 perl -e '{script}'", check=False).returncode in (1, 124)


# -- the firewall -------------------------------------------------------------------

def test_the_host_is_reached_at_two_ports_of_one_address(site):
    assert site.reaches("ssow", GATEWAY, 587) and site.reaches("ssow", GATEWAY, 25)
    with listening(site.host, "0.0.0.0", 8080) as seen, listening(site.host, "::", 8081) as seen6:
        for address in (GATEWAY, site.host.v4, "172.30.0.1"):
            assert not site.reaches("ssow", address, 8080, seconds=1), address
        for port in (25, 587, 465, 2222):
            assert not site.reaches("ssow", site.host.v4, port, seconds=1), port
        assert not site.reaches("ssow", GATEWAY, 2222, seconds=1)
        assert seen == [] and seen6 == []
        # They do listen.
        with site.host.inside():
            socket.create_connection((GATEWAY, 8080), timeout=5).close()
        assert await_true(lambda: seen, 5)
    with site.host.inside():
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with udp:
        udp.bind(("0.0.0.0", 5353))
        udp.settimeout(1)
        for address in (GATEWAY, site.host.v4, "255.255.255.255", "172.31.0.255"):
            site.inside("ssow", f"echo x > /dev/udp/{address}/5353", check=False)
        with pytest.raises(TimeoutError):
            udp.recv(10)


def test_neighbours_are_not_reached(site):
    """Not at a port that listens, not by a broadcast, and not by asking where they are."""
    other = site.address("xredon")
    site.inside("xredon", "perl -MIO::Socket -e '$u = IO::Socket::INET->new(Proto => q(udp), LocalPort => 7777); $u->recv($b, 9); open F, q(>/root/heard); print F $b' > /dev/null 2>&1 &")
    assert not site.reaches("ssow", other, 22)
    for address in (other, "172.31.0.255", "255.255.255.255"):
        site.inside("ssow", f"perl -MIO::Socket -e '$u = IO::Socket::INET->new(Proto => q(udp), Broadcast => 1, PeerAddr => q({address}), PeerPort => 7777) and $u->send(q(hello))'", check=False)
    time.sleep(0.5)
    assert site.inside("xredon", "cat /root/heard", check=False).returncode != 0
    # The neighbour's hardware address stays unknown.
    assert not re.search(rf"^{re.escape(other)} .* (?!00:00:00:00:00:00)([0-9a-f]{{2}}:){{5}}[0-9a-f]{{2}} ", site.inside("ssow", "cat /proc/net/arp"), re.M)
    # From the host it is heard: the test would notice.
    with site.host.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(b"hello", (other, 7777))
    assert await_true(lambda: site.inside("xredon", "cat /root/heard", check=False).stdout == "hello", 5)
    site.inside("xredon", "rm -f /root/heard")


def test_there_is_no_ipv6(site):
    assert site.inside("ssow", "grep -v ' lo$' /proc/net/if_inet6 || true") == ""


def test_the_world_is_reached_but_not_with_mail(site, network):
    world = network.host("world.test")
    assert site.inside("ssow", "getent hosts world.test").split()[0] == world.v4
    with contextlib.ExitStack() as stack:
        seen = {port: stack.enter_context(listening(world, "0.0.0.0", port)) for port in (80, 25, 465, 587, 2525)}
        assert site.reaches("ssow", world.v4, 80) and site.reaches("ssow", world.v4, 2525)
        for port in (25, 465, 587):
            start = time.monotonic()
            assert not site.reaches("ssow", world.v4, port)
            assert time.monotonic() - start < 1.5, "it is refused at once"
        assert await_true(lambda: seen[80] and seen[2525], 5)
        # They come from the host's address, and nothing came by the ports of mail.
        assert set(seen[80]) == {site.host.v4} and not seen[25] + seen[465] + seen[587]
    # Nobody outside gets in, not even who knows the way.
    world.run("ip", "route", "add", NETWORK, "via", site.host.v4)
    try:
        with pytest.raises(OSError):
            world.connect(site.address("ssow"), 22, timeout=2)
    finally:
        world.run("ip", "route", "del", NETWORK)


def container_rules(site):
    """What nft says of both tables; None where one is not there."""
    told = [subprocess.run(site.host.command(("nft", "list", "table", family, "semail")), capture_output=True, text=True) for family in ("inet", "bridge")]
    return [done.stdout for done in told] if all(done.returncode == 0 for done in told) else None


def flush_container_rules(site):
    for family in ("inet", "bridge"):
        site.host.run("nft", "delete", "table", family, "semail")


def test_rules_are_put_in_force_as_one_and_again(site):
    before = container_rules(site)
    flush_container_rules(site)
    with listening(site.host, "0.0.0.0", 8080) as seen:
        assert site.reaches("ssow", site.host.v4, 8080) and await_true(lambda: seen, 5), "without the rules it is open: the other tests would notice"
    for _ in range(2):
        site.semail("container", "create", "ssow")
    assert container_rules(site) == before


def test_the_rules_leave_the_main_network_alone(site):
    assert main_rules() == site.main_rules_before


# -- limits -----------------------------------------------------------------------

def test_memory(site):
    """A program that wants more than there is ends; the container and its neighbour do not."""
    done = site.inside("ssow", "perl -e '$x = q(a) x (600 << 20); print length $x'", check=False)
    assert done.returncode == 137, done.stdout
    assert site.inside("ssow", "echo alive") == "alive\n" and site.inside("xredon", "echo alive") == "alive\n"
    assert site.container("ssow")[0] == "running"


def test_processes(site):
    """A bomb of forks stays within its container."""
    done = site.inside("ssow", "perl -e 'for (1..2000) { $p = fork; if (!defined $p) { print qq($_ $!\\n); last } if (!$p) { sleep 20; exit } }'; true", user="ssow", timeout=60)
    assert "Resource temporarily unavailable" in done
    assert int(done.split()[0]) <= 512
    assert site.inside("xredon", "echo alive") == "alive\n"
    assert site.ssh("xredon", "echo in").stdout == b"in\n"
    site.semail("container", "restart", "ssow")
    site.wait_ssh("ssow")


def test_limits_follow_the_settings(site):
    before = site.engine.docker("inspect", "semail-ssow", "--format", "{{.Id}}").stdout
    site.control("container-memory", "256M")
    site.control("container-processes", "100")
    site.control("container-processors", "0.5")
    try:
        site.semail("container", "create", "ssow")
        told = site.engine.docker("inspect", "semail-ssow", "--format", "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}} {{.HostConfig.NanoCpus}}").stdout.split()
        assert told == [str(256 << 20), str(256 << 20), "100", "500000000"]
        assert site.inside("ssow", "perl -e '$x = q(a) x (300 << 20)'", check=False).returncode == 137
        assert site.engine.docker("inspect", "semail-ssow", "--format", "{{.Id}}").stdout == before
    finally:
        for name in ("container-memory", "container-processes", "container-processors"):
            site.control(name, None)
        site.semail("container", "create", "ssow")


def test_a_full_volume_is_its_owners_alone(site):
    done = site.ssh("ssow", "dd if=/dev/zero of=/Maildir/fill bs=1M count=100; stat -f -c %a /Maildir; df /etc | tail -n 1 | wc -l")
    assert b"No space left on device" in done.stderr
    assert site.ssh("xredon", "echo fits > /Maildir/cur/x && cat /Maildir/cur/x && rm /Maildir/cur/x").stdout == b"fits\n"
    before = len(site.delivered("xredon"))
    site.submit("xredon@semail.test", ["xredon@semail.test"], b"Subject: to the other\r\n\r\nHello.\r\n")
    assert await_true(lambda: len(site.delivered("xredon")) == before + 1, 20), site.report()
    # Its owner can make room.
    assert site.ssh("ssow", "rm /Maildir/fill && echo room > /Maildir/cur/x && rm /Maildir/cur/x && echo again").stdout == b"again\n"


# -- mail -------------------------------------------------------------------------

def test_mail_goes_out_as_the_owners(site):
    before = set(site.delivered("xredon"))
    done = site.ssh("ssow", "echo 'Hello from a container.' | mail -s 'By mail' xredon@semail.test")
    assert done.returncode == 0, done
    assert await_true(lambda: set(site.delivered("xredon")) - before, 20), site.report()
    [path] = set(site.delivered("xredon")) - before
    text = path.read_text()
    assert "Hello from a container." in text and re.search(r"^Return-Path: <ssow@semail.test>$", text, re.M) and re.search(r"^From: .*ssow@semail.test", text, re.M)
    assert re.search(r"^Subject: By mail$", text, re.M) and re.search(r"^Message-ID: <.*@semail.test>$", text, re.M | re.I) and re.search(r"^Date: ", text, re.M)


def test_mutt_sends_too(site):
    before = set(site.delivered("xredon"))
    done = site.ssh("ssow", "echo 'Body.' | mutt -s 'By mutt' xredon@semail.test")
    assert done.returncode == 0, done
    assert await_true(lambda: set(site.delivered("xredon")) - before, 20), site.report()
    [path] = set(site.delivered("xredon")) - before
    assert re.search(r"^From: .*ssow@semail.test", path.read_text(), re.M) and "Subject: By mutt" in path.read_text()
    assert "Subject: By mutt" in site.inside("ssow", "cat /Maildir/.Sent/*/*", check=False).stdout, "a copy is kept"


def test_nobody_sends_as_another(site):
    done = site.ssh("ssow", "printf 'From: xredon@semail.test\\nSubject: forged\\n\\nx\\n' | msmtp -f xredon@semail.test xredon@semail.test")
    assert done.returncode != 0 and re.search(rb"5\d\d[ -]", done.stderr), done
    assert not [path for path in site.delivered("xredon") if "forged" in path.read_text()]


def test_mail_arrives_while_mutt_reads(site):
    command = [*site.ssh_command("xredon", "-tt"), f"xredon@{site.address('xredon')}", "TERM=xterm mutt -e 'set mail_check=1'"]
    parent, child = pty.openpty()
    reader = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, start_new_session=True, preexec_fn=site.host.enter, env=site.environment(TERM="xterm"))
    os.close(child)
    screen = b""

    def shows(text, seconds=20):
        nonlocal screen
        end = time.monotonic() + seconds
        while time.monotonic() < end and text not in screen:
            if select.select([parent], [], [], 0.2)[0]:
                with contextlib.suppress(OSError):
                    screen += os.read(parent, 65536)
        return text in screen
    try:
        assert shows(b"Mutt: /Maildir"), screen
        site.submit("ssow@semail.test", ["xredon@semail.test"], b"Subject: While you read\r\nFrom: ssow@semail.test\r\n\r\nNews.\r\n")
        assert shows(b"While you read"), screen[-2000:]
        os.write(parent, b"x")
        assert await_true(lambda: reader.poll() is not None, 10)
    finally:
        reader.kill()
        reader.wait()
        os.close(parent)


# -- installing software ----------------------------------------------------------------

@pytest.fixture
def archive(network, tmp_path):
    """A Debian archive on a host of the world, with one package that does what packages do: users, owners, modes, links, a service's port."""
    root = tmp_path / "package"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/semail-hello").write_text("#!/bin/sh\nid -u\n")
    os.chmod(root / "usr/bin/semail-hello", 0o755)
    (root / "DEBIAN/control").write_text("Package: semail-hello\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x.test>\nDescription: says who it is\n")
    (root / "DEBIAN/postinst").write_text("#!/bin/sh\nset -e\nuseradd --system hello\nmkdir -p /var/lib/hello\nchown hello:hello /var/lib/hello\nchmod 2770 /var/lib/hello\n"
                                          "cp /usr/bin/env /usr/bin/hello-suid\nchown daemon /usr/bin/hello-suid\nchmod 4755 /usr/bin/hello-suid\nsu hello -s /bin/sh -c 'touch /var/lib/hello/mine'\n")
    os.chmod(root / "DEBIAN/postinst", 0o755)
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", root, tmp_path / "semail-hello_1_all.deb"], check=True, capture_output=True)
    (root / "DEBIAN/control").rename(tmp_path / "control")
    deb = (tmp_path / "semail-hello_1_all.deb").read_bytes()
    import hashlib
    packages = (tmp_path / "control").read_text() + f"Filename: ./semail-hello_1_all.deb\nSize: {len(deb)}\nSHA256: {hashlib.sha256(deb).hexdigest()}\n\n"
    files = {"/Packages": packages.encode(), "/semail-hello_1_all.deb": deb}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = files.get(self.path.replace("/./", "/"))
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_):
            pass
    with network.host("world.test").inside():
        server = http.server.ThreadingHTTPServer(("0.0.0.0", 80), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield "http://world.test/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_software_is_installed(site, archive):
    done = site.ssh("ssow", f"echo 'deb [trusted=yes] {archive} ./' | sudo tee /etc/apt/sources.list > /dev/null && sudo apt-get -q update && sudo apt-get -qy install semail-hello && semail-hello "
                            "&& sudo ls -ld /var/lib/hello /var/lib/hello/mine && hello-suid stat -c %A /usr/bin/hello-suid", timeout=120)
    said = done.stdout.decode()
    assert done.returncode == 0, said + done.stderr.decode()
    assert "Setting up semail-hello" in said and "drwxrws--- 2 hello hello" in said and "-rwsr-xr-x" in said
    # And goes again.
    done = site.ssh("ssow", "sudo apt-get -qy purge semail-hello && ! command -v semail-hello", timeout=120)
    assert done.returncode == 0, done


# -- again and again ------------------------------------------------------------------

def container_id(site, owner):
    return site.engine.docker("inspect", f"semail-{owner}", "--format", "{{.Id}}").stdout.strip()


def test_made_again_it_is_the_same(site):
    before = container_id(site, "ssow")
    for _ in range(2):
        assert site.semail("container", "create", "ssow") == f"the container of ssow at {site.address('ssow')} is running\n"
    assert container_id(site, "ssow") == before


def test_a_rebuild_keeps_mail_and_keys(site):
    before, key = container_id(site, "xredon"), (site.directory / "ssh/xredon/host_ed25519.pub").read_text()
    site.ssh("xredon", "echo kept > /Maildir/cur/kept; echo lost > ~/lost")
    done = site.run("semail", "container", "rebuild", "xredon")
    assert done.returncode == 1 and b"say --yes" in done.stderr
    site.semail("container", "rebuild", "--yes", "xredon")
    site.wait_ssh("xredon")
    assert container_id(site, "xredon") != before
    # ssh knows the host by the same key, or would refuse.
    done = site.ssh("xredon", "cat /Maildir/cur/kept; rm /Maildir/cur/kept; ls ~")
    assert done.stdout == b"kept\nMaildir\n", done
    assert (site.directory / "ssh/xredon/host_ed25519.pub").read_text() == key


def test_stopped_it_stays_so(site):
    site.semail("container", "stop", "xredon")
    assert site.container("xredon")[0] == "exited"
    assert site.semail("container", "stop", "xredon").endswith("is exited\n")
    # Where the kernel still knows the hardware address of what has just gone, it may knock there for minutes.
    site.host.run("ip", "neigh", "flush", "dev", "semail0")
    assert site.ssh("xredon", "true").returncode == 255
    site.semail("container", "start", "xredon")
    assert site.semail("container", "start", "xredon").endswith("is running\n")
    site.wait_ssh("xredon")


def test_the_engine_starts_again(site):
    """Shut down as a host is, and killed outright: containers run again when the firewall is in force, and what its owner has stopped stays so."""
    addresses, rules = {owner: site.address(owner) for owner in OWNERS}, container_rules(site)
    site.semail("container", "stop", "xredon")
    for end in (site.engine.stop, site.engine.kill):
        end()
        flush_container_rules(site)
        done = site.run("semail", "container", "list")
        assert done.returncode == 1 and b"does not run" in done.stderr
        site.engine.start()
        time.sleep(2)
        assert {site.container(owner)[0] for owner in OWNERS} == {"exited"}, "the engine starts containers before there is a firewall"
        done = site.run("provision", "--once")
        assert done.returncode == 0, done.stderr
        assert container_rules(site) == rules
        site.wait_ssh("ssow")
        assert site.container("ssow") == ("running", addresses["ssow"]) and site.container("xredon")[0] == "exited"
        assert site.ssh("ssow", "echo in").stdout == b"in\n"
    site.semail("container", "start", "xredon")
    site.wait_ssh("xredon")


def test_what_is_gone_is_there_again_within_a_minute(site):
    """The rules, when somebody has flushed those of the host, and a container that ended, well or badly."""
    rules = container_rules(site)
    provision = site.spawn(site.program("provision"), [], log="provision")
    try:
        assert await_true(lambda: " started " in site.log("provision")), site.log("provision")
        time.sleep(2)
        flush_container_rules(site)
        site.engine.docker("stop", "semail-ssow")
        site.inside("xredon", "kill -KILL -1; kill -KILL 1", check=False)
        assert {site.container(owner)[0] for owner in OWNERS} == {"exited"}
        assert await_true(lambda: container_rules(site) == rules, 70, 0.5)
        for owner in OWNERS:
            site.wait_ssh(owner)
    finally:
        provision.terminate()
        assert provision.wait(20) == 0


def test_kills_while_it_is_made(site):
    """semail killed at whatever moment: the same command again makes a whole container; deletion leaves nothing."""
    address = "victim@semail.test"
    for number in range(12):
        process = site.spawn(site.program("semail"), ["mailbox", "create", "victim", address], log="victim")
        time.sleep(0.02 + 0.06 * number)
        process.kill()
        process.wait()
        if number % 3 == 2:
            site.semail("mailbox", "create", "victim", address)
            site.give_key("victim")
            site.wait_ssh("victim")
            assert site.ssh("victim", "echo in").stdout == b"in\n"
            deleting = site.spawn(site.program("semail"), ["mailbox", "delete", "--yes", address], log="victim-delete")
            time.sleep(0.03 * number)
            deleting.kill()
            deleting.wait()
            done = site.run("semail", "mailbox", "delete", "--yes", address)
            assert done.returncode == 0 or b"no mailbox" in done.stderr, done
            assert site.engine.docker("ps", "-aq", "--filter", "name=semail-victim").stdout == ""
            assert not (site.directory / "ssh/victim").exists()
    assert site.container("victim") is None


def test_many_at_once(site):
    """Six people, as fast as they can."""
    owners = [f"crowd{number}" for number in range(6)]
    processes = [site.spawn(site.program("semail"), ["mailbox", "create", owner, f"{owner}@semail.test"], log=owner) for owner in owners]
    try:
        assert [process.wait(120) for process in processes] == [0] * 6, [site.log(owner) for owner in owners]
        addresses = {site.address(owner) for owner in owners}
        assert len(addresses) == 6
        for owner in owners:
            site.wait_ssh(owner)
    finally:
        for owner in owners:
            site.semail("mailbox", "delete", "--yes", f"{owner}@semail.test")
    assert not site.engine.docker("ps", "-aq", "--filter", "name=semail-crowd").stdout


def test_a_mailbox_from_before(site):
    """Made without containers; then it gets one."""
    site.control("container-engine", None)
    try:
        site.add_mailbox("older")
        done = site.run("semail", "container", "create", "older")
        assert done.returncode == 1 and b"container-engine PATH" in done.stderr
    finally:
        site.control("container-engine", site.engine.socket)
    assert site.container("older") is None
    site.semail("container", "create", "older")
    site.give_key("older")
    site.wait_ssh("older")
    assert site.ssh("older", "echo x | msmtp older@semail.test && echo sent").stdout == b"sent\n"
    site.semail("mailbox", "delete", "--yes", "older@semail.test")
    assert site.container("older") is None


# -- what goes wrong is said ---------------------------------------------------------

def test_the_engine_is_down(site):
    site.control("container-engine", "/nonexistent/engine.sock")
    try:
        for words in (["list"], ["create", "ssow"], ["start", "ssow"]):
            done = site.run("semail", "container", *words)
            assert done.returncode == 1 and b"does not run" in done.stderr and b"/nonexistent/engine.sock" in done.stderr, done
    finally:
        site.control("container-engine", site.engine.socket)


def doctors_word(site):
    """What is to be mended with containers, and how; None if all is well."""
    findings = [finding for finding in json.loads(site.run("semail", "doctor", "--json").stdout)["findings"] if finding["check"] == "containers"]
    if [finding["level"] for finding in findings] == ["well"]:
        return None
    return [(finding["level"], finding["text"], finding["remedy"]) for finding in findings]


def test_the_doctor_looks_at_containers(site):
    assert doctors_word(site) is None
    for action, words in ((("stop", "-t", "1"), "does not run: it is exited"), (("rm", "-f"), "is missing")):
        site.engine.docker(*action, "semail-ssow")
        [(level, text, remedy)] = doctors_word(site)
        assert level == "mend" and text == f"the container of ssow@semail.test {words}"
        site.semail(*remedy.removeprefix("run: semail ").split())
        assert doctors_word(site) is None
    # Not a fault: its owner wants it so.
    site.semail("container", "stop", "ssow")
    assert doctors_word(site) is None
    site.semail("container", "start", "ssow")
    site.host.run("nft", "delete", "table", "bridge", "semail")
    [(level, text, _)] = doctors_word(site)
    assert level == "mend" and "firewall of the containers is not in force" in text
    site.semail("container", "create", "ssow")
    site.control("container-image", "semail-nowhere")
    [(level, text, remedy)] = doctors_word(site)
    assert level == "mend" and "no image" in text and "install.sh" in remedy
    site.control("container-image", None)
    site.engine.docker("create", "--pull", "never", "--name", "semail-gone", "--label", "semail.owner=gone", "semail-home")
    [(level, text, remedy)] = doctors_word(site)
    assert level == "note" and "a mailbox that is gone" in text
    site.engine.docker(*remedy[remedy.index("docker ") + len("docker "):].split())
    site.control("container-engine", "/nonexistent/engine.sock")
    try:
        [(level, text, _)] = doctors_word(site)
        assert level == "mend" and "does not run" in text
    finally:
        site.control("container-engine", site.engine.socket)
    site.wait_ssh("ssow")
    assert doctors_word(site) is None


def test_the_image_is_missing(site):
    site.control("container-image", "semail-nowhere")
    try:
        done = site.run("semail", "mailbox", "create", "early", "early@semail.test")
        assert done.returncode == 1 and b"no image semail-nowhere: install.sh builds it" in done.stderr, done
    finally:
        site.control("container-image", None)
    # With the image there, the same again completes it.
    site.semail("mailbox", "create", "early", "early@semail.test")
    assert site.container("early")[0] == "running"
    site.semail("mailbox", "delete", "--yes", "early@semail.test")


def test_a_name_is_anothers(site):
    site.engine.docker("create", "--pull", "never", "--name", "semail-taken", "semail-home")
    try:
        done = site.run("semail", "mailbox", "create", "taken", "taken@semail.test")
        assert done.returncode == 1 and b"semail-taken is there and not of our making" in done.stderr, done
        site.engine.docker("inspect", "semail-taken")
    finally:
        site.engine.docker("rm", "-f", "semail-taken")
        site.semail("mailbox", "delete", "--yes", "taken@semail.test")


def test_the_network_is_another(site):
    site.control("container-network", "172.29.0.0/24")
    try:
        done = site.run("semail", "container", "create", "ssow")
        assert done.returncode == 1 and NETWORK.encode() in done.stderr and b"container-network says 172.29.0.0/24" in done.stderr, done
    finally:
        site.control("container-network", NETWORK)
    # The firewall is as it was before.
    site.semail("container", "create", "ssow")
    assert site.reaches("ssow", GATEWAY, 587)


@pytest.mark.parametrize("words, reason", [(["start", "nobody"], "no mailbox"), (["stop", "../x"], "no owner's name"), (["create", "nobody"], "no mailbox"), (["rebuild", "--yes", "nobody"], "no mailbox")])
def test_of_nobody(site, words, reason):
    done = site.run("semail", "container", *words)
    assert done.returncode == 1 and reason in done.stderr.decode(), done


def test_as_json(site):
    import json
    containers = json.loads(site.semail("container", "list", "--json"))["containers"]
    assert {entry["owner"]: entry["address"] for entry in containers} == {"ssow": "ssow@semail.test", "xredon": "xredon@semail.test"}
    assert all(set(entry) == {"owner", "state", "since", "container", "address"} and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["since"]) for entry in containers)
    started = site.engine.docker("inspect", "semail-ssow", "--format", "{{.State.StartedAt}}").stdout[:19]
    assert next(entry["since"] for entry in containers if entry["owner"] == "ssow") == started + "Z"


def test_time_until_one_can_log_in(site):
    """Of a container whose image is there: well under the three seconds that a mailbox may take."""
    took = []
    for number in range(5):
        start = time.monotonic()
        site.semail("mailbox", "create", "quick", "quick@semail.test")
        made = time.monotonic() - start
        site.wait_ssh("quick")
        took.append((made, time.monotonic() - start))
        site.semail("mailbox", "delete", "--yes", "quick@semail.test")
    print("seconds until made, until sshd greets:", [(round(made, 2), round(greets, 2)) for made, greets in took])
    assert sorted(greets for _, greets in took)[2] < 6


# -- listening where nothing is yet ---------------------------------------------------

def test_listening_on_an_address_that_comes_later():
    """The outgoing server starts before the bridge of the containers, and serves there when it comes."""
    holder = Holder()
    process = subprocess.Popen(holder.command([semailtest.program("tcp-accept"), "-s", "172.30.9.1,2001:db8:9::1", "2525", "/bin/echo", "hello"]), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        lines = [process.stderr.readline() for _ in range(2)]
        assert all(b"listening" in line for line in lines), lines
        with holder.inside(), pytest.raises(OSError):
            socket.create_connection(("172.30.9.1", 2525), timeout=1)
        holder.run("sh", "-c", "ip link add semail0 type bridge; ip addr add 172.30.9.1/24 dev semail0; ip -6 addr add 2001:db8:9::1/64 dev semail0 nodad; ip link set semail0 up")
        for address in ("172.30.9.1", "2001:db8:9::1"):
            with holder.inside(), socket.create_connection((address, 2525), timeout=5) as client:
                assert client.recv(10) == b"hello\n"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        process.stderr.close()
        holder.close()
