"""A line between a client and a server of this machine: link.py PORT SERVER_PORT MILLISECONDS MEGABITS

What comes in at PORT goes to SERVER_PORT, and back, half of the milliseconds later each way, all connections together no faster than
so many megabits a second and direction. No more is under way than such a line holds: who sends more waits.
"""

import queue
import socket
import sys
import threading
import time

port, server, delay, rate = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000, float(sys.argv[4]) * 125_000
CHUNK = 16 << 10


class Direction:
    """One way of the line, which its connections share."""

    def __init__(self):
        self.lock, self.free = threading.Lock(), 0.0

    def take(self, count):
        """Waits for the line's turn; says when the last of these bytes comes out of it."""
        with self.lock:
            # Who wakes late catches up.
            self.free = max(self.free, time.monotonic() - 0.005) + count / rate
            sent = self.free
        time.sleep(max(0.0, sent - time.monotonic()))
        return sent + delay / 2


def enter(direction, source, line):
    try:
        while chunk := source.recv(CHUNK):
            line.put((direction.take(len(chunk)), chunk))
    except OSError:
        pass
    line.put((time.monotonic() + delay / 2, b""))


def leave(line, target):
    try:
        while True:
            due, chunk = line.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not chunk:
                break
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        # Whoever sends goes on until it hears of it.
        while line.get()[1]:
            pass


def carry(client):
    time.sleep(delay)
    far = socket.create_connection(("127.0.0.1", server))
    for direction, source, target in ((there, client, far), (back, far, client)):
        for end in (source, target):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line = queue.Queue()
        threading.Thread(target=enter, args=(direction, source, line), daemon=True).start()
        threading.Thread(target=leave, args=(line, target), daemon=True).start()


there, back = Direction(), Direction()
listener = socket.create_server(("127.0.0.1", port), backlog=64)
while True:
    accepted, _ = listener.accept()
    threading.Thread(target=carry, args=(accepted,), daemon=True).start()
