"""Reads a document of OpenADR 3 objects with the models of the package openadr3, and prints what they say
as one JSON line.

openadr_objects.py FILE: the objects of each kind, the price and the period of each interval of the price
event, and per participant the setpoints and the energy that was used. An object that the models refuse,
and a field that they do not know, is an error.
"""

import json
import sys

from openadr3.entities import coerce
from openadr3.entities.models import Event, Program, Report

try:
    with open(sys.argv[1], encoding="utf-8") as file:
        document = json.load(file)
    programs = [coerce(raw) for raw in document["programs"]]
    events = [coerce(raw) for raw in document["events"]]
    reports = [coerce(raw) for raw in document["reports"]]
    assert all(isinstance(it, Program) for it in programs), programs
    assert all(isinstance(it, Event) for it in events), events
    assert all(isinstance(it, Report) for it in reports), reports
    ids = {event.id for event in events}
    assert all(event.program_id == programs[0].id for event in events)
    assert all(report.event_id in ids for report in reports), ids
    said = {"prices": [], "setpoints": {}, "usage": {}, "kinds": []}
    for event in events:
        said["kinds"] += [d.payload_type for d in event.payload_descriptors]
        for interval in event.intervals:
            begins, ends = interval.interval_period.period
            for payload in interval.payloads:
                # The models make a decimal number of a price.
                value = float(payload.values[0])
                if payload.type == "PRICE":
                    seconds = (ends - begins).total_seconds()
                    said["prices"].append([begins.isoformat(), seconds, value])
                elif payload.type == "DISPATCH_SETPOINT":
                    said["setpoints"].setdefault(event.targets[0], []).append(value)
    for report in reports:
        for resource in report.resources:
            values = [float(p.values[0]) for i in resource.intervals for p in i.payloads]
            said["usage"][resource.resource_name] = values
    print(json.dumps(said))
except Exception as error:  # noqa: BLE001  (whatever it is, the test shall see it)
    print(json.dumps({"error": repr(error)}))
    sys.exit(1)
