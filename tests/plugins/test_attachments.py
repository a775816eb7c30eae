"""Attachments are taken out of mails as they were put in, and mails made to harm are refused at once."""

import base64
import time
from email import policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser

import pytest

from fmrp_sdk import SkippableError
from fmrp_sdk.attachments import attachments, header

TEXT = "Artikel;Menge\r\nSchraube M8 für Süd;5\r\n--kein Ende\r\n\r\n=?x?=\r\n" * 3
BYTES = bytes(range(256)) * 5


def mail(*attached: tuple[str, bytes]) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "erp@plant.example"
    message.set_content("Anbei.\n--\nGruß\n")
    for name, content in attached:
        message.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return message


def taken(message: bytes) -> list[tuple[str, bytes]]:
    return [(each.name, each.content) for each in attachments(message)]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
def test_texts_and_bytes_come_out_as_they_went_in(encoding: str, line_end: str) -> None:
    message = mail(("Größen und Mengen, sehr lang benannt, damit der Name geteilt wird.csv", BYTES))
    message.add_attachment(TEXT, subtype="csv", filename="t.csv", cte=encoding)
    first, (name, text) = taken(message.as_bytes(policy=policy.SMTP.clone(linesep=line_end)))
    assert first == ("Größen und Mengen, sehr lang benannt, damit der Name geteilt wird.csv", BYTES)
    assert (name, text.splitlines()) == ("t.csv", TEXT.encode().splitlines())


def test_mails_within_mails_are_opened_also_those_in_base64() -> None:
    forwarded = mail(("b.csv", b"two"), ("c.csv", b""))
    outer = mail(("a.csv", b"one"))
    outer.add_attachment(forwarded)
    wrapped = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    wrapped += base64.encodebytes(outer.as_bytes(policy=policy.SMTP))
    assert taken(wrapped) == [("a.csv", b"one"), ("b.csv", b"two"), ("c.csv", b"")]


def test_a_mail_that_is_an_attachment_itself_and_one_in_uuencode() -> None:
    alone = b"Content-Type: text/csv; name=a.csv\n\nx;1\n"
    assert taken(alone) == [("a.csv", b"x;1\n")]
    uu = b'Content-Disposition: attachment; filename="b.csv"\nContent-Transfer-Encoding: x-uuencode\n\n'
    assert taken(uu + b"begin 644 b.csv\n#0V%T\n`\nend\n") == [("b.csv", b"Cat")]


def test_a_boundary_is_a_whole_line_and_the_closing_one_may_be_missing() -> None:
    part = "--b{}\nContent-Disposition: attachment; filename={}.csv\n\n{}\n"
    body = part.format("", 1, "--bb\n--b b\n x--b\n --b") + part.format(" \t", 2, "two") + "--b\n"
    message = f'Content-Type: multipart/mixed; boundary="b"\n\npreamble\n{body}'
    assert taken(message.encode()) == [("1.csv", b"--bb\n--b b\n x--b\n --b"), ("2.csv", b"two")]
    closed = message + "--b--\n" + part.format("", 3, "epilogue")
    assert [name for name, _ in taken(closed.encode())] == ["1.csv", "2.csv"]


def test_base64_that_ends_within_a_byte_is_torn() -> None:
    whole = mail(("a.csv", b"x" * 100)).as_bytes()
    torn = whole[: whole.rindex(b"eHh4") + 1]
    with pytest.raises(SkippableError, match="torn"):
        attachments(torn)


SUB = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n'
NESTED = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(5_000))
SIZE = 4 << 20


@pytest.mark.parametrize(
    ("hostile", "told"),
    [
        pytest.param(NESTED, "levels deep", id="nested"),
        pytest.param(b"Content-Type: message/rfc822\r\n\r\n" * 5_000, "levels deep", id="mails in mails"),
        pytest.param(SUB + b"\r\nx\r\n--b\r\n" * (SIZE // 9), "parts", id="parts"),
        pytest.param(b"a:\r\n" * (SIZE // 4), "headers", id="headers"),
        pytest.param(SUB + b"a:\r\n" * (SIZE // 4), "headers", id="headers of a part"),
        pytest.param(b'Content-Type: x/y; name="' + b"=?utf-8?q?a?= " * (SIZE // 14), "headers", id="a long name"),
        pytest.param(b"Content-Type: x/y" + b"; a=b" * 10_000 + b"\r\n\r\n", "4,096 characters", id="parameters"),
        pytest.param(b"Content-Type: " + b"(" * 4_000 + b"\r\n\r\n", "cannot be read", id="comments"),
        pytest.param(
            SUB + (b"Content-Type: " + b'"' * 4_000 + b"\r\n\r\nx\r\n--b\r\n") * 900,
            "headers on its parts",
            id="quotes",
        ),
    ],
)
def test_what_no_real_mail_looks_like_is_refused_at_once(hostile: bytes, told: str) -> None:
    began = time.process_time()
    with pytest.raises(SkippableError, match=told):
        attachments(hostile)
    # The standard library alone takes minutes, and gigabytes, for most of these.
    assert time.process_time() - began < 15


def test_a_header_too_long_to_be_real_comes_cut() -> None:
    parsed = BytesHeaderParser(policy=policy.default).parsebytes(b"From: " + b"\xe4,<" * 100_000 + b"\r\n\r\n")
    began = time.process_time()
    assert len(header(parsed, "From")) <= 4_096
    assert time.process_time() - began < 5
    assert header(parsed, "Subject") == ""
