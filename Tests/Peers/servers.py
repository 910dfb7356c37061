"""Postfix, OpenSMTPD and Exim as running servers, in roots of their own.

Each is configured from scratch for one of three roles: to deliver into Maildirs
(the benchmark), to relay everything to one address (the tests of SEMail's
receiving side), or to be the mail server of a host in a test network: then
`host` is that host (see networklab.py), its names come from the network's DNS,
and it takes and sends mail. In the other two roles nothing listens but on
loopback ports and no name is looked up but in files. Durability is left as
each ships it.

What a server logs goes to the file `log` in its place, through a socket that
only it has as its /dev/log.

`place` is a directory that the server may fill: configuration, queue and what
it prints. It is seen at the same path inside the server's root.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import peers


def free_port():
    """A port that was free a moment ago; for servers that cannot bind port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_banner(port, seconds=20, alive=lambda: True):
    """Waits until a 220 is heard on PORT; False when that does not happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and alive():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                if connection.recv(512).startswith(b"220"):
                    connection.sendall(b"QUIT\r\n")
                    connection.recv(512)
                    return True
        except OSError:
            pass
        time.sleep(0.05)
    return False


class Peer:
    """One server. Subclasses say how it is configured and what is run."""

    name = ""
    label = ""

    def __init__(self, place, port=None, own_pid_namespace=True):
        self.place = Path(place)
        self.port = port or free_port()
        self.own_pid_namespace = own_pid_namespace
        self.process = None
        self.logger = None
        # The host it runs on, and what it sees there besides its place; None: this one.
        self.host = None
        self.host_binds = []
        with peers.common_umask():
            self.place.mkdir(parents=True, exist_ok=True)
        os.chmod(self.place, 0o755)
        peers.unpack(self.name)

    def directory(self, path, user="root", mode=0o755, group=None):
        made = self.place / path
        with peers.common_umask():
            made.mkdir(parents=True, exist_ok=True)
        os.chown(made, peers.account(user), peers.account(group or user))
        os.chmod(made, mode)
        return made

    def file(self, path, text):
        """A file that all users of the peer may read."""
        with peers.common_umask():
            (self.place / path).write_text(text)
        return self.place / path

    def binds(self):
        shared = [(self.place, self.place), *self.host_binds]
        return shared + [(self.place / "log.socket", "/dev/log")] if self.logger else shared

    def command(self, arguments, binds, *options):
        vector = peers.command(self.name, arguments, binds, *options)
        return self.host.command(vector) if self.host else vector

    def run(self, arguments, extra_binds=(), **options):
        """Runs one command of the peer to its end, and returns what it printed."""
        vector = self.command(arguments, [*self.binds(), *extra_binds])
        done = subprocess.run(vector, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              umask=0o022, **options)
        if done.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(map(str, arguments))}: exit "
                               f"{done.returncode}: {done.stdout.decode(errors='replace')}")
        return done.stdout

    def start(self, before_exec=None):
        """Starts the server and waits for its banner."""
        self._start_logger()
        vector = self.command(self.program(), self.binds(), self.own_pid_namespace)
        with open(self.place / "output", "ab") as output:
            self.process = subprocess.Popen(
                vector, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, umask=0o022, preexec_fn=before_exec)
        with self.host.inside() if self.host else contextlib.nullcontext():
            is_up = await_banner(self.port, alive=lambda: self.process.poll() is None)
        if not is_up:
            text = self.output()
            self.stop()
            raise RuntimeError(f"{self.label}: no banner on port {self.port}: {text[-2000:]}")

    def _start_logger(self):
        socket_path = self.place / "log.socket"
        socket_path.unlink(missing_ok=True)
        self.logger = subprocess.Popen(
            [sys.executable, "-IS", str(Path(__file__).with_name("log_socket.py")), socket_path,
             self.place / "log"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        if self.logger.stdout.readline() != b"ready\n":
            raise RuntimeError(f"{self.label}: no log socket")

    def _stop_logger(self):
        logger, self.logger = self.logger, None
        if logger is not None:
            logger.kill()
            logger.wait()
            logger.stdout.close()

    def stop(self):
        """Ends the server and all of its processes."""
        process, self.process = self.process, None
        try:
            if process is not None:
                self._end(process)
        finally:
            self._stop_logger()

    def _end(self, process):
        if self.own_pid_namespace:
            # The rest of the namespace is killed by the kernel.
            process.kill()
            process.wait()
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        # Where this program is process 1 the orphans are its to bury.
        try:
            while True:
                os.waitpid(-process.pid, 0)
        except ChildProcessError:
            pass

    def keep(self, files):
        """Copies of FILES in this place, where the server sees them."""
        kept = []
        for path in files:
            kept.append(self.place / path.name)
            shutil.copy(path, kept[-1])
            os.chmod(kept[-1], 0o600)
        # With its key first, as Postfix wants it.
        return kept[::-1]

    def maildir(self, mailbox):
        """Where a server of a test network delivers."""
        return self.place / "mail" / mailbox / "Maildir"

    def output(self):
        """What the server has printed and logged so far."""
        return "".join((self.place / name).read_text(errors="replace")
                       for name in ("output", "log") if (self.place / name).exists())


class Postfix(Peer):
    name = "postfix"
    label = "Postfix"

    def _configure(self, settings, tables=()):
        configuration = self.directory("etc")
        queue = self.directory("queue")
        # What `postfix start` would make, with the modes that its scripts give.
        for directory in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold",
                          "incoming", "private", "saved", "trace"):
            self.directory(f"queue/{directory}", "postfix", 0o700)
        self.directory("queue/maildrop", "postfix", 0o1730, "postdrop")
        self.directory("queue/public", "postfix", 0o2710, "postdrop")
        self.directory("queue/pid")
        self.directory("data", "postfix", 0o700)
        settings = {
            "compatibility_level": "3.7",
            "queue_directory": queue,
            "command_directory": "/usr/sbin",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "shlib_directory": "/usr/lib/postfix",
            "data_directory": self.place / "data",
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "default_privs": "nobody",
            "myhostname": "postfix.semail.test",
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "smtp_dns_support_level": "disabled",
            "smtp_host_lookup": "native",
            "alias_maps": "",
            "alias_database": "",
            "message_size_limit": "104857600",
            "mailbox_size_limit": "0",
            "virtual_mailbox_limit": "0",
            "biff": "no",
            **settings,
        }
        self.file("etc/main.cf", "".join(f"{name} = {value}\n" for name, value in settings.items()))
        # The services of Debian's master.cf, without the chroot column: the
        # whole server is in a root of its own already.
        self.file("etc/master.cf", f"""\
{self.port if self.host else f"127.0.0.1:{self.port}"} inet n - n - 400 smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
""")
        for table in tables:
            self.run(["/usr/sbin/postmap", "-c", configuration, f"hash:{configuration / table}"])

    def delivers(self, domain, mailboxes, maildirs):
        """virtual(8) puts mail for MAILBOXES@DOMAIN into MAILDIRS/NAME/Maildir."""
        self.directory("etc")
        self.file("etc/vmailbox", "".join(
            f"{name}@{domain} {name}/Maildir/\n" for name in mailboxes))
        self.maildirs = Path(maildirs)
        owner = peers.account("vmail")
        self._configure({
            "virtual_mailbox_domains": domain,
            "virtual_mailbox_base": maildirs,
            "virtual_mailbox_maps": f"hash:{self.place / 'etc/vmailbox'}",
            "virtual_uid_maps": f"static:{owner}",
            "virtual_gid_maps": f"static:{owner}",
            "virtual_minimum_uid": "1000",
            # Artificial limits, not durability: lifted so that speed is what is compared.
            "smtpd_client_connection_count_limit": "0",
            "in_flow_delay": "0",
        }, ["vmailbox"])

    def relays(self, to_port):
        """Everything goes on to 127.0.0.1:TO_PORT."""
        self._configure({"relayhost": f"[127.0.0.1]:{to_port}",
                         "smtp_destination_concurrency_limit": "10"})

    def serves(self, name, domains, mailboxes, tls, **settings):
        """The mail server NAME: mail for MAILBOXES at DOMAINS into maildir(MAILBOX); mail of its own host to wherever the DNS says.
        TLS: files with a certificate and its key, or None."""
        self.directory("etc")
        self.file("etc/vmailbox", "".join(f"{mailbox}@{domain} {mailbox}/Maildir/\n" for mailbox in mailboxes for domain in domains))
        owner = peers.account("vmail")
        self.directory("mail", "vmail")
        if tls:
            settings = {"smtpd_tls_security_level": "may", "smtpd_tls_chain_files": ", ".join(map(str, self.keep(tls))), **settings}
        self._configure({
            "myhostname": name,
            "virtual_mailbox_domains": ", ".join(domains),
            "virtual_mailbox_base": self.place / "mail",
            "virtual_mailbox_maps": f"hash:{self.place / 'etc/vmailbox'}",
            "virtual_uid_maps": f"static:{owner}",
            "virtual_gid_maps": f"static:{owner}",
            "virtual_minimum_uid": "1000",
            "mynetworks": "127.0.0.0/8, [::1]/128",
            "inet_interfaces": "all",
            "inet_protocols": "all",
            "smtp_dns_support_level": "enabled",
            "smtp_host_lookup": "dns",
            "smtp_tls_security_level": "may",
            # What had to wait is tried again within seconds, not after five minutes.
            "queue_run_delay": "1s",
            "minimal_backoff_time": "1s",
            "maximal_backoff_time": "3s",
            **settings,
        }, ["vmailbox"])

    def program(self):
        return ["/usr/lib/postfix/sbin/master", "-d", "-c", self.place / "etc"]

    def binds(self):
        shared = super().binds()
        maildirs = getattr(self, "maildirs", None)
        return shared + ([(maildirs, maildirs)] if maildirs else [])


class OpenSMTPD(Peer):
    name = "opensmtpd"
    label = "OpenSMTPD"

    def _configure(self, text, listening=None):
        self.directory("spool", "root", 0o711)
        self.directory("spool/offline", "root", 0o770, "opensmtpq")
        self.directory("spool/purge", "opensmtpq", 0o700, "root")
        self.directory("etc")
        self.file("etc/smtpd.conf",
                  (listening or f"listen on 127.0.0.1 port {self.port} hostname opensmtpd.semail.test\n") +
                  "smtp max-message-size 100M\n"
                  # A limit per session against strangers, 100 as shipped.
                  "smtp limit max-mails 1000000\n" + text)

    def delivers(self, domain, mailboxes, maildirs):
        self.maildirs = Path(maildirs)
        self.directory("etc")
        table = self.file("etc/mailboxes", "".join(f"{name}@{domain} vmail\n" for name in mailboxes))
        self._configure(f"""\
table mailboxes file:{table}
action "in" maildir "{maildirs}/%{{rcpt.user}}/Maildir" virtual <mailboxes>
match from any for domain "{domain}" action "in"
""")

    def relays(self, to_port):
        self._configure(f"""\
action "out" relay host smtp://127.0.0.1:{to_port}
match from any for any action "out"
""")

    def serves(self, name, domains, mailboxes, tls):
        """As Postfix has it."""
        self.directory("etc")
        self.directory("mail", "vmail")
        table = self.file("etc/mailboxes", "".join(f"{mailbox}@{domain} vmail\n" for mailbox in mailboxes for domain in domains))
        key, pem = self.keep(tls) if tls else (None, None)
        names = ", ".join(f'"{domain}"' for domain in domains)
        self._configure(f"""\
table mailboxes file:{table}
action "in" maildir "{self.place}/mail/%{{rcpt.user}}/Maildir" virtual <mailboxes>
action "out" relay helo "{name}"
match from any for domain {{ {names} }} action "in"
match from local for any action "out"
# What had to wait is tried again within seconds.
bounce warn-interval 1d
""", (f'pki "{name}" cert "{pem}"\npki "{name}" key "{key}"\n' if tls else "") + "".join(
            f"listen on {address} port {self.port} hostname {name}{f' tls pki {name}' if tls else ''}\n" for address in ("0.0.0.0", "::")))

    def program(self):
        return ["/usr/sbin/smtpd", "-F", "-f", self.place / "etc/smtpd.conf"]

    def binds(self):
        shared = super().binds() + [(self.directory("spool", "root", 0o711), "/var/spool/smtpd")]
        maildirs = getattr(self, "maildirs", None)
        return shared + ([(maildirs, maildirs)] if maildirs else [])


class Exim(Peer):
    """Exim as a relay takes messages from its command line, and no daemon is kept; as a server it is one."""

    name = "exim"
    label = "Exim"

    def relays(self, to_port):
        self.directory("spool", "Debian-exim", 0o750)
        self.directory("exim-log", "Debian-exim", 0o750)
        self.directory("etc")
        self.file("etc/exim.conf", f"""\
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = {self.place}/spool
log_file_path = {self.place}/exim-log/%slog
primary_hostname = exim.semail.test
domainlist local_domains =
never_users =
untrusted_set_sender = *
qualify_domain = semail.test
message_size_limit = 100M
smtp_receive_timeout = 30s
begin routers
out:
  driver = manualroute
  domains = *
  route_list = * 127.0.0.1::{to_port} byname
  self = send
  transport = out
begin transports
out:
  driver = smtp
  allow_localhost
  hosts_try_fastopen =
begin retry
* * F,10m,1m
""")

    def serves(self, name, domains, mailboxes, tls):
        """As Postfix has it."""
        self.directory("spool", "Debian-exim", 0o750)
        self.directory("exim-log", "Debian-exim", 0o750)
        self.directory("mail", "vmail")
        self.directory("etc")
        key, pem = self.keep(tls) if tls else (None, None)
        for path in (key, pem) if tls else ():
            os.chown(path, peers.account("Debian-exim"), peers.account("Debian-exim"))
        self.file("etc/exim.conf", f"""\
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = {self.place}/spool
log_file_path = {self.place}/exim-log/%slog
primary_hostname = {name}
domainlist local_domains = {" : ".join(domains)}
hostlist own_host = <; 127.0.0.1 ; ::1
local_interfaces = <; 0.0.0.0 ; ::0
daemon_smtp_ports = {self.port}
never_users =
message_size_limit = 100M
rfc1413_query_timeout = 0s
smtp_accept_queue_per_connection = 0
smtp_accept_max = 100
acl_smtp_rcpt = recipient
{f"tls_advertise_hosts = *" if tls else "tls_advertise_hosts ="}
{f"tls_certificate = {pem}" if tls else ""}
{f"tls_privatekey = {key}" if tls else ""}
begin acl
recipient:
  accept hosts = +own_host
  accept domains = +local_domains
         verify = recipient
  deny message = relay not permitted
begin routers
out:
  driver = dnslookup
  domains = ! +local_domains
  transport = out
  no_more
in:
  driver = accept
  local_parts = {" : ".join(mailboxes)}
  transport = in
begin transports
out:
  driver = smtp
  hosts_try_fastopen =
in:
  driver = appendfile
  maildir_format
  directory = {self.place}/mail/$local_part_data/Maildir
  create_directory
  user = vmail
  group = vmail
  delivery_date_add = false
  envelope_to_add = false
  return_path_add = true
begin retry
* * F,10m,1s
""")

    def program(self):
        return ["/usr/sbin/exim4", "-bdf", "-q1s"]

    def binds(self):
        # Where it was built to look: with a file named by -C it gives up the right to deliver.
        shared = super().binds()
        return shared + [(self.place / "etc/exim.conf", "/etc/exim4/exim4.conf")] if self.host else shared

    def submit(self, sender, recipients, message):
        """Hands MESSAGE to Exim, which relays it before this returns."""
        self.run(["/usr/sbin/exim4", "-C", self.place / "etc/exim.conf", "-odf", "-i",
                  "-f", sender, "--", *recipients], input=message)

    def output(self):
        return "".join(path.read_text(errors="replace")
                       for path in sorted((self.place / "exim-log").glob("*log")))
