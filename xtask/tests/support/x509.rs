//! Keys on P-256, and certificates over them (RFC 5280, in DER), as far as the tests' servers, authorities and signers need them. A crate for it
//! brings 27 others into the lock, and cargo reads the lock each time that somebody types `cargo xtask`.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _,
};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
pub const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;

const EC_PUBLIC_KEY: [u32; 6] = [1, 2, 840, 10045, 2, 1];
const P256: [u32; 7] = [1, 2, 840, 10045, 3, 1, 7];
const ECDSA_WITH_SHA256: [u32; 7] = [1, 2, 840, 10045, 4, 3, 2];
const COMMON_NAME: [u32; 4] = [2, 5, 4, 3];
const KEY_USAGE: [u32; 4] = [2, 5, 29, 15];
const ALTERNATIVE_NAMES: [u32; 4] = [2, 5, 29, 17];
const BASIC_CONSTRAINTS: [u32; 4] = [2, 5, 29, 19];
const EXTENDED_KEY_USAGE: [u32; 4] = [2, 5, 29, 37];
const CODE_SIGNING: [u32; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 3];

/// Bytes of an uncompressed point on P-256.
const POINT: usize = 65;

/// A private key.
pub struct Key(Vec<u8>);

impl Key {
    pub fn generate() -> Self {
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
        Self(key.expect("a key").as_ref().to_vec())
    }

    /// PKCS #8.
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    pub fn pem(&self) -> String {
        pem("PRIVATE KEY", &self.0)
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(self.pair(&ECDSA_P256_SHA256_ASN1_SIGNING).public_key().as_ref().to_vec())
    }

    /// A signature as X.509 writes it.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.signature(&ECDSA_P256_SHA256_ASN1_SIGNING, message)
    }

    /// A signature as JWT writes it (RFC 7518, section 3.4).
    pub fn sign_for_jwt(&self, message: &[u8]) -> Vec<u8> {
        self.signature(&ECDSA_P256_SHA256_FIXED_SIGNING, message)
    }

    fn signature(&self, form: &'static EcdsaSigningAlgorithm, message: &[u8]) -> Vec<u8> {
        self.pair(form).sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec()
    }

    fn pair(&self, form: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
        EcdsaKeyPair::from_pkcs8(form, &self.0, &SystemRandom::new()).expect("our own key")
    }
}

/// Whom a certificate is about: a point on P-256.
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// Of a key in PEM that somebody sent.
    pub fn read(pem: &str) -> Self {
        let info = BASE64_STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).expect("PEM");
        Self(info[info.len() - POINT..].to_vec())
    }

    /// A `SubjectPublicKeyInfo`.
    pub fn der(&self) -> Vec<u8> {
        sequence(&[sequence(&[oid(&EC_PUBLIC_KEY), oid(&P256)]), bits(&self.0)])
    }
}

/// What a certificate says beside its key.
pub struct Draft {
    number: [u8; 8],
    subject: Vec<u8>,
    valid: [SystemTime; 2],
    extensions: Vec<Vec<u8>>,
}

impl Draft {
    /// For ten years, about `name`, which may be empty.
    pub fn new(name: &str) -> Self {
        let (now, mut number) = (SystemTime::now(), [0; 8]);
        SystemRandom::new().fill(&mut number).expect("random bytes");
        // Above zero, without a byte too many.
        number[0] = number[0] & 0x7f | 1;
        let valid = [now - Duration::from_hours(24), now + Duration::from_hours(10 * 365 * 24)];
        let common_name = der(SET, &sequence(&[oid(&COMMON_NAME), der(UTF8_STRING, name.as_bytes())]));
        let subject = if name.is_empty() { sequence(&[]) } else { sequence(&[common_name]) };
        Self { number, subject, valid, extensions: Vec::new() }
    }

    #[must_use]
    pub fn valid(mut self, from: SystemTime, to: SystemTime) -> Self {
        self.valid = [from, to];
        self
    }

    /// An extension, by number and content.
    #[must_use]
    pub fn extension(self, number: &[u32], content: &[u8]) -> Self {
        self.written(&[oid(number), der(OCTET_STRING, content)])
    }

    /// For an authority, which signs certificates and nothing else.
    #[must_use]
    fn authority(self) -> Self {
        let yes = || der(BOOLEAN, &[0xff]);
        let certificates = der(BIT_STRING, &[2, 0b0000_0100]);
        self.written(&[oid(&BASIC_CONSTRAINTS), yes(), der(OCTET_STRING, &sequence(&[yes()]))]).written(&[
            oid(&KEY_USAGE),
            yes(),
            der(OCTET_STRING, &certificates),
        ])
    }

    #[must_use]
    pub fn address(self, address: [u8; 4]) -> Self {
        self.extension(&ALTERNATIVE_NAMES, &sequence(&[der(0x87, &address)]))
    }

    #[must_use]
    pub fn url(self, url: &str) -> Self {
        self.extension(&ALTERNATIVE_NAMES, &sequence(&[der(0x86, url.as_bytes())]))
    }

    #[must_use]
    pub fn signs_code(self) -> Self {
        let signatures = der(BIT_STRING, &[7, 0b1000_0000]);
        self.extension(&KEY_USAGE, &signatures).extension(&EXTENDED_KEY_USAGE, &sequence(&[oid(&CODE_SIGNING)]))
    }

    fn written(mut self, parts: &[Vec<u8>]) -> Self {
        self.extensions.push(sequence(parts));
        self
    }

    fn signed(&self, key: &PublicKey, issuer: &[u8], by: &Key) -> Certificate {
        let algorithm = || sequence(&[oid(&ECDSA_WITH_SHA256)]);
        // Two digits of the year: until 2050.
        let time = |time: SystemTime| {
            let digits = humantime::format_rfc3339_seconds(time).to_string().replace(['-', 'T', ':'], "");
            der(UTC_TIME, &digits.as_bytes()[2..])
        };
        let version_3 = der(0xa0, &der(INTEGER, &[2]));
        let validity = sequence(&self.valid.map(time));
        let extensions = der(0xa3, &sequence(&self.extensions));
        let to_be_signed = sequence(&[
            version_3,
            der(INTEGER, &self.number),
            algorithm(),
            issuer.to_vec(),
            validity,
            self.subject.clone(),
            key.der(),
            extensions,
        ]);
        let der = sequence(&[to_be_signed.clone(), algorithm(), bits(&by.sign(&to_be_signed))]);
        Certificate { to_be_signed, der }
    }
}

/// A certificate.
pub struct Certificate {
    /// The part that is signed.
    pub to_be_signed: Vec<u8>,
    pub der: Vec<u8>,
}

impl Certificate {
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }
}

/// Whoever signs certificates, its own included.
pub struct Authority {
    pub key: Key,
    pub certificate: Certificate,
    name: Vec<u8>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let (key, draft) = (Key::generate(), Draft::new(name).authority());
        let certificate = draft.signed(&key.public(), &draft.subject, &key);
        Self { key, certificate, name: draft.subject }
    }

    pub fn issue(&self, key: &PublicKey, draft: &Draft) -> Certificate {
        draft.signed(key, &self.name, &self.key)
    }
}

/// A value in DER, of less than 64 KiB.
pub fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a short one").to_be_bytes();
    match content.len() {
        0..0x80 => [&[tag, length[1]][..], content].concat(),
        0x80..0x100 => [&[tag, 0x81, length[1]][..], content].concat(),
        _ => [&[tag, 0x82, length[0], length[1]][..], content].concat(),
    }
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    der(SEQUENCE, &parts.concat())
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    der(BIT_STRING, &[&[0], bytes].concat())
}

/// An object identifier: the first two numbers in one byte, the others in groups of seven bits.
fn oid(numbers: &[u32]) -> Vec<u8> {
    let mut content = vec![u8::try_from(numbers[0] * 40 + numbers[1]).expect("a root there is")];
    for number in &numbers[2..] {
        let groups = (0..5).rev().map(|at| number >> (7 * at) & 0x7f).skip_while(|group| *group == 0);
        let groups: Vec<u8> = groups.map(|group| u8::try_from(group).expect("seven bits")).collect();
        let (last, others) = groups.split_last().unwrap_or((&0, &[]));
        content.extend(others.iter().map(|group| group | 0x80));
        content.push(*last);
    }
    der(OBJECT_IDENTIFIER, &content)
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64")).collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}
