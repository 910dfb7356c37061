"""A named of one's own with a zone that takes signed changes.

    with Nameserver(home.directory / "named", "semail.test", ["mail A 192.0.2.1"]) as names:
        home.control("dns-server", names.place)
        names.records()               # what an AXFR tells, without the SOA, sorted

It listens on a port of loopback, IPv4 and IPv6, and ends with the tests.
"""

import base64
import os
import re
import signal
import socket
import subprocess

from networklab import end_with_tests
from semailtest import await_true, tool

# As etc/bind/semail.conf has it.
POLICY = "grant semail wildcard *.{zone}. MX TXT SRV CNAME;"


def key(name="semail", secret=None):
    """A key as tsig-keygen prints it."""
    secret = secret or base64.b64encode(os.urandom(32)).decode()
    return f'key "{name}" {{\n\talgorithm hmac-sha256;\n\tsecret "{secret}";\n}};\n'


def free_port():
    """A port that neither UDP nor TCP of loopback has in use."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            try:
                udp.bind(("127.0.0.1", tcp.getsockname()[1]))
                return udp.getsockname()[1]
            except OSError:
                pass


class Nameserver:
    def __init__(self, directory, zone, records=(), keys=None, policy=None):
        """RECORDS: lines of the zone's file, besides SOA, NS and the server's own address. KEYS: what named knows; the first one is
        for control/dns-key, the last one the admin's."""
        self.directory, self.zone = directory, zone
        self.port = free_port()
        self.place = f"127.0.0.1:{self.port}"
        self.keys = keys or [key()]
        self.process = None
        directory.mkdir()
        (directory / "zone").write_text("\n".join(
            ["$TTL 300", f"$ORIGIN {zone}.", "@ SOA ns hostmaster 1 60 60 60 60", "@ NS ns", "ns A 127.0.0.1", *records]) + "\n")
        policy = (policy or POLICY).format(zone=zone)
        (directory / "named.conf").write_text("\n".join(self.keys) + f"""
options {{
    directory "{directory}"; pid-file none; lock-file none; session-keyfile none;
    listen-on port {self.port} {{ 127.0.0.1; }}; listen-on-v6 port {self.port} {{ ::1; }};
    recursion no; dnssec-validation no; empty-zones-enable no; notify no;
}};
controls {{ }};
zone "{zone}" {{ type primary; file "zone"; allow-transfer {{ 127.0.0.1; }}; update-policy {{ {policy} }}; }};
""")

    def start(self):
        log = open(self.directory / "log", "wb")
        self.process = subprocess.Popen([tool("named"), "-g", "-n", "1", "-c", self.directory / "named.conf"],
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, preexec_fn=end_with_tests)
        assert await_true(lambda: " running\n" in self.log() or self.process.poll() is not None) and self.process.poll() is None, self.log()[-2000:]
        return self

    def log(self):
        return (self.directory / "log").read_text(errors="replace")

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None

    def records(self):
        """Every record but the SOA, as NAME TYPE DATA with the strings of texts joined."""
        done = subprocess.run([tool("dig"), "@127.0.0.1", "-p", str(self.port), "+noall", "+answer", "+time=2", self.zone, "AXFR"], capture_output=True, text=True)
        assert done.returncode == 0 and "SOA" in done.stdout, done
        found = []
        for line in done.stdout.splitlines():
            name, _, _, kind, data = line.split(None, 4)
            if kind != "SOA":
                found.append(f"{name.rstrip('.')} {kind} {data.replace(chr(34) + ' ' + chr(34), '')}")
        return sorted(found)

    def update(self, *lines, key=None):
        """What the admin changes by hand: lines such as `add NAME TTL TYPE DATA`."""
        path = self.directory / "hand.key"
        path.write_text(key or self.keys[-1])
        text = "\n".join([f"server 127.0.0.1 {self.port}", f"zone {self.zone}", *(f"update {line}" for line in lines), "send"]) + "\n"
        done = subprocess.run([tool("nsupdate"), "-k", path], input=text, capture_output=True, text=True)
        assert done.returncode == 0, done

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()


def told(path):
    """{name: text} of a file of run/dkim."""
    return dict(line.split("\t") for line in path.read_text().splitlines())


def without_marks(records):
    """Those of RECORDS that are for others to read."""
    return [record for record in records if not re.match(r"(_keys\.)?_semail\.", record)]
