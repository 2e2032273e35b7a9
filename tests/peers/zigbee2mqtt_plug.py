"""A Zigbee2MQTT bridge with one metering plug, spoken by paho-mqtt.

Topics and payloads follow Zigbee2MQTT's documentation: the plug's state is
JSON on `BASE/NAME`, `BASE/NAME/set` takes `{"state": "ON"}`, with `on_time`
(and `off_wait_time`) for "on with timed off", `BASE/NAME/get` asks;
`BASE/NAME/availability` is retained JSON, `BASE/bridge/state` has the bridge's
last will, `BASE/bridge/devices` the retained list of devices. A friendly name
may hold slashes. A real plug reports changes by itself, and so does this one.

Commands: `dump`, `button`, `away` and `back` (the plug is out of reach, the
bridge is not), `vanish` (the bridge dies).
"""

import argparse
import json
import os
import threading
import time

import paho.mqtt.client as mqtt
import peer

VOLTAGE_V = 231


def numeric(name, unit):
    """A value of a plug in the bridge's list of devices."""
    return {"type": "numeric", "name": name, "property": name, "unit": unit, "access": 5}


EXPOSES = [
    {
        "type": "switch",
        "features": [
            {"type": "binary", "name": "state", "property": "state", "access": 7,
             "value_on": "ON", "value_off": "OFF", "value_toggle": "TOGGLE"}
        ],
    },
    numeric("power", "W"),
    numeric("current", "A"),
    numeric("voltage", "V"),
    numeric("energy", "kWh"),
]


class Bridge:
    """The bridge and the plug behind it."""

    def __init__(self, asked):
        self.base, self.name = asked.base, asked.name
        self.topic = f"{asked.base}/{asked.name}"
        self.on = asked.on
        self.load_w = asked.watts
        self.reachable = True
        self.timer = None
        self.energy_kwh = 2.5
        self.since = time.monotonic()
        self.commands = []
        self.announced = False
        self.lock = threading.RLock()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="mqttjs_bridge")
        self.client.will_set(f"{self.base}/bridge/state", '{"state":"offline"}', qos=1, retain=True)
        self.client.on_connect = self.on_connect
        self.client.on_subscribe = self.on_subscribe
        self.client.on_message = self.on_message
        self.client.reconnect_delay_set(min_delay=1, max_delay=2)

    def on_connect(self, client, _data, _flags, reason, _properties):
        if reason.is_failure:
            peer.say(error=f"the broker refused: {reason}")
            return
        client.subscribe(f"{self.base}/#", qos=1)

    def on_subscribe(self, _client, _data, _mid, _reasons, _properties):
        devices = [
            {"ieee_address": "0x00124b0024c0ffee", "type": "Coordinator", "friendly_name": "Coordinator",
             "definition": None, "supported": False},
            {"ieee_address": "0x00158d0001000001", "type": "Router", "friendly_name": self.name,
             "supported": True, "disabled": False, "interview_completed": True,
             "definition": {"model": "TS011F_plug_1", "vendor": "Tuya", "description": "Smart plug",
                            "exposes": EXPOSES}},
        ]
        self.client.publish(f"{self.base}/bridge/state", '{"state":"online"}', qos=1, retain=True)
        self.client.publish(f"{self.base}/bridge/devices", json.dumps(devices), qos=0, retain=True)
        with self.lock:
            self.tell_availability()
            self.tell()
        if not self.announced:
            self.announced = True
            peer.ready(topic=self.topic)

    def on_message(self, _client, _data, message):
        if message.topic not in (f"{self.topic}/set", f"{self.topic}/get"):
            return
        payload = message.payload.decode("utf-8", "replace")
        with self.lock:
            self.commands.append([message.topic.rsplit("/", 1)[1], payload, message.retain])
            if not self.reachable:
                return
            try:
                wanted = json.loads(payload)
            except ValueError:
                wanted = {"state": payload}
            if message.topic.endswith("/set") and isinstance(wanted, dict):
                self.set(wanted)
            self.tell()

    def set(self, wanted):
        match str(wanted.get("state", "")).upper():
            case "ON":
                self.switch(True, wanted.get("on_time"))
            case "OFF":
                self.switch(False, None)
            case "TOGGLE":
                self.switch(not self.on, None)

    def switch(self, on, on_time_s):
        self.count_energy()
        self.on = on
        if self.timer:
            self.timer.cancel()
            self.timer = None
        if on and on_time_s:
            self.timer = threading.Timer(float(on_time_s), self.time_is_over)
            self.timer.daemon = True
            self.timer.start()

    def time_is_over(self):
        with self.lock:
            self.switch(False, None)
            self.tell()

    def count_energy(self):
        now = time.monotonic()
        self.energy_kwh += self.watts() * (now - self.since) / 3_600_000
        self.since = now

    def watts(self):
        return self.load_w if self.on else 0

    def tell(self):
        self.count_energy()
        state = {
            "current": round(self.watts() / VOLTAGE_V, 2),
            "energy": round(self.energy_kwh, 2),
            "linkquality": 120,
            "power": self.watts(),
            "state": "ON" if self.on else "OFF",
            "voltage": VOLTAGE_V,
        }
        self.client.publish(self.topic, json.dumps(state), qos=0)

    def tell_availability(self):
        word = "online" if self.reachable else "offline"
        self.client.publish(f"{self.topic}/availability", json.dumps({"state": word}), qos=1, retain=True)

    def obey(self, words):
        with self.lock:
            match words:
                case ["dump"]:
                    return {"on": self.on, "commands": self.commands}
                case ["button"]:
                    self.switch(not self.on, None)
                    self.tell()
                    return {"on": self.on}
                case ["away" | "back" as where]:
                    self.reachable = where == "back"
                    self.tell_availability()
                    return {"reachable": self.reachable}
                case ["vanish"]:
                    os._exit(0)
        raise ValueError(f"unknown command: {' '.join(words)}")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--base", default="zigbee2mqtt")
    options.add_argument("--name", default="kitchen/plug")
    options.add_argument("--watts", type=int, default=900, help="power of the load behind the plug")
    options.add_argument("--on", action="store_true", help="the relay is closed at the start")
    asked = options.parse_args()

    bridge = Bridge(asked)
    stopped = threading.Event()
    peer.live(bridge.obey, stopped.set)
    bridge.client.connect_async(asked.host, asked.port, keepalive=10)
    bridge.client.loop_start()
    stopped.wait()
    bridge.client.disconnect()
    bridge.client.loop_stop()


if __name__ == "__main__":
    main()
