"""The foreign bench against itself: each peer is proved by another one.

No gridrig takes part. When this passes and an `interop_*` suite fails, the
fault is gridrig's; when this fails, a peer changed or does not run here.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

HERE = pathlib.Path(__file__).parent
BIN = pathlib.Path(os.environ.get("GRIDRIG_PEERS_BIN", HERE / "../../target/peers/bin"))
# How long anything may take before it counts as dead, in seconds. Chosen: far
# above what two busy cores need.
PATIENCE_S = 20


class Peer:
    """A running script of this folder."""

    def __init__(self, script, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, HERE / script, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.received = set()
        self.ready = self.next_line()

    def next_line(self):
        return json.loads(self.process.stdout.readline())

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        while True:
            answer = self.next_line()
            # Frames that a battery received come between command and answer.
            if "received" in answer:
                self.received.add(answer["received"])
            if not answer.keys() & {"received", "lost", "reconnected"}:
                return answer

    def close(self):
        self.process.stdin.close()
        code = self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        return code


def once(script, *arguments):
    """Runs a script that prints one JSON line and ends."""
    ended = subprocess.run(
        [sys.executable, HERE / script, *map(str, arguments)],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )
    return json.loads(ended.stdout)


def tool(*command):
    ended = subprocess.run(
        [BIN / command[0], *map(str, command[1:])],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(what, holds):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"never came true: {what}")


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    except OSError:
        return False


class Bench(unittest.TestCase):
    """Peers are closed after each test, in the order opposite to their start."""

    def peer(self, *arguments):
        peer = Peer(*arguments)
        self.addCleanup(lambda: self.assertEqual(peer.close(), 0))
        return peer

    def daemon(self, *command):
        process = subprocess.Popen(
            [BIN / command[0], *map(str, command[1:])],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        self.addCleanup(process.wait, PATIENCE_S)
        self.addCleanup(process.terminate)
        return process

    def folder(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return pathlib.Path(folder.name)

    def test_pysunspec2_reads_the_inverter_and_sees_it_obey_a_limit_and_its_revert(self):
        inverter = self.peer("sunspec_inverter.py")
        port = inverter.ready["port"]
        names = ["1.Mn", "103.W", "103.PhVphA", "103.Hz", "103.St", "121.WMax", "103.TmpSnk"]
        seen = once("read_sunspec.py", "--port", port, *names)
        self.assertEqual(seen["models"], [1, 103, 120, 121, 123])
        self.assertEqual(
            list(seen["points"].values()), ["Foreign Bench", 8200, 230.2, 50, 4, 10000, None]
        )
        once(
            "write_sunspec.py", "--port", port,
            "123.WMaxLimPct=50", "123.WMaxLimPct_RvrtTms=3", "123.WMaxLim_Ena=1",
        )
        wait_until("limited", lambda: inverter.ask("dump")["w"] == 5000)
        limited = once("read_sunspec.py", "--port", port, "103.W", "103.St")
        self.assertEqual(limited["points"], {"103.W": 5000, "103.St": 5})
        wait_until("reverted", lambda: inverter.ask("dump")["w"] == 8200)
        self.assertIn("error", once("read_sunspec.py", "--port", port, "802.W"))

    def test_mbpoll_reads_the_inverter_over_tcp(self):
        port = self.peer("sunspec_inverter.py").ready["port"]
        code, text = tool(
            "mbpoll", "-m", "tcp", "-a", 1, "-0", "-q", "-1", "-r", 40000, "-c", 2,
            "-t", "4:hex", "-p", port, "127.0.0.1",
        )
        self.assertEqual(code, 0, text)
        self.assertIn("0x5375", text)

    def test_mbpoll_reads_the_meter_over_a_serial_pair_and_no_other_unit_answers(self):
        folder = self.folder()
        ours, theirs = folder / "ours", folder / "theirs"
        self.daemon("socat", f"pty,raw,echo=0,link={ours}", f"pty,raw,echo=0,link={theirs}")
        wait_until("the pair", lambda: ours.exists() and theirs.exists())
        meter = self.peer("rtu_meter.py", "--pty", theirs, "--unit", 2)

        def read(unit, register):
            return tool(
                "mbpoll", "-m", "rtu", "-b", 9600, "-P", "none", "-a", unit, "-0", "-q", "-1",
                "-o", "0.5", "-t", "3:float", "-B", "-r", register, "-c", 1, ours,
            )

        self.assertIn("3655.75", read(2, 0x34)[1])
        self.assertEqual(meter.ask("set p -812.5"), {"p": -812.5})
        self.assertIn("-812.5", read(2, 0x34)[1])
        self.assertIn("49.98", read(2, 0x46)[1])
        self.assertIn("timed out", read(3, 0x34)[1])
        self.assertIn("230.1", read(2, 0x00)[1])

    def test_mosquitto_carries_the_plug_its_return_and_its_last_will(self):
        folder, port = self.folder(), free_port()
        config = folder / "mosquitto.conf"
        config.write_text(f"user root\nallow_anonymous true\nlistener {port} 127.0.0.1\n")
        broker = self.daemon("mosquitto", "-c", config)
        wait_until("the broker", lambda: listens(port))
        plug = Peer("tasmota_plug.py", "--port", port, "--topic", "plug3", "--tele-s", 1)

        def publish(topic, payload):
            self.assertEqual(tool("mosquitto_pub", "-p", port, "-t", topic, "-m", payload)[0], 0)

        def next_of(topic, count=1):
            return tool("mosquitto_sub", "-p", port, "-t", topic, "-C", count, "-W", 5)[1]

        self.assertEqual(next_of("tele/plug3/LWT").strip(), "Online")
        publish("cmnd/plug3/POWER", "ON")
        wait_until("on", lambda: plug.ask("dump")["on"])
        self.assertEqual(json.loads(next_of("tele/plug3/SENSOR"))["ENERGY"]["Power"], 1200)
        broker.kill()
        broker.wait()
        self.daemon("mosquitto", "-c", config)
        wait_until("the broker again", lambda: listens(port))
        wait_until("the plug again", lambda: "Online" in next_of("tele/plug3/LWT"))
        plug.process.stdin.write("vanish\n")
        plug.process.stdin.flush()
        plug.process.wait(PATIENCE_S)
        plug.process.stdin.close()
        plug.process.stdout.close()
        wait_until("the last will", lambda: "Offline" in next_of("tele/plug3/LWT"))

    def test_python_can_carries_the_golden_frames_and_cantools_decodes_them(self):
        relay = self.peer("socketcand_relay.py")
        port = relay.ready["port"]
        battery = self.peer("lvcan_sender.py", "--port", port, "--period-s", "0.3")
        heard = once("lvcan_listener.py", "--port", port, "--for-s", 1.5, "--keep-alive")
        decoded = heard["decoded"]
        self.assertEqual(decoded["Charge"], {"StateOfCharge": 88, "StateOfHealth": 94})
        self.assertEqual(decoded["Limits"]["ChargeCurrent"], 370.0)
        self.assertEqual(decoded["Measured"]["Current"], -27.0)
        self.assertEqual(heard["unknown"], [])
        wait_until("keep-alives", lambda: battery.ask("dump")["keep_alives"] >= 1)
        # A node does not hear its own frames.
        self.assertEqual(battery.received, {"305"})
        self.assertEqual(relay.ask("kick"), {"kicked": 1})
        wait_until("reconnected", lambda: relay.ask("dump")["clients"] == 1)

    def test_victoria_metrics_parses_line_protocol_and_counts_what_is_malformed(self):
        folder, port = self.folder(), free_port()
        self.daemon(
            "victoria-metrics", f"-httpListenAddr=127.0.0.1:{port}",
            f"-storageDataPath={folder}", "-search.latencyOffset=0s",
        )
        wait_until("the server", lambda: listens(port))

        def http(path, body=None):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", body) as answer:
                return answer.read().decode()

        line = f"meter,device=inv1 p=8200 {time.time_ns()}\nnot a line\n"
        http("/api/v2/write?org=lab&bucket=bench&precision=ns", line.encode())
        http("/internal/force_flush", b"")
        export = "/api/v1/export?match[]=meter_p"
        point = json.loads(wait_until("the point", lambda: http(export)))
        self.assertEqual(point["metric"]["device"], "inv1")
        self.assertEqual(point["values"], [8200])
        self.assertIn('vm_rows_invalid_total{type="influx"} 1', http("/metrics"))

    def test_chromium_runs_the_script_of_a_page(self):
        folder = self.folder()
        page = folder / "page.html"
        page.write_text("<h1 id=x>230</h1><script>x.append(' V from script')</script>")
        code, dom = tool("chromium", f"--user-data-dir={folder}/data", "--dump-dom", page.as_uri())
        self.assertEqual(code, 0)
        self.assertIn("230 V from script", dom)


if __name__ == "__main__":
    unittest.main(verbosity=2)
