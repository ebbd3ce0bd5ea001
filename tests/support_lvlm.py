"""Vision language models for tests: a scripted one, a scripted server, a tiny random network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import sleep

from semmix.cues.chat import Talk
from semmix.cues.types import CUE_TYPES

TEXTS = {
    "appearance": "A large grey rabbit is in the picture.",
    "emotion": "The rabbit looks content.",
    "camera_focus": "Medium shot of a rabbit.",
    "tone": "Bright, warm picture.",
    "scene": "A green meadow with trees.",
    "sound": "Likely sounds: wind in the leaves and birds.",
}
VISIBLE = ["a large grey rabbit", "a green meadow", "trees"]


def focused_answer(**changes: object) -> str:
    """A whole answer to the focused prompts, with some fields changed; None leaves one out."""
    fields: dict[str, object] = {"visible": VISIBLE}
    for cue_type in CUE_TYPES:
        seen = "a green meadow" if cue_type in ("tone", "scene", "sound") else VISIBLE[0]
        fields[cue_type] = {"text": TEXTS[cue_type], "seen": seen}
    fields |= changes
    return json.dumps({k: v for k, v in fields.items() if v is not None})


class ScriptedChat:
    """Answers by a function of what it is asked, and remembers it."""

    def __init__(
        self,
        script: Callable[[Talk], str],
        batch: int = 1,
        name: str = "toy",
        deterministic: bool = False,
    ) -> None:
        self.identifier = name
        self.batch = batch
        self.deterministic = deterministic
        self.calls: list[list[Talk]] = []
        self._script = script

    @property
    def talks(self) -> list[Talk]:
        return [talk for call in self.calls for talk in call]

    def answer(self, talks: Sequence[Talk]) -> list[str]:
        self.calls.append(list(talks))
        return [self._script(talk) for talk in talks]


class Server:
    """What a test sees of the fake endpoint.

    Attributes:
        url: base address.
        requests: path, headers and body of each request, in order.
        replies: status, headers and body by request number; the last one repeats.
        script: makes the reply from a request's body in place of `replies`, where it is set.
        pause_s: waits before each byte of a body, 0 to send it at once.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[tuple[str, dict[str, str], dict]] = []
        self.replies: list[tuple[int, dict[str, str], bytes]] = []
        self.script: Callable[[dict], tuple[int, dict[str, str], bytes]] | None = None
        self.pause_s = 0.0

    def say(self, *answers: str) -> None:
        """Answer 200 with these texts, one a request."""
        self.replies = [(200, {}, completion(answer)) for answer in answers]

    def next_reply(self) -> tuple[int, dict[str, str], bytes]:
        return self.replies[min(len(self.requests), len(self.replies)) - 1]


def completion(content: object) -> bytes:
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice]}).encode()


@contextmanager
def endpoint() -> Iterator[Server]:
    """A server on this machine that speaks chat completions by script."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked = json.loads(body)
            seen.requests.append((self.path, dict(self.headers), asked))
            status, headers, reply = seen.script(asked) if seen.script else seen.next_reply()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(reply)), **headers}.items():
                self.send_header(name, value)
            with suppress(OSError):
                self.end_headers()
                if not seen.pause_s:
                    self.wfile.write(reply)
                    return
                for byte in reply:
                    sleep(seen.pause_s)
                    self.wfile.write(bytes([byte]))

        def log_message(self, *args: object) -> None:
            """Keep the test's stderr clean."""

    with _serving(Handler) as address:
        seen = Server(f"{address}/v1")
        yield seen


@contextmanager
def proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy that carries nothing: its address, and the request lines it was sent."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append(self.requestline)
            self.send_error(403)

        def do_POST(self) -> None:
            self.do_CONNECT()

        def log_message(self, *args: object) -> None:
            """Keep the test's stderr clean."""

    with _serving(Handler) as address:
        yield address, asked


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_tiny_lvlm(folder: Path, seed: int = 1) -> Path:
    """A LLaVA of random weights, 50 kB, with a byte tokenizer and a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    special = ["<pad>", "<s>", "</s>", "<image>"]
    words = special + sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
        ),
        tokenizer=PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token="<pad>",
            bos_token="<s>",
            eos_token="</s>",
            additional_special_tokens=["<image>"],
            model_input_names=["input_ids", "attention_mask"],
        ),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=(
            "{% for m in messages %}{{ m['role'] }}: {% for c in m['content'] %}"
            "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}"
            "{% endfor %} {% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
        ),
    ).save_pretrained(folder)
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = LlavaForConditionalGeneration(
            LlavaConfig(
                vision_config=CLIPVisionConfig(**sizes, image_size=28, patch_size=14),
                text_config=LlamaConfig(
                    **sizes,
                    vocab_size=len(words),
                    max_position_embeddings=8192,
                    pad_token_id=0,
                    bos_token_id=1,
                    eos_token_id=2,
                ),
                image_token_id=vocabulary["<image>"],
                vision_feature_layer=-1,
            )
        )
        # At the default's 0.02 every picture and question gives the same argmax.
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        network.save_pretrained(folder)
    return folder
