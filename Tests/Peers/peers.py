"""Other people's mail servers, unpacked side by side without being installed.

Postfix, OpenSMTPD and Exim conflict in apt, and none of them may be started on
the machine that runs the tests. So each is downloaded with the libraries it
needs and unpacked into a root directory of its own under .build-peers (kept
between runs, ignored by git, safe to delete). A command is run in such a root
through `enter`, in a mount namespace of its own.

Standard library only: the benchmark uses this too.
By hand:  python3 Tests/Peers/peers.py postfix opensmtpd exim
"""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("SEMAIL_PEERS") or REPOSITORY / ".build-peers")
ENTER = Path(__file__).resolve().parent / "enter"

# What is wanted of each peer: the packages named here, plus the libraries that
# they depend on. Everything else a package depends on serves its installation
# scripts, which are never run.
PEERS = {
    "postfix": ["postfix", "netbase"],
    # OpenSMTPD starts its mail.maildir through /bin/sh.
    "opensmtpd": ["opensmtpd", "netbase", "dash"],
    "exim": ["exim4-daemon-light", "exim4-base", "netbase"],
    # No mail server, but names are what mail goes by. Its libraries are a package of another name.
    "named": ["bind9", "bind9-libs"],
    # SqWebMail behind Apache, with a shell to start the program that sends.
    "webmail": ["apache2-bin", "sqwebmail", "courier-authlib", "dash"],
}

# Those of them that install.sh --demo shows.
OF_THE_DEMO = ("named", "postfix", "webmail")

# Accounts inside the roots. The numbers are far from those that a Debian
# system gives out, for the processes carry them outside of the root too.
ACCOUNTS = {
    "root": 0, "daemon": 1, "mail": 8, "nobody": 65534,
    "postfix": 61001, "postdrop": 61002,
    "opensmtpd": 61003, "opensmtpq": 61004,
    "Debian-exim": 61005,
    "vmail": 61010,
}


class PeerMissing(Exception):
    """A peer cannot be had; the text says which, why, and what to do."""


def account(name):
    return ACCOUNTS[name]


def _run(arguments, **options):
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, **options)
    if done.returncode != 0:
        raise PeerMissing(f"{' '.join(map(str, arguments[:6]))}: exit {done.returncode}: "
                          f"{done.stdout.strip()[-600:]}")
    return done.stdout


def _libraries(packages):
    """The libraries that PACKAGES depend on, first alternatives only."""
    text = _run(["apt-cache", "show", "--no-all-versions", *packages])
    names = set()
    for line in text.splitlines():
        field, _, value = line.partition(":")
        if field in ("Depends", "Pre-Depends"):
            for clause in value.split(","):
                name = re.split(r"[\s(:|]", clause.strip(), 1)[0]
                if name.startswith("lib") or name == "zlib1g":
                    names.add(name)
    return names


def _closure(packages):
    known, new = set(), set(packages)
    while new:
        known |= new
        new = _libraries(sorted(new)) - known
    return sorted(known)


def _lay_out(root):
    """The few files of a system that the packages do not carry."""
    for directory in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "dev", "proc",
                      "tmp", "run", "var/spool", "var/lib", "var/empty"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "var/run").symlink_to("../run")
    home = "/nonexistent"
    (root / "etc/passwd").write_text("".join(
        f"{name}:x:{number}:{number}::{'/root' if number == 0 else home}:/usr/sbin/nologin\n"
        for name, number in ACCOUNTS.items()))
    (root / "etc/group").write_text("".join(
        f"{name}:x:{number}:\n" for name, number in ACCOUNTS.items()))
    (root / "etc/nsswitch.conf").write_text(
        "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n")
    (root / "etc/hosts").write_text(
        "127.0.0.1 localhost peer.semail.test\n::1 localhost\n")
    (root / "etc/ld.so.conf").write_text("include /etc/ld.so.conf.d/*.conf\n")
    clock = Path("/usr/share/zoneinfo/Etc/UTC")
    if clock.exists():
        shutil.copy(clock, root / "etc/localtime")
    # No name is to be looked up anywhere but in the files above. A resolver of
    # their own (OpenSMTPD's) is sent to a loopback address on which nothing
    # listens, which refuses at once.
    (root / "etc/resolv.conf").write_text(
        "nameserver 127.255.255.254\nlookup file\noptions timeout:1 attempts:1\n")


@contextlib.contextmanager
def common_umask():
    """The umask that packages expect, whatever that of the caller is."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def unpack(peer):
    """The root of PEER, downloaded and unpacked if that was not done before."""
    with common_umask():
        return _unpack(peer)


def _unpack(peer):
    if peer not in PEERS:
        raise PeerMissing(f"{peer}: no such peer; there are {', '.join(PEERS)}")
    CACHE.mkdir(parents=True, exist_ok=True)
    # Chroots are entered by the peers' own users.
    os.chmod(CACHE, 0o755)
    root = CACHE / peer
    recipe = " ".join(PEERS[peer]) + "\nlayout 3\n"
    with open(CACHE / f"{peer}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = root / ".unpacked"
        if stamp.exists() and stamp.read_text() == recipe:
            return root
        for command in ("apt-get", "apt-cache", "dpkg-deb"):
            if not shutil.which(command):
                raise PeerMissing(f"{peer}: {command} is needed to fetch it and is not here; "
                                  "this runs on Debian and its relatives")
        if os.geteuid() != 0:
            raise PeerMissing(f"{peer}: only root can unpack it with its owners and run it in "
                              "a root of its own; use sudo")
        downloads = CACHE / "packages" / peer
        shutil.rmtree(downloads, ignore_errors=True)
        downloads.mkdir(parents=True)
        try:
            packages = _closure(PEERS[peer])
            _run(["apt-get", "-q", "download", *packages], cwd=downloads)
        except PeerMissing:
            # Lists that are empty or older than the mirror: fetched once, then the truth.
            _run(["apt-get", "-q", "update"])
            packages = _closure(PEERS[peer])
            _run(["apt-get", "-q", "download", *packages], cwd=downloads)
        partial = CACHE / f"{peer}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(root, ignore_errors=True)
        partial.mkdir(mode=0o755)
        _lay_out(partial)
        for archive in sorted(downloads.glob("*.deb")):
            # By way of tar, which can be told to follow bin -> usr/bin.
            unpacking = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive],
                                         stdout=subprocess.PIPE)
            _run(["tar", "-x", "--keep-directory-symlink", "-C", partial], stdin=unpacking.stdout)
            unpacking.stdout.close()
            if unpacking.wait() != 0:
                raise PeerMissing(f"{peer}: {archive.name} cannot be unpacked")
        shutil.rmtree(downloads)
        # What the installation of libc would do; without it every program
        # searches many directories for its libraries each time it starts.
        _run(["ldconfig", "-r", partial])
        (partial / ".unpacked").write_text(recipe)
        partial.rename(root)
    return root


def command(peer, arguments, binds=(), own_pid_namespace=True):
    """The argument vector that runs ARGUMENTS in the root of PEER.

    BINDS are pairs (path outside, path inside). With a pid namespace of its own
    all processes of the peer end when the process started here is killed.
    Without one the process started here is the command itself.
    """
    vector = ["unshare", "--mount", "--propagation", "private"]
    if own_pid_namespace:
        vector += ["--pid", "--fork", "--kill-child", "env", "PEER_OWN_PID_NAMESPACE=1"]
    vector += [str(ENTER), str(unpack(peer))]
    for outside, inside in binds:
        vector += ["-b", str(outside), str(inside)]
    return vector + ["--", *map(str, arguments)]


def smtp_source():
    """The beginning of a command line for Postfix's load generator, run without a chroot."""
    return _without_chroot("smtp-source")


def smtp_sink():
    """The same of what takes mail and throws it away."""
    return _without_chroot("smtp-sink")


def _without_chroot(name):
    root = unpack("postfix")
    [loader] = sorted((root / "usr/lib64").glob("ld-linux*")) or sorted(
        (root / "usr/lib").glob("ld-linux*"))
    libraries = [root / "usr/lib/postfix", *sorted((root / "usr/lib").glob("*-linux-gnu"))]
    return [str(loader), "--library-path", ":".join(map(str, libraries)),
            str(root / "usr/sbin" / name)]


def smtp_source_body(length):
    """The body that smtp-source sends for -l LENGTH, as a Maildir holds it."""
    data = bytearray(b"X" * length)
    for end in range(80, length, 80):
        data[end - 80] = b"0123456789"[(end // 80) % 10]
        data[end - 2:end] = b"\r\n"
    return bytes(data).replace(b"\r\n", b"\n") + b"\n"


if __name__ == "__main__":
    for wanted in sys.argv[1:] or PEERS:
        try:
            print(unpack(wanted))
        except PeerMissing as missing:
            sys.exit(f"peers: {missing}")
