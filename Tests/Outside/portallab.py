"""The portal with the real programs around it: provision in mounts of its own, auth-check, checkpassword-ldap and a slapd.

    with PortalHouse() as house:
        person = house.browser()
        person.sign_in("ssow")
        person.get("/create")

The portal and the service of passwords run under users of their own, by number; no accounts are made. Everything is on loopback.
"""

import html
import http.client
import os
import re
import signal
import socket
import subprocess
import threading
import urllib.parse

from provisionlab import PORTAL_USER, House
from semailtest import _libc, await_true, program, tool
from slapd import BASE, PEOPLE, Slapd

AUTH_USER = 61041
PASSWORDS = dict(PEOPLE)


class Page:
    """An answer of the portal."""

    def __init__(self, response, path):
        self.status, self.path = response.status, path
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode("utf-8")

    @property
    def plain(self):
        """What is to be read on it."""
        return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", re.sub(r"<(style|script|head)\b.*?</\1>", " ", self.text, flags=re.S)).split()))

    @property
    def token(self):
        found = re.search(r'name="token" value="([^"]*)"', self.text)
        return found and found[1]

    @property
    def location(self):
        return self.headers.get("Location")


class Browser:
    """Cookies are kept as a browser does; nothing else is clever. Every answer is looked at for the fields that protect it."""

    def __init__(self, port, language="en", address="127.0.0.1"):
        self.port, self.language, self.address = port, language, address
        self.cookies = {}
        self.page = None

    def send(self, method, path, body=None, headers=(), cookies=True):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60, source_address=(self.address, 0))
        try:
            fields = {"Accept-Language": self.language, **dict(headers)}
            if cookies and self.cookies:
                fields.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
            connection.request(method, path, body, fields)
            page = Page(connection.getresponse(), path)
        finally:
            connection.close()
        for field in page.headers.get_all("Set-Cookie") or []:
            name, value = field.split(";")[0].split("=", 1)
            if "Max-Age=0" in field:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return page

    def get(self, path, follow=True, **more):
        page = self.send("GET", path, **more)
        while follow and page.status == 303:
            page = self.send("GET", page.location.split("#")[0])
        self.page = page
        return page

    def post(self, path, follow=True, token=None, headers=(), **fields):
        """A form of the page that is shown, with its token unless another is given."""
        if token is None:
            token = self.page.token if self.page and self.page.token else self.get("/sign-in").token
        body = urllib.parse.urlencode({"token": token, **fields})
        page = self.send("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded", **dict(headers)})
        while follow and page.status == 303:
            page = self.send("GET", page.location.split("#")[0])
        self.page = page
        return page

    def sign_in(self, user, password=None):
        self.get("/sign-in")
        page = self.post("/sign-in", user=user, password=PASSWORDS[user] if password is None else password)
        assert page.status == 200, (page.status, page.plain)
        return self

    def await_over(self, seconds=60):
        """On the page of a request: until it is over."""
        path = self.page.path
        assert path.startswith("/progress/"), (path, self.page.status, self.page.plain)
        assert await_true(lambda: "data-over" in self.get(path).text, seconds), self.page.plain
        return self.page


class Answering:
    """A stand-in for a service at a unix socket: answers what is asked by a function."""

    def __init__(self, path, answer):
        self.path, self.answer = path, answer
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        os.chmod(path, 0o666)
        self.listener.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        with connection:
            asked = b""
            while more := connection.recv(4096):
                asked += more
            try:
                for piece in self.answer(asked):
                    connection.sendall(piece)
            except OSError:
                pass

    def close(self):
        # A thread that waits in accept is not woken by close alone.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.path.unlink(missing_ok=True)


ADMINISTRATORS = f"cn=administrators,{BASE}"
# xredon is its only member.
_GROUP = f"""dn: {ADMINISTRATORS}
objectClass: groupOfNames
cn: administrators
member: cn=Person \\2C number 1\\+,ou=people,{BASE}
"""


class Named:
    """BIND's named with a zone that is the root of all names, at the port 53 of loopback; the house's programs ask it alone."""

    ADDRESS = "127.0.0.1"

    def __init__(self, house):
        self.place = house.directory / "named"
        self.place.mkdir()
        self.serial, self.process = 0, None
        (self.place / "named.conf").write_text(f"""
            options {{ directory "{self.place}"; pid-file none; lock-file none; session-keyfile none; listen-on {{ {self.ADDRESS}; }}; listen-on-v6 {{ none; }};
                       recursion no; dnssec-validation no; empty-zones-enable no; check-names primary ignore; check-integrity no; }};
            controls {{ }};
            zone "." {{ type primary; file "root.zone"; }};
            """)
        (self.place / "resolv.conf").write_text(f"nameserver {self.ADDRESS}\n")
        house.run(["mount", "--bind", self.place / "resolv.conf", "/etc/resolv.conf"])

    def publish(self, *records):
        self.serial += 1
        lines = ["$TTL 0", f". SOA ns.test. hostmaster.test. {self.serial} 60 60 60 0", ". NS ns.test.", f"ns.test. A {self.ADDRESS}", "mail.semail.test. A 127.0.0.1", *records]
        (self.place / "root.zone").write_text("\n".join(lines) + "\n")
        if self.process:
            self.process.send_signal(signal.SIGHUP)
        else:
            self.process = subprocess.Popen([tool("named"), "-g", "-c", str(self.place / "named.conf"), "-n", "1"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(self.place / "log", "wb"),
                                            preexec_fn=lambda: _libc.prctl(1, 9))
        asking = [tool("dig"), f"@{self.ADDRESS}", "+short", "+time=1", "+tries=1", "SOA", "."]
        assert await_true(lambda: f" {self.serial} 60" in subprocess.run(asking, capture_output=True, text=True).stdout, 15, 0.05), (self.place / "log").read_text()[-2000:]

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


class PortalHouse(House):
    """Options of the portal, settings, and whether provision runs. xredon is an administrator."""

    def __init__(self, options=(), provision=True, directory=True, **more):
        super().__init__(**more)
        self.options, self.processes, self.stand_ins, self.slapd = options, [], [], None
        try:
            self._begin(provision, directory)
        except BaseException:
            self.__exit__()
            raise

    def _begin(self, provision, directory):
        self.logs = self.directory / "logs"
        for name in ("inbound", "outbound", "outbound-tls", "outbound-local", "qrunner"):
            (self.logs / name).mkdir(parents=True)
        for path in (self.logs, *self.logs.iterdir()):
            path.chmod(0o755)
        # As an installation has it, from before the portal locks itself in.
        (self.home / "ssh").mkdir(exist_ok=True)
        self.semail("config", "portal-listen", "127.0.0.1:0")
        self.slapd = Slapd() if directory else None
        if directory:
            (self.slapd.directory / "group.ldif").write_text(_GROUP)
            subprocess.run([tool("slapadd"), "-f", "slapd.conf", "-l", "group.ldif"], check=True, capture_output=True, cwd=self.slapd.directory)
            self.slapd.start().control(self, admin_group=None)
            self.control("ldap-admin-group", ADMINISTRATORS)
            (self.home / "run/guesses").mkdir(exist_ok=True)
            os.chown(self.home / "run/guesses", AUTH_USER, AUTH_USER)
            (self.home / "run/guesses").chmod(0o700)
            self.begin("auth", "tcp-accept", "-u", f"{AUTH_USER}:{AUTH_USER}", "-c", "50", "-i", "0", "-r", "0", "-o", f"0660:{PORTAL_USER}",
                       "unix", self.home / "run/auth", program("auth-check"), program("checkpassword-ldap"))
            assert await_true(lambda: (self.home / "run/auth").exists(), 10), self.text_of("auth")
        # As root here, which tcp-accept warns of: installed, it has a user of its own and may start mailboxes' users.
        self.begin("export", "tcp-accept", "-c", "50", "-i", "0", "-r", "0", "-o", f"0660:{PORTAL_USER}", "unix", self.home / "run/export", program("maildir-export"))
        assert await_true(lambda: (self.home / "run/export").exists(), 10), self.text_of("export")
        if provision:
            self.start()
        self.start_portal()

    def control(self, name, value):
        path = self.home / "control" / name
        if value is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(f"{value}\n")
            path.chmod(0o644)

    # -- programs ---------------------------------------------------------------

    def begin(self, name, what, *arguments):
        environment = {"PATH": os.environ["PATH"], "SEMAIL_HOME": str(self.home), "SEMAIL_LOG": str(self.logs), "LC_ALL": "C.UTF-8", "SWIFT_BACKTRACE": "enable=no"}
        with open(self.directory / f"{name}.log", "ab") as log:
            process = subprocess.Popen([*self.inside, str(program(what)), *map(str, arguments)], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       preexec_fn=lambda: _libc.prctl(1, 9))
        self.processes.append((name, process))
        return process

    def end(self, name, seconds=15):
        for one in [one for one in self.processes if one[0] == name]:
            self.processes.remove(one)
            one[1].terminate()
            try:
                one[1].wait(seconds)
            except subprocess.TimeoutExpired:
                one[1].kill()
                one[1].wait()
            return one[1].returncode

    def text_of(self, name):
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def start_portal(self):
        before = len(self.text_of("portal")) if (self.directory / "portal.log").exists() else 0
        process = self.begin("portal", "portal", "-u", f"{PORTAL_USER}:{PORTAL_USER}", *self.options)
        found = await_true(lambda: re.search(r"portal: info: listening address=\S+ port=(\d+)", self.text_of("portal")[before:]) or process.poll() is not None, 20)
        assert isinstance(found, re.Match), self.text_of("portal")
        self.port = int(found[1])
        return process

    def browser(self, language="en", **more):
        return Browser(self.port, language, **more)

    def lines(self, event):
        return [line for line in self.text_of("portal").splitlines() if f": {event} " in line]

    def stand_in(self, name, answer):
        """Something at run/NAME that answers as it is told, in the service's place."""
        self.end(name)
        path = self.home / "run" / name
        self.stand_ins = [one for one in self.stand_ins if one.path != path]
        one = Answering(path, answer)
        self.stand_ins.append(one)
        return one

    def make_mailbox(self, owner, address=None):
        address = address or f"{owner}@{owner}.semail.test"
        answer = self.await_end(self.ask("create", owner=owner, address=address))
        assert answer.end == ["done"], answer.lines
        return address

    def __exit__(self, *rest):
        for name, _ in list(self.processes):
            self.end(name)
        for one in self.stand_ins:
            one.close()
        if self.slapd:
            self.slapd.__exit__()
        super().__exit__(*rest)
