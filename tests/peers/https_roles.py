"""Asks an encrypted bench as each of its roles, by Python's own ssl and http.

    https_roles.py PORT CA_FILE OBSERVE OPERATE ARM

The certificate is verified as strictly as OpenSSL can, with the authority of
the bench and nobody else's. Prints one JSON line: for each call the status
that nobody, a wrong token and the three roles get, and what comes of callers
that trust another authority, expect another name, speak an old TLS, or none.
"""

import http.client
import json
import socket
import ssl
import sys

PORT, CA_FILE = int(sys.argv[1]), sys.argv[2]
TOKENS = [None, "wrong-wrong-wrong-wrong", *sys.argv[3:6]]
CALLS = [
    ("GET", "/"),
    ("GET", "/api/v1/state"),
    ("GET", "/metrics"),
    ("GET", "/style.css"),
    ("POST", "/api/v1/disarm"),
    ("POST", "/api/v1/arm"),
    ("POST", "/api/v1/safe"),
]


def trusting(ca_file):
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def status(context, method, path, token):
    connection = http.client.HTTPSConnection("127.0.0.1", PORT, timeout=20, context=context)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def refusal(context, name="127.0.0.1"):
    """Why no connection comes to be."""
    try:
        with socket.create_connection(("127.0.0.1", PORT), timeout=20) as plain:
            with context.wrap_socket(plain, server_hostname=name):
                return "accepted"
    except ssl.SSLCertVerificationError as error:
        return error.reason
    except (ssl.SSLError, ConnectionError):
        return "refused"


def plain():
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=20)
    connection.request("GET", "/")
    return str(connection.getresponse().status)


def of_old():
    context = trusting(CA_FILE)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def main():
    context = trusting(CA_FILE)
    answers = {
        f"{method} {path}": [status(context, method, path, token) for token in TOKENS]
        for method, path in CALLS
    }
    print(json.dumps({
        "answers": answers,
        "other_authority": refusal(ssl.create_default_context()),
        "other_name": refusal(context, "evil.example"),
        "old_version": refusal(of_old()),
        "plain": plain(),
    }))


main()
