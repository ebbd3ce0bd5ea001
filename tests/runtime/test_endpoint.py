"""An OpenAI-compatible server as the model, with a fake one on this machine."""

from __future__ import annotations

import io
import json
from base64 import b64decode
from signal import SIGINT, pthread_kill
from threading import Barrier, Event, main_thread
from threading import enumerate as enumerate_threads
from time import monotonic, sleep

import av
import numpy as np
import pytest
from semmix_rt.cues.endpoint import (
    KEY_VARIABLE,
    MAX_ATTEMPTS,
    MAX_RESPONSE_BYTES,
    EndpointChat,
)
from support_lvlm import Server, completion, endpoint, proxy

from semmix.cues.chat import MAX_NEW_TOKENS, Talk
from semmix.errors import EngineError, UsageError

IMAGE = np.random.default_rng(1).integers(0, 256, (6, 9, 3)).astype(np.uint8)
TALK = Talk(IMAGE, ("What is there?",))


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    with endpoint() as seen:
        yield seen


def chat(server: Server, **settings):
    waits: list[float] = []
    return EndpointChat("toy", server.url, sleep=waits.append, **settings), waits


def test_a_talk_travels_whole(server):
    server.say("A rabbit.")
    model, _ = chat(server)
    assert model.answer([Talk(IMAGE, ("Q", "A", "Again"))]) == ["A rabbit."]
    ((path, headers, body),) = server.requests
    assert path == "/v1/chat/completions"
    assert "Authorization" not in headers
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("toy", 0, MAX_NEW_TOKENS)
    assert [m["role"] for m in body["messages"]] == ["user", "assistant", "user"]
    picture, text = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "Q"}
    assert [m["content"] for m in body["messages"][1:]] == ["A", "Again"]
    head, data = picture["image_url"]["url"].split(",")
    assert head == "data:image/png;base64"
    with av.open(io.BytesIO(b64decode(data))) as container:
        np.testing.assert_array_equal(next(container.decode(video=0)).to_ndarray(), IMAGE)


def test_the_key_comes_from_the_environment_alone(server, monkeypatch):
    server.say("x")
    monkeypatch.setenv(KEY_VARIABLE, "secret-1")
    model, _ = chat(server)
    model.answer([TALK])
    assert server.requests[0][1]["Authorization"] == "Bearer secret-1"
    assert "secret-1" not in model.identifier
    monkeypatch.setenv(KEY_VARIABLE, "secret\n1")
    with pytest.raises(UsageError, match=KEY_VARIABLE):
        chat(server)


def test_a_key_never_travels_in_clear(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "secret-1")
    for scheme in ("http", "HTTP"):
        with pytest.raises(UsageError, match="unencrypted") as caught:
            EndpointChat("toy", f"{scheme}://example.org/v1")
        assert "secret-1" not in str(caught.value)
    EndpointChat("toy", "https://example.org/v1")


@pytest.fixture
def proxied(monkeypatch):
    """The environment names a proxy for everything; the request lines it is sent."""
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    with proxy() as (address, asked):
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, address)
        yield asked


def test_no_proxy_stands_between_this_machine_and_itself(proxied, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "secret-1")
    with endpoint() as here:
        here.say("x")
        for host in ("127.0.0.1", "localhost"):
            url = here.url.replace("127.0.0.1", host)
            assert EndpointChat("toy", url).answer([TALK]) == ["x"]
        assert len(here.requests) == 2
        for url in (here.url.replace("http:", "https:"), "https://127.0.0.2:9/v1"):
            with pytest.raises(EngineError, match="cannot be asked"):
                EndpointChat("toy", url).answer([TALK])
    assert proxied == []


def test_no_proxy_sees_what_is_not_encrypted(proxied):
    """`.invalid` never resolves (RFC 6761), so that only a proxy could have been reached."""
    with pytest.raises(EngineError, match="cannot be asked"):
        EndpointChat("toy", "HTTP://server.invalid/v1").answer([TALK])
    assert proxied == []


def test_a_proxy_carries_https_to_other_machines_and_learns_the_name_alone(proxied, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "secret-1")
    with pytest.raises(EngineError, match="cannot be asked"):
        EndpointChat("toy", "https://server.invalid/v1").answer([TALK])
    (line,) = proxied
    assert line.startswith("CONNECT server.invalid:443 ")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server, status):
    busy = (status, {"Retry-After": "7"}, b"")
    server.replies = [busy, (status, {}, b""), (200, {}, completion("x"))]
    model, waits = chat(server)
    assert model.answer([TALK]) == ["x"]
    assert waits == [7.0, 2.0]
    assert len(server.requests) == 3


def test_there_is_an_end_to_asking_and_to_waiting(server):
    server.replies = [(429, {"Retry-After": "86400"}, b'{"error": {"message": "quota\\u001b"}}')]
    model, waits = chat(server)
    with pytest.raises(EngineError, match=rf"429 \(quota.*{MAX_ATTEMPTS} times") as caught:
        model.answer([TALK])
    assert str(caught.value).isprintable()
    assert len(server.requests) == MAX_ATTEMPTS
    assert waits == [30.0] * (MAX_ATTEMPTS - 1)


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(401, KEY_VARIABLE), (403, KEY_VARIABLE), (404, "--cues-url"), (400, "pictures")],
)
def test_a_refusal_is_final_and_says_what_to_do(server, status, remedy):
    server.replies = [(status, {}, b"not json")]
    model, waits = chat(server)
    with pytest.raises(EngineError, match=str(status)) as caught:
        model.answer([TALK])
    assert remedy in str(caught.value)
    assert (len(server.requests), waits) == (1, [])


def test_redirects_are_not_followed(server):
    with endpoint() as other:
        other.say("x")
        server.replies = [(307, {"Location": f"{other.url}/chat/completions"}, b"")]
        model, _ = chat(server)
        with pytest.raises(EngineError, match="redirects"):
            model.answer([TALK])
        assert other.requests == []


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"message": 3}]}'),
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_completion_is_an_error(server, body):
    server.replies = [(200, {}, body)]
    model, _ = chat(server)
    with pytest.raises(EngineError, match="chat completion"):
        model.answer([TALK])


def test_a_declined_answer_is_empty(server):
    server.replies = [(200, {}, completion(None))]
    assert chat(server)[0].answer([TALK]) == [""]


def test_answers_have_a_largest_size(server):
    server.replies = [(200, {}, json.dumps("x" * MAX_RESPONSE_BYTES).encode())]
    with pytest.raises(EngineError, match="more than 1 MiB"):
        chat(server)[0].answer([TALK])


@pytest.mark.parametrize("pause_s", [0.06, 5.0])
def test_a_silent_or_dripping_server_times_out(server, pause_s):
    """Each byte of 100 comes in time, or none does."""
    server.say("x" * 100)
    server.pause_s = pause_s
    model, _ = chat(server, timeout_s=0.5)
    with pytest.raises(EngineError, match="cannot be asked"):
        model.answer([TALK])


def numbered(count: int) -> list[Talk]:
    return [Talk(IMAGE, (str(n),)) for n in range(count)]


def number_of(body: dict) -> int:
    return int(body["messages"][0]["content"][1]["text"])


def test_some_requests_are_under_way_at_once_and_answers_keep_their_order(server):
    """Three at a time: each waits until it has two companions, and later ones answer first."""
    together = Barrier(3, timeout=10)

    def script(body):
        together.wait()
        sleep(0.05 * (3 - number_of(body) % 3))
        return 200, {}, completion(f"answer {number_of(body)}")

    server.script = script
    model, _ = chat(server, requests=3)
    assert model.batch == 3
    assert model.answer(numbered(9)) == [f"answer {n}" for n in range(9)]
    assert not together.broken


def test_one_request_at_a_time_is_one(server):
    under_way: list[int] = []
    most: list[int] = []

    def script(body):
        under_way.append(1)
        most.append(len(under_way))
        sleep(0.02)
        under_way.pop()
        return 200, {}, completion("x")

    server.script = script
    assert chat(server, requests=1)[0].answer(numbered(4)) == ["x"] * 4
    assert most == [1] * 4


def test_an_error_stops_what_was_not_asked_yet_and_waits_for_nothing(server):
    """Picture 1 is refused; picture 0 would take a minute, and is not tried again after it."""
    release = Event()

    def script(body):
        if number_of(body) == 1:
            return 400, {}, b'{"error": {"message": "no such picture"}}'
        release.wait(60)
        return 503, {}, b""

    server.script = script
    model, _ = chat(server, requests=2)
    started = monotonic()
    try:
        with pytest.raises(EngineError, match="no such picture"):
            model.answer(numbered(8))
        assert monotonic() - started < 30
    finally:
        release.set()
    for thread in [t for t in enumerate_threads() if t.name == "semmix-request"]:
        thread.join(10)
        assert not thread.is_alive()
    assert sorted(number_of(body) for _, _, body in server.requests) == [0, 1]


def test_ctrl_c_leaves_at_once(server):
    release = Event()

    # As from a terminal, once all are under way.
    all_asked = Barrier(4, lambda: pthread_kill(main_thread().ident, SIGINT), timeout=10)

    def script(body):
        all_asked.wait()
        release.wait(60)
        return 200, {}, completion("x")

    server.script = script
    started = monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            chat(server)[0].answer(numbered(8))
        assert monotonic() - started < 30
    finally:
        release.set()
    assert len(server.requests) == 4


def test_nobody_listening_is_one_sentence():
    with endpoint() as gone:
        url = gone.url
    model = EndpointChat("toy", url)
    with pytest.raises(EngineError, match="check that the server runs"):
        model.answer([TALK])


@pytest.mark.parametrize(
    "url",
    [
        *("", "localhost:8000", "ftp://x/v1", "http://", "http://x:y/v1", "file:///etc/passwd"),
        *("http://x y/v1", "http://x/v1\r\nA: b", "http://me:pw@x/v1", "http://@x/v1"),
        *("http://x/v1?key=1", "http://x/#a", "http://x/" + "a" * 200, "http://[::1/v1"),
    ],
)
def test_odd_addresses_are_refused(url):
    with pytest.raises(UsageError):
        EndpointChat("toy", url)


@pytest.mark.parametrize("model", ["", "a\nb", "x" * 101])
def test_odd_names_are_refused(model):
    with pytest.raises(UsageError):
        EndpointChat(model, "http://localhost/v1")


def test_the_identifier_names_model_and_server():
    names = {
        EndpointChat(model, url).identifier
        for model in ("a", "b")
        for url in ("http://localhost:1/v1", "http://localhost:2/v1/", "https://localhost:2/v2")
    }
    assert len(names) == 6
    assert EndpointChat("a", "http://h:1/v1/").identifier == "a@h:1/v1"
