"""The labelled corpus can be trusted as a measure: well marked, large, varied, valid, and of nobody real."""

import ipaddress
import re
import string
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import phonenumbers
import pytest
from corpus_loader import CLOSE, LABELLED, OPEN, TYPES, CorpusError, Document, load_labelled, parse_document, parse_file
from hypothesis import given
from hypothesis import strategies as st

DOCUMENTS = load_labelled()
PLAIN = [document for document in DOCUMENTS if not document.encoded]
SPANS_MIN = 2300
ENCODED_SPANS_MIN = 120
LANGUAGES_MIN = 10
DOCUMENTATION_NETS = [
    ipaddress.ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]
RESERVED_DOMAIN = re.compile(r"(?:\.(?:example|test|invalid)|(?:^|\.)example\.(?:com|net|org))$")
VIN_CHARS = 17
IMEI_DIGITS = 15
# The fewest marked spans of each type in text that is not encoded: fewer would make its recall a matter of luck.
SPANS_OF_TYPE_MIN = dict.fromkeys(TYPES, 70) | {
    "PERSON": 350,
    "EMAIL_ADDRESS": 250,
    "PHONE_NUMBER": 250,
    "SECRET": 350,
    "NATIONAL_ID": 200,
    "HOSTNAME": 30,
    "BANK_ACCOUNT": 30,
    "VEHICLE_ID": 30,
    "DEVICE_ID": 30,
    "DRIVER_LICENSE": 30,
    "COORDINATES": 30,
}
# The formatter would give each word a line of its own.
# fmt: off
# National numbers that python-stdnum can check, as country and kind.
NATIONAL_NUMBERS = [
    "ar.cuit", "at.vnr", "au.tfn", "be.nn", "bg.egn", "br.cpf", "ca.sin", "ch.ssn", "cl.rut", "cn.ric", "cz.rc",
    "de.idnr", "dk.cpr", "do.cedula", "ee.ik", "es.dni", "es.nie", "fi.hetu", "fr.nir", "gb.nhs", "gr.amka",
    "hr.oib", "ie.pps", "il.idnr", "in_.aadhaar", "in_.pan", "is_.kennitala", "it.codicefiscale", "lt.asmens",
    "mx.curp", "nl.bsn", "no.fodselsnummer", "nz.ird", "pl.pesel", "pt.nif", "ro.cnp", "se.personnummer", "si.emso",
    "th.pin", "tr.tckimlik", "za.idnr",
]
# How the vendors' keys begin.
VENDOR_PREFIXES = [
    "sk-proj-", "sk-svcacct-", "sk-ant-", "AIza", "GOCSPX-", "ya29.", "AKIA", "ASIA", "ghp_", "gho_", "ghs_",
    "ghr_", "github_pat_", "glpat-", "gldt-", "glrt-", "xoxb-", "xoxp-", "xapp-", "sk_live_", "sk_test_",
    "rk_live_", "whsec_", "SG.", "npm_", "pypi-", "hf_", "dapi", "dop_v1_", "shpat_", "shpss_", "key-", "hvs.",
    "dckr_pat_", "gsk_", "r8_", "pplx-", "sk-or-v1-", "xai-", "fw_", "ntn_", "lin_api_", "figd_", "PMAK-", "NRAK-",
    "glsa_", "sk.eyJ", "pscale_tkn_", "sbp_", "nfp_", "FlyV1", "ATATT", "ATBB", "CCIPAT_", "dp.st.", "pul-",
    "sq0csp-", "pat-na1-", "xkeysib-", "re_", "rubygems_", "oy2", "AGE-SECRET-KEY-", "pcsk_", "lsv2_pt_",
    "tskey-auth-", "squ_", "AVNS_", "dt0c01.", "rzp_live_", "FLWSECK-", "shippo_live_", "EZAK", "CFPAT-", "LTAI",
    "sntryu_", "npg_", "rdme_", "tfp_", "AQVN", "AKID", "eyJ",
]
# fmt: on


def values_of(label: str) -> list[str]:
    """Return the marked values of a type."""
    return [doc.value(span) for doc in PLAIN for span in doc.spans if span.type == label]


def has_luhn(number: str) -> bool:
    """Whether the digits of a card or IMEI have the check digit of Luhn."""
    digits = [int(char) for char in reversed(number) if char.isdigit()]
    return sum(digit if place % 2 == 0 else sum(divmod(2 * digit, 10)) for place, digit in enumerate(digits)) % 10 == 0


def has_mod_97(iban: str) -> bool:
    """Whether an IBAN's check digits are right."""
    compact = "".join(filter(str.isalnum, iban))
    return int("".join(str(int(char, 36)) for char in compact[4:] + compact[:4])) % 97 == 1


def has_vin_check(vin: str) -> bool:
    """Whether the ninth place of a vehicle identification number checks the others."""
    letters = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", [*range(1, 9), *range(1, 6), 7, 9, *range(2, 10)], strict=True))
    weights = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2]
    rest = sum(letters.get(char, ord(char) - ord("0")) * weight for char, weight in zip(vin, weights, strict=True)) % 11
    return vin[8] == "0123456789X"[rest]


def is_imei(value: str) -> bool:
    """Whether a device's identifier has the form of an IMEI."""
    return re.fullmatch(r"[\d -]+", value) is not None and sum(map(str.isdigit, value)) == IMEI_DIGITS


def test_spans_are_offsets_into_the_unmarked_text() -> None:
    """Markup is taken out, and each span covers its value in code points."""
    document = parse_document("a_en.txt#1", "Grüße 🙂 ⟦PERSON:Zoë⟧, ⟦EMAIL_ADDRESS:z@b.example⟧.")

    assert document.text == "Grüße 🙂 Zoë, z@b.example."
    assert [(document.value(span), span.type) for span in document.spans] == [
        ("Zoë", "PERSON"),
        ("z@b.example", "EMAIL_ADDRESS"),
    ]


def test_a_value_can_run_over_lines() -> None:
    """A private key is one span, with its line breaks."""
    document = parse_document("a_en.txt#1", "key:\n⟦SECRET:one\ntwo⟧\nend")

    assert [document.value(span) for span in document.spans] == ["one\ntwo"]


def test_documents_are_parted_by_a_line_of_their_own() -> None:
    """Only a whole line parts documents, and each has its number and its file's language."""
    documents = list(parse_file("log_pt.txt", "one %%%% two\n%%%%\nthree\n"))

    assert [(doc.name, doc.text, doc.language) for doc in documents] == [
        ("log_pt.txt#1", "one %%%% two", "pt"),
        ("log_pt.txt#2", "three", "pt"),
    ]


@given(
    st.lists(
        st.tuples(st.none() | st.sampled_from(sorted(TYPES)), st.text(string.ascii_letters + ":é漢🙂", min_size=1))
    )
)
def test_what_is_marked_is_read_back(pieces: list[tuple[str | None, str]]) -> None:
    """Any text with any marks in it gives that text and those marks."""
    marked = "".join(text if label is None else f"{OPEN}{label}:{text}{CLOSE}" for label, text in pieces)
    document = parse_document("a_en.txt#1", f"{marked}.")

    assert document.text == "".join(text for _, text in pieces) + "."
    assert [(span.type, document.value(span)) for span in document.spans] == [
        (label, text) for label, text in pieces if label is not None
    ]


@pytest.mark.parametrize(
    ("marked", "reason"),
    [
        ("a ⟦PERSON:Ann", "not closed"),
        ("a ⟦PERSON:Ann ⟦PERSON:Lee⟧⟧", "not closed"),
        ("a Ann⟧ b", "without"),
        ("a ⟦NAME:Ann⟧", "closed list"),
        ("a ⟦Ann⟧", "closed list"),
        ("a ⟦PERSON:⟧", "white space"),
        ("a ⟦PERSON:Ann ⟧", "white space"),
        (" \n", "empty"),
    ],
)
def test_bad_markup_is_refused_with_its_place_and_without_its_value(marked: str, reason: str) -> None:
    """Bad markup says file, document, line and reason, and repeats nothing of the text."""
    with pytest.raises(CorpusError, match=reason) as caught:
        parse_document("chat_en.txt#7", f"\n{marked}" if marked.strip() else marked)

    assert str(caught.value).startswith("chat_en.txt#7")
    assert ("line 2" in str(caught.value)) == bool(marked.strip())
    assert "Ann" not in str(caught.value)


def test_a_folder_with_a_bad_file_does_not_load(tmp_path: Path) -> None:
    """The corpus is read whole or not at all."""
    (tmp_path / "good_en.txt").write_text("⟦PERSON:Ann⟧\n", "utf-8")
    (tmp_path / "bad_en.txt").write_text("⟦PERSON:Ann\n", "utf-8")

    with pytest.raises(CorpusError, match=re.escape("bad_en.txt#1")):
        load_labelled(tmp_path)


def test_the_corpus_is_large_enough() -> None:
    """There are enough spans in all, and enough in other codings."""
    encoded = sum(len(document.spans) for document in DOCUMENTS if document.encoded)

    assert sum(len(document.spans) for document in DOCUMENTS) >= SPANS_MIN
    assert encoded >= ENCODED_SPANS_MIN


def test_each_type_has_enough_spans() -> None:
    """No type of the closed list has too few spans to measure its recall."""
    counts = Counter(span.type for document in PLAIN for span in document.spans)

    assert {label: counts[label] for label, least in SPANS_OF_TYPE_MIN.items() if counts[label] < least} == {}


def test_there_are_enough_languages() -> None:
    """The corpus is not English only."""
    assert len({document.language for document in DOCUMENTS} - {"mul"}) >= LANGUAGES_MIN


def test_phones_are_of_many_countries() -> None:
    """The numbers written with a country code are of 25 countries at least."""
    parsed = [phonenumbers.parse(value) for value in values_of("PHONE_NUMBER") if value.startswith("+")]

    assert len({number.country_code for number in parsed}) >= 25


def test_national_numbers_are_of_many_countries() -> None:
    """Each kind of national number that can be checked has a marked, valid one."""
    values = values_of("NATIONAL_ID")
    missing = [
        name
        for name in NATIONAL_NUMBERS
        if not any(import_module(f"stdnum.{name}").is_valid(value) for value in values)
    ]

    assert missing == []


def test_secrets_are_of_many_vendors() -> None:
    """Each vendor's form of key occurs."""
    values = values_of("SECRET")
    missing = [prefix for prefix in VENDOR_PREFIXES if not any(value.startswith(prefix) for value in values)]

    assert missing == []


@pytest.mark.parametrize(
    ("label", "among", "is_valid", "count_min"),
    [
        ("CREDIT_CARD", lambda _: True, has_luhn, 70),
        ("IBAN_CODE", lambda _: True, has_mod_97, 70),
        ("DEVICE_ID", is_imei, has_luhn, 10),
        ("VEHICLE_ID", lambda value: len(value) == VIN_CHARS, has_vin_check, 10),
    ],
)
def test_numbers_with_a_checksum_are_valid(
    label: str, among: Callable[[str], bool], is_valid: Callable[[str], bool], count_min: int
) -> None:
    """A detector that checks the checksum must not lose a marked number for it."""
    numbers = [value for value in values_of(label) if among(value)]

    assert [place for place, number in enumerate(numbers) if not is_valid(number)] == []
    assert len(numbers) >= count_min


@pytest.mark.parametrize(
    ("is_valid", "right", "wrong"),
    [
        (has_luhn, "4242 4242 4242 4242", "4242 4242 4242 4243"),
        (has_mod_97, "GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 33"),
        (has_vin_check, "1M8GDM9AXKP042788", "1M8GDM9A1KP042788"),
    ],
)
def test_the_checks_tell_a_valid_number_from_another(is_valid: Callable[[str], bool], right: str, wrong: str) -> None:
    """The published sample passes its check, and with one other character it does not."""
    assert (is_valid(right), is_valid(wrong)) == (True, False)


def test_addresses_are_nobodys() -> None:
    """Marked IP addresses are of documentation ranges, and mail domains are reserved ones."""
    ips = [ipaddress.ip_address(value) for value in values_of("IP_ADDRESS")]
    foreign = [place for place, ip in enumerate(ips) if not any(ip in net for net in DOCUMENTATION_NETS)]
    domains = [value.rpartition("@")[2].lower() for value in values_of("EMAIL_ADDRESS")]

    assert foreign == []
    assert [place for place, domain in enumerate(domains) if not RESERVED_DOMAIN.search(domain)] == []


def test_what_is_marked_once_is_marked_everywhere_in_its_document() -> None:
    """A value, or a word of a name, of four characters or more stands nowhere in its document without a mark."""
    assert [document.name for document in PLAIN if has_unmarked(document)] == []


def has_unmarked(document: Document) -> bool:
    """Whether a marked value, or a word of a marked name, occurs outside all marks."""
    rest = list(document.text)
    for span in document.spans:
        rest[span.start : span.end] = "\0" * (span.end - span.start)
    for span in document.spans:
        value = document.value(span)
        words = re.findall(r"[^\W\d_]+", value) if span.type == "PERSON" else [value]
        for word in words:
            if len(word) >= 4 and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", "".join(rest)):
                return True
    return False


def test_an_unmarked_name_is_noticed() -> None:
    """A name that is marked once and then not is found."""
    assert has_unmarked(parse_document("a_en.txt#1", "⟦PERSON:Ada Lind⟧ left. Mail Lind?"))
    assert not has_unmarked(parse_document("a_en.txt#1", "⟦PERSON:Ada Lind⟧ left. Mail ⟦PERSON:Lind⟧?"))


def test_no_two_documents_are_equal() -> None:
    """Repeated text would count its spans twice."""
    assert [text for text, count in Counter(document.text for document in DOCUMENTS).items() if count > 1] == []


def test_every_file_of_the_corpus_is_read() -> None:
    """No file lies in the folder under another ending, and each has a document."""
    files = {path.relative_to(LABELLED).as_posix() for path in LABELLED.rglob("*") if path.is_file()}

    assert {document.name.partition("#")[0] for document in DOCUMENTS} == files
