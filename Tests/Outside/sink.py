"""python3 sink.py FILE ADDRESS PORT: a mail server that takes everything, keeps nothing, and counts well.

Of each message it appends a line to FILE, before its 250 goes out: the time, the address it was sent to (this end's), the
number of the connection, and the value of the message's X-Name field. One process, any number of connections; it
says "ready" when it listens, and ends when its standard input does.

Standard library only.
"""

import asyncio
import ctypes
import os
import re
import signal
import socket
import sys
import time

GREETING = b"220 sink.example ESMTP\r\n"
HELLO = b"250-sink.example\r\n250-PIPELINING\r\n250-SIZE 100000000\r\n250-8BITMIME\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250 SMTPUTF8\r\n"
REPLIES = {b"MAIL": b"250 2.1.0 ok\r\n", b"RCPT": b"250 2.1.5 ok\r\n", b"RSET": b"250 2.0.0 ok\r\n", b"NOOP": b"250 2.0.0 ok\r\n",
           b"EHLO": HELLO, b"HELO": b"250 sink.example\r\n", b"DATA": b"354 go on\r\n"}
END = b"\r\n.\r\n"
NAME = re.compile(rb"^X-Name: *([^\r]*)", re.MULTILINE)


class Session(asyncio.Protocol):
    count = 0

    def __init__(self, record):
        self.record = record
        self.rest = b""
        self.pieces = None             # of a message; None: commands

    def connection_made(self, transport):
        Session.count += 1
        self.number = Session.count
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.here = transport.get_extra_info("sockname")[0]
        transport.write(GREETING)

    def data_received(self, octets):
        replies = []
        while octets:
            octets = self.take_content(octets, replies) if self.pieces is not None else self.take_lines(octets, replies)
        if replies and not self.transport.is_closing():
            self.transport.write(b"".join(replies))
        if b"221 bye\r\n" in replies:
            self.transport.close()

    def take_lines(self, octets, replies):
        octets = self.rest + octets
        while True:
            line, end, octets = octets.partition(b"\r\n")
            if not end:
                self.rest = line
                return b""
            self.rest = b""
            verb = line[:4].upper()
            replies.append(b"221 bye\r\n" if verb == b"QUIT" else REPLIES.get(verb, b"500 5.5.1 what?\r\n"))
            if verb == b"DATA":
                # The line end before an end at once.
                self.pieces = [b"\r\n"]
                return octets

    def take_content(self, octets, replies):
        self.pieces.append(octets)
        tail = b"".join(self.pieces) if len(self.pieces) < 8 else self.pieces[-2][-4:] + octets
        end = tail.find(END)
        if end < 0:
            if len(octets) < 8 and len(self.pieces) >= 8:
                self.pieces = [b"".join(self.pieces)]
            return b""
        name = NAME.search(tail if len(self.pieces) < 8 else b"".join(self.pieces))
        self.pieces = None
        self.record(self, name[1] if name else b"?")
        replies.append(b"250 2.0.0 taken\r\n")
        return tail[end + len(END):]


async def serve(file, address, port):
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def record(session, name):
        os.write(log, b"%.6f %s %d %s\n" % (time.time(), session.here.encode(), session.number, name))

    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, port), family=family, backlog=1024)
    server = await loop.create_server(lambda: Session(record), sock=listener)
    ending = loop.create_future()

    def hear():
        if not os.read(0, 64):
            loop.remove_reader(0)
            ending.set_result(None)

    loop.add_reader(0, hear)
    print("ready", flush=True)
    await ending
    server.close()


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    asyncio.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))
