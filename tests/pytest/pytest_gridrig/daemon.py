"""The running daemon, asked over its HTTP API.

One question, one connection, one answer: a connection that stays open between questions would be closed by
the other side just when it is needed. A daemon beyond this machine is asked over TLS, and believed where the
authority of the bench vouches for it. Not responsible for what is asked (see `lease`, `bench`).
"""

import http.client
import json
import ssl
import urllib.parse

# How long an answer may take, in seconds. Chosen: 10 s, a hundred control cycles.
ANSWER_WITHIN_S = 10.0


class Unreachable(Exception):
    """Nobody answers where the daemon should be, or what answers is no daemon of gridrig."""


class Refused(Exception):
    """The daemon says no. `code` is its stable word for programs, such as "locked"."""

    def __init__(self, status, code, message, help_):
        super().__init__(f"{message} ({code}, {status}); {help_}")
        self.status, self.code, self.message, self.help = status, code, message, help_


class Daemon:
    """Where the daemon is, and who asks. The token stays out of every message.

    `ca` is the file of the authority that vouches for a daemon at https://; without it those of the system do.
    """

    def __init__(self, api, token=None, holder="pytest", ca=None):
        parts = urllib.parse.urlsplit(api)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"{api!r} is no address of a daemon; write it like http://127.0.0.1:7070 or https://bench.lab:7070"
            )
        self.api = api.rstrip("/")
        self._tls = _authority(ca) if parts.scheme == "https" else None
        if ca and self._tls is None:
            raise ValueError(f"an authority vouches for no daemon at {self.api}; write https://")
        self._host, self._port = parts.hostname, parts.port or (80 if self._tls is None else 443)
        self._token, self.holder = token, holder

    def __repr__(self):
        return f"Daemon({self.api!r}, holder={self.holder!r})"

    def read(self, path, **query):
        """What is at a path of the API."""
        asked = {key: _text(value) for key, value in query.items() if value is not None}
        # Beyond its own machine a daemon shows nothing to strangers.
        return self._exchange("GET", path + ("?" + urllib.parse.urlencode(asked) if asked else ""), None, self._pass())

    def command(self, path, body=None, at=None, within_s=0.0):
        """Gives a command, at a moment if one is named (`+1.5`, or seconds since the run began). Waits for the
        answer, which then comes when that moment has come, so `within_s` says how far away it is.
        """
        headers = {"Gridrig-Holder": self.holder, **self._pass()}
        if at is not None:
            headers["Gridrig-At"] = at
        return self._exchange("POST", path, body, headers, within_s)

    def _pass(self):
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _connection(self, patience):
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=patience)
        return http.client.HTTPSConnection(self._host, self._port, timeout=patience, context=self._tls)

    def _exchange(self, method, path, body, headers, within_s=0.0):
        patience = ANSWER_WITHIN_S + within_s
        connection = self._connection(patience)
        data = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, body=data, headers={"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            status, text = answer.status, answer.read()
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(
                f"nobody vouches for the daemon at {self.api}: {error.verify_message}; "
                "give the `ca.pem` of the bench with --gridrig-ca, and a name that its certificate has"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(
                f"the daemon at {self.api} does not answer: {error or type(error).__name__}; "
                "start it with `gridrig run` or `gridrig demo`, or name its address with --gridrig"
            ) from None
        finally:
            connection.close()
        return self._understood(status, text)

    def _understood(self, status, text):
        try:
            found = json.loads(text)
        except ValueError:
            raise Unreachable(f"what answers at {self.api} is no daemon of gridrig: {text[:60]!r}") from None
        if status >= 300:
            said = found if isinstance(found, dict) else {}
            raise Refused(status, said.get("code", "?"), said.get("message", "it refuses"), said.get("help", ""))
        return found


def _authority(ca):
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"{ca} holds no certificate of an authority: {error}") from None


def _text(value):
    # Enough digits that a nanosecond of a day is kept.
    return f"{value:.9f}" if isinstance(value, float) else str(value)
