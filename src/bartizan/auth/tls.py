"""Https from the first start: an own certificate authority, made once, and a certificate that renews itself.

RSA 2048 for the server and RSA 3072 for the authority: of the key types, every client in use takes RSA. Private keys
are encrypted under the master key, in files of mode 0600.

Source: RFC 5280; CA/Browser Forum Baseline Requirements (lifetime, key usage), Apple's and Node's checks of private
authorities.
"""

import ipaddress
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bartizan.auth.keys import Vault
from bartizan.auth.private import write_once, write_over
from bartizan.settings import Settings

CA_YEARS = 10
_BACKDATE = timedelta(hours=1)  # for clients whose clock is behind
_RENEW_SHARE = 3  # renewed when less than a third of the lifetime is left


def ca_pem(settings: Settings) -> bytes:
    """The authority's certificate; it is made first where there is none."""
    return _authority(settings)[0].public_bytes(serialization.Encoding.PEM)


def server_files(settings: Settings, now: datetime | None = None) -> tuple[Path, Path]:
    """Certificate chain and key to serve with. Own ones are made or renewed as needed: when a third of the lifetime
    is left, when a name is missing, when the authority is another. The operator's are given as they are; ValueError
    where they are absent."""
    if settings.tls == "files":
        files = Path(settings.tls_certificate_file), Path(settings.tls_key_file)
        for file in files:
            if not file.is_file():
                raise ValueError(f"{file} is not there; see tls_certificate_file and tls_key_file")
        return files
    now = now or datetime.now(UTC)
    ca, ca_key = _authority(settings)
    file = settings.folder / "tls" / "server.pem"
    if not _still_good(file, ca, settings, now):
        write_over(file, _make_leaf(ca, ca_key, settings, now))
    return file, file


def server_context(settings: Settings) -> ssl.SSLContext:
    """TLS 1.2 and later with `server_files`. `refresh` loads a renewed certificate into a context that is in use."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    refresh(context, settings)
    return context


def refresh(context: ssl.SSLContext, settings: Settings) -> None:
    """Renews if it is time; new connections get what the files hold now. Cheap: call it once a day. ValueError where
    certificate and key cannot be used."""
    certificate, key = server_files(settings)
    password = _refused if settings.tls == "files" else _password(settings)
    try:
        context.load_cert_chain(certificate, key, password)
    except ssl.SSLError as error:
        reason = error.reason.lower().replace("_", " ") if error.reason else "not PEM"
        raise ValueError(
            f"the certificate {certificate} cannot be used with the key {key} ({reason}); both must be PEM and belong "
            "together"
        ) from None


def _refused() -> NoReturn:
    """OpenSSL asks at the terminal otherwise, where nobody may sit."""
    raise ValueError("the key of tls_key_file is encrypted; take the encryption off and keep the file private (0600)")


def _password(settings: Settings) -> bytes:
    """Of the private keys' files."""
    return Vault.open(settings).derive("tls").hex().encode()


def _opened(pem: bytes, password: bytes) -> PrivateKeyTypes:
    """A key that this program made and sealed: searching it for composite primes would take 0.1 s at every start."""
    return serialization.load_pem_private_key(pem, password, unsafe_skip_rsa_key_validation=True)


def _authority(settings: Settings) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    """One PEM file holds key and certificate, so that two first starts at once agree on both. ValueError where the
    master key is not the one that it was made with."""
    file, password = settings.folder / "tls" / "ca.pem", _password(settings)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_once(file, _make_authority(datetime.now(UTC), password))
    pem = file.read_bytes()
    certificate = x509.load_pem_x509_certificate(pem)
    try:
        key = _opened(pem, password)
    except TypeError:  # in plain text: by an earlier version, or put there by the operator
        key = serialization.load_pem_private_key(pem, None)
        assert isinstance(key, rsa.RSAPrivateKey)
        write_over(file, _key_pem(key, password) + certificate.public_bytes(serialization.Encoding.PEM))
    except ValueError:
        raise ValueError(f"the key in {file} cannot be opened: it was made under another master key") from None
    assert isinstance(key, rsa.RSAPrivateKey)
    return certificate, key


def _make_authority(now: datetime, password: bytes) -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    # The random part keeps two servers' authorities apart in one trust store: clients look issuers up by name.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Bartizan CA {os.urandom(4).hex()}")])
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + timedelta(days=365 * CA_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _key_pem(key, password) + certificate.public_bytes(serialization.Encoding.PEM)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not ca,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _make_leaf(ca: x509.Certificate, ca_key: rsa.RSAPrivateKey, settings: Settings, now: datetime) -> bytes:
    """Key and chain in one file, so that nobody ever reads a certificate beside another's key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    end = min(now + timedelta(days=settings.tls_leaf_days), ca.not_valid_after_utc)
    common = next((n for n in settings.names if len(n) <= 64), "localhost")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([_general_name(n) for n in settings.names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    chain = certificate.public_bytes(serialization.Encoding.PEM) + ca.public_bytes(serialization.Encoding.PEM)
    return _key_pem(key, _password(settings)) + chain


def _still_good(file: Path, ca: x509.Certificate, settings: Settings, now: datetime) -> bool:
    try:
        pem = file.read_bytes()
        leaf = x509.load_pem_x509_certificate(pem)
        key = _opened(pem, _password(settings))
        leaf.verify_directly_issued_by(ca)
        alternative = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False  # whatever is wrong with the file is cured by a new one
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    return (
        set(alternative) >= {_general_name(n) for n in settings.names}
        and leaf.public_key() == key.public_key()
        and now < leaf.not_valid_after_utc - life / _RENEW_SHARE
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode())


def _key_pem(key: rsa.RSAPrivateKey, password: bytes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(password)
    )
