"""The engine: long texts in blocks, views of a text, seams between texts, columns, the allow-list."""

import base64
import quopri
import socket
from collections.abc import Callable, Sequence
from typing import NoReturn
from urllib.parse import quote

import pytest

from pipeline.content.scrub import scrub
from pipeline.detect.allow import AllowList
from pipeline.detect.columns import CELLS_MAX, Columns
from pipeline.detect.detector import make_engine
from pipeline.detect.engine import BLOCK_CHARS, LONG_CHARS, Engine, blocks
from pipeline.detect.entities import EntityTable
from pipeline.detect.reading import read
from pipeline.detect.rules import Rule, rules_from_json
from pipeline.detect.seams import runs
from pipeline.detect.spans import OwnIdentifier, Span, merge_spans
from pipeline.errors import PolicyError
from pipeline.policy.load import Policy

MAIL = "lena.holm@example.com"
OWN = (
    OwnIdentifier("EMAIL_ADDRESS", "marit.solberg@mail.example.com"),
    OwnIdentifier("PERSON", "Marit Solberg"),
    OwnIdentifier("ACCOUNT_ID", "acct_5f0c77de21b94a08"),
    OwnIdentifier("IP_ADDRESS", "203.0.113.7"),
    OwnIdentifier("ORGANIZATION", "Fjordlys Analytics"),
)
FULLWIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
CODINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda value: value,
    "upper case": str.upper,
    "full width": lambda value: value.translate(FULLWIDTH),
    "zero-width inside": "\u200b".join,
    "soft hyphens": lambda value: value[:3] + "\u00ad" + value[3:],
    "JSON escapes": lambda value: "".join(f"\\u{ord(char):04x}" for char in value),
    "URL-encoded": lambda value: quote(value, safe=""),
    "every letter URL-encoded": lambda value: "".join(f"%{ord(char):02X}" for char in value),
    "HTML entities": lambda value: "".join(f"&#{ord(char)};" for char in value),
    "hex entities": lambda value: "".join(f"&#x{ord(char):x};" for char in value),
    "quoted-printable": lambda value: "".join(f"={ord(char):02X}" for char in value),
    "quoted-printable with a soft break": lambda value: value[:5] + "=\r\n" + value[5:],
    "base64": lambda value: base64.b64encode(f"value: {value} end".encode()).decode(),
    "hex": lambda value: f"value: {value} end".encode().hex(),
}


def found(detector: Engine, text: str, own: Sequence[OwnIdentifier] = ()) -> list[tuple[str, str]]:
    """Return (entity, value) of the merged spans of a text."""
    (spans,) = detector.find_spans([text], own)
    assert spans is not None
    return [(span.entity, text[span.start : span.end]) for span in merge_spans(spans)]


@pytest.mark.parametrize("coding", CODINGS)
def test_an_address_is_found_in_every_coding(detector: Engine, coding: str) -> None:
    """Someone's e-mail is found whole, however it is spelled, and what stands around it is left."""
    spelled = CODINGS[coding](MAIL)
    text = f"please write to {spelled} today"
    spans = found(detector, text)
    assert [entity for entity, _ in spans if entity == "EMAIL_ADDRESS"] == ["EMAIL_ADDRESS"]
    assert any(spelled in value for _, value in spans)
    assert sum(len(value) for _, value in spans) == len(spelled)


@pytest.fixture(scope="module")
def scrubbed(policy: Policy, detector: Engine) -> Callable[[str], str]:
    """Return what the scrub makes of one text of the account, with the shipped detector."""
    table = EntityTable.from_json(policy.entities)
    return lambda text: str(scrub({"error": {"message": text}}, OWN, policy, table, detector).body)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("own", OWN, ids=lambda own: own.entity)
def test_an_own_identifier_is_found_in_every_coding(
    scrubbed: Callable[[str], str], coding: str, own: OwnIdentifier
) -> None:
    """The account's own identifiers are gone from content in every coding of them."""
    spelled = CODINGS[coding](own.value)
    assert spelled not in scrubbed(f"note: {spelled} (mine)")


@pytest.mark.parametrize(
    "text",
    [
        "lena.holm [at] example [dot] com",
        "lena.holm (at) example (dot) com",
        "lena.holm at example dot com",
        "l\u0435na.holm@example.com",
        "l e n a . h o l m @ e x a m p l e . c o m",
        "lena.holm&commat;example&period;com",
        "lena.holm%2540example.com",
    ],
)
def test_spoken_and_look_alike_addresses_are_found(detector: Engine, text: str) -> None:
    """Ways in which people hide an address from machines do not hide it here."""
    assert [entity for entity, _ in found(detector, text)] == ["EMAIL_ADDRESS"]


@pytest.mark.parametrize(
    "text",
    [
        "\u5361\u53f74111111111111111\u3002",
        "4111\u00a01111\u00a01111\u00a01111",
        "\u0664\u0661\u0661\u0661 \u0661\u0661\u0661\u0661 \u0661\u0661\u0661\u0661 \u0661\u0661\u0661\u0661",
        "4111\u20131111\u20131111\u20131111",
    ],
)
def test_cards_are_found_beside_letters_without_spaces_and_in_other_digits(detector: Engine, text: str) -> None:
    """Chinese puts no space before a number; typographers put others than we; digits have many scripts."""
    assert [entity for entity, _ in found(detector, text)] == ["CREDIT_CARD"]


def test_benign_codings_are_left(detector: Engine) -> None:
    """Base64 of benign text, hashes, identifiers and plain escapes hold nothing."""
    texts = [
        base64.b64encode(b"the quick brown fox jumps over the dog").decode(),
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "make_recognizers_from_json_and_return_them(MAX_CONNECTIONS_PER_HOST)",
        "https://docs.example/a%20b?x=1%2C2&amp;y=3",
        "\u4f7f\u7528Python3\u548cGPU\u52a0\u901f",
    ]
    assert [spans for spans in detector.find_spans(texts) if spans] == []


def test_a_reading_knows_where_its_letters_stand() -> None:
    """Each letter of a reading leads back to what spells it."""
    text = "a%40b\u200bc\uff21"
    reading = read(text)
    assert reading is not None
    assert reading.text == "a@bcA"
    assert [text[slice(*reading.original(at, at + 1))] for at in range(5)] == ["a", "%40", "b\u200b", "c", "\uff21"]
    assert read("plain") is None


def test_detection_opens_no_socket(detector: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked up over a network (policy §6): with sockets blocked, all that is found is still found."""
    rules = [finder for finder in detector._finders if isinstance(finder, Rule)]
    texts = [*(str(rule.examples[0]) for rule in rules), MAIL, "+49 30 23125 837", "203.0.113.77", "http://a.example/x"]
    found_before = detector.find_spans(texts, OWN)
    calls: list[object] = []

    def refuse(*args: object, **_: object) -> NoReturn:
        calls.append(args)
        raise OSError

    for name in ("socket", "getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    assert detector.find_spans(texts, OWN) == found_before
    assert calls == []


def test_a_long_text_is_found_in_as_a_short_one(detector: Engine) -> None:
    """Identifiers anywhere in a long text, at block edges too, are found as they are in a short one."""
    needles = [
        MAIL,
        "4111 1111 1111 1111",
        "my ssn is 536-22-1874",
        "+49 30 23125 837",
        "203.0.113.77",
        "DE89370400440532013000",
    ]
    for offset in (0, BLOCK_CHARS - 15, BLOCK_CHARS - 5, BLOCK_CHARS, 3 * BLOCK_CHARS + 9, LONG_CHARS - 12):
        for needle in needles:
            filler = "lorem ipsum dolor sit amet " * (LONG_CHARS // 20)
            text = f"{filler[:offset]} {needle} {filler}"
            (spans,) = detector.find_spans([text])
            alone = found(detector, f" {needle} ")
            assert [(s.entity, text[s.start : s.end]) for s in merge_spans(spans or ())] == alone


def test_a_long_private_key_is_found_whole_in_a_long_text(detector: Engine) -> None:
    """What is longer than the overlap of two blocks is looked for in the whole text."""
    body = "\n".join("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7" + "abcdefghijkl" for _ in range(40))
    key = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----"
    filler = "lorem ipsum dolor sit amet\n" * 2000
    text = filler + key + filler
    assert found(detector, text) == [("SECRET", key)]


def test_blocks_cover_a_text_once() -> None:
    """Blocks follow each other without gap, and end at line breaks where there are any."""
    text = ("x" * 100 + "\n") * 500
    cut = list(blocks(text))
    assert [block.start for block in cut] == [0, *(block.end for block in cut[:-1])]
    assert cut[-1].end == len(text)
    assert all(text[block.end - 1] == "\n" for block in cut)


def test_texts_do_not_change_each_other(detector: Engine) -> None:
    """What is found in a text is the same beside other texts."""
    texts = [
        MAIL,
        "a much longer text without anything in it, as most are, about the weather",
        "r\u00e9sum\u00e9 +49 30 23125 837",
    ]
    assert detector.find_spans(texts) == [detector.find_spans([text])[0] for text in texts]


def test_an_identifier_split_over_chunks_is_found(detector: Engine) -> None:
    """Each piece of a streamed answer that holds a part of an identifier has it redacted."""
    chunks = ["Write", " to", " len", "a.ho", "lm@exa", "mple", ".com", " please"]
    spans = [
        [text[s.start : s.end] for s in merge_spans(s or ())]
        for text, s in zip(chunks, detector.find_spans(chunks), strict=True)
    ]
    assert spans[3:7] == [["a.ho"], ["lm@exa"], ["mple"], [".com"]]
    assert (spans[0], spans[7]) == ([], [])


def test_an_identifier_split_over_key_and_value_is_found(detector: Engine) -> None:
    """A name under which its domain stands, and groups of a card in a list, are found across the seam."""
    assert all(detector.find_spans(["lena.holm", "@example.com"]))
    assert all(detector.find_spans(["4111", "1111", "1111", "1111"]))


def test_a_word_before_an_address_is_left(detector: Engine) -> None:
    """A whole identifier in one text says nothing about its neighbour."""
    assert detector.find_spans(["contact", MAIL])[0] == []


def test_runs_are_of_short_neighbours() -> None:
    """A long text parts two runs, and a single text is none."""
    assert [run.joined for run in runs(["a", "b", "x" * 100, "c", "d", "e"])] == ["ab", "cde"]
    assert list(runs(["a", "x" * 100, "b"])) == []


HEADS = {"ssn": "US_SSN", "firstname": "PERSON", "phone": "PHONE_NUMBER", "password": "SECRET", "token": "SECRET"}
BESIDE = {"license": "DRIVER_LICENSE", "user": "USERNAME"}


def cells(text: str) -> list[tuple[str, str]]:
    """Return (value, entity) of the cells found."""
    return [(text[span.start : span.end], span.entity) for span in Columns(HEADS, BESIDE).find(text)]


def test_cells_under_telling_heads_are_found() -> None:
    """Comma, semicolon, tab, bar and SQL; quotes are left out, empty cells and descriptions are left."""
    assert cells('id,first_name,SSN\n1,Nadia,123456789\n2,"Rossi, L",\n\nafter, that, 123') == [
        ("Nadia", "PERSON"),
        ("123456789", "US_SSN"),
        ("Rossi, L", "PERSON"),
    ]
    assert cells("| Name | Phone |\n|---|---|\n| desk | 555-0123-4 |\n") == [("555-0123-4", "PHONE_NUMBER")]
    assert cells("a;password\n1;`PASSWORD`\n2;hunter2\n") == [("hunter2", "SECRET")]
    assert cells("INSERT INTO t (id, ssn) VALUES (1,'123456789'), (2, NULL);") == [("123456789", "US_SSN")]
    assert cells("first name, last, and ssn\nwere asked, but, none given") == []


def test_some_heads_tell_only_beside_others() -> None:
    """A licence is a person's where the row has a social security number, and software's elsewhere."""
    assert cells("License,SSN\nQ0525781,426-15-1659\n") == [("Q0525781", "DRIVER_LICENSE"), ("426-15-1659", "US_SSN")]
    assert cells("package,license\nlodash,Apache-2.0\n") == []


def test_columns_of_spaces_and_of_copy_are_read() -> None:
    """Three columns or more that spaces part, and what PostgreSQL dumps; a form of two columns is no table."""
    table = "No  First name   SSN\n1   Nadia Rossi  123-45-6789\n2   Ola          234-56-7890\n"
    assert cells(table) == [
        ("Nadia Rossi", "PERSON"),
        ("123-45-6789", "US_SSN"),
        ("Ola", "PERSON"),
        ("234-56-7890", "US_SSN"),
    ]
    assert cells("First name    Nadia\nSex           F\nAddress       here\n") == []
    dump = "COPY public.sessions (id, user, token) FROM stdin;\n1\tnadia\t7dc528a671f4\n2\tola\t11f9ca9bcfc2\n\\.\n"
    assert cells(dump) == [
        ("nadia", "USERNAME"),
        ("7dc528a671f4", "SECRET"),
        ("ola", "USERNAME"),
        ("11f9ca9bcfc2", "SECRET"),
    ]
    assert cells("COPY t (a, token) FROM stdin;\n") == []


def test_a_table_with_too_many_cells_fails() -> None:
    """The budget counts cells."""
    (spans,) = make_engine([Columns(HEADS)], AllowList({})).find_spans(["id,ssn\n" + "1,123456789\n" * (CELLS_MAX + 1)])
    assert spans is None


def test_the_allow_list_leaves_what_is_nobodys(detector: Engine) -> None:
    """Loopback, private and multicast addresses are left as shipped; documentation addresses are not."""
    texts = ["127.0.0.1", "10.1.2.3", "192.168.0.12", "224.0.0.251", "::1", "fe80::1", "203.0.113.7", "198.51.100.77"]
    assert [bool(spans) for spans in detector.find_spans([f"from {text} to" for text in texts])] == [False] * 6 + [
        True
    ] * 2


def test_an_allowance_is_of_values_networks_and_types() -> None:
    """A list that is on leaves whole values of its types, and only those; one that is off leaves nothing."""
    lists = {
        "domains": {"enabled": True, "entities": ["EMAIL_ADDRESS"], "regex": r".+@example\.com", "why": "x"},
        "networks": {"enabled": True, "entities": ["IP_ADDRESS"], "networks": ["203.0.113.0/24"], "why": "x"},
        "off": {"enabled": False, "entities": ["IP_ADDRESS"], "networks": ["0.0.0.0/0"], "why": "x"},
    }
    allowed = AllowList.from_json({"why": "x", "lists": lists})
    cases = [
        ("EMAIL_ADDRESS", "a@example.com"),
        ("EMAIL_ADDRESS", "a@example.community"),
        ("IP_ADDRESS", "203.0.113.9"),
    ]
    cases += [("IP_ADDRESS", "198.51.100.1"), ("PERSON", "a@example.com"), ("IP_ADDRESS", "not one")]
    assert [allowed.holds(*case) for case in cases] == [True, False, True, False, False, False]
    with pytest.raises(PolicyError, match="networks"):
        AllowList.from_json({"why": "x", "lists": {"a": {"why": "x", "networks": ["nowhere"]}}})


def test_two_rules_of_one_name_are_refused() -> None:
    """A rule is known by its name alone, in spans and in messages."""
    rule = {"entity": "SECRET", "regex": "x", "score": 1, "why": "x", "examples": ["x"], "counterexamples": ["y"]}
    with pytest.raises(PolicyError, match="another rule"):
        rules_from_json({"a": {"why": "x", "rules": {"r": rule}}, "b": {"why": "x", "rules": {"r": rule}}})


def test_a_text_with_too_many_matches_is_redacted_whole() -> None:
    """The budget of a rule counts matches: beyond it the text is None."""
    rule = {"entity": "SECRET", "regex": "tok", "score": 1, "why": "x", "examples": ["tok"], "counterexamples": ["y"]}
    engine = make_engine(rules_from_json({"a": {"why": "x", "rules": {"r": rule}}}), AllowList({}))
    few, many = engine.find_spans(["tok " * 400, "tok " * 600])
    assert (len(few or ()), many) == (400, None)
    assert Span(0, 3, "SECRET", 1.0, "r") in (few or ())


def test_neighbours_that_cannot_be_read_together_are_redacted() -> None:
    """Where the budget ends for short texts as one, an identifier may lie over a seam: each of them is None."""
    rule = {"entity": "SECRET", "regex": "tok", "score": 1, "why": "x", "examples": ["tok"], "counterexamples": ["y"]}
    engine = make_engine(rules_from_json({"a": {"why": "x", "rules": {"r": rule}}}), AllowList({}))
    alone = "x" * 100
    assert engine.find_spans([alone, *["tok "] * 600, alone]) == [[], *[None] * 600, []]


def test_quoted_printable_is_that_of_the_standard_library(detector: Engine) -> None:
    """What Python's own encoder writes is read back."""
    text = (
        quopri.encodestring(f"Sch\u00f6ne Gr\u00fc\u00dfe, {MAIL}".encode(), quotetabs=True)
        .decode()
        .replace("@", "=40")
    )
    assert "EMAIL_ADDRESS" in [entity for entity, _ in found(detector, text)]
