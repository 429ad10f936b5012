"""An endpoint that behaves as the original program: its wire, its queue of ten, its stop-and-wait, its textbook RSA.

    old_endpoint.py client|server tcp|udp send|receive PORT FILE [PRIVATE PUBLIC]

`server` prints the port that it listens on. `send` sends FILE and waits until everything is acknowledged; `receive` writes
FILE when the TCP connection has closed or, over UDP, when nothing has come for some seconds.
"""

import json
import queue
import socket
import struct
import sys
import threading

TIMEOUT = 2.0
CLOSED_WINDOW_PAUSE = 3.0
PLACES = 10
MAX_DATA = 2048
SILENCE = 4.0


class Carrier:
    """A length, then the packet: in a TCP stream, or all of it in one datagram."""

    def __init__(self, kind, role, port):
        self.kind = kind
        self.peer = None
        if kind == "tcp":
            if role == "server":
                door = socket.create_server(("127.0.0.1", 0))
                print(door.getsockname()[1], flush=True)
                self.socket, _ = door.accept()
            else:
                self.socket = socket.create_connection(("127.0.0.1", port))
        else:
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            if role == "server":
                self.socket.bind(("127.0.0.1", 0))
                print(self.socket.getsockname()[1], flush=True)
                _, self.peer = self.socket.recvfrom(70000)
            else:
                self.peer = ("127.0.0.1", port)
                self.socket.sendto(b"", self.peer)
            self.socket.settimeout(SILENCE)
        self.lock = threading.Lock()

    def send(self, packet):
        data = struct.pack("<I", len(packet)) + packet
        with self.lock:
            if self.kind == "tcp":
                self.socket.sendall(data)
            else:
                self.socket.sendto(data, self.peer)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def recv(self):
        if self.kind == "tcp":
            return self.exactly(struct.unpack("<I", self.exactly(4))[0])
        data, _ = self.socket.recvfrom(70000)
        return data[4:]


class Cryptor:
    def __init__(self, private, public):
        self.private = json.load(open(private))
        self.public = json.load(open(public))

    @staticmethod
    def power(data, key):
        number = pow(int.from_bytes(data, "big"), key["k"], key["n"])
        return number.to_bytes((number.bit_length() + 7) // 8, "big")

    def encrypt(self, packet):
        return self.power(packet, self.private)

    def decrypt(self, packet):
        return self.power(packet, self.public)


class Endpoint:
    def __init__(self, carrier, cryptor):
        self.carrier = carrier
        self.cryptor = cryptor
        self.queue = queue.Queue(PLACES)
        self.early = {}
        self.read_offset = 0
        self.write_offset = 0
        self.peer_read_offset = 0
        self.peer_window = PLACES
        self.news = threading.Condition()
        self.finished = threading.Event()
        threading.Thread(target=self.receive_loop, daemon=True).start()

    def transmit(self, write_offset, data=b""):
        free = PLACES - self.queue.qsize()
        packet = struct.pack("<iii", free, self.read_offset, write_offset) + data
        self.carrier.send(self.cryptor.encrypt(packet) if self.cryptor else packet)

    def receive_loop(self):
        try:
            while True:
                packet = self.carrier.recv()
                if not packet:
                    continue
                if self.cryptor:
                    packet = self.cryptor.decrypt(packet)
                if len(packet) >= 12:
                    self.take(packet)
        except (EOFError, OSError):
            self.finished.set()
            self.queue.put(None)

    def take(self, packet):
        window, read_offset, write_offset = struct.unpack("<iii", packet[:12])
        with self.news:
            self.peer_window = window
            self.peer_read_offset = max(self.peer_read_offset, read_offset)
            self.news.notify_all()
        if write_offset < 0:
            return
        if write_offset >= self.read_offset:
            self.early[write_offset] = packet[12:]
        while self.read_offset in self.early:
            self.queue.put(self.early.pop(self.read_offset))
            self.read_offset += 1
        self.transmit(-1)

    def write(self, data):
        """Stop-and-wait, whatever the code meant."""
        index = self.write_offset
        self.write_offset += 1
        with self.news:
            if self.peer_window == 0:
                self.news.wait_for(lambda: self.peer_window > 0, CLOSED_WINDOW_PAUSE)
        while True:
            self.transmit(index, data)
            with self.news:
                if self.news.wait_for(lambda: self.peer_read_offset > index, TIMEOUT):
                    return
            if self.finished.is_set():
                sys.exit("the peer has gone")


def main():
    role, kind, job, port, path = sys.argv[1:6]
    cryptor = Cryptor(*sys.argv[6:8]) if len(sys.argv) > 6 else None
    endpoint = Endpoint(Carrier(kind, role, int(port)), cryptor)
    # More than the modulus holds is destroyed by the original, so its users kept to less.
    size = 80 if cryptor else MAX_DATA
    if job == "send":
        with open(path, "rb") as file:
            while data := file.read(size):
                endpoint.write(data)
    else:
        with open(path, "wb") as file:
            while (data := endpoint.queue.get()) is not None:
                file.write(data)


main()
