"""tls-wrap in front of the outgoing server: clients of others, certificates, tickets, and what goes wrong."""

import os
import re
import shutil
import smtplib
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

import semailtest
from semailtest import await_true
from tlslab import TLS_USER, Server, certificate


@pytest.fixture
def server():
    assert os.geteuid() == 0, "the users of an installation are root's to give"
    with semailtest.Home(user="services") as home:
        yield Server(home)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_full_and_resumed_handshakes(server, version):
    context = server.context(version)
    with server.connect(context=context) as first:
        assert first.recv(512).startswith(b"220 mail.semail.test ")
        assert not first.session_reused
        session = first.session
    for _ in range(5):
        with server.connect(context=context, session=session) as again:
            assert again.recv(512).startswith(b"220 ")
            assert again.session_reused, "every connection is a process of its own, and a ticket is good for all"
            session = again.session


def test_tickets_outlive_the_server(server):
    context = server.context(ssl.TLSVersion.TLSv1_2)
    with server.connect(context=context) as first:
        session = first.session
    server.home.stop_process("tcp-accept")
    server.start()
    with server.connect(context=context, session=session) as resumed:
        assert resumed.session_reused


def test_openssl_and_gnutls_resume(server):
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_2", "-reconnect"], input=b"", capture_output=True, timeout=30)
    assert done.stdout.count(b"Reused, TLSv1.2") == 5, done.stdout[-2000:]
    gnutls = shutil.which("gnutls-cli")
    assert gnutls, "gnutls-bin is needed"
    done = subprocess.run([gnutls, "--insecure", "--resume", "--port", str(server.port), "127.0.0.1"], input=b"QUIT\r\n", capture_output=True, timeout=30)
    assert b"This is a resumed session" in done.stdout, done.stdout[-2000:]


def test_java_resumes(server):
    java = shutil.which("java")
    assert java, "default-jdk-headless is needed"
    done = subprocess.run([java, Path(__file__).with_name("TLSClient.java"), str(server.port)], capture_output=True, text=True, timeout=120)
    expected = [f"{version} {kind} 220 mail.semail.test ESMTP SEMail" for version in ("TLSv1.2", "TLSv1.3") for kind in ("full", "resumed", "resumed")]
    assert done.stdout.splitlines() == expected, done.stdout + done.stderr[-2000:]


def test_a_message(server):
    body = b"".join(b"line %06d %s\r\n" % (number, b"x" * 60) for number in range(14000))
    message = b"From: ssow@semail.test\r\nDate: now\r\nMessage-ID: <x@y>\r\nSubject: large\r\n\r\n" + body
    with smtplib.SMTP_SSL("127.0.0.1", server.port, context=server.context(), timeout=60) as client:
        client.ehlo("client.example")
        assert client.has_extn("auth") and not client.has_extn("starttls")
        client.sendmail("ssow@semail.test", ["somebody@elsewhere.test"], message)
    [file] = server.home.queue_files()
    stored = file.read_bytes()
    assert stored.partition(b"\n\n")[2].endswith(message.replace(b"\r\n", b"\n"))
    # RFC 3848, and what was agreed on.
    assert re.search(rb"with ESMTPS id .*\n\t\(TLSv1\.3 TLS_[A-Z0-9_]+\)", stored)


def test_names_and_replaced_certificates(server):
    certificate(server.keys, "mail.other.test", "mail.other.test")
    assert server.common_name() == server.common_name("unknown.test") == "mail.semail.test"
    assert server.common_name("mail.other.test") == "mail.other.test"
    certificate(server.keys, "default", "new.semail.test")
    # Those that waited for a connection already have read it too.
    for _ in range(8):
        assert server.common_name() == "new.semail.test", server.home.report()
    # One that makes no sense changes nothing; the template looks once a second, and some processes were forked before.
    time.sleep(1.1)
    for _ in range(8):
        assert server.common_name() == "new.semail.test", server.home.report()
    broken = server.keys / ".broken"
    broken.write_text("no certificate\n")
    broken.rename(server.keys / "default.pem")
    assert server.common_name() == "new.semail.test"
    assert server.log_says("error: certificate ")


@pytest.mark.parametrize("option", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(server, option):
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", option, "-cipher", "ALL:@SECLEVEL=0"], input=b"", capture_output=True, timeout=30)
    assert done.returncode != 0 and b"Cipher is (NONE)" in done.stdout
    assert server.log_says("not-secured")


def test_renegotiation_is_refused(server):
    client = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        time.sleep(1)
        client.stdin.write(b"R\n")
        client.stdin.flush()
        output, _ = client.communicate(timeout=20)
    finally:
        client.kill()
        client.wait()
    assert b"no renegotiation" in output or b"ssl/tls alert no renegotiation" in output.lower(), output[-1500:]


@pytest.mark.parametrize("sent", [b"EHLO client.example\r\n", os.urandom(5000), b"\x16\x03\x01\xff\xff" + b"\0" * 200, b""], ids=["smtp", "noise", "half", "nothing"])
def test_what_is_no_tls(server, sent):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        heard = b""
        try:
            while part := client.recv(4096):
                heard += part
        except ConnectionResetError:
            pass
    assert b"220 " not in heard and b"554" not in heard
    assert server.log_says("not-secured")
    with server.connect() as fine:
        assert fine.recv(512).startswith(b"220 ")


def test_a_cut_connection_leaves_nothing(server):
    connection = server.connect()
    stream = connection.makefile("rwb", buffering=0)
    connection.recv(512)
    for line in (b"HELO client.example", b"MAIL FROM:<ssow@semail.test>", b"RCPT TO:<a@b.test>", b"DATA"):
        stream.write(line + b"\r\n")
        connection.recv(512)
    stream.write(b"half of it\r\n")
    # The socket goes without TLS's word: anybody on the way could have done that.
    os.close(connection.detach())
    assert server.log_says("broken ")
    assert server.home.queue_files() == []


def test_each_program_has_its_user(server):
    with server.connect() as connection:
        connection.recv(512)
        users = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                name, home = (process / "exe").readlink().name, (process / "environ").read_bytes()
                uid = re.search(r"^Uid:\t(\d+)\t(\d+)\t(\d+)", (process / "status").read_text(), re.MULTILINE).groups()
                capabilities = re.search(r"^CapEff:\t(\w+)", (process / "status").read_text(), re.MULTILINE)[1]
            except (OSError, TypeError):
                continue
            if str(server.home.directory).encode() in home:
                users.setdefault(name, set()).add((*uid, int(capabilities, 16)))
    expected = {"tcp-accept": semailtest.ACCEPT_USER, "tls-wrap": TLS_USER, "smtpd-session": semailtest.SMTPD_USER}
    assert users == {name: {(user.split(":")[0],) * 3 + (0,)} for name, user in expected.items()}


def test_by_hand_under_any_server(server):
    home = server.home
    for path in (server.keys / "default.pem", server.keys, home.directory / "run/tls"):
        os.chown(path, 0, 0)
    home.spawn(home.program("tcp-accept"), ["127.0.0.1", "0", home.program("tls-wrap"), home.program("smtpd-session"), "submission"], log="by-hand")
    found = await_true(lambda: re.search(r"listening .*\bport=(\d+)", home.log("by-hand")), 15)
    server.port = int(found[1])
    with server.connect() as connection:
        assert connection.recv(512).startswith(b"220 mail.semail.test ")
