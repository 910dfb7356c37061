"""A small Internet of one's own: hosts in network namespaces on one bridge, a named that is the root of all names,
and other people's mail servers, each with an IPv4 and an IPv6 address.

    with Network() as network:
        network.mail_host("mx.a.test", 11, "a.test")        # names; 198.51.100.11 and 2001:db8::11
        postfix = network.peer(servers.Postfix, "mx.a.test", ["a.test"], ["anna"])
        with network.host("mx.a.test").inside():
            socket.create_connection(("127.0.0.1", 25))

No namespace has a name: each is held by a process that ends with the tests, also when those are killed, and nothing
of it is left. The bridge has no way out. Needs root.
"""

import contextlib
import ctypes
import email
import email.policy
import ipaddress
import os
import random
import re
import shutil
import signal
import smtplib
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import semailtest
from faultlab import Lab
from machine import UNMOUNT_LOOPS, end_with_tests
from semailtest import await_true, tool

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS, _CLONE_NEWNET = 0x20000, 0x40000000

# Addresses for documentation (RFC 5737, RFC 3849): wrong everywhere else.
IPV4, IPV6 = "198.51.100.", "2001:db8::"
NAME_SERVER = 1


def _setns(descriptor, kind):
    if _libc.setns(descriptor, kind):
        raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")


def _run(arguments):
    done = subprocess.run(list(map(str, arguments)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, arguments))}: exit {done.returncode}: {done.stdout}"
    return done.stdout


class Holder:
    """A network and mounts of their own, as long as a process holds them."""

    def __init__(self, setup="", *arguments):
        """SETUP: what a shell does inside before anybody else; ARGUMENTS are its."""
        script = f"set -e\nip link set lo up\n{setup}\necho ready\nexec sleep infinity"
        self.process = subprocess.Popen(
            [tool("unshare"), "--mount", "--net", "--propagation", "private", "sh", "-c", script, "sh", *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=end_with_tests)
        line = self.process.stdout.readline()
        if line != b"ready\n":
            output = line + self.process.stdout.read()
            self.close()
            raise AssertionError(f"no namespace: {output.decode(errors='replace')}")
        self.pid = self.process.pid
        self._namespaces = [(os.open(f"/proc/{self.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind)
                            for name, kind in (("net", _CLONE_NEWNET), ("mnt", _CLONE_NEWNS))]

    def close(self):
        # A volume whose image is on a file system of the same mounts would hold it, and be held by it, for ever.
        if self.process.poll() is None:
            subprocess.run([tool("nsenter"), "-t", str(self.process.pid), "-m", "sh", "-c", UNMOUNT_LOOPS],
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        for descriptor, _ in getattr(self, "_namespaces", ()):
            os.close(descriptor)
        self._namespaces = ()

    def enter(self):
        """For a process before its exec: from now on it is inside."""
        for descriptor, kind in self._namespaces:
            _setns(descriptor, kind)

    def command(self, arguments):
        """ARGUMENTS as a command of the outside that runs inside."""
        return [tool("nsenter"), "-t", str(self.pid), "-n", "-m", *map(str, arguments)]

    def run(self, *arguments):
        return _run(self.command(arguments))

    @contextlib.contextmanager
    def inside(self):
        """Sockets that this thread makes in the `with` block belong to the network inside, and stay there."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(self._namespaces[0][0], _CLONE_NEWNET)
            try:
                yield self
            finally:
                _setns(outside, _CLONE_NEWNET)
        finally:
            os.close(outside)


class Host(Holder):
    """A host on the bridge, with an IPv4 and an IPv6 address made from its number, lo, and a resolver."""

    def __init__(self, network, name, number):
        self.name, self.number = name, number
        self.v4, self.v6 = f"{IPV4}{number}", f"{IPV6}{number}"
        # Nobody asks for a duplicate of an address that is on one bridge: it would take a second or two.
        super().__init__("for name in all default; do echo 0 > /proc/sys/net/ipv6/conf/$name/accept_dad; done\n"
                         'mount --bind "$1" /etc/resolv.conf', network.resolver)
        try:
            _run(network.bridge.command(["ip", "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", self.pid]))
            _run(network.bridge.command(["ip", "link", "set", f"v{number}", "master", "bridge", "up"]))
            self.run("sh", "-c", f"ip link set eth0 up; ip addr add {self.v4}/24 dev eth0; ip addr add {self.v6}/64 dev eth0 nodad")
        except BaseException:
            self.close()
            raise

    def add_address(self, address):
        """One more: `198.51.100.90/24`, `172.30.0.5/16`."""
        self.run("ip", "addr", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))

    def swallow(self, address):
        """What this host sends to ADDRESS is lost on the way: nobody answers, nobody refuses."""
        self.run("ip", "neigh", "replace", address, "lladdr", "02:00:00:00:00:66", "dev", "eth0", "nud", "permanent")

    def find_again(self, address):
        """The end of `swallow`."""
        self.run("ip", "neigh", "del", address, "dev", "eth0")

    def connect(self, address, port=25, timeout=20, source=None):
        with self.inside():
            return socket.create_connection((address, port), timeout=timeout, source_address=(source, 0) if source else None)

    def listen(self, address, port=25, backlog=128):
        """A listening socket on an address of this host."""
        with self.inside():
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return socket.create_server((address, port), family=family, backlog=backlog)

    def spawn(self, arguments, **options):
        """Starts a command inside; the caller ends it."""
        def prepare():
            self.enter()
            end_with_tests()
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(list(map(str, arguments)), start_new_session=True, preexec_fn=prepare, **options)


class Network:
    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="semail-test-"))
        self.hosts, self.peers = {}, []
        self.names = None
        os.chmod(self.directory, 0o755)
        self.resolver = self.directory / "resolv.conf"
        # Both families; a server that does not answer is soon given up.
        self.resolver.write_text(f"nameserver {IPV4}{NAME_SERVER}\nnameserver {IPV6}{NAME_SERVER}\noptions timeout:2 attempts:2\n")
        (self.directory / "nsswitch.conf").write_text(
            "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n")
        # Who asks for services by name finds them; nobody listens to a multicast querier here.
        self.bridge = Holder("ip link add bridge type bridge mcast_snooping 0\nip link set bridge up")
        try:
            self.names = Names(self.host("ns.test", NAME_SERVER), self.directory / "named")
        except BaseException:
            self.close()
            raise

    def host(self, name, number=None):
        """The host of that name; made the first time, with a NUMBER (2 to 250) that is its alone."""
        if name not in self.hosts:
            assert number and number not in [host.number for host in self.hosts.values()], f"{name}: {number}"
            self.hosts[name] = Host(self, name, number)
        return self.hosts[name]

    def mail_host(self, name, number, *domains, preference=10):
        """A host with names for its addresses, that is the MX of DOMAINS. Of each domain there are two more: mail for v4.DOMAIN
        goes over IPv4, for v6.DOMAIN over IPv6."""
        host = self.host(name, number)
        self.names.address(name, host.v4, host.v6)
        self.names.address("mx4." + name, host.v4)
        self.names.address("mx6." + name, host.v6)
        self.names.pointers(host, name)
        for domain in domains:
            self.names.mx(domain, name, preference)
            self.names.mx("v4." + domain, "mx4." + name, preference)
            self.names.mx("v6." + domain, "mx6." + name, preference)
        return host

    def peer(self, kind, name, domains, mailboxes, **settings):
        """Starts a server of KIND (of servers.py) on the host NAME, which takes mail for MAILBOXES at DOMAINS (and their v4. and v6.),
        and sends what its own host gives it."""
        host = self.host(name)
        peer = kind(self.directory / "peers" / name, port=25)
        peer.host = host
        peer.host_binds = [(self.resolver, "/etc/resolv.conf"), (self.directory / "nsswitch.conf", "/etc/nsswitch.conf")]
        peer.serves(name, [prefix + domain for domain in domains for prefix in ("", "v4.", "v6.")], mailboxes,
                    certificate(self.directory / "certificates", name), **settings)
        self.peers.append(peer)
        peer.start(before_exec=end_with_tests)
        return peer

    def close(self):
        for peer in self.peers:
            peer.stop()
        if self.names:
            self.names.stop()
        for host in self.hosts.values():
            host.close()
        self.bridge.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Names:
    """named, as the root of all names. What is said here holds at once: nobody keeps an answer."""

    def __init__(self, host, place):
        self._host, self._place = host, place
        self._records = {}
        self._serial = 0
        self._process = None
        place.mkdir()
        self.address(host.name, host.v4, host.v6)
        (place / "named.conf").write_text(f"""\
options {{
    directory "{place}";
    pid-file none; lock-file none; session-keyfile none;
    listen-on {{ {host.v4}; }}; listen-on-v6 {{ {host.v6}; }};
    recursion yes; allow-recursion {{ any; }}; allow-query {{ any; }};
    dnssec-validation no; empty-zones-enable no; check-names primary ignore; check-integrity no;
    minimal-responses yes; max-cache-ttl 0; max-ncache-ttl 0; servfail-ttl 0;
}};
controls {{ }};
zone "." {{ type primary; file "root.zone"; }};
""")

    # -- records --------------------------------------------------------------

    def set(self, name, *records):
        """The records of NAME, such as "MX 10 mx.a.test."; without any it does not exist."""
        self._records[name] = list(records)

    def add(self, name, *records):
        known = self._records.setdefault(name, [])
        known += [record for record in records if record not in known]

    def address(self, name, *addresses):
        self.add(name, *(f"{'AAAA' if ':' in address else 'A'} {address}" for address in addresses))

    def mx(self, domain, name, preference=10):
        self.add(domain, f"MX {preference} {name}.")

    def pointers(self, host, name):
        for address in (host.v4, host.v6):
            self.set(ipaddress.ip_address(address).reverse_pointer, f"PTR {name}.")

    # -- the server -----------------------------------------------------------

    def publish(self):
        """What was said since the last time is what anybody is answered now."""
        self._serial += 1
        lines = ["$TTL 0", f". SOA ns.test. hostmaster.test. {self._serial} 60 60 60 0", ". NS ns.test."]
        lines += [f"{name}. {record}" for name, records in self._records.items() for record in records]
        fresh = self._place / "root.zone.fresh"
        fresh.write_text("\n".join(lines) + "\n")
        fresh.rename(self._place / "root.zone")
        if self._process is None:
            with open(self._place / "log", "ab") as log:
                self._process = self._host.spawn([tool("named"), "-g", "-c", self._place / "named.conf", "-n", "1"], stdout=log, stderr=log)
        else:
            self._process.send_signal(signal.SIGHUP)
        assert await_true(lambda: self._published() == self._serial, 15, 0.02), (self._place / "log").read_text()[-3000:]

    def _published(self):
        """The serial number of the root zone that named answers with."""
        number = random.randrange(65536)
        with self._host.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.5)
            try:
                client.connect((self._host.v4, 53))
                client.send(struct.pack(">6H", number, 0, 1, 0, 0, 0) + b"\0" + struct.pack(">2H", 6, 1))
                answer = client.recv(4096)
            except OSError:
                return None
        # The last five numbers of the record begin with the serial.
        return struct.unpack(">I", answer[-20:-16])[0] if len(answer) > 40 and answer[:2] == struct.pack(">H", number) else None

    def stop(self):
        """Nobody answers any more."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


# -- certificates -------------------------------------------------------------------

# OpenSMTPD's process for keys cannot use the other kind.
_RSA = ["rsa:2048"]
_ECDSA = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]

def authority(place):
    """(certificate, key) of the authority that signs for everybody of a network; made when it is first needed."""
    place.mkdir(exist_ok=True)
    pem, key = place / "authority.pem", place / "authority.key"
    if not pem.exists():
        _run([tool("openssl"), "req", "-x509", "-newkey", *_ECDSA, "-nodes", "-days", "30", "-subj", "/CN=An authority",
              "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", key, "-out", pem])
    return pem, key


def certificate(place, name, expired=False):
    """(certificate, key) files for a host, signed by the authority of PLACE."""
    issuer, issuer_key = authority(place)
    stem = f"{name}.expired" if expired else name
    pem, key, request = (place / f"{stem}.{kind}" for kind in ("pem", "key", "csr"))
    if pem.exists():
        return pem, key
    _run([tool("openssl"), "req", "-newkey", *_RSA, "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request])
    (place / f"{stem}.cnf").write_text(f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
    # openssl x509 takes no dates of the past; openssl ca does, and wants a directory for what it has signed.
    (place / "index.txt").touch()
    (place / "ca.cnf").write_text(f"[ca]\ndefault_ca=x\n[x]\ndatabase={place}/index.txt\nnew_certs_dir={place}\nrand_serial=yes\n"
                                  "default_md=sha256\npolicy=any\nunique_subject=no\n[any]\ncommonName=supplied\n")
    dates = ["-startdate", "20240101000000Z", "-enddate", "20240201000000Z"] if expired else ["-days", "30"]
    _run([tool("openssl"), "ca", "-batch", "-notext", "-config", place / "ca.cnf", "-cert", issuer, "-keyfile", issuer_key,
          "-in", request, "-out", pem, "-extfile", place / f"{stem}.cnf", *dates])
    os.chmod(key, 0o644)
    return pem, key


# -- SEMail on such a host ------------------------------------------------------------

# Users of an installation that semailtest does not name, by number: no accounts are made.
TLS_USER, AUTH_USER, REMOTE_USER, DKIM_USER = (f"{number}:{number}" for number in (61025, 61026, 61027, 61028))
PORTAL_USER, DIRECTORY_USER = "61042:61042", "61045:61045"
USERS = {"semail-accept": semailtest.ACCEPT_USER, "semail-smtpd": semailtest.SMTPD_USER, "semail-queue": semailtest.QUEUE_USER,
         "semail-tls": TLS_USER, "semail-auth": AUTH_USER, "semail-remote": REMOTE_USER, "semail-dkim": DKIM_USER,
         "semail-portal": PORTAL_USER, "semail-directory": DIRECTORY_USER}

SUBMISSION_PORT = 587
# Where containers are, on the same bridge.
CONTAINER_NETWORK = "172.30.0."


class Sink:
    """sink.py on a host of the network: a mail server that counts."""

    def __init__(self, host, file, address="0.0.0.0", port=25):
        self.file = Path(file)
        self.file.touch()
        self._process = host.spawn([sys.executable, "-IS", Path(__file__).with_name("sink.py"), file, address, port],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout.readline() == b"ready\n"

    def records(self):
        """(time, address, connection, name) of every message taken, in order."""
        found = []
        for line in self.file.read_bytes().splitlines():
            when, address, connection, name = line.split(b" ", 3)
            found.append((float(when), address.decode(), int(connection), name.decode()))
        return found

    def count(self):
        with open(self.file, "rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))

    def stop(self):
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


class Site(Lab):
    """An installation of SEMail on a host of the network: a home that `semail init` made after etc/hier, each service under its
    own user. Mailboxes are OWNER@semail.test."""

    def __init__(self, network, name="mx.semail.test", number=25, domain="semail.test", owners=("ssow", "xredon")):
        self.network, self.hostname, self.domain = network, name, domain
        self.host = network.mail_host(name, number, domain)
        self.host.add_address(f"{CONTAINER_NETWORK}1/16")
        self.services, self.user, self.volumes = True, None, {}
        self.port = None
        self.processes, self._logs, self._uids = {}, {}, {}
        self.directory = Path(tempfile.mkdtemp(prefix="semail-test-"))
        try:
            os.chmod(self.directory, 0o755)
            hier = network.directory / "hier"
            hier.write_text(_hier())
            self.semail("init", self.directory, "--hostname", name, "--hier", hier, home=False)
            self._log_directory = self.directory / "log"
            self._log_directory.mkdir(mode=0o700)
            self.control("error-pause", "0s")
            for owner in owners:
                self.add_mailbox(owner)
        except BaseException:
            self.remove()
            raise

    def add_mailbox(self, owner, *addresses, container=None):
        """CONTAINER: the address from which its owner's container connects."""
        address = addresses[0] if addresses else f"{owner}@{self.domain}"
        self.semail("mailbox", "create", owner, address)
        if container:
            self.semail("mailbox", "container", address, container)
        return self.maildir(owner)

    def semail(self, *arguments, home=True):
        """The admin's command; what it says."""
        done = self.run("semail", *arguments) if home else subprocess.run(
            [semailtest.program("semail"), *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={name: value for name, value in self.environment().items() if name != "SEMAIL_HOME"})
        assert done.returncode == 0, f"semail {' '.join(map(str, arguments))}: exit {done.returncode}: {done.stderr.decode()}{done.stdout.decode()}"
        return done.stdout.decode()

    def spawn(self, name, arguments, before_exec=None, **options):
        """On the host of this site."""
        def prepare():
            self.host.enter()
            if before_exec:
                before_exec()
        return super().spawn(name, arguments, before_exec=prepare, **options)

    # -- services -----------------------------------------------------------

    def start_qrunner(self, *arguments, **options):
        users = ["-u", semailtest.QUEUE_USER, "-r", REMOTE_USER, "-k", DKIM_USER]
        before = len(self.log("qrunner"))
        process = self.spawn(self.program("qrunner"), [*users, *arguments], **options)
        assert await_true(lambda: " started " in self.log("qrunner")[before:] or process.poll() is not None, 15) and process.poll() is None, self.report()
        return process

    def start_inbound(self):
        self.accept("inbound", "0", 25, ["smtpd-session", "-u", semailtest.SMTPD_USER, "inbound"], become=semailtest.SMTPD_USER)

    def start_submission(self, hosts=None):
        """Without HOSTS: reachable from this host, from containers and, as no admin has it, from everywhere."""
        hosts = hosts or f"127.0.0.1,::1,{CONTAINER_NETWORK}1,{self.host.v4},{self.host.v6}"
        self.accept("submission", hosts, SUBMISSION_PORT, ["smtpd-session", "-u", semailtest.SMTPD_USER, "submission"], become=semailtest.SMTPD_USER)

    def start_auth(self, checkpassword, *options):
        """The service that knows passwords, with a checkpassword program; OPTIONS are auth-check's."""
        self.accept("auth", "unix", self.directory / "run/auth", ["auth-check", "-d", self.directory / "run/guesses", *options, checkpassword],
                    options=("-o", f"0660:{semailtest.SMTPD_USER.split(':')[1]}"), user=AUTH_USER)

    def accept(self, log, hosts, port, command, options=("-t", "-c", "400", "-i", "0", "-r", "0"), user=semailtest.ACCEPT_USER, become=None):
        """tcp-accept with a program of ours, or of others if it is given by its path."""
        program = command[0] if os.path.isabs(str(command[0])) else self.program(command[0])
        users = [*(["-u", user] if user else []), *(["-n", become] if become else [])]
        count = self.log(log).count(" listening ") + len(str(hosts).split(","))
        # The umask of the service scripts: qrunner reads a message by its group.
        process = self.spawn(self.program("tcp-accept"), [*users, *options, hosts, port, program, *command[1:]], log=log, umask=0o007)
        assert await_true(lambda: self.log(log).count(" listening ") >= count or process.poll() is not None, 15) and process.poll() is None, self.report()

    def start_all(self):
        self.start_qrunner()
        self.start_inbound()
        self.start_submission()
        return self

    # -- as a client of it ----------------------------------------------------

    def submit(self, sender, recipients, message, options=(), recipient_options=()):
        """Hands a message to the outgoing server, from this host; its name in the queue."""
        with self.host.inside(), smtplib.SMTP("127.0.0.1", SUBMISSION_PORT, local_hostname="localhost", timeout=20) as client:
            client.command_encoding = "utf-8"
            client.ehlo()
            assert client.mail(sender, list(options))[0] == 250
            for recipient in recipients:
                assert client.rcpt(recipient, list(recipient_options))[0] == 250
            code, text = client.data(message)
            assert code == 250, text
            return text.decode().split()[-1]

    def events(self, event, id, log="qrunner", program="qrunner"):
        """What a program has logged of a message: a dictionary for each line."""
        found = []
        for line in self.log(log).splitlines():
            words = re.match(rf"{program}: \w+: {event} (.*)", line)
            if words and re.search(rf"\bid={id}\b", line):
                found.append({key: quoted or bare for key, quoted, bare in re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))', words[1])})
        return found

    def wait_event(self, event, id, count=1, seconds=20):
        """The last of COUNT such lines."""
        assert await_true(lambda: len(self.events(event, id)) >= count, seconds, 0.02), f"no {event} of {id}\n{self.report()}"
        return self.events(event, id)[count - 1]

    def is_queued(self, id):
        return any(path.name == id for path in self.queue_files())

    def reports(self, owner, recipient):
        """The delivery reports in a mailbox that speak of RECIPIENT."""
        found = []
        for path in self.delivered(owner):
            message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            if message.get_content_type() == "multipart/report":
                report = DeliveryReport(message)
                if any(recipient in fields["Final-Recipient"] for fields in report.recipients):
                    found.append(report)
        return found

    def wait_report(self, owner, recipient, seconds=20):
        """The only one."""
        assert await_true(lambda: self.reports(owner, recipient), seconds, 0.05), f"no report about {recipient}\n{self.report()}"
        [report] = self.reports(owner, recipient)
        return report


class DeliveryReport:
    """A report of RFC 3464: what it says to people, of the message, and of each recipient."""

    def __init__(self, message):
        self.message = message
        parts = list(message.iter_parts())
        self.text = parts[0].get_content()
        # Blocks of fields, in UTF-8 perhaps (RFC 6533), of which Python's parser knows nothing.
        blocks = [{name: " ".join(value.split()) for name, value in re.findall(r"(?m)^([\w-]+):(.*(?:\n[ \t].*)*)", block)}
                  for block in parts[1].as_bytes().decode().partition("\n\n")[2].strip().split("\n\n")]
        self.fields, self.recipients = blocks[0], blocks[1:]
        self.returned = parts[2] if len(parts) > 2 else None

    def of(self, recipient):
        """(action, status, what was said) of one."""
        [fields] = [fields for fields in self.recipients if recipient in fields["Final-Recipient"]]
        return fields["Action"], fields["Status"], fields.get("Diagnostic-Code")


def _hier():
    """etc/hier of the home alone, with numbers for users and a control directory of its own."""
    lines = []
    for line in (semailtest.REPOSITORY / "etc/hier").read_text().splitlines():
        words = line.partition("#")[0].split()
        if words and words[0] == "l" and words[4] == "HOME/control":
            words = ["d", "0755", "root", "root", "HOME/control"]
        elif words and words[4].startswith("/etc/semail/"):
            words[4] = "HOME/control" + words[4].removeprefix("/etc/semail")
        if words and words[4].split("/")[0] == "HOME":
            user, group = ("0:0" if name == "root" else USERS[name] for name in words[2:4])
            lines.append((words[4].count("/"), " ".join([*words[:2], user.split(":")[0], group.split(":")[1], words[4]])))
    # A directory before what is in it.
    return "\n".join(line for _, line in sorted(lines, key=lambda pair: pair[0])) + "\n"
