"""What of JUnit files a foreign validator refuses by a foreign schema: kinds of breaches, as a list in JSON.

The schema is `junit-10.xsd` of Jenkins' xUnit plugin, as the sources of pytest bring it for their own tests; xmlschema
reads it. Nothing of ours is between the file and the verdict.
"""

import json
import pathlib
import re
import sys

import xmlschema

schema = xmlschema.XMLSchema(pathlib.Path(sys.prefix) / "share" / "junit-10.xsd")
kinds = set()
for file in sys.argv[1:]:
    for breach in schema.iter_errors(file):
        where = re.sub(r"\[[0-9]+\]", "", breach.path)
        kinds.add(where + ": " + re.sub(r" at position [0-9]+", "", breach.reason))
print(json.dumps(sorted(kinds)))
