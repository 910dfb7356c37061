"""tls-wrap in front of the outgoing server, and certificates for it."""

import os
import re
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path

import semailtest
from semailtest import await_true

TLS_USER = "61027:61027"


def openssl(*arguments, **options):
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, **options).stdout


def _install(directory, name, octets):
    """Put in place of what is there, as its reader alone can read it."""
    fresh = directory / f".{name}.fresh"
    fresh.write_bytes(octets)
    if os.geteuid() == 0:
        os.chown(fresh, *map(int, TLS_USER.split(":")))
    os.chmod(fresh, 0o400)
    fresh.rename(directory / f"{name}.pem")


_REQUEST = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def certificate(directory, name, common_name):
    """NAME.pem in DIRECTORY: a self-signed P-256 certificate and its key."""
    with tempfile.TemporaryDirectory() as place:
        key, chain = Path(place, "key"), Path(place, "chain")
        openssl(*_REQUEST, "-days", "30", "-subj", f"/CN={common_name}", "-addext", f"subjectAltName=DNS:{common_name}", "-keyout", key, "-out", chain)
        _install(directory, name, chain.read_bytes() + key.read_bytes())


def signed_certificate(directory, name, common_name):
    """The same, as an authority issues them; that authority's certificate."""
    with tempfile.TemporaryDirectory() as place:
        authority, issuer, key, request, chain, extensions = (Path(place, word) for word in ("authority", "issuer", "key", "request", "chain", "extensions"))
        openssl(*_REQUEST, "-days", "30", "-subj", "/CN=An authority for tests", "-keyout", issuer, "-out", authority,
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={common_name}", "-keyout", key, "-out", request)
        extensions.write_text(f"subjectAltName=DNS:{common_name}\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
                              "extendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
                              "crlDistributionPoints=URI:http://crl.semail.test/authority.crl\n")
        openssl("x509", "-req", "-in", request, "-CA", authority, "-CAkey", issuer, "-days", "90", "-extfile", extensions, "-out", chain)
        _install(directory, name, chain.read_bytes() + key.read_bytes())
        return authority.read_bytes()


class Server:
    """The outgoing server behind TLS, as installed: each program under its user."""

    def __init__(self, home, port=0, before_exec=None):
        self.home, self.port, self._before_exec = home, port, before_exec
        self.keys = home.directory / "control/tls"
        for name in ("control/tls", "run/tls"):
            os.chown(home.directory / name, *map(int, TLS_USER.split(":")))
        certificate(self.keys, "default", "mail.semail.test")
        self.start()

    def start(self):
        """Also after it has been stopped: on the same port then."""
        before = len(self.home.log("tcp-accept"))
        self.home.spawn(self.home.program("tcp-accept"), [
            "-t", "-c", "1000", "-i", "0", "-r", "0", "-u", semailtest.ACCEPT_USER, "-n", f"{TLS_USER},{semailtest.SMTPD_USER}", "127.0.0.1", self.port,
            self.home.program("tls-wrap"), "-u", TLS_USER, "-n", semailtest.SMTPD_USER, "-k", self.keys,
            self.home.program("smtpd-session"), "-u", semailtest.SMTPD_USER, "submission"], umask=0o007, before_exec=self._before_exec)
        found = await_true(lambda: re.search(r"listening .*\bport=(\d+)", self.home.log("tcp-accept")[before:]), 15)
        assert found, self.home.report()
        self.port = int(found[1])

    def connect(self, version=None, server_name=None, session=None, context=None):
        context = context or self.context(version)
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return context.wrap_socket(plain, server_hostname=server_name, session=session)

    @staticmethod
    def context(version=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if version:
            context.minimum_version = context.maximum_version = version
        return context

    def common_name(self, server_name=None):
        """Of the certificate that a client sees who asks for this name."""
        with self.connect(server_name=server_name) as connection:
            text = openssl("x509", "-inform", "DER", "-noout", "-subject", "-nameopt", "multiline", input=connection.getpeercert(True)).decode()
        return re.search(r"commonName\s*= (.*)", text)[1]

    def log_says(self, text):
        return await_true(lambda: text in self.home.log("tcp-accept"), 10)
