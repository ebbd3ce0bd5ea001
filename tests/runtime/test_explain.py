"""The page a person judges cues by: what is on it, that it is inert, and that it is streamed."""

from __future__ import annotations

import io
import tracemalloc
from base64 import b64decode
from html.parser import HTMLParser

import av
import numpy as np
import pytest
from semmix_rt.cues.asked import AskingExtractor
from semmix_rt.cues.described import Described
from semmix_rt.cues.explain import ExplainPage
from semmix_rt.cues.jpeg import jpeg_bytes
from semmix_rt.cues.keyframes import Keyframe
from support_lvlm import VISIBLE, ScriptedChat, focused_answer
from tolerances import JPEG_MEAN_ERROR

from semmix.errors import UsageError

_VOID = {"meta", "img"}


class Page(HTMLParser):
    """Collects text by class, and checks that tags are closed in order and load nothing."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[tuple[str, str]] = []
        self.pictures: list[bytes] = []
        self._open: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        assert tag in {
            *("html", "meta", "title", "style", "h1", "p", "section", "figure", "img"),
            *("figcaption", "div", "dl", "dt", "dd"),
        }
        named = dict(attrs)
        assert set(named) <= {"lang", "charset", "name", "content", "class", "alt", "src"}
        if tag == "img":
            kind, data = named["src"].split(",")
            assert kind == "data:image/jpeg;base64"
            self.pictures.append(b64decode(data))
        if tag not in _VOID:
            self._open.append((tag, named.get("class", "")))

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self._open[-1][1] or self._open[-1][0], data))

    def of(self, kind: str) -> list[str]:
        return [text for at, text in self.texts if at == kind]


def keyframe(number: int = 0, image: np.ndarray | None = None) -> Keyframe:
    blank = np.full((90, 160, 3), number % 256, np.uint8)
    return Keyframe(float(number), number + 1.0, number, blank if image is None else image, 0.0)


def page_of(path, described, title="film", doubts="") -> Page:
    with ExplainPage(path, title, "lvlm:toy") as page:
        for one in described:
            page.add(one)
        if doubts:
            page.note(doubts)
    return Page(path.read_text(encoding="utf-8"))


def asked(*answers: str) -> Described:
    said = iter(answers)
    (described,) = AskingExtractor("lvlm", ScriptedChat(lambda talk: next(said))).read(
        iter([keyframe()])
    )
    return described


def test_a_model_answer_stands_with_what_it_rests_on_and_what_was_refused(tmp_path):
    first = focused_answer(
        tone={"text": "Grim, loud.", "seen": "a bus"}, emotion="It is unclear.", scene=None
    )
    second = focused_answer(scene="A field.", sound=7)
    page = page_of(tmp_path / "page.html", [asked(first, second)])
    assert f"says it sees: {'; '.join(VISIBLE)}" in page.of("basis")
    assert page.of("basis").count("rests on: a large grey rabbit") == 3
    assert page.of("basis").count("rests on: a green meadow") == 2
    assert 'answer 1: "It is unclear."' in page.of("basis")
    refused = page.of("refused")
    assert refused == [
        'answer 1 refused: "Grim, loud." needs a "seen" that stands in "visible"; rests on: a bus',
        "answer 1 refused: is missing",
        'answer 2 refused: "A field." needs a "seen" that stands in "visible"',
        "answer 2 refused: must be a sentence",
    ]
    assert page.of("unknown") == ["unknown"]


def test_faults_of_a_whole_answer_stand_at_the_frame(tmp_path):
    page = page_of(
        tmp_path / "page.html", [asked("no", focused_answer(visible=7))], doubts="1 < 2 pictures"
    )
    assert page.of("refused")[:2] == [
        "answer 1: it holds no JSON object",
        'answer 2: "visible" must be a list of the things that can be seen',
    ]
    assert page.of("note") == ["Note: 1 < 2 pictures."]
    assert page.of("unknown") == ["unknown"] * 6


def test_what_a_model_or_a_name_says_does_nothing(tmp_path):
    evil = "<script>alert(1)</script>\"'><img src=x onerror=y>\x1b[2J\u202e\ud800"
    answer = focused_answer(
        visible=[evil, *VISIBLE],
        appearance={"text": '<b>Bold</b> & "quoted" rabbit.', "seen": evil},
        tone={"text": evil, "seen": evil},
        scene={"text": evil, "seen": "a bus"},
    )
    page = page_of(tmp_path / "page.html", [asked(answer, answer)], evil + "\udcff.mp4", evil)
    everything = " ".join(text for _, text in page.texts)
    assert everything.count("<script>alert(1)</script>") >= 6
    assert not {"\x1b", "\u202e"} & set(everything)
    assert '<b>Bold</b> & "quoted" rabbit.' in everything


def test_pictures_are_those_of_the_frames(tmp_path):
    ramp = np.linspace(0, 255, 512).astype(np.uint8)
    image = np.stack(np.broadcast_arrays(ramp, ramp[:288, None], np.uint8(90)), -1)
    page = page_of(tmp_path / "page.html", [Described(keyframe(0, image), {})])
    with av.open(io.BytesIO(page.pictures[0])) as container:
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24")
    wanted = image.reshape(144, 2, 256, 2, 3).mean((1, 3))
    assert shown.shape == wanted.shape
    assert np.abs(shown - wanted).mean() < JPEG_MEAN_ERROR


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 33)])
def test_odd_pictures_become_jpeg(shape):
    image = np.full((*shape, 3), (200, 100, 50), np.uint8)
    with av.open(io.BytesIO(jpeg_bytes(image))) as container:
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(shown.astype(int) - image).mean() < JPEG_MEAN_ERROR


def test_memory_does_not_grow_with_the_film(tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (144, 256, 3)).astype(np.uint8)
    path = tmp_path / "page.html"
    with ExplainPage(path, "film", "toy") as page:
        page.add(Described(keyframe(0, noise), {}))
        tracemalloc.start()
        try:
            for number in range(200):
                page.add(Described(keyframe(number, noise), {}))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert path.stat().st_size > 4_000_000
    assert peak < 1_000_000


def test_a_page_that_is_not_finished_leaves_nothing(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("before")

    def interrupted():
        yield Described(keyframe(), {})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        page_of(path, interrupted())
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    with (
        pytest.raises(UsageError, match="choose a folder"),
        ExplainPage(tmp_path / "none" / "page.html", "film", "toy"),
    ):
        pass
