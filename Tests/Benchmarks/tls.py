"""TLS handshakes per second on a port that speaks TLS from the first octet.

Connect, handshake (TLS 1.3, X25519, a P-256 certificate), greeting, close; twenty at once; first all of them full, then
all but each worker's first resumed. Each server is as shipped: Postfix with smtpd processes that it uses again, SEMail
with two new ones for each connection.
"""

import os
import shutil
import subprocess
from pathlib import Path

import contestants
import semailtest
import servers

WORKERS = 20
TLS_USER = "61027:61027"


def make_certificate(place):
    """(certificate, key) of the P-256 kind."""
    files = place / "certificate.pem", place / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=bench.test",
                    "-out", files[0], "-keyout", files[1]], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return files


class Load:
    """The load generator, compiled from tls_load.c."""

    def __init__(self, place):
        self.program = place / "tls_load"
        compiler = shutil.which("cc") or shutil.which("clang")
        if not compiler:
            raise RuntimeError("a C compiler is needed for the load generator")
        subprocess.run([compiler, "-O2", "-o", self.program, Path(__file__).with_name("tls_load.c"), "-lssl", "-lcrypto"], check=True)

    def run(self, port, connections, kind):
        """Seconds for so many connections of the KIND `full` or `resumed`."""
        done = subprocess.run([self.program, str(port), str(connections), str(WORKERS), kind], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{kind} handshakes: {done.stderr[-500:]}")
        return float(done.stdout)


class SEMail:
    """The outgoing server behind tls-wrap, each program as the user it has when installed."""

    label = "SEMail"

    def __init__(self, place, processes, certificate):
        self.processes = processes
        self.home = semailtest.Home(hostname="semail.bench.test", domain="bench.test", owners=["u0"], directory=place / "semail-tls", user="services")
        self.keys = self.home.directory / "control/tls"
        for directory in (self.keys, self.home.directory / "run/tls"):
            directory.mkdir(mode=0o700, exist_ok=True)
            os.chown(directory, *map(int, TLS_USER.split(":")))
        pem = self.keys / "default.pem"
        pem.write_bytes(b"".join(path.read_bytes() for path in certificate))
        os.chmod(pem, 0o400)
        os.chown(pem, *map(int, TLS_USER.split(":")))

    def start(self):
        self.home.start_accept(
            accept=[*semailtest.ACCEPT, "-n", f"{TLS_USER},{semailtest.SMTPD_USER}"], session_program="tls-wrap",
            session=("-u", TLS_USER, "-n", semailtest.SMTPD_USER, "-k", self.keys, self.home.program("smtpd-session"), "-u", semailtest.SMTPD_USER, "submission"),
            before_exec=self.processes.join)
        self.port = self.home.port
        self.processes.roots = [process.pid for process in self.home.processes.values()]

    def stop(self):
        self.home.stop()
        self.processes.await_end()

    def report(self):
        return self.home.report()[-3000:]


class Postfix(contestants.Unpacked):
    """Postfix, with a service for TLS from the first octet."""

    label = "Postfix"

    def __init__(self, place, processes, certificate):
        self.processes = processes
        self.server = servers.Postfix(place / "postfix-tls", own_pid_namespace=False)
        self.server.delivers("bench.test", ["u0"], self.server.directory("mail", "vmail"))
        self.port = servers.free_port()
        chain = ", ".join(str(path) for path in self.server.keep(certificate))
        with open(self.server.place / "etc/main.cf", "a") as main:
            main.write(f"smtpd_tls_security_level = may\nsmtpd_tls_chain_files = {chain}\n")
        with open(self.server.place / "etc/master.cf", "a") as master:
            master.write(f"127.0.0.1:{self.port} inet n - n - 400 smtpd -o smtpd_tls_wrappermode=yes\n")


SERVERS = {"semail": SEMail, "postfix": Postfix}


def make(name, place, processes, certificate):
    return SERVERS[name](place, processes, certificate)


def one_turn(server, processes, load, connections):
    """One server, one round."""
    figures = {}
    server.start()
    try:
        load.run(server.port, max(WORKERS, connections // 5), "full")
        for kind in ("full", "resumed"):
            processes.await_rest()
            cpu = processes.cpu_seconds()
            figures[f"tls_{kind}"] = connections / load.run(server.port, connections, kind)
            processes.await_rest()
            figures[f"cpu_tls_{kind}"] = 1000 * (processes.cpu_seconds() - cpu) / connections
    except Exception:
        print(f"--- what {server.label} said last\n{server.report()}", flush=True)
        raise
    finally:
        server.stop()
    return figures
