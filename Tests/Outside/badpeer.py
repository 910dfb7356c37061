"""A mail server that misbehaves as it is told: what remote-relay may meet outside.

    with BadPeer(replies={"RCPT": ["250 ok", "550 5.1.1 no such user"], "content": DROP}) as peer:
        ... peer.port, peer.messages, peer.commands, peer.connections

`replies` says what comes instead of the usual answer, by command: greeting, EHLO,
HELO, STARTTLS, AUTH, MAIL, RCPT (or "RCPT a@b.example" for one recipient), DATA,
content (behind the final dot), RSET, QUIT. Each is an action, or a list of actions
that are used up one by one, the last for ever. An action is:

    "250 ok"          a reply; several lines with \\n between them
    HANG              nothing, until the client goes away
    DROP              the connection is closed
    RESET             the connection is reset
    Slowly(text, s)   one line, then a pause, and so on
    Raw(octets)       just these
    USUAL             what a good server says
    a function        called with the session; it may return another action

Standard library only.
"""

import base64
import re
import socket
import ssl
import struct
import threading
import time

HANG, DROP, RESET, USUAL = "HANG", "DROP", "RESET", "USUAL"

EVERYTHING = ("PIPELINING", "SIZE 100000000", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES")


class Slowly(str):
    def __new__(cls, text, seconds):
        made = super().__new__(cls, text)
        made.seconds = seconds
        return made


class Raw(bytes):
    pass


class Gone(Exception):
    """The session is over."""


class Message:
    """One that the peer has taken, or would have."""

    def __init__(self, session):
        self.connection = session.number
        self.tls = session.tls_version
        self.sender = None             # with its parameters, as it stood in the command
        self.recipients = []           # those that were accepted, with their parameters
        self.octets = b""              # as they came, dots doubled, without the final dot
        self.is_taken = False

    @property
    def text(self):
        """The message with dots undoubled."""
        return re.sub(rb"(^|\r\n)\.", rb"\1", self.octets)


class BadPeer:
    def __init__(self, capabilities=EVERYTHING, replies=None, name="bad.example", tls=None,
                 implicit=False, listener=None, address="127.0.0.1", port=0, drop_after=None,
                 credentials=None, keep=True):
        """TLS: a server's ssl.SSLContext; STARTTLS is offered if it is there, unless IMPLICIT.
        LISTENER: a listening socket, of another network perhaps. DROP_AFTER: the connection
        goes after so many octets of a message. KEEP: hold what messages say in memory."""
        self.capabilities = list(capabilities)
        self.replies = {key: list(value) if isinstance(value, list) else [value]
                        for key, value in (replies or {}).items()}
        self.name = name
        self.tls = tls
        self.implicit = implicit
        self.drop_after = drop_after
        self.credentials = credentials
        self.keep = keep
        self.listener = listener or socket.create_server(
            (address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        self.open = 0
        self.commands = []             # (number of the connection, line)
        self.messages = []
        self.faults = []
        self._lock = threading.Lock()
        self._sockets = set()

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """No more connections, and those that are open go."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        with self._lock:
            for one in list(self._sockets):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            # Answers to a group of commands are sent one by one here: none should wait for the ACK of the one before.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
                number = self.connections
                self._sockets.add(connection)
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection, number):
        session = Session(self, connection, number)
        with self._lock:
            self.open += 1
        try:
            session.run()
        except (Gone, OSError):
            pass
        except Exception as fault:  # A test looks at these.
            self.faults.append(fault)
        finally:
            session.socket.close()
            with self._lock:
                self.open -= 1
                self._sockets.discard(connection)

    def action(self, key, *more):
        """What is to come for a command: its own action, that of its kind, or None."""
        with self._lock:
            for name in (*more, key):
                actions = self.replies.get(name)
                if actions:
                    return actions.pop(0) if len(actions) > 1 else actions[0]
        return None

    def verbs(self, connection=None):
        """The commands of one connection, or of all, without their arguments."""
        return [line.split()[0].upper().decode() for number, line in self.commands
                if line.strip() and connection in (None, number)]


class Session:
    def __init__(self, peer, connection, number):
        self.peer = peer
        self.socket = connection
        self.raw = connection
        self.number = number
        self.input = b""
        self.message = None
        self.tls_version = None

    # -- the connection -----------------------------------------------------

    def send(self, octets):
        self.socket.sendall(octets)

    def receive(self):
        octets = self.socket.recv(65536)
        if not octets:
            raise Gone
        self.input += octets

    def line(self):
        while b"\n" not in self.input:
            self.receive()
        line, self.input = self.input.split(b"\n", 1)
        return line.removesuffix(b"\r")

    def hang(self):
        while True:
            self.receive()
            self.input = b""

    def reset(self):
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
        raise Gone

    def start_tls(self):
        self.socket = self.peer.tls.wrap_socket(self.socket, server_side=True)
        self.tls_version = self.socket.version()
        self.input = b""

    def reply(self, action, usual):
        while callable(action):
            action = action(self)
        if action is None or action == USUAL:
            action = usual
        if action == HANG:
            self.hang()
        if action == DROP:
            raise Gone
        if action == RESET:
            self.reset()
        if isinstance(action, Raw):
            self.send(action)
            return b""
        lines = action.split("\n")
        code = lines[0][:3]
        full = [line if re.match(r"\d{3}[ -]", line) else f"{code} {line}" for line in lines]
        full = [f"{line[:3]}{'-' if number < len(full) - 1 else ' '}{line[4:]}\r\n".encode()
                for number, line in enumerate(full)]
        if isinstance(action, Slowly):
            for line in full:
                self.send(line)
                time.sleep(action.seconds)
        else:
            self.send(b"".join(full))
        return code

    # -- the dialogue -------------------------------------------------------

    def run(self):
        if self.peer.implicit:
            self.start_tls()
        self.reply(self.peer.action("greeting"), f"220 {self.peer.name} ESMTP")
        while True:
            line = self.line()
            with self.peer._lock:
                self.peer.commands.append((self.number, line))
            verb = line.split(b" ")[0].split(b":")[0].upper().decode("latin-1")
            handler = getattr(self, f"do_{verb}", None)
            if handler is None:
                self.reply(self.peer.action(verb), "500 5.5.1 what?")
            else:
                handler(line)

    def do_EHLO(self, line):
        capabilities = list(self.peer.capabilities)
        if self.peer.tls and not self.peer.implicit and not self.tls_version:
            capabilities.append("STARTTLS")
        self.message = None
        self.reply(self.peer.action("EHLO"), "\n".join([f"250 {self.peer.name}", *(f"250 {one}" for one in capabilities)]))

    def do_HELO(self, line):
        self.message = None
        self.reply(self.peer.action("HELO"), f"250 {self.peer.name}")

    def do_STARTTLS(self, line):
        if self.reply(self.peer.action("STARTTLS"), "220 go ahead") == "220":
            self.start_tls()

    def do_AUTH(self, line):
        action = self.peer.action("AUTH")
        if action is not None:
            self.reply(action, "")
            return
        words = line.decode().split()
        if words[1].upper() == "PLAIN":
            _, user, password = base64.b64decode(words[2]).decode().split("\0")
        else:
            self.send(b"334 VXNlcm5hbWU6\r\n")
            user = base64.b64decode(self.line()).decode()
            self.send(b"334 UGFzc3dvcmQ6\r\n")
            password = base64.b64decode(self.line()).decode()
        self.reply("235 2.7.0 welcome" if (user, password) == self.peer.credentials else "535 5.7.8 no", "")

    def do_RSET(self, line):
        self.message = None
        self.reply(self.peer.action("RSET"), "250 2.0.0 ok")

    def do_QUIT(self, line):
        self.reply(self.peer.action("QUIT"), "221 2.0.0 bye")
        raise Gone

    def do_MAIL(self, line):
        if self.reply(self.peer.action("MAIL"), "503 5.5.1 nested" if self.message else "250 2.1.0 ok") == "250":
            self.message = Message(self)
            self.message.sender = line[len("MAIL FROM:"):]

    def do_RCPT(self, line):
        address = re.search(rb"<(.*)>", line)[1].decode()
        action = self.peer.action("RCPT", f"RCPT {address}")
        if self.reply(action, "250 2.1.5 ok" if self.message else "503 5.5.1 MAIL first") == "250":
            self.message.recipients.append(line[len("RCPT TO:"):])

    def do_DATA(self, line):
        if not self.message or not self.message.recipients:
            self.reply(self.peer.action("DATA without"), "503 5.5.1 RCPT first")
            return
        if self.reply(self.peer.action("DATA"), "354 go on") == "354":
            self.content()

    def content(self):
        message, self.message = self.message, None
        with self.peer._lock:
            self.peer.messages.append(message)
        pieces, total = [b"\r\n"], 0
        if self.peer.drop_after == 0:
            raise Gone
        while True:
            # The end may stand across two pieces.
            if self.input:
                pieces.append(self.input)
                total += len(self.input)
                self.input = b""
                tail = b"".join(pieces[-6:])
                if self.peer.drop_after is not None and total >= self.peer.drop_after:
                    self.reply(self.peer.action("in content"), DROP)
                found = tail.find(b"\r\n.\r\n")
                if found >= 0:
                    rest = tail[found + 5:]
                    self.input = rest
                    if self.peer.keep:
                        whole = b"".join(pieces)
                        message.octets = whole[2:len(whole) - len(rest) - 3]
                    break
                if not self.peer.keep:
                    pieces = pieces[-5:]
                elif len(pieces) > 99:
                    pieces = [b"".join(pieces[:-6]), *pieces[-6:]]
            self.receive()
        if self.reply(self.peer.action("content"), "250 2.0.0 taken") == "250":
            message.is_taken = True
