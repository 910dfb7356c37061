"""install.sh --demo: other people's servers in the demo's network, named and Postfix, which are unpacked and not installed.

    demo_peers.py unpack NAME...
    demo_peers.py run PARENT PLACE HOUSE SCHOOL

`run` starts named in the network of the process HOUSE, for the names in PLACE/names and for semail.test, whose names in PLACE/house.zone
change as the key PLACE/house.key says, and Postfix in that of SCHOOL, as the mail server of school.test. PARENT is who started it, and
with whom it ends. It says `ready`, and ends both when it is told to end. However it ends, nothing of them goes on.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "Tests/Peers"))

import peers
import servers


def end_with_us():
    """For a process before its exec."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Host:
    """A host of the demo's network, as servers.py wants one."""

    def __init__(self, pid):
        self.pid = pid

    def command(self, arguments):
        return ["nsenter", "-t", self.pid, "-n", *map(str, arguments)]

    @contextlib.contextmanager
    def inside(self):
        """Sockets made in the `with` block are that host's."""
        libc, network = ctypes.CDLL(None, use_errno=True), 0x40000000
        with open("/proc/self/ns/net") as outside, open(f"/proc/{self.pid}/ns/net") as inner:
            if libc.setns(inner.fileno(), network):
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                libc.setns(outside.fileno(), network)


def start_named(place, host):
    """named, which knows every name of this network; it notes who asks for what."""
    (place / "named").mkdir(mode=0o700)
    # Of the zone that changes, named keeps the file itself, and a journal beside it.
    for name in ("house.zone", "house.key"):
        (place / name).rename(place / "named" / name)
    for path in (place / "named", *(place / "named").iterdir()):
        os.chown(path, peers.account("nobody"), -1)
    (place / "named.conf").write_text(f"""\
options {{
    directory "{place}/named"; pid-file none; lock-file none; session-keyfile none;
    listen-on {{ any; }}; listen-on-v6 {{ any; }}; querylog yes;
    recursion no; dnssec-validation no; empty-zones-enable no; minimal-responses yes;
}};
controls {{ }};
include "{place}/named/house.key";
zone "." {{ type primary; file "{place}/names"; }};
zone "semail.test" {{
    type primary; file "{place}/named/house.zone"; allow-transfer {{ none; }};
    update-policy {{ grant semail wildcard *.semail.test. MX TXT SRV CNAME; }};
}};
""")
    log = open(place / "named.log", "wb")
    command = peers.command("named", ["/usr/sbin/named", "-g", "-n", "1", "-u", "nobody", "-c", place / "named.conf"], [(place, place)])
    process = subprocess.Popen(host.command(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, preexec_fn=end_with_us)
    while " running\n" not in (place / "named.log").read_text(errors="replace"):
        if process.poll() is not None:
            sys.exit(f"named does not run:\n{(place / 'named.log').read_text(errors='replace')[-1000:]}")
        time.sleep(0.02)
    return process


def run(place, house, school):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    process = start_named(place, Host(house))
    postfix = servers.Postfix(place / "postfix", port=25)
    postfix.host = Host(school)
    postfix.host_binds = [(place / "school.resolv.conf", "/etc/resolv.conf"), (place / "nsswitch.conf", "/etc/nsswitch.conf")]
    try:
        postfix.serves("mx.school.test", ["school.test"], ["anna"], [place / "mx.school.test.pem"])
        postfix.start(before_exec=end_with_us)
        print("ready", flush=True)
        signal.pause()
    except RuntimeError as error:
        sys.exit(str(error))
    finally:
        postfix.stop()
        process.kill()
        process.wait()


if __name__ == "__main__":
    try:
        if sys.argv[1] == "unpack":
            for name in sys.argv[2:]:
                print(peers.unpack(name))
        else:
            # Killed before the kernel knew that we end with it: it has been cleared up behind it, and nothing may be made again.
            if os.getppid() != int(sys.argv[2]):
                sys.exit(111)
            run(Path(sys.argv[3]), *sys.argv[4:])
    except peers.PeerMissing as missing:
        sys.exit(str(missing))
    except KeyboardInterrupt:
        sys.exit(130)
