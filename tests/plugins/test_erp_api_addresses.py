"""Where the REST connector goes and where it does not: redirects, forbidden addresses, certificates."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from erp_api_source import STOCK, TAKEN, ErpServer, Plant, Reply, config, prepare, read_rows, shared_server
from pydantic import ValidationError

from fmrp_erp_api import ApiConfig
from fmrp_erp_api.addresses import is_forbidden
from fmrp_sdk import FatalError

CLIENT = {"kind": "oauth2", "client_id": "planner", "client_secret": "client secret/long", "scope": "read"}


@pytest.fixture
def plant() -> Plant:
    """An API with a stock of one item."""
    plant = Plant(shared_server())
    plant.lists["stock"] = STOCK
    return plant


def test_a_redirect_within_the_host_is_followed_with_the_log_in(plant: Plant) -> None:
    prepare(plant, Reply(status=302, headers={"location": "stock?moved=1"}))
    plant.allows = lambda r: r.headers.get("authorization") == "Bearer abcd-efgh"
    assert read_rows(config(plant, auth={"kind": "bearer", "token": "abcd-efgh"})) == TAKEN
    assert plant.requests[-1].query == {"moved": "1"}


def test_a_key_in_the_query_goes_along_with_a_redirect_and_is_not_told(plant: Plant) -> None:
    prepare(plant, Reply(status=307, headers={"location": "stock?moved=1"}))
    auth = {"kind": "api_key", "name": "key", "key": "a+b&c=d e", "placed_in": "query"}
    assert read_rows(config(plant, auth=auth)) == TAKEN
    assert plant.requests[-1].query == {"moved": "1", "key": "a+b&c=d e"}


def test_a_header_of_the_configuration_stands_in_for_ours(plant: Plant) -> None:
    read_rows(config(plant, headers={"accept": "application/vnd.api+json", "user-agent": "plant-7"}))
    assert plant.requests[-1].headers["accept"] == "application/vnd.api+json"
    assert plant.requests[-1].headers["user-agent"] == "plant-7"


@pytest.mark.parametrize(
    ("locations", "told"),
    [
        (["http://localhost:{port}/elsewhere"], "redirects to another host or scheme"),
        (["https://127.0.0.1:{port}/elsewhere"], "redirects to another host or scheme"),
        (["http://127.0.0.1:1/elsewhere"], "redirects to another host or scheme"),
        (["http://169.254.169.254/latest/meta-data"], "redirects to another host or scheme"),
        (["?a"] * 9, "redirects in a circle"),
    ],
)
def test_a_redirect_elsewhere_is_refused_and_nothing_is_sent_there(
    plant: Plant, locations: list[str], told: str
) -> None:
    elsewhere = Plant(plant.server)
    plant.server.plants["elsewhere"] = elsewhere
    for location in locations:
        prepare(plant, Reply(status=307, headers={"location": location.format(port=plant.server.port)}))
    with pytest.raises(FatalError, match=told):
        read_rows(config(plant, auth={"kind": "bearer", "token": "abcd-efgh"}))
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("base_url", "more", "told"),
    [
        ("http://erp.example.com", {}, "must start with https://"),
        ("https://user:pass@erp.example.com", {}, "must hold no user or password"),
        ("https://erp.example.com/x?tenant=1", {}, "parameters belong in a stream's params"),
        ("https://169.254.169.254/latest", {}, "machine's own network setup"),
        ("http://2852039166/latest", {"allow_http": True}, "machine's own network setup"),
        ("https://[fd00:ec2::254]/", {}, "machine's own network setup"),
        ("https://[::ffff:169.254.169.254]/", {}, "machine's own network setup"),
        ("https://0.0.0.0/", {}, "machine's own network setup"),
        ("https://e.example", {"headers": {"X-Auth-Token": "x"}}, "belongs in auth or in secret_headers"),
        ("https://e.example", {"headers": {"Host": "x"}}, "set by the connector itself"),
        ("https://e.example", {"headers": {"X-A": "b\r\nc: d"}}, "X-A"),
        ("https://e.example", {"secret_headers": {"X-A": "b\r\nc: d"}}, "printable ASCII"),
        (
            "https://e.example",
            {"auth": {**CLIENT, "token_url": "http://id.example/token"}},
            "token_url: must start with",
        ),
        ("https://e.example", {"ca_file": "ca.pem"}, "absolute path"),
        ("https://e.example", {"streams": [{"name": "a", "path": ""}] * 2}, "a name of its own"),
    ],
)
def test_a_configuration_that_is_unsafe_or_unclear_is_refused(base_url: str, more: dict[str, Any], told: str) -> None:
    given = {"base_url": base_url, "streams": [{"name": "a", "path": ""}], **more}
    with pytest.raises(ValidationError, match=told) as raised:
        ApiConfig.model_validate(given)
    assert "client secret/long" not in str(raised.value)


def test_a_plants_own_network_is_no_forbidden_one() -> None:
    assert not any(map(is_forbidden, ["10.0.0.5", "192.168.1.9", "fd12::1", "erp.local", "8.8.8.8"]))


def test_a_name_that_leads_to_a_forbidden_address_is_refused_before_anything_is_said(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmrp_erp_api.addresses._CLOUD_METADATA", {ipaddress.ip_address("127.0.0.1")})
    given = config(plant, base_url=plant.url.replace("127.0.0.1", "localhost"))
    with pytest.raises(FatalError, match="leads to an address of the machine's own network setup"):
        read_rows(given)
    assert plant.requests == []


def certificate(folder: Path) -> tuple[str, str]:
    """Files with a key and a certificate for 127.0.0.1 that no authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (folder / "cert.pem").write_bytes(signed.public_bytes(pem))
    return str(folder / "key.pem"), str(folder / "cert.pem")


def test_a_certificate_is_verified_against_the_plants_own_authority(tmp_path: Path) -> None:
    key, cert = certificate(tmp_path)
    server = ErpServer(ssl_keyfile=key, ssl_certfile=cert)
    try:
        plant = Plant(server)
        plant.lists["stock"] = STOCK
        url = plant.url.replace("http:", "https:")
        with pytest.raises(
            FatalError, match="certificate is not trusted; give the certificate of its authority as ca_file"
        ):
            read_rows(config(plant, base_url=url))
        assert plant.requests == []
        assert read_rows(config(plant, base_url=url, ca_file=cert)) == TAKEN
        with pytest.raises(FatalError, match="is not there or holds no PEM certificates"):
            read_rows(config(plant, base_url=url, ca_file=str(tmp_path / "missing.pem")))
    finally:
        server.stop()
