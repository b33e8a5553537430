"""Presidio's recognizers behind the table: what they find, what they leave, and that they fail closed."""

import logging
import re
import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NoReturn

import pytest
from conftest import CACHE_DIR
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_presidio import Stock

from pipeline.detect.allow import AllowList
from pipeline.detect.detector import make_engine
from pipeline.detect.engine import Engine
from pipeline.detect.entities import EntityTable, RecognizerRule
from pipeline.detect.gates import Alternative
from pipeline.detect.presidio import make_recognizers
from pipeline.detect.recognizer import Recognizer
from pipeline.detect.scan import ScanPattern
from pipeline.detect.spans import Span, merge_spans
from pipeline.errors import PolicyError
from pipeline.policy.load import Policy

FOUND = [
    ("write to nadia.rossi@example.com now", "EMAIL_ADDRESS", "nadia.rossi@example.com"),
    ("login nadia@example.com:hunter2", "EMAIL_ADDRESS", "nadia@example.com"),
    ('{"to": "lena+shop@example.co.uk"}', "EMAIL_ADDRESS", "lena+shop@example.co.uk"),
    ("call +1 212-555-0123", "PHONE_NUMBER", "+1 212-555-0123"),
    ("(212) 555-0123", "PHONE_NUMBER", "(212) 555-0123"),
    ("10:00:00 212-555-0123 rang", "PHONE_NUMBER", "212-555-0123"),
    ("my mobile is 2125550123", "PHONE_NUMBER", "2125550123"),
    ("phoneNumber: 2125550123", "PHONE_NUMBER", "2125550123"),
    ("020 7946 0958", "PHONE_NUMBER", "020 7946 0958"),
    ("Ruf an: +49 30 23125 000", "PHONE_NUMBER", "+49 30 23125 000"),
    ("01 23 45 67 89", "PHONE_NUMBER", "01 23 45 67 89"),
    ("06 12345678", "PHONE_NUMBER", "06 12345678"),
    ("tel:+15550100199", "PHONE_NUMBER", "+15550100199"),
    ("my phone: 212 555 0123", "PHONE_NUMBER", "212 555 0123"),
    ("Telefon: 030/1234567", "PHONE_NUMBER", "030/1234567"),
    ("téléphone : 01.23.45.67.89", "PHONE_NUMBER", "01.23.45.67.89"),
    ("móvil 612 34 56 78", "PHONE_NUMBER", "612 34 56 78"),
    ("telefone (11) 98765-4321", "PHONE_NUMBER", "(11) 98765-4321"),
    ("telefoonnummer 06-12345678", "PHONE_NUMBER", "06-12345678"),
    ("numer telefonu 512 345 678", "PHONE_NUMBER", "512 345 678"),
    ("телефон 8 (912) 345-67-89", "PHONE_NUMBER", "8 (912) 345-67-89"),
    ("手机号\uff1a138 1234 5678", "PHONE_NUMBER", "138 1234 5678"),
    ("電話番号は 090-1234-5678", "PHONE_NUMBER", "090-1234-5678"),
    ("연락처: 010-1234-5678", "PHONE_NUMBER", "010-1234-5678"),
    ("هاتف 050 123 4567", "PHONE_NUMBER", "050 123 4567"),
    ("मोबाइल 98765 43210", "PHONE_NUMBER", "98765 43210"),
    ("please call 2125550123", "PHONE_NUMBER", "2125550123"),
    ("+49 (0)30 23125 000", "PHONE_NUMBER", "+49 (0)30 23125 000"),
    ("8 (912) 345-67-89", "PHONE_NUMBER", "8 (912) 345-67-89"),
    ("card 4111 1111 1111 1111", "CREDIT_CARD", "4111 1111 1111 1111"),
    ("4111111111111111", "CREDIT_CARD", "4111111111111111"),
    ("pay DE89370400440532013000 today", "IBAN_CODE", "DE89370400440532013000"),
    ("from 203.0.113.7 port 22", "IP_ADDRESS", "203.0.113.7"),
    ("from 2001:db8::1 port 22", "IP_ADDRESS", "2001:db8::1"),
    ("mac 00:00:5e:00:53:af", "MAC_ADDRESS", "00:00:5e:00:53:af"),
    ("1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "CRYPTO", "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"),
    ("my ssn is 123-45-6788", "US_SSN", "123-45-6788"),
    ("my social security number is 123-45-6788", "US_SSN", "123-45-6788"),
    ("mi DNI es 12345678Z", "NATIONAL_ID", "12345678Z"),
    ("RSSMRA85T10A562S", "NATIONAL_ID", "RSSMRA85T10A562S"),
    ("PESEL 44051401458", "NATIONAL_ID", "44051401458"),
    ("NHS 943 476 5919", "NATIONAL_ID", "943 476 5919"),
    ("passport 123456789", "PASSPORT", "123456789"),
    ("the form says 123-45-6788", "US_SSN", "123-45-6788"),
    ("912-70-1234", "NATIONAL_ID", "912-70-1234"),
    ("1EG4-TE5-MK73", "NATIONAL_ID", "1EG4-TE5-MK73"),
    ("AB 12 34 56 C", "NATIONAL_ID", "AB 12 34 56 C"),
    ("15070649C103", "NATIONAL_ID", "15070649C103"),
    ("soy 12345678Z", "NATIONAL_ID", "12345678Z"),
    ("X1234567L", "NATIONAL_ID", "X1234567L"),
    ("131052-308T", "NATIONAL_ID", "131052-308T"),
    ("ABCPD1234E", "NATIONAL_ID", "ABCPD1234E"),
    ("27ABCPD1234E1Z4", "NATIONAL_ID", "27ABCPD1234E1Z4"),
    ("960121-1234567", "NATIONAL_ID", "960121-1234567"),
    ("900101-5981120", "NATIONAL_ID", "900101-5981120"),
    ("19811228-9874", "NATIONAL_ID", "19811228-9874"),
    ("주민등록번호는 9601211234567", "NATIONAL_ID", "9601211234567"),
    ("เลขบัตรประชาชน 1234567890121", "NATIONAL_ID", "1234567890121"),
    ("insurance member id: XYZ123456789", "NATIONAL_ID", "XYZ123456789"),
    ('{"passport_no": "AB1234567"}', "PASSPORT", "AB1234567"),
    ("паспорт 751234567", "PASSPORT", "751234567"),
    ("numéro de passeport 123456789", "PASSPORT", "123456789"),
    ("MORGA753116SM9IJ", "DRIVER_LICENSE", "MORGA753116SM9IJ"),
    ("my driver's license is D1234567", "DRIVER_LICENSE", "D1234567"),
    ("Führerschein BE12345678A", "DRIVER_LICENSE", "BE12345678A"),
    ("운전면허 11-12-345678-90", "DRIVER_LICENSE", "11-12-345678-90"),
    ("my bank account number is 945456787654", "BANK_ACCOUNT", "945456787654"),
    ("routing number 121000248", "BANK_ACCOUNT", "121000248"),
    ("Kennzeichen B-AB 1234", "VEHICLE_ID", "B-AB 1234"),
    ("number plate AB51 ABC", "VEHICLE_ID", "AB51 ABC"),
    ("plaka 34 ABC 123", "VEHICLE_ID", "34 ABC 123"),
    ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "CRYPTO", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"),
    ("0000.5e00.53af", "MAC_ADDRESS", "0000.5e00.53af"),
    ("GB29 NWBK 6016 1331 9268 19", "IBAN_CODE", "GB29 NWBK 6016 1331 9268 19"),
]
WITH_CONTEXT = {
    "PhoneRecognizer": "telephone 2125550123",
    "UsSsnRecognizer": "ssn 123 45 6788",
    "UsItinRecognizer": "taxpayer id 912701234",
    "UsMbiRecognizer": "medicare 1EG4TE5MK73",
    "UsPassportRecognizer": "passport 123456789",
    "UkPassportRecognizer": "passport AB1234567",
    "UkNinoRecognizer": "nino AB123456C",
    "NhsRecognizer": "nhs 943 476 5919",
    "CaSinRecognizer": "social insurance number 130 692 544",
    "AuTfnRecognizer": "tfn 123 456 782",
    "AuMedicareRecognizer": "medicare 2123 45670 1",
    "DeTaxIdRecognizer": "Steuernummer 86095742719",
    "DeTaxNumberRecognizer": "Finanzamt 181/815/08155",
    "DeSocialSecurityRecognizer": "RVNR 15070649c103",
    "DeIdCardRecognizer": "Personalausweis T22000129",
    "DePassportRecognizer": "Reisepass C01X00T41",
    "DeHealthInsuranceRecognizer": "Krankenkasse A123456780",
    "DeLanrRecognizer": "LANR 123456601",
    "DeFuehrerscheinRecognizer": "Fahrerlaubnis BE12345678A",
    "DeKfzRecognizer": "Kennzeichen B-AB 1234",
    "EsNifRecognizer": "DNI 12345678z",
    "EsNieRecognizer": "NIE x1234567l",
    "EsPassportRecognizer": "pasaporte AAA123456",
    "FiPersonalIdentityCodeRecognizer": "HETU 131052-308t",
    "InAadhaarRecognizer": "aadhaar 2345 6789 0124",
    "InPanRecognizer": "PAN ABCHD1234E",
    "InVoterRecognizer": "voter XGD1234567",
    "InPassportRecognizer": "passport J8369854",
    "InVehicleRegistrationRecognizer": "RTO MH12AB1234",
    "ItIdentityCardRecognizer": "CIE CA12345AA",
    "ItPassportRecognizer": "passaporto YA1234567",
    "ItDriverLicenseRecognizer": "patente AB1234567C",
    "KrRrnRecognizer": "RRN 9601211234567",
    "KrFrnRecognizer": "FRN 9001015981120",
    "KrPassportRecognizer": "passport M123A4567",
    "KrDriverLicenseRecognizer": "licence 11-12-345678-90",
    "MedicalLicenseRecognizer": "DEA AB1234563",
    "NgNinRecognizer": "NIN 51234567899",
    "NgVehicleRegistrationRecognizer": "plate ABC-123DE",
    "PhPassportRecognizer": "passport P1234567A",
    "PhTinRecognizer": "TIN 123-456-782",
    "PhUmidRecognizer": "UMID 0111-1234567-8",
    "PlPeselRecognizer": "PESEL 44051401458",
    "SePersonnummerRecognizer": "personnummer 811228-9874",
    "SgFinRecognizer": "NRIC S1234567D",
    "ThTninRecognizer": "TNIN 1234567890121",
    "TrNationalIdRecognizer": "kimlik 10000000146",
    "TrLicensePlateRecognizer": "plaka 34 ABC 123",
    "UkVehicleRegistrationRecognizer": "registration AB51 ABC",
    "UsNpiRecognizer": "NPI 1245319599",
    "AbaRoutingRecognizer": "routing 121000248",
    "UsBankRecognizer": "bank account 945456787654",
    "ZaDriverLicenseRecognizer": "licence 1234567890AB",
    "ZaIdNumberRecognizer": "identity 8001015009087",
    "ZaIncomeTaxNumberRecognizer": "SARS 0123456789",
    "ZaLicensePlateRecognizer": "plate CA1234GP",
    "ZaPassportRecognizer": "passport A12345678",
    "ZaTrafficRegisterNumberRecognizer": "TRN 1234567890123",
}
LEFT = {
    "EMAIL_ADDRESS": ["user@localhost", "npm i lodash@4.17.21-rc.dev", "a decorator @app.test"],
    "PHONE_NUMBER": [
        "call returned 4294967295",
        "fax since 23/11/2024",
        "tel 192.168.100.200",
        "690 / 610 / 520",
        "10 20 30 40 50",
        "pi 3.14159 26535 89793",
        "mobile users: 1,234,567",
        "(20-17-15-13-11 pts)",
        "driver 550.127.05",
        "[-0.639598, +0.238526, -0.245493]",
        "12/11/2024 03:15:44",
        "00000010: 0000 0280 0000 0168",
        "function call at 1732356000123",
        "331 449 281 people",
    ],
    "CREDIT_CARD": ["4111 1111 1111 1112", "1732356000123456"],
    "IBAN_CODE": ["DE89370400440532013001", "GB29 NWBK 6016"],
    "IP_ADDRESS": ["127.0.0.1:80", "version 1.2.3.4", "x[1::2]"],
    "MAC_ADDRESS": ["de:ad:be:ef:00:11:22:33", "0001.0002.0003"],
    "CRYPTO": ["1BoatSLRHtKNngkdXEeobR76b53LETtpyU", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdd"],
    "US_SSN": ["123-45-0000", "666-45-6788", "part A-123-45-6788", "123456788"],
    "NATIONAL_ID": [
        "12345678A",
        "commit 12345678z",
        "960121-9234567",
        "241123-1530",
        "20241123-1015",
        "ABCHD1234E",
        "27ABCPD1234E1Y4",
        "AB123456C",
        "insurance form A12-34",
        "member of ISO27001",
        "export default 1245319599",
        "taxes rose by 5, 10000000147 kimlik",
    ],
    "PASSPORT": ["AB1234567", "passport.js v0.7.0", "passport 12345"],
    "DRIVER_LICENSE": [
        "nvidia driver R535.104, x86, s1 and y2",
        "the license of 2024 is MIT",
        "license 123456ab",
        "MORGA799116SM9IJ",
    ],
    "BANK_ACCOUNT": ["945456787654", "routing 121000249", "the bank opened 20241123", "memory bank 0x1234"],
    "VEHICLE_ID": [
        "AB51 ABC",
        "the vehicle has x5 suv",
        "das Kennzeichen hat zu 90 Prozent",
        "plate 12 of 34",
        "vehicle ISO 26 A",
    ],
}
BENIGN = [
    "y = x[1::2] + z[::2]",
    "std::vector<int>::iterator a::b, fe::Add",
    "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "550e8400-e29b-41d4-a716-446655440000",
    "2026-11-23T10:00:00.123Z",
    "2026-11-23 10:00:00,123 INFO took 12345678 us",
    "epoch 1732356000123, 1732356000123456, 1732356000",
    "v1.2.3, version 1.2.3.4, release=10.4.2.1",
    "Mozilla/5.0 Chrome/120.0.0.0 Safari/537.36",
    "llama-3.1-70b-instruct, claude-3-5-sonnet-20241022, gpt-4o-2024-08-06",
    "$1,234,567.89 or EUR 1.234.567,89",
    "ISBN 978-3-16-148410-0 and 0-306-40615-2",
    "pi is 3.141592653589793238, e is 2.718281828459045",
    "p = 0.4111111111111111",
    "margin: 10px 20px 30px 40px; color: #1a2b3c; rgb(255, 128, 64)",
    "[0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233]",
    "10 20 30 40 50 60 70 80",
    "1024 2048 4096 8192 100 200 300 4000",
    "listening on 127.0.0.1:8080, 0.0.0.0, mask 255.255.255.0",
    "crate@0.18.0, lodash@4.17.21, @scope/pkg@1.2.3, next@14.0.0-rc.dev",
    "git clone git@github.com:org/repo.git",
    "@app.route('/x')\ndef f(): pass",
    "y = x@w.T + q@k.transpose(1, 2)",
    "0x7ffde4a1b2c3 0xdeadbeef",
    "pid 12345 port 54321 size 1048576 bytes",
    "id=123456789, order 1234567890, ref 20241123-101500-000123",
    "the 1234567890 users of row 2125550123",
    "00 01 02 03 04 05 06 07 08 09 0a 0b",
    "de:ad:be:ef:00:11:22:33:44:55:66:77",
    "see section 3.2.1.4 of RFC 9110 and doi 10.1109/5.771073",
    "12/10/2024, 03/04/05 and 10.12.2024",
    "web-7d4b9c6f5-x2x4z restarted 3 times",
    "Fri Nov 23 10:00:00 2026 +0100",
    "00:00:00.000 --> 00:00:02.500",
    "-122.419416, 37.774929",
    "1,234,567 tokens per 100,000,000",
    "f(s1, y2) == g(x10)",
    "12.53 13.11 14.22 15.01 16.73 17.90",
    "A1234567 B7654321 AB123456C",
]
PIECES = [
    *[text for text, _, _ in FOUND], *BENIGN, *WITH_CONTEXT.values(),
    "+1 (212) - 555 - 0123", "nadia@example.com", "@", "git@", "+1 212-555-0123", "212-555-0123", "2125550123",
    "ext. 12", "+", "phone", "call", "4111-1111-1111-1111", "123-45-6788", "ssn", "passport", "AB1234567", "tfn",
    "203.0.113.7", "::ffff:203.0.113.7", "2001:db8:0:0:0:0:0:1/64", "GB29 NWBK 6016 1331 9268 19", "iban", "x",
    "\u200b", "\uff0b\uff11\uff12", "\u0663\u0664\u0665", "\u017f", "\u212a", "ü", "0", "12", "345", ".", "-",
    " ", "\n", "(", ")", "/", ":", ",", '"',
]  # fmt: skip
TEXTS = st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(["", " ", " ", "\n", ", "])), max_size=7).map(
    lambda parts: "".join(piece + joint for piece, joint in parts)
)
CANARY = "zebedee.quux"


@pytest.fixture(scope="module")
def table(policy: Policy) -> EntityTable:
    """Return the shipped table."""
    return EntityTable.from_json(policy.entities)


def engine_of(recognizers: Sequence[Recognizer]) -> Engine:
    """Return a detector of some recognizers."""
    return make_engine(recognizers, AllowList({}), CACHE_DIR)


@pytest.fixture(scope="module")
def recognizers(table: EntityTable) -> list[Recognizer]:
    """Return the shipped recognizers."""
    return make_recognizers(table)


@pytest.fixture(scope="module")
def presidio(recognizers: list[Recognizer]) -> Engine:
    """Return a detector of the shipped recognizers."""
    return engine_of(recognizers)


@pytest.fixture(scope="module")
def ungated(recognizers: list[Recognizer]) -> Engine:
    """Return the same recognizers, each shown every text whole."""
    bare: dict[str, Any] = {"gate": (), "inner": None, "inner_alone": None, "piece": None, "piece_before": None}
    return engine_of([replace(recognizer, **bare) for recognizer in recognizers])


def find(detector: Engine, text: str) -> list[Span]:
    """Return the merged spans of one text."""
    (spans,) = detector.find_spans([text])
    assert spans is not None
    return merge_spans(spans)


@pytest.mark.parametrize(("text", "entity", "value"), FOUND)
def test_identifiers_are_found_whole(presidio: Engine, text: str, entity: str, value: str) -> None:
    """Each identifier is found with its type and its bounds, and nothing else is."""
    assert [(span.entity, text[span.start : span.end]) for span in find(presidio, text)] == [(entity, value)]


@pytest.mark.parametrize("name", WITH_CONTEXT)
def test_a_number_that_needs_context_is_found_with_it_only(presidio: Engine, name: str) -> None:
    """A national number is found beside its name; by itself it is a number."""
    text = WITH_CONTEXT[name]
    found, alone = presidio.find_spans([text, "x " + re.sub(r"^[A-Za-z ]*[A-Za-z] ", "", text)])
    assert name in {span.rule for span in found or ()}
    assert name not in {span.rule for span in alone or ()}


def test_every_recognizer_that_needs_context_has_its_example(table: EntityTable) -> None:
    """A recognizer that is added to the table without an example fails here."""
    needing = {rule.name for rule in table.recognizers if rule.context_required or rule.alone}
    assert needing - {rule.name for rule in table.recognizers if rule.regex} == set(WITH_CONTEXT)


@pytest.mark.parametrize(("entity", "text"), [(entity, text) for entity, texts in LEFT.items() for text in texts])
def test_near_misses_are_left(presidio: Engine, entity: str, text: str) -> None:
    """What is nearly an identifier of a type is none of that type."""
    assert [span for span in find(presidio, text) if span.entity == entity] == []


def test_every_type_has_examples_of_both_kinds(table: EntityTable) -> None:
    """Each type that a recognizer finds has two texts in which it is found, and two near misses."""
    for entity in {rule.entity for rule in table.recognizers}:
        assert (entity, True) == (entity, sum(kind == entity for _, kind, _ in FOUND) >= 2)
        assert (entity, True) == (entity, len(LEFT[entity]) >= 2)


def test_every_recognizer_of_presidio_is_used_or_named(policy: Policy, table: EntityTable) -> None:
    """The table says of each pattern recognizer that Presidio has why it is there, or why not."""
    from presidio_analyzer import PatternRecognizer, predefined_recognizers  # noqa: PLC0415 - its import takes seconds

    classes = [thing for thing in vars(predefined_recognizers).values() if isinstance(thing, type)]
    known = {kind.__name__ for kind in classes if issubclass(kind, PatternRecognizer)} - {"PatternRecognizer"}
    named = set(re.findall(r"[A-Z]\w+Recognizer", policy.entities["why"]))
    used = {rule.name for rule in table.recognizers if rule.name in known}
    assert known == named | used
    assert named & used == set()


@pytest.mark.parametrize("text", BENIGN)
def test_benign_text_survives(presidio: Engine, text: str) -> None:
    """Code, hashes, times, versions, prices and tables hold no identifier."""
    assert find(presidio, text) == []


def test_own_patterns_hold_their_examples(table: EntityTable, presidio: Engine) -> None:
    """Every pattern of ours finds something in each of its examples and nothing in its counterexamples."""
    for rule in [rule for rule in table.recognizers if rule.regex]:
        for text, wanted in [(t, True) for t in rule.examples] + [(t, False) for t in rule.counterexamples]:
            (spans,) = presidio.find_spans([text])
            assert (rule.name, text, wanted) == (rule.name, text, any(s.rule == rule.name for s in spans or ()))


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_gates_lose_nothing(presidio: Engine, ungated: Engine, text: str) -> None:
    """What a recognizer finds in a whole text it also finds behind its gate, in pieces."""
    assert ungated.find_spans([text]) == presidio.find_spans([text])


@given(TEXTS)
@settings(max_examples=120, deadline=None)
def test_findings_equal_a_stock_analyzer(presidio: Engine, stock: Any, text: str) -> None:
    """A stock AnalyzerEngine over the same recognizers finds the same, under the same rules of what counts."""
    ours = {span for span in presidio.find_spans([text])[0] or () if span.rule in stock.names}
    theirs = set(stock.find(text))
    assert theirs <= ours
    # The engine drops a finding inside a better one of the same type; merging does the same later.
    assert merge_spans(theirs) == merge_spans(ours)


def test_results_do_not_depend_on_neighbours(presidio: Engine) -> None:
    """Each text is judged by itself, and twice alike."""
    texts = [text for text, _, _ in FOUND]
    assert presidio.find_spans(texts) == [presidio.find_spans([text])[0] for text in texts]


def test_no_socket_is_opened(table: EntityTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """The public suffix list comes from the bundled snapshot: a new detector asks the network for nothing."""
    import tldextract  # noqa: PLC0415 - its import is part of the detector's

    calls = []

    def refuse(*args: object, **_: object) -> NoReturn:
        calls.append(args)
        raise OSError

    for name in ("socket", "getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(tldextract, "extract", tldextract.TLDExtract(cache_dir=None))  # stock: fetches at first use
    (spans,) = engine_of(make_recognizers(table)).find_spans(["nadia@example.com and nadia@mail.example.co.uk"])
    assert [span.rule for span in spans or ()].count("EmailRecognizer") == 2
    assert calls == []


def test_a_pattern_that_runs_out_of_time_redacts_the_text() -> None:
    """A catastrophic pattern makes its text None, where Presidio would go on without the pattern."""
    data = {
        "entities": {"SECRET": {"placeholder": "SECRET", "enabled": True, "score_min": 0.5, "why": "x"}},
        "patterns": {
            "slow": {"entity": "SECRET", "why": "x", "regex": "(?:a|a)+b", "score": 0.9, "examples": ["ab"],
                     "counterexamples": ["b"]}
        },
    }  # fmt: skip
    detector = engine_of(make_recognizers(EntityTable.from_json(data), regex_timeout_s=0.02))
    slow, quick = detector.find_spans(["a" * 60 + " ab", "xab"])  # not short enough to be read with its neighbour
    assert slow is None
    assert quick == [Span(1, 3, "SECRET", 0.9, "slow")]


def test_a_recognizer_that_fails_redacts_the_text(
    recognizers: list[Recognizer], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a recognizer raises, its text is None, the others are not, and no log quotes it."""

    class Failing:
        context = ()

        def analyze(self, text: str, _entities: object, _artifacts: object) -> NoReturn:
            raise ValueError(text)

    rule = RecognizerRule("Failing", "SECRET", "x")
    gate = (Alternative(ScanPattern("@")),)
    failing = Recognizer(rule, 0.5, Failing(), recognizers[0].context, gate)
    with caplog.at_level(logging.DEBUG):
        found = engine_of([failing]).find_spans([f"{CANARY}@example.com".rjust(60), "nothing"])
    assert found == [None, []]
    assert CANARY not in caplog.text


def test_third_parties_log_no_text(table: EntityTable, caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG, no line holds a word of the text."""
    for name in ("", "presidio-analyzer", "tldextract", "decision_process"):
        caplog.set_level(logging.DEBUG, logger=name or None)
    text = f"{CANARY} phone 212-555-0123, {CANARY}@example.com, ssn {CANARY} 123-45-6788, DE89370400440532013000"
    engine_of(make_recognizers(table)).find_spans([text])
    assert CANARY not in caplog.text
    assert "presidio-analyzer" not in {record.name for record in caplog.records}


def test_too_much_to_look_at_redacts_the_text(presidio: Engine) -> None:
    """A recognizer's budget counts characters; a text beyond it is None, a run beyond it one span."""
    lines, run = presidio.find_spans(["+1 212-555-0123\n" * 1000, "a.b@" * 2000])
    assert lines is None
    assert merge_spans(run or []) == [Span(0, 8000, "EMAIL_ADDRESS", 1.0, "EmailRecognizer")]


def test_an_unknown_recognizer_is_refused() -> None:
    """A table that names no class of Presidio fails when it is loaded, not when an event comes."""
    data = {
        "entities": {"SECRET": {"placeholder": "SECRET", "enabled": True, "score_min": 0.5, "why": "x"}},
        "recognizers": {"NoSuchRecognizer": {"entity": "SECRET", "why": "x"}},
    }
    with pytest.raises(PolicyError, match="NoSuchRecognizer"):
        make_recognizers(EntityTable.from_json(data))


def test_a_disabled_entity_is_not_looked_for(table: EntityTable) -> None:
    """Turning a type off in the table turns its recognizers off."""
    off = {name: replace(rule, enabled=name != "EMAIL_ADDRESS") for name, rule in table.entities.items()}
    detector = engine_of(make_recognizers(replace(table, entities=off)))
    assert find(detector, "nadia@example.com") == []


@pytest.fixture(scope="module")
def stock(recognizers: list[Recognizer]) -> Stock:
    """Return the stock engine."""
    return Stock(recognizers)
