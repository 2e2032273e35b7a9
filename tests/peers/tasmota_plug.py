"""A Tasmota smart plug with an energy meter, spoken by paho-mqtt.

Topics and payloads follow Tasmota's documentation: `cmnd/T/POWER` is
confirmed on `stat/T/RESULT` and `stat/T/POWER`, `cmnd/T/Status` 8 or 10 is
answered on `stat/T/STATUS8` or `STATUS10`, `tele/T/SENSOR` comes every
TelePeriod and `tele/T/LWT` is retained. It reconnects by itself, so a broker
may be restarted under it.

Commands: `dump`, `button` (a hand on the plug), `vanish` (the plug loses its
supply: the connection dies without a farewell).
"""

import argparse
import datetime
import json
import os
import threading
import time

import paho.mqtt.client as mqtt
import peer

# The mains voltage it shows, in volts, and the load's power factor.
VOLTAGE_V, FACTOR = 230, 0.98


class Plug:
    """A relay, a load behind it and the topics that show both."""

    def __init__(self, asked):
        self.topic = asked.topic
        self.on = asked.on
        self.load_w = asked.watts
        self.tele_s = asked.tele_s
        self.energy_kwh = 1.234
        self.since = time.monotonic()
        self.commands = []
        # `PulseTime` in seconds, 0 is off, and the timer that runs.
        self.pulse_s = 0
        self.pulse = None
        self.announced = False
        self.lock = threading.RLock()
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=f"DVES_{self.topic}"
        )
        if asked.user:
            self.client.username_pw_set(asked.user, asked.password)
        self.client.will_set(f"tele/{self.topic}/LWT", "Offline", qos=1, retain=True)
        self.client.on_connect = self.on_connect
        self.client.on_subscribe = self.on_subscribe
        self.client.on_message = self.on_message
        self.client.reconnect_delay_set(min_delay=1, max_delay=2)

    def on_connect(self, client, _data, _flags, reason, _properties):
        if reason.is_failure:
            peer.say(error=f"the broker refused: {reason}")
            return
        client.subscribe(f"cmnd/{self.topic}/#")

    def on_subscribe(self, _client, _data, _mid, _reasons, _properties):
        self.client.publish(f"tele/{self.topic}/LWT", "Online", qos=1, retain=True)
        self.tell_state()
        self.tell_sensor()
        if not self.announced:
            self.announced = True
            peer.ready(topic=self.topic)

    def on_message(self, _client, _data, message):
        command = message.topic.rsplit("/", 1)[1]
        with self.lock:
            self.carry_out(command, message.payload.decode("utf-8", "replace").strip())

    def carry_out(self, command, payload):
        command = command.upper()
        if command in ("BACKLOG", "BACKLOG0"):
            for each in payload.split(";"):
                self.carry_out(*(each.strip().split(" ", 1) + [""])[:2])
            return
        self.commands.append([command, payload])
        match command:
            case "POWER" | "POWER1":
                self.switch(payload.upper())
            case "PULSETIME" | "PULSETIME1":
                self.set_pulse_time(payload)
            case "STATUS":
                self.tell_status(payload)
            case "TELEPERIOD":
                self.set_teleperiod(payload)
            case _:
                self.result({"Command": "Unknown"})

    def set_pulse_time(self, payload):
        if payload.isdigit():
            steps = int(payload)
            self.pulse_s = steps / 10 if steps < 112 else steps - 100
        self.result({"PulseTime1": {"Set": payload, "Remaining": 0}})

    def switch(self, wanted):
        if wanted in ("ON", "1"):
            self.turn(True)
        elif wanted in ("OFF", "0"):
            self.turn(False)
        elif wanted in ("TOGGLE", "2"):
            self.turn(not self.on)
        elif wanted:
            self.result({"Command": "Unknown"})
            return
        self.result({"POWER": self.word()})
        self.client.publish(f"stat/{self.topic}/POWER", self.word())
        self.tell_sensor()

    def turn(self, on):
        self.count_energy()
        self.on = on
        # Every "on" starts the pulse anew.
        if self.pulse:
            self.pulse.cancel()
            self.pulse = None
        if on and self.pulse_s:
            self.pulse = threading.Timer(self.pulse_s, self.pulse_over)
            self.pulse.daemon = True
            self.pulse.start()

    def pulse_over(self):
        with self.lock:
            self.switch("OFF")

    def count_energy(self):
        now = time.monotonic()
        self.energy_kwh += self.watts() * (now - self.since) / 3_600_000
        self.since = now

    def word(self):
        return "ON" if self.on else "OFF"

    def watts(self):
        return self.load_w if self.on else 0

    def sensor(self):
        self.count_energy()
        watts = self.watts()
        apparent = round(watts / FACTOR)
        return {
            "Time": datetime.datetime.now().isoformat(timespec="seconds"),
            "ENERGY": {
                "TotalStartTime": "2024-01-01T00:00:00",
                "Total": round(self.energy_kwh, 3),
                "Yesterday": 0.5,
                "Today": 0.1,
                "Period": 0,
                "Power": watts,
                "ApparentPower": apparent,
                "ReactivePower": round((apparent**2 - watts**2) ** 0.5),
                "Factor": FACTOR if self.on else 0.0,
                "Voltage": VOLTAGE_V,
                "Current": round(apparent / VOLTAGE_V, 3),
            },
        }

    def result(self, content):
        self.client.publish(f"stat/{self.topic}/RESULT", json.dumps(content))

    def set_teleperiod(self, payload):
        # Tasmota itself allows 10 to 3600 s; the bench may be faster.
        if payload.isdigit() and 1 <= int(payload) <= 3600:
            self.tele_s = int(payload)
        self.result({"TelePeriod": self.tele_s})

    def tell_status(self, payload):
        if payload in ("8", "10"):
            body = json.dumps({"StatusSNS": self.sensor()})
            self.client.publish(f"stat/{self.topic}/STATUS{payload}", body)
        else:
            body = json.dumps({"Status": {"Topic": self.topic, "Power": int(self.on)}})
            self.client.publish(f"stat/{self.topic}/STATUS", body)

    def tell_state(self):
        body = json.dumps({"POWER": self.word(), "Wifi": {"RSSI": 88}})
        self.client.publish(f"tele/{self.topic}/STATE", body)

    def tell_sensor(self):
        body = json.dumps(self.sensor())
        self.client.publish(f"tele/{self.topic}/SENSOR", body)

    def obey(self, words):
        with self.lock:
            match words:
                case ["dump"]:
                    return {"on": self.on, "w": self.watts(), "commands": self.commands}
                case ["button"]:
                    self.switch("TOGGLE")
                    return {"on": self.on}
                case ["vanish"]:
                    # No DISCONNECT: the broker must send the last will.
                    os._exit(0)
        raise ValueError(f"unknown command: {' '.join(words)}")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--topic", default="plug3")
    options.add_argument("--watts", type=int, default=1200, help="power of the load behind it")
    options.add_argument("--tele-s", type=int, default=2, help="TelePeriod, in seconds")
    options.add_argument("--on", action="store_true", help="the relay is closed at the start")
    options.add_argument("--user")
    options.add_argument("--password")
    asked = options.parse_args()

    plug = Plug(asked)
    stopped = threading.Event()
    peer.live(plug.obey, stopped.set)
    plug.client.connect_async(asked.host, asked.port, keepalive=10)
    plug.client.loop_start()
    while not stopped.wait(plug.tele_s):
        if plug.client.is_connected():
            with plug.lock:
                plug.tell_state()
                plug.tell_sensor()
    plug.client.publish(f"tele/{plug.topic}/LWT", "Offline", qos=1, retain=True)
    plug.client.disconnect()
    plug.client.loop_stop()


if __name__ == "__main__":
    main()
