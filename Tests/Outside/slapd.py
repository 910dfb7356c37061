"""A real slapd with some people in it, for tests that ask a directory.

    with Slapd() as slapd:
        slapd.plain, slapd.secure      # ldap://127.0.0.1:N, ldaps://127.0.0.1:N
        slapd.control(home)            # the home's control files ldap-*

Its certificate is for the name directory.semail.test and the address 127.0.0.1; slapd.ca is the file of its authority.
The same ports of [::1] are listened on too: an address that the certificate does not have.
"""

import base64
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from semailtest import await_true, tool

BASE = "dc=semail,dc=test"
SEARCHER = f"cn=searcher,{BASE}"

# uid, password; the names with a star, a bracket or a backslash are there to be found by nobody else's filter.
PEOPLE = [("ssow", "correct horse"), ("xredon", "battery staple"), ("jörg", "grün"), ("star*", "s"), ("br(ace)", "b"), ("back\\slash", "k"),
          ("long" + "g" * 200, "l"), ("Mixed", "m")]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def make_certificates(directory, name="directory.semail.test", lifetime=30):
    """An authority (ca.pem) and a server's certificate from it (server.pem, server.key)."""
    def openssl(*words):
        subprocess.run([tool("openssl"), *map(str, words)], check=True, capture_output=True, cwd=directory)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Authority for tests", "-days", lifetime)
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", f"/CN={name}")
    (directory / "extensions").write_text(f"subjectAltName=DNS:{name},IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", lifetime, "-extfile", "extensions", "-out", "server.pem")


def ldif():
    entries = [{"dn": BASE, "objectClass": ["dcObject", "organization"], "dc": "semail", "o": "tests"},
               {"dn": f"ou=people,{BASE}", "objectClass": "organizationalUnit", "ou": "people"},
               {"dn": f"ou=others,{BASE}", "objectClass": "organizationalUnit", "ou": "others"},
               {"dn": SEARCHER, "objectClass": ["applicationProcess", "simpleSecurityObject"], "cn": "searcher", "userPassword": "look"}]
    for number, (uid, password) in enumerate(PEOPLE):
        # The entry's name has nothing to do with the uid, and needs escapes itself.
        entries.append({"dn": f"cn=Person \\2C number {number}\\+,ou=people,{BASE}", "objectClass": ["inetOrgPerson", "posixAccount"], "cn": f"Person , number {number}+", "sn": "x",
                        "uid": uid, "uidNumber": str(40000 + number), "gidNumber": "40000", "homeDirectory": f"/home/{number}", "loginShell": "/bin/false",
                        "mail": f"person{number}@semail.test", "userPassword": password})
    for number in range(2):
        entries.append({"dn": f"cn=twin {number},ou=people,{BASE}", "objectClass": "inetOrgPerson", "cn": f"twin {number}", "sn": "x", "uid": "twin", "userPassword": "t"})
    entries.append({"dn": f"cn=bare,ou=people,{BASE}", "objectClass": "inetOrgPerson", "cn": "bare", "sn": "x", "uid": "bare", "userPassword": "b"})
    entries.append({"dn": f"cn=locked,ou=people,{BASE}", "objectClass": "inetOrgPerson", "cn": "locked", "sn": "x", "uid": "locked"})
    entries.append({"dn": f"cn=two names,ou=people,{BASE}", "objectClass": "inetOrgPerson", "cn": "two names", "sn": "x", "uid": ["first", "second"], "mail": "two@semail.test", "userPassword": "n"})
    text = ""
    for entry in entries:
        for name, values in entry.items():
            for value in [values] if isinstance(values, str) else values:
                text += f"{name}:: {base64.b64encode(value.encode()).decode()}\n"
        text += "\n"
    return text


class Slapd:
    def __init__(self, extra=""):
        self.directory = Path(tempfile.mkdtemp(prefix="semail-slapd-"))
        os.chmod(self.directory, 0o755)
        (self.directory / "db").mkdir()
        make_certificates(self.directory)
        self.ca = self.directory / "ca.pem"
        self.port, self.tls_port = free_port(), free_port()
        self.plain, self.secure = f"ldap://127.0.0.1:{self.port}", f"ldaps://127.0.0.1:{self.tls_port}"
        self.local = "ldapi://" + str(self.directory / "socket").replace("/", "%2F")
        self.process = None
        (self.directory / "slapd.conf").write_text(f"""
            include /etc/ldap/schema/core.schema
            include /etc/ldap/schema/cosine.schema
            include /etc/ldap/schema/nis.schema
            include /etc/ldap/schema/inetorgperson.schema
            modulepath /usr/lib/ldap
            moduleload back_mdb
            pidfile {self.directory}/pid
            TLSCACertificateFile {self.ca}
            TLSCertificateFile {self.directory}/server.pem
            TLSCertificateKeyFile {self.directory}/server.key
            database mdb
            suffix "{BASE}"
            directory {self.directory}/db
            maxsize 16777216
            access to attrs=userPassword by anonymous auth by * none
            access to dn.subtree="ou=others,{BASE}" by dn.exact="{SEARCHER}" read by * none
            access to * by * read
            {extra}
            """.replace("\n            ", "\n"))
        (self.directory / "people.ldif").write_text(ldif())
        subprocess.run([tool("slapadd"), "-f", "slapd.conf", "-l", "people.ldif"], check=True, capture_output=True, cwd=self.directory)

    def start(self):
        urls = f"{self.plain} {self.secure} ldap://[::1]:{self.port} ldaps://[::1]:{self.tls_port} {self.local}"
        self.process = subprocess.Popen([tool("slapd"), "-f", str(self.directory / "slapd.conf"), "-h", urls, "-d", "0"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def is_up():
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            except OSError:
                return False

        assert await_true(is_up, 10), "slapd does not listen"
        os.chmod(self.directory / "socket", 0o777)
        return self

    def stop(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def control(self, home, **more):
        """The control files; keyword arguments (uri, base, filter, bind_dn, bind_password, tls, ca, admin_group) replace ours."""
        values = {"uri": self.plain, "base": f"ou=people,{BASE}", "filter": None, "bind_dn": None, "bind_password": None, "tls": "none", "ca": self.ca, "admin_group": None, **more}
        for name, value in values.items():
            home.control(f"ldap-{name.replace('_', '-')}", value)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
