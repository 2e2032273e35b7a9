"""A Shelly Plug S of the first generation, spoken by paho-mqtt.

Topics and payloads follow Shelly's documentation of Gen1 devices over MQTT:
everything is under `shellies/NAME`. `relay/0` says `on` or `off`,
`relay/0/power` watts, `relay/0/energy` watt-minutes since the start,
`online` is retained with a last will; `relay/0/command` takes `on`, `off` and
`toggle`; `command` (its own, and that of all under `shellies/command`) takes
`announce` and `update`. By itself it tells everything every 30 s. `auto_off`
is a setting of the device, given at its start: after so many seconds on it
switches itself off.

Commands: `dump`, `button`, `vanish` (no farewell).
"""

import argparse
import json
import os
import threading
import time

import paho.mqtt.client as mqtt
import peer


class Plug:
    """A relay, a load behind it and the topics that show both."""

    def __init__(self, asked):
        self.name = asked.name
        self.on = asked.on
        self.load_w = asked.watts
        self.auto_off_s = asked.auto_off_s
        self.timer = None
        self.energy_wmin = 0.0
        self.since = time.monotonic()
        self.commands = []
        self.announced = False
        self.lock = threading.RLock()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=self.name)
        self.client.will_set(self.own("online"), "false", qos=1, retain=True)
        self.client.on_connect = self.on_connect
        self.client.on_subscribe = self.on_subscribe
        self.client.on_message = self.on_message
        self.client.reconnect_delay_set(min_delay=1, max_delay=2)

    def own(self, topic):
        return f"shellies/{self.name}/{topic}"

    def on_connect(self, client, _data, _flags, reason, _properties):
        if reason.is_failure:
            peer.say(error=f"the broker refused: {reason}")
            return
        client.subscribe(
            [("shellies/command", 1), (self.own("command"), 1), (self.own("relay/0/command"), 1)]
        )

    def on_subscribe(self, _client, _data, _mid, _reasons, _properties):
        self.client.publish(self.own("online"), "true", qos=1, retain=True)
        with self.lock:
            self.announce()
            self.update()
        if not self.announced:
            self.announced = True
            peer.ready(name=self.name)

    def on_message(self, _client, _data, message):
        payload = message.payload.decode("utf-8", "replace")
        with self.lock:
            if message.topic == self.own("relay/0/command"):
                self.commands.append([payload, message.retain])
                match payload:
                    case "on":
                        self.switch(True)
                    case "off":
                        self.switch(False)
                    case "toggle":
                        self.switch(not self.on)
            elif payload == "announce":
                self.announce()
            elif payload == "update":
                self.update()

    def announce(self):
        about = {
            "id": self.name,
            "model": "SHPLG-S",
            "mac": "C45BBE000000",
            "ip": "192.0.2.7",
            "new_fw": False,
            "fw_ver": "20230913-113421/v1.14.0-gcb84623",
        }
        for topic in ("shellies/announce", self.own("announce")):
            self.client.publish(topic, json.dumps(about))

    def watts(self):
        return self.load_w if self.on else 0.0

    def count_energy(self):
        now = time.monotonic()
        self.energy_wmin += self.watts() * (now - self.since) / 60
        self.since = now

    def update(self):
        self.count_energy()
        self.client.publish(self.own("relay/0"), "on" if self.on else "off", qos=1, retain=True)
        self.client.publish(self.own("relay/0/power"), f"{self.watts():.2f}", qos=1, retain=True)
        self.client.publish(self.own("relay/0/energy"), str(int(self.energy_wmin)), qos=1, retain=True)

    def switch(self, on):
        self.count_energy()
        self.on = on
        if self.timer:
            self.timer.cancel()
            self.timer = None
        if on and self.auto_off_s:
            self.timer = threading.Timer(self.auto_off_s, self.time_is_over)
            self.timer.daemon = True
            self.timer.start()
        self.update()

    def time_is_over(self):
        with self.lock:
            self.switch(False)

    def obey(self, words):
        with self.lock:
            match words:
                case ["dump"]:
                    self.count_energy()
                    return {"on": self.on, "wmin": self.energy_wmin, "commands": self.commands}
                case ["button"]:
                    self.switch(not self.on)
                    return {"on": self.on}
                case ["vanish"]:
                    os._exit(0)
        raise ValueError(f"unknown command: {' '.join(words)}")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--name", default="shellyplug-s-C45BBE")
    options.add_argument("--watts", type=float, default=750.5, help="power of the load behind it")
    options.add_argument("--on", action="store_true", help="the relay is closed at the start")
    options.add_argument("--auto-off-s", type=float, default=0.0, help="its own setting; 0 is none")
    asked = options.parse_args()

    plug = Plug(asked)
    stopped = threading.Event()
    peer.live(plug.obey, stopped.set)
    plug.client.connect_async(asked.host, asked.port, keepalive=10)
    plug.client.loop_start()
    # The period of the real one, in seconds.
    while not stopped.wait(30):
        with plug.lock:
            plug.update()
    plug.client.disconnect()
    plug.client.loop_stop()


if __name__ == "__main__":
    main()
