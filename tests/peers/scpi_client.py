"""A client of instruments: pyvisa, with pyvisa-py below it.

    scpi_client.py RESOURCE MESSAGE..

Each message that asks (it holds a `?`) is answered by a line, each other is
sent only. Prints one JSON line: the answers in their order, null for a message
that asks nothing. A query without an answer is `{"error": ...}` and exit code 1.
"""

import json
import sys

import pyvisa


def main():
    resource, *messages = sys.argv[1:]
    manager = pyvisa.ResourceManager("@py")
    instrument = manager.open_resource(
        resource, read_termination="\n", write_termination="\n", timeout=5000
    )
    if resource.startswith("ASRL"):
        instrument.baud_rate = 57600
    answers = []
    for message in messages:
        if "?" in message:
            answers.append(instrument.query(message).strip())
        else:
            instrument.write(message)
            answers.append(None)
    instrument.close()
    print(json.dumps({"answers": answers}))


if __name__ == "__main__":
    try:
        main()
    except pyvisa.Error as reason:
        print(json.dumps({"error": str(reason)}))
        sys.exit(1)
