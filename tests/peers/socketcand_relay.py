"""A CAN bus behind a small socketcand server: what one client sends, the
others receive.

python-can can only be a socketcand client, so this is the daemon's side,
written from the protocol's description on plain sockets. It refuses what the
daemon refuses: an unknown bus, a frame before raw mode, a malformed send.
Each greeting and each `< ok >` is a write of its own, since python-can
compares one read with it exactly.

Commands: `dump`, `send ID HEX` (puts a frame on the bus), `kick` (drops all
clients, as a restarted daemon does).
"""

import argparse
import asyncio
import re
import socket
import time

import peer

BUS = "can0"


def frame_text(identifier, data):
    """`< frame ... >` as the daemon writes it: seconds.microseconds, joined hex."""
    width = 8 if len(identifier) == 8 else 3
    now = time.time_ns() // 1000
    stamp = f"{now // 1_000_000}.{now % 1_000_000:06d}"
    return f"< frame {int(identifier, 16):0{width}X} {stamp} {data.hex().upper()} >"


def parse_send(words):
    """`send ID DLC BYTE..`: the length is decimal, the bytes are hex."""
    identifier, length, *rest = words
    data = bytes(int(word, 16) for word in rest)
    if len(identifier) not in (3, 8) or int(length) != len(data) or len(data) > 8:
        raise ValueError("malformed frame")
    return identifier, data


class Client:
    """One connection, from greeting to raw mode."""

    def __init__(self, relay, reader, writer):
        self.relay, self.reader, self.writer = relay, reader, writer
        self.opened = self.raw = False

    def write(self, text):
        self.writer.write(text.encode("ascii"))

    async def talk(self):
        self.writer.get_extra_info("socket").setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        self.write("< hi >")
        while True:
            try:
                text = (await self.reader.readuntil(b">")).decode("ascii", "replace")
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            match = re.search(r"<\s*(.*?)\s*>", text)
            if match:
                self.obey(match.group(1).split())

    def obey(self, words):
        match words:
            case ["open", bus] if not self.opened:
                self.opened = bus == BUS
                self.write("< ok >" if self.opened else "< error could not open bus >")
            case ["rawmode"] if self.opened:
                self.raw = True
                self.write("< ok >")
            case ["echo"]:
                self.write("< echo >")
            case ["send", *frame] if self.raw:
                try:
                    self.relay.carry(self, *parse_send(frame))
                except ValueError:
                    self.write("< error Syntax error in send command >")
            case _:
                self.write("< error unknown command >")


class Relay:
    """The bus: a set of clients and a record of the frames that passed."""

    def __init__(self):
        self.clients = set()
        self.frames = []

    def carry(self, sender, identifier, data):
        self.frames.append([identifier.upper(), data.hex().upper()])
        text = frame_text(identifier, data)
        for client in self.clients:
            if client is not sender and client.raw:
                client.write(text)

    async def serve(self, reader, writer):
        client = Client(self, reader, writer)
        self.clients.add(client)
        try:
            await client.talk()
        finally:
            self.clients.discard(client)
            writer.close()

    def obey(self, words):
        match words:
            case ["dump"]:
                return {"clients": len(self.clients), "frames": self.frames}
            case ["send", identifier, data]:
                self.carry(None, identifier, bytes.fromhex(data))
                return {"sent": identifier}
            case ["kick"]:
                count = len(self.clients)
                for client in list(self.clients):
                    client.writer.transport.abort()
                return {"kicked": count}
        raise ValueError(f"unknown command: {' '.join(words)}")


async def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--port", type=int, default=0)
    asked = options.parse_args()

    relay = Relay()
    server = await asyncio.start_server(relay.serve, "127.0.0.1", asked.port)
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()

    def obey(words):
        async def run():
            return relay.obey(words)

        return asyncio.run_coroutine_threadsafe(run(), loop).result()

    peer.live(obey, lambda: loop.call_soon_threadsafe(stopped.set))
    peer.ready(port=port, bus=BUS, uri=f"socketcand://127.0.0.1:{port}/{BUS}")
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
