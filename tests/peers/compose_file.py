"""Reads what `gridrig dash export` writes for Docker and for Grafana, as another reader of YAML does.

Arguments: a compose file, a file of data sources. Prints the names of services and sources, sorted.
"""

import json
import sys

import yaml

compose, sources = (yaml.safe_load(open(path, encoding="utf-8")) for path in sys.argv[1:])
for name, service in compose["services"].items():
    assert set(service) <= {"image", "network_mode", "environment", "volumes"}, (name, service)
    for mount in service["volumes"]:
        source = mount.split(":")[0]
        assert source in compose["volumes"] or source.startswith((".", "/")), mount
    assert all(isinstance(value, str) for value in service["environment"].values()), service
print(json.dumps({
    "services": sorted(compose["services"]),
    "sources": sorted(source["name"] for source in sources["datasources"]),
}))
