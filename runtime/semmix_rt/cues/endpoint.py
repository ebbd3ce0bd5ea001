"""A vision language model behind an OpenAI-compatible HTTP endpoint, as a `VisionChat`.

What vLLM, llama.cpp, Ollama, LM Studio and hosted services share: `POST URL/chat/completions`.
Pictures leave the machine only this way, and only to the URL that was given. A proxy of the
environment carries https to other machines alone, of which it sees nothing but the host's name:
anything else would reach it in clear, or be asked of the proxy's own localhost.
"""

from __future__ import annotations

import ipaddress
import json
import os
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Sequence
from email.message import Message
from http.client import HTTPException, HTTPResponse
from threading import Event
from typing import IO, Any
from urllib.parse import urlsplit

from semmix.cues.chat import MAX_NEW_TOKENS, Talk
from semmix.errors import EngineError, UsageError
from semmix_rt.cues.in_flight import ask_all
from semmix_rt.cues.png import png_bytes

KEY_VARIABLE = "SEMMIX_CUES_API_KEY"
"""Of its own, so that a key meant for one service is not sent to another URL."""

REQUESTS = 4
"""Under way at the same time: enough for a server that batches, few enough for one that queues,
whose last answer comes within `TIMEOUT_S` all the same."""

TIMEOUT_S = 120.0
"""For a whole answer: a large model on a small machine takes a minute a picture."""
MAX_RESPONSE_BYTES = 2**20
MAX_ATTEMPTS = 5
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0

_RETRIED = frozenset((429, 500, 502, 503, 504))
_MAX_NAME_CHARS, _MAX_URL_CHARS = 100, 150
"""Both stand in the identifier, for which a sheet has 300."""
_REASON_CHARS = 200


class EndpointChat:
    """Asks a server, about a few pictures at the same time.

    Attributes:
        identifier: model and server. What a server runs under a name can change unseen.
        batch: how many requests are under way at most.
        deterministic: False. Temperature 0 is a wish: servers sum in the order their load gives,
            and what runs under a name, and how, changes with every restart.
    """

    deterministic = False

    def __init__(
        self,
        model: str,
        url: str,
        *,
        requests: int = REQUESTS,
        timeout_s: float = TIMEOUT_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Check the address; nothing is sent yet. The key comes from `$SEMMIX_CUES_API_KEY`.

        Args:
            model: name the server knows the model by.
            url: base address, such as `http://localhost:8000/v1`.
            requests: how many are under way at most, 1 or more.
            timeout_s: for one answer.
            sleep: waits between attempts.

        Raises:
            UsageError: an address or key of another form, or a key that would travel in clear.
        """
        if not (model.isprintable() and 0 < len(model) <= _MAX_NAME_CHARS):
            raise UsageError(
                f"a model's name has 1 to {_MAX_NAME_CHARS} printable characters: {model[:40]!r} "
                "has not"
            )
        self._base, host = _checked_url(url)
        self._key = _checked_key(self._base, host)
        self._model = model
        self.batch = requests
        self._timeout_s = timeout_s
        self._sleep = sleep
        self.identifier = f"{model}@{urlsplit(self._base).netloc}{urlsplit(self._base).path}"
        encrypted = self._base.startswith("https:") and not _is_this_machine(host)
        proxies = urllib.request.ProxyHandler(None if encrypted else {})
        self._opener = urllib.request.build_opener(_NoRedirect, proxies)

    def answer(self, talks: Sequence[Talk]) -> list[str]:
        """Ask about each talk, `batch` at the same time; the first error ends it.

        Raises:
            EngineError: the server cannot be reached, refuses, or does not answer in form.
        """
        return ask_all(self._answer, talks, self.batch)

    def _answer(self, talk: Talk, stopped: Event) -> str:
        body = {
            "model": self._model,
            "messages": _messages(talk),
            "temperature": 0,
            "max_tokens": MAX_NEW_TOKENS,
        }
        data = self._post(json.dumps(body).encode(), stopped)
        try:
            content = json.loads(data)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError) as exc:
            raise EngineError(
                f"{self._base} did not answer with a chat completion: check that --cues-url is "
                "the base address of an OpenAI-compatible server, often ending in /v1"
            ) from exc
        # Null is how a server says that the model declined.
        return content if isinstance(content, str) else ""

    def _post(self, body: bytes, stopped: Event) -> bytes:
        """Send one request, again where the server is busy; its answer's body."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        address = f"{self._base}/chat/completions"
        wait_s = FIRST_WAIT_S
        for attempt in range(1, MAX_ATTEMPTS + 1):
            request = urllib.request.Request(address, body, headers, method="POST")
            try:
                with self._opener.open(request, timeout=self._timeout_s) as response:
                    return self._read(response)
            except urllib.error.HTTPError as exc:
                with exc:
                    if exc.code not in _RETRIED or attempt == MAX_ATTEMPTS:
                        raise self._refused(exc, attempt) from exc
                    asked_s = _retry_after_s(exc.headers)
                self._sleep(min(max(wait_s, asked_s), LONGEST_WAIT_S))
                if stopped.is_set():
                    raise EngineError(f"{self._base} is not asked any more") from None
                wait_s *= 2.0
            except (OSError, HTTPException) as exc:
                reason = getattr(exc, "reason", None) or exc
                raise EngineError(
                    f"{self._base} cannot be asked ({_shown(str(reason) or type(exc).__name__)}): "
                    "check that the server runs and that --cues-url is right"
                ) from exc
        raise AssertionError("the last attempt returns or raises")

    def _read(self, response: HTTPResponse) -> bytes:
        """The body, bounded in size and time: a socket's timeout starts anew with every byte."""
        deadline_s = time.monotonic() + self._timeout_s
        data = b""
        while chunk := response.read1(65536):
            data += chunk
            if len(data) > MAX_RESPONSE_BYTES:
                raise EngineError(
                    f"{self._base} answers with more than {MAX_RESPONSE_BYTES // 2**20} MiB: this "
                    "is no chat completion, check --cues-url"
                )
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"no whole answer within {self._timeout_s:g} s")
        return data

    def _refused(self, exc: urllib.error.HTTPError, attempts: int) -> EngineError:
        """What a status means for the user."""
        if exc.code in (401, 403):
            remedy = f"set ${KEY_VARIABLE} to a key that it takes"
        elif exc.code == 404:
            remedy = f"check --cues-url and the model's name {self._model!r}"
        elif 300 <= exc.code < 400:
            remedy = "give the address it points to, redirects are not followed"
        elif exc.code in _RETRIED:
            remedy = f"asked {attempts} times; try later"
        else:
            remedy = "check that the model takes pictures"
        return EngineError(
            f"{self._base} refused with HTTP {exc.code} ({_server_words(exc)}): {remedy}"
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Redirects would carry pictures and key to an address that nobody chose."""

    def redirect_request(
        self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """Follow none: the redirect becomes an `HTTPError`."""


def _messages(talk: Talk) -> list[dict[str, Any]]:
    picture = f"data:image/png;base64,{b64encode(png_bytes(talk.image)).decode()}"
    messages: list[dict[str, Any]] = [
        {"role": "assistant" if n % 2 else "user", "content": turn}
        for n, turn in enumerate(talk.turns)
    ]
    messages[0]["content"] = [
        {"type": "image_url", "image_url": {"url": picture}},
        {"type": "text", "text": talk.turns[0]},
    ]
    return messages


def _checked_url(url: str) -> tuple[str, str]:
    """Base address without its last slash, and its host."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= _MAX_URL_CHARS
    if not (plain and parts.scheme in ("http", "https") and host):
        raise UsageError(
            f"{_shown(url)} is no address of a server: write --cues-url http://localhost:8000/v1"
        )
    if parts.username or parts.password or parts.query or parts.fragment or "@" in parts.netloc:
        raise UsageError(
            "--cues-url may hold no user, password or query, which would end up in sheets: give "
            f"the key in ${KEY_VARIABLE}"
        )
    # In one piece again, the scheme is in lower case, which the checks for https rely on.
    return parts.geturl().rstrip("/"), host


def _checked_key(base: str, host: str) -> str:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"${KEY_VARIABLE} holds characters that no key has: set it again")
    if key and base.startswith("http:") and not _is_this_machine(host):
        raise UsageError(
            f"the key in ${KEY_VARIABLE} would travel unencrypted to {host}: use https, or unset "
            "it where the server needs none"
        )
    return key


def _is_this_machine(host: str) -> bool:
    """Whether a host's name or address stands for the machine that asks."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _retry_after_s(headers: Message) -> float:
    """Seconds a busy server asks for; 0 where it gives none, or a date."""
    value = headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 9 else 0.0


def _server_words(exc: urllib.error.HTTPError) -> str:
    """The server's own reason, made safe to print."""
    try:
        parsed = json.loads(exc.read(65536))
        said = parsed["error"]["message"]
    except (OSError, HTTPException, ValueError, LookupError, TypeError, RecursionError):
        said = exc.reason
    return _shown(str(said))


def _shown(text: str) -> str:
    return ascii(text[:_REASON_CHARS])[1:-1]
