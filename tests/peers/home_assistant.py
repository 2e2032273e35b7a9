"""Home Assistant's side of MQTT discovery, spoken by paho-mqtt.

It subscribes as the real one does, checks every configuration as its schema
does (device discovery with `device`, `origin` and `components`; keys, topics,
device classes with the units and state classes that the sensor component
allows), and follows states and availability through the announced templates,
rendered by Jinja2 as there. What it would refuse is an error of the dump.

Commands: `dump` (entities and errors), `birth` (it has started: `online` on
its status topic), `restart` (it forgets everything, subscribes anew and is
born), `clear` (forgets the count of messages per topic).
"""

import argparse
import json
import re
import threading

import jinja2.sandbox
import paho.mqtt.client as mqtt
import peer

TOPIC = re.compile(r"(\w+)/(?:([a-zA-Z0-9_-]+)/)?([a-zA-Z0-9_-]+)/config")

MEASUREMENT = {"measurement", None}
TOTALS = {"total", "total_increasing", None}
# Device class of a sensor: the units and the state classes that go with it.
SENSORS = {
    "apparent_power": ({"mVA", "VA", "kVA"}, MEASUREMENT),
    "battery": ({"%"}, MEASUREMENT),
    "current": ({"A", "mA"}, MEASUREMENT),
    "energy": ({"J", "kJ", "MJ", "Wh", "kWh", "MWh"}, TOTALS),
    "frequency": ({"Hz", "kHz", "MHz", "GHz"}, MEASUREMENT),
    "power": ({"mW", "W", "kW", "MW", "GW", "TW"}, MEASUREMENT),
    "power_factor": ({"%", None}, MEASUREMENT),
    "reactive_power": ({"mvar", "var", "kvar"}, MEASUREMENT),
    "temperature": ({"°C", "°F", "K"}, MEASUREMENT),
    "voltage": ({"µV", "mV", "V", "kV", "MV"}, MEASUREMENT),
}
BINARY = {None, "battery", "battery_charging", "connectivity", "plug", "power", "problem", "running", "safety"}
CATEGORIES = {None, "diagnostic"}
# Keys that each place may hold; another is refused.
DEVICE_KEYS = {
    "identifiers", "connections", "manufacturer", "model", "model_id", "name", "hw_version",
    "serial_number", "sw_version", "via_device", "suggested_area", "configuration_url",
}
ORIGIN_KEYS = {"name", "sw_version", "support_url"}
AVAILABILITY_KEYS = {"topic", "payload_available", "payload_not_available", "value_template"}
ENTITY_KEYS = {
    "platform", "name", "unique_id", "state_topic", "value_template", "device_class",
    "availability", "availability_mode", "entity_category", "qos", "expire_after",
    "enabled_by_default", "force_update", "icon", "default_entity_id",
}
SENSOR_KEYS = ENTITY_KEYS | {"unit_of_measurement", "state_class", "suggested_display_precision"}
BINARY_KEYS = ENTITY_KEYS | {"payload_on", "payload_off"}
CONFIG_KEYS = {
    "device", "origin", "components", "availability", "availability_mode", "state_topic", "qos", "encoding",
}

JINJA = jinja2.sandbox.ImmutableSandboxedEnvironment()


class Invalid(Exception):
    """What Home Assistant would refuse, in a sentence."""


def need(holds, why):
    if not holds:
        raise Invalid(why)


def known(keys, allowed, where):
    need(set(keys) <= allowed, f"{where} has keys that are not known: {sorted(set(keys) - allowed)}")


def is_filter(topic):
    return isinstance(topic, str) and topic and "\0" not in topic


def render(template, payload):
    """A payload through a template; without one it stands for itself."""
    if template is None:
        return payload
    try:
        value_json = json.loads(payload)
    except ValueError:
        value_json = None
    return JINJA.from_string(template).render(value=payload, value_json=value_json)


class Entity:
    """A sensor or binary sensor, from its validated configuration."""

    def __init__(self, config):
        self.config = config
        self.unique_id = config["unique_id"]
        self.state = None
        # What each place of availability said last.
        self.said = [None] * len(config.get("availability", []))

    def topics(self):
        return {self.config["state_topic"], *(a["topic"] for a in self.config.get("availability", []))}

    def hear(self, topic, payload):
        for n, place in enumerate(self.config.get("availability", [])):
            if place["topic"] == topic:
                word = render(place.get("value_template"), payload)
                if word == place.get("payload_available", "online"):
                    self.said[n] = True
                elif word == place.get("payload_not_available", "offline"):
                    self.said[n] = False
                else:
                    raise Invalid(f"{self.unique_id}: availability says {word!r}")
        if self.config["state_topic"] == topic:
            self.hear_state(render(self.config.get("value_template"), payload))

    def hear_state(self, text):
        if text == "None":
            self.state = None
        elif self.config["platform"] == "binary_sensor":
            need(text in ("ON", "OFF"), f"{self.unique_id}: {text!r} is neither ON nor OFF")
            self.state = text == "ON"
        elif text != "":
            try:
                self.state = float(text)
            except ValueError:
                raise Invalid(f"{self.unique_id}: {text!r} is no number") from None

    def available(self):
        heard = [said for said in self.said if said is not None]
        match self.config.get("availability_mode", "latest"):
            case "all":
                return all(self.said)
            case "any":
                return any(heard)
        return bool(heard and heard[-1])


def check_entity(config, where):
    need(config.get("platform") in ("sensor", "binary_sensor"), f"{where}: platform {config.get('platform')}")
    is_sensor = config["platform"] == "sensor"
    need(not [k for k in config if "command" in k], f"{where} takes commands")
    known(config, SENSOR_KEYS if is_sensor else BINARY_KEYS, where)
    need(isinstance(config.get("unique_id"), str) and config["unique_id"], f"{where} has no unique id")
    need(isinstance(config.get("name"), str) and config["name"], f"{where} has no name")
    need(is_filter(config.get("state_topic")), f"{where} has no state topic")
    need(config.get("entity_category") in CATEGORIES, f"{where}: entity_category {config.get('entity_category')}")
    need(config.get("availability_mode", "latest") in ("all", "any", "latest"), f"{where}: availability_mode")
    for place in config.get("availability", []):
        known(place, AVAILABILITY_KEYS, f"{where}: availability")
        need(is_filter(place.get("topic")), f"{where}: availability without a topic")
        JINJA.from_string(place.get("value_template", ""))
    JINJA.from_string(config.get("value_template", ""))
    device_class = config.get("device_class")
    if not is_sensor:
        need(device_class in BINARY, f"{where}: device_class {device_class}")
        return
    unit, state_class = config.get("unit_of_measurement"), config.get("state_class")
    if device_class is not None:
        need(device_class in SENSORS, f"{where}: device_class {device_class}")
        units, state_classes = SENSORS[device_class]
        need(unit in units, f"{where}: {device_class} in {unit}")
        need(state_class in state_classes, f"{where}: {device_class} as {state_class}")
    else:
        need(state_class in MEASUREMENT | TOTALS, f"{where}: state_class {state_class}")


class Home:
    """Everything that was discovered, and what it says now."""

    def __init__(self, asked):
        self.prefix = asked.prefix
        self.lock = threading.RLock()
        self.configs = {}
        self.retained = set()
        self.entities = {}
        self.errors = []
        self.heard = {}
        self.ready = False
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="home-assistant")
        self.client.on_connect = self.on_connect
        self.client.on_subscribe = self.on_subscribe
        self.client.on_message = self.on_message
        self.client.reconnect_delay_set(min_delay=1, max_delay=2)

    def filters(self):
        return [f"{self.prefix}/+/+/config", f"{self.prefix}/+/+/+/config"]

    def on_connect(self, client, _data, _flags, reason, _properties):
        if reason.is_failure:
            peer.say(error=f"the broker refused: {reason}")
            return
        client.subscribe([(f, 1) for f in self.filters()])

    def on_subscribe(self, _client, _data, _mid, _reasons, _properties):
        if not self.ready:
            self.ready = True
            peer.ready()

    def on_message(self, _client, _data, message):
        payload = message.payload.decode("utf-8", "replace")
        with self.lock:
            self.heard[message.topic] = self.heard.get(message.topic, 0) + 1
            try:
                if message.topic.startswith(f"{self.prefix}/") and message.topic.endswith("/config"):
                    if message.retain:
                        self.retained.add(message.topic)
                    self.discover(message.topic, payload)
                    return
                # A value that the broker kept would be shown although nobody stands behind it.
                need(
                    not message.retain or message.topic.endswith("/status"),
                    f"{message.topic} is kept by the broker",
                )
                for entity in self.entities.values():
                    entity.hear(message.topic, payload)
            except (Invalid, jinja2.TemplateError) as why:
                self.errors.append(f"{message.topic}: {why}")

    def discover(self, topic, payload):
        match = TOPIC.fullmatch(topic[len(self.prefix) + 1 :])
        need(match, "a topic that is not allowed")
        need(match[1] == "device", f"{match[1]} is not a device")
        if not payload:
            self.forget(topic)
            return
        config = json.loads(payload)
        known(config, CONFIG_KEYS, "the configuration")
        need(isinstance(config.get("device"), dict), "no device")
        known(config["device"], DEVICE_KEYS, "the device")
        need(config["device"].get("identifiers") or config["device"].get("connections"), "no identifiers")
        need(isinstance(config.get("origin"), dict) and config["origin"].get("name"), "no origin")
        known(config["origin"], ORIGIN_KEYS, "the origin")
        need(isinstance(config.get("components"), dict), "no components")
        before = self.configs.get(topic, {"components": {}})
        self.configs[topic] = config
        for name, component in config["components"].items():
            where = f"{topic} {name}"
            if set(component) == {"platform"}:
                # The entity is gone.
                old = before["components"].get(name, {}).get("unique_id")
                self.entities.pop(old, None)
                continue
            check_entity(component, where)
            identity = component["unique_id"]
            other = [t for t, c in self.configs.items() if t != topic
                     and identity in [e.get("unique_id") for e in c["components"].values()]]
            need(not other, f"{where}: unique id {identity} is also of {other}")
            twice = [e for e in config["components"].values() if e.get("unique_id") == identity]
            need(len(twice) == 1, f"{where}: unique id {identity} is there twice")
            entity = self.entities.get(identity)
            if entity is None or entity.config != component:
                entity = Entity(component)
                self.entities[identity] = entity
                self.client.subscribe([(t, 1) for t in sorted(entity.topics())])

    def forget(self, topic):
        config = self.configs.pop(topic, {"components": {}})
        for component in config["components"].values():
            self.entities.pop(component.get("unique_id"), None)

    def dump(self):
        return {
            "errors": self.errors,
            "configs": sorted(self.configs),
            "devices": sorted(c["device"]["name"] for c in self.configs.values()),
            "retained": sorted(self.retained),
            "heard": self.heard,
            "entities": {
                identity: {
                    "name": e.config["name"],
                    "unit": e.config.get("unit_of_measurement"),
                    "class": e.config.get("device_class"),
                    "available": e.available(),
                    # Home Assistant shows no state of what is not available.
                    "state": e.state if e.available() else None,
                }
                for identity, e in sorted(self.entities.items())
            },
        }

    def birth(self):
        self.client.publish(f"{self.prefix}/status", "online", qos=1)

    def obey(self, words):
        with self.lock:
            match words:
                case ["dump"]:
                    return self.dump()
                case ["clear"]:
                    self.heard = {}
                    return {"cleared": True}
                case ["birth"]:
                    self.birth()
                    return {"born": True}
                case ["restart"]:
                    topics = sorted({t for e in self.entities.values() for t in e.topics()})
                    for topic in [*topics, *self.filters()]:
                        self.client.unsubscribe(topic)
                    self.configs, self.entities, self.heard = {}, {}, {}
                    self.retained = set()
                    self.client.subscribe([(f, 1) for f in self.filters()])
                    self.birth()
                    return {"restarted": True}
        raise ValueError(f"unknown command: {' '.join(words)}")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--prefix", default="homeassistant")
    asked = options.parse_args()

    home = Home(asked)
    stopped = threading.Event()
    peer.live(home.obey, stopped.set)
    home.client.connect_async(asked.host, asked.port, keepalive=10)
    home.client.loop_start()
    stopped.wait()
    home.client.disconnect()
    home.client.loop_stop()


if __name__ == "__main__":
    main()
