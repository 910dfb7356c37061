"""python3 log_socket.py SOCKET FILE: appends what arrives at the datagram SOCKET to FILE.

The log socket of one peer, so that its lines neither cost nothing (they do not
on a real host) nor reach the log of this machine. Runs until it is killed.
"""

import os
import socket
import sys


def main(path, file):
    # Ends with whoever started it, even when that is killed.
    import ctypes
    import signal
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    receiver.bind(path)
    os.chmod(path, 0o666)
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    print("ready", flush=True)
    buffer = memoryview(bytearray(8192))
    while True:
        length = receiver.recv_into(buffer)
        buffer[length:length + 1] = b"\n"
        os.write(log, buffer[:length + 1])


if __name__ == "__main__":
    main(*sys.argv[1:])
