//! Affinidi's DIDComm library behind the interop suite's JSON lines.
//!
//! One request a line on standard input, one answer a line on standard output;
//! all else goes to standard error. The library takes keys: this program finds
//! them in the documents and secrets that come with a request, and puts the
//! layers of an envelope together from the library's public calls, as its SDK
//! does.

use std::io::{BufRead, Write};

use affinidi_crypto::jose::key_agreement::{Curve, PrivateKeyAgreement, PublicKeyAgreement};
use affinidi_messaging_didcomm::jwe::decrypt::{authcrypt_sender_kid, decrypt_bound};
use affinidi_messaging_didcomm::jwe::encrypt::{anoncrypt, authcrypt};
use affinidi_messaging_didcomm::jws::sign::JwsSigner;
use affinidi_messaging_didcomm::jws::verify::{VerifyKey, parse_jws, verify_bound};
use affinidi_messaging_didcomm::message::{forward, pack};
use affinidi_messaging_didcomm::{DIDCommError, Message, SenderKey, SignerKey};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};

/// Why a request has no result: the kind of error and its text.
struct Refusal(String, String);

impl From<DIDCommError> for Refusal {
    fn from(e: DIDCommError) -> Self {
        let variant = format!("{e:?}");
        let kind = variant.split('(').next().unwrap_or_default();
        Refusal(kind.into(), e.to_string())
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(e: serde_json::Error) -> Self {
        Refusal("serde_json::Error".into(), e.to_string())
    }
}

fn lacks(what: impl Into<String>) -> Refusal {
    Refusal("lacks".into(), what.into())
}

/// What this program does not find in a request.
fn missing(what: impl Into<String>) -> Refusal {
    Refusal("missing".into(), what.into())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn base(did_url: &str) -> &str {
    did_url.split('#').next().unwrap_or_default()
}

/// The private JWK of that kid.
fn secret<'a>(params: &'a Value, kid: &str) -> Result<&'a Value, Refusal> {
    let jwk = list(&params["secrets"])
        .iter()
        .find(|jwk| jwk["kid"] == kid);
    jwk.ok_or_else(|| missing(format!("no secret of {kid}")))
}

fn document<'a>(params: &'a Value, did_url: &str) -> Result<&'a Value, Refusal> {
    let document = list(&params["documents"])
        .iter()
        .find(|d| d["id"] == base(did_url));
    document.ok_or_else(|| missing(format!("no document of {did_url}")))
}

/// The public JWK of a key that its document lists for a purpose.
fn public<'a>(params: &'a Value, purpose: &str, kid: &str) -> Result<&'a Value, Refusal> {
    let document = document(params, kid)?;
    let method = list(&document["verificationMethod"])
        .iter()
        .find(|m| m["id"] == kid);
    match method {
        Some(method) if list(&document[purpose]).iter().any(|id| id == kid) => {
            Ok(&method["publicKeyJwk"])
        }
        _ => Err(missing(format!("{kid} is not among {purpose}"))),
    }
}

fn agreement(params: &Value, kid: &str) -> Result<PublicKeyAgreement, Refusal> {
    let jwk = public(params, "keyAgreement", kid)?;
    Ok(PublicKeyAgreement::from_jwk(jwk).map_err(DIDCommError::from)?)
}

/// The keys for key agreement that a DID or key's DID URL stands for.
fn agreements(params: &Value, to: &str) -> Result<Vec<(String, PublicKeyAgreement)>, Refusal> {
    let kids: Vec<&str> = match to.contains('#') {
        true => vec![to],
        false => {
            let ids = &document(params, to)?["keyAgreement"];
            list(ids).iter().filter_map(Value::as_str).collect()
        }
    };
    kids.into_iter()
        .map(|kid| Ok((kid.to_owned(), agreement(params, kid)?)))
        .collect()
}

fn private_bytes(params: &Value, kid: &str) -> Result<Vec<u8>, Refusal> {
    let d = secret(params, kid)?["d"].as_str().unwrap_or_default();
    Base64UrlUnpadded::decode_vec(d).map_err(|e| missing(format!("d of {kid}: {e}")))
}

fn private(params: &Value, kid: &str) -> Result<PrivateKeyAgreement, Refusal> {
    let crv = secret(params, kid)?["crv"].as_str().unwrap_or_default();
    let curve = [Curve::X25519, Curve::P256, Curve::P384, Curve::P521]
        .into_iter()
        .find(|curve| curve.jwk_crv() == crv)
        .ok_or_else(|| lacks(format!("curve {crv}")))?;
    let key = PrivateKeyAgreement::from_raw_bytes(curve, &private_bytes(params, kid)?);
    Ok(key.map_err(DIDCommError::from)?)
}

fn verify_key(params: &Value, kid: &str) -> Result<VerifyKey, Refusal> {
    let jwk = public(params, "authentication", kid)?;
    if jwk["crv"] == "Ed25519" {
        let x = Base64UrlUnpadded::decode_vec(jwk["x"].as_str().unwrap_or_default());
        let x = x.ok().and_then(|x| x.try_into().ok());
        return x
            .map(VerifyKey::Ed25519)
            .ok_or_else(|| missing(format!("x of {kid}")));
    }
    let point = PublicKeyAgreement::from_jwk(jwk).map_err(DIDCommError::from)?;
    match point.curve() {
        Curve::P256 => Ok(VerifyKey::P256(point.to_public_bytes())),
        Curve::K256 => Ok(VerifyKey::Secp256k1(point.to_public_bytes())),
        other => Err(lacks(format!("signatures on {}", other.jwk_crv()))),
    }
}

fn hello() -> Value {
    // The manifest's exact pins are the versions.
    let pin = |name: &str| {
        include_str!("../Cargo.toml").lines().find_map(|line| {
            let rest = line.strip_prefix(name)?.strip_prefix(" = ")?;
            rest.split('"').nth(1)?.strip_prefix('=')
        })
    };
    let versions: serde_json::Map<String, Value> =
        ["affinidi-messaging-didcomm", "affinidi-crypto"]
            .into_iter()
            .map(|name| (name.to_owned(), pin(name).into()))
            .collect();
    json!({"name": "affinidi-messaging-didcomm", "language": "Rust", "versions": versions})
}

/// A private key that signs.
struct Signer {
    kid: String,
    crv: String,
    private: [u8; 32],
}

impl Signer {
    fn of(params: &Value, kid: &str) -> Result<Signer, Refusal> {
        let private = private_bytes(params, kid)?
            .try_into()
            .map_err(|_| lacks("private keys of other lengths than 32 bytes"))?;
        let crv = secret(params, kid)?["crv"].as_str().unwrap_or_default();
        Ok(Signer {
            kid: kid.into(),
            crv: crv.into(),
            private,
        })
    }

    fn sign(&self, message: &Message) -> Result<String, Refusal> {
        let (kid, private) = (self.kid.as_str(), &self.private);
        let signer = match self.crv.as_str() {
            "Ed25519" => JwsSigner::Ed25519 { kid, private },
            "P-256" => JwsSigner::P256 { kid, private },
            "secp256k1" => JwsSigner::Secp256k1 { kid, private },
            other => return Err(lacks(format!("signatures on {other}"))),
        };
        Ok(pack::pack_signed_multi(message, &[signer])?)
    }
}

/// What a message is encrypted with.
struct Keys {
    to: Vec<(String, PublicKeyAgreement)>,
    from: Option<(String, PrivateKeyAgreement)>,
    protect_sender: bool,
}

impl Keys {
    fn of(params: &Value, to: &str) -> Result<Keys, Refusal> {
        let mut keys = agreements(params, to)?;
        // All keys of the first type that the sender has too.
        let from = match params["from"].as_str() {
            Some(from) => {
                let shared = |(_, key): &(_, PublicKeyAgreement)| {
                    keys.iter().any(|(_, other)| other.curve() == key.curve())
                };
                let sender = agreements(params, from)?.into_iter().find(shared);
                Some(sender.ok_or_else(|| missing(format!("no key of {from} that fits")))?)
            }
            None => None,
        };
        let first = from.as_ref().or(keys.first()).map(|(_, key)| key.curve());
        keys.retain(|(_, key)| Some(key.curve()) == first);
        let from = match from {
            Some((kid, _)) => Some((kid.clone(), private(params, &kid)?)),
            None => None,
        };
        Ok(Keys {
            to: keys,
            from,
            protect_sender: params["protect_sender"] == true,
        })
    }

    fn encrypt(&self, payload: &[u8]) -> Result<String, Refusal> {
        let to: Vec<_> = self
            .to
            .iter()
            .map(|(kid, key)| (kid.as_str(), key))
            .collect();
        let Some((kid, private)) = &self.from else {
            return Ok(anoncrypt(payload, &to)?);
        };
        let packed = authcrypt(payload, kid, private, &to)?;
        match self.protect_sender {
            true => Ok(anoncrypt(packed.as_bytes(), &to)?),
            false => Ok(packed),
        }
    }
}

/// A message to pack, and the keys for it.
struct Packing {
    message: Message,
    signer: Option<Signer>,
    keys: Option<Keys>,
}

impl Packing {
    fn of(params: &Value) -> Result<Packing, Refusal> {
        if params["message"].get("from_prior").is_some() {
            return Err(lacks("from_prior"));
        }
        let enc = params["enc"].as_str().unwrap_or("A256CBC-HS512");
        if enc != "A256CBC-HS512" {
            return Err(lacks("a choice of enc: anoncrypt takes none"));
        }
        let signer = params["sign_by"].as_str();
        let to = params["to"].as_str();
        Ok(Packing {
            message: Message::from_json(params["message"].to_string().as_bytes())?,
            signer: signer.map(|kid| Signer::of(params, kid)).transpose()?,
            keys: to.map(|to| Keys::of(params, to)).transpose()?,
        })
    }

    fn pack(&self) -> Result<String, Refusal> {
        match (&self.keys, &self.signer) {
            (Some(keys), Some(signer)) => keys.encrypt(signer.sign(&self.message)?.as_bytes()),
            (Some(keys), None) => keys.encrypt(&self.message.to_json()?),
            (None, Some(signer)) => signer.sign(&self.message),
            (None, None) => Ok(pack::pack_plaintext(&self.message)?),
        }
    }
}

fn pack(params: &Value) -> Result<Value, Refusal> {
    let mut packed = Packing::of(params)?.pack()?;
    if params["forward"] == true {
        packed = wrap(params, packed)?;
    }
    Ok(json!({"envelope": serde_json::from_str::<Value>(&packed)?}))
}

/// Wraps an envelope for each of the recipient's mediators.
fn wrap(params: &Value, mut packed: String) -> Result<String, Refusal> {
    let to = params["to"].as_str().unwrap_or_default();
    let services = &document(params, to)?["service"];
    let routing = list(&services[0]["serviceEndpoint"]["routingKeys"]);
    let mut next = to;
    for hop in routing.iter().rev().filter_map(Value::as_str) {
        let wrapped = forward::wrap_in_forward(next, &packed)?.to_json()?;
        let keys = agreements(params, hop)?;
        let recipients: Vec<_> = keys.iter().map(|(kid, key)| (kid.as_str(), key)).collect();
        packed = anoncrypt(&wrapped, &recipients)?;
        next = hop;
    }
    Ok(packed)
}

/// An envelope as it is sent; one in Compact serialization is a string.
fn wire(envelope: &Value) -> String {
    envelope
        .as_str()
        .map_or_else(|| envelope.to_string(), str::to_owned)
}

fn compact(envelope: &Value, parts: usize) -> bool {
    let text = envelope.as_str().unwrap_or_default();
    text.split('.').count() == parts
}

/// Removes the layers of an envelope and reports of them what the library does.
fn open(params: &Value) -> Result<(Message, Value), Refusal> {
    let mut metadata = json!({
        "encrypted": false,
        "authenticated": false,
        "non_repudiation": false,
        "anonymous_sender": false,
    });
    let mut value = params["envelope"].clone();
    while value.get("ciphertext").is_some() || compact(&value, 5) {
        let envelope = wire(&value);
        let skid = authcrypt_sender_kid(&envelope)?;
        let protected = metadata["anonymous_sender"] == true;
        if metadata["authenticated"] == true || protected && skid.is_none() {
            return Err(lacks("an unpack that takes more layers than one"));
        }
        let kid = list(&value["recipients"])
            .iter()
            .chain([&value]) // in Flattened serialization
            .filter_map(|recipient| recipient["header"]["kid"].as_str())
            .find(|kid| secret(params, kid).is_ok())
            .ok_or_else(|| missing("no secret of a recipient"))?;
        let sender = match skid {
            Some(skid) => Some((agreement(params, &skid)?, skid)),
            None => None,
        };
        let sender = sender.as_ref().map(|(key, skid)| SenderKey::new(skid, key));
        let opened = decrypt_bound(&envelope, kid, &private(params, kid)?, sender)?;
        metadata["encrypted"] = true.into();
        if opened.authenticated {
            metadata["authenticated"] = true.into();
            metadata["encrypted_from_kid"] = opened.sender_kid.into();
            metadata["enc_alg_auth"] = opened.header.enc.into();
        } else {
            metadata["anonymous_sender"] = true.into();
            metadata["enc_alg_anon"] = opened.header.enc.into();
        }
        value = serde_json::from_slice(&opened.plaintext)?;
    }
    if value.get("signatures").is_none() && !compact(&value, 3) {
        return Ok((Message::from_json(value.to_string().as_bytes())?, metadata));
    }
    let envelope = wire(&value);
    let parsed = parse_jws(&envelope)?;
    let signature = parsed
        .signatures
        .first()
        .ok_or_else(|| missing("no signature"))?;
    let kid = signature
        .kid
        .as_deref()
        .ok_or_else(|| missing("a signature has no kid"))?;
    let key = verify_key(params, kid)?;
    let verified = verify_bound(&envelope, SignerKey::new(kid, &key))?;
    metadata["non_repudiation"] = true.into();
    metadata["sign_from"] = verified.signer_kid.into();
    metadata["sign_alg"] = signature.alg.clone().into();
    Ok((Message::from_json(&verified.payload)?, metadata))
}

fn unpack(params: &Value) -> Result<Value, Refusal> {
    let (message, metadata) = open(params)?;
    if message.extra.contains_key("from_prior") {
        return Err(lacks("from_prior, which it hands out unread"));
    }
    if message.typ == forward::FORWARD_MESSAGE_TYPE {
        return Err(lacks("an unpack that opens what is forwarded to oneself"));
    }
    Ok(json!({"message": message, "metadata": metadata}))
}

/// The mediator's part: opens one forward.
fn unwrap(params: &Value) -> Result<Value, Refusal> {
    let (next, envelope) = forward::unwrap_forward(&open(params)?.0)?;
    Ok(json!({"next": next, "envelope": serde_json::from_str::<Value>(&envelope)?}))
}

/// The keys that one kind of envelope opens with. As the library does not look for
/// them itself, this is told beforehand what the envelope is, so that nothing is
/// read but by the library.
struct Opening {
    kid: String,
    private: Option<PrivateKeyAgreement>,
    sender: Option<(String, PublicKeyAgreement)>,
    signer: Option<(String, VerifyKey)>,
    protected: bool,
}

impl Opening {
    fn of(params: &Value) -> Result<Opening, Refusal> {
        let (kid, private) = match params["to"].as_str() {
            Some(to) => {
                let keys = agreements(params, to)?;
                let (kid, _) = keys.first().ok_or_else(|| missing("no key of to"))?;
                (kid.clone(), Some(private(params, kid)?))
            }
            None => (String::new(), None),
        };
        let sender = match params["from"].as_str() {
            Some(from) => agreements(params, from)?.into_iter().next(),
            None => None,
        };
        let signer = match params["sign_by"].as_str() {
            Some(kid) => Some((kid.to_owned(), verify_key(params, kid)?)),
            None => None,
        };
        Ok(Opening {
            kid,
            private,
            sender,
            signer,
            protected: params["protect_sender"] == true,
        })
    }

    fn open(&self, envelope: &str) -> Result<Message, Refusal> {
        let Some(private) = &self.private else {
            return self.read(envelope);
        };
        let sender = self.sender.as_ref();
        let sender = sender.map(|(kid, key)| SenderKey::new(kid, key));
        if !self.protected {
            let opened = decrypt_bound(envelope, &self.kid, private, sender)?;
            return self.read(utf8(&opened.plaintext)?);
        }
        let outer = decrypt_bound(envelope, &self.kid, private, None)?;
        let opened = decrypt_bound(utf8(&outer.plaintext)?, &self.kid, private, sender)?;
        self.read(utf8(&opened.plaintext)?)
    }

    fn read(&self, payload: &str) -> Result<Message, Refusal> {
        match &self.signer {
            Some((kid, key)) => {
                let verified = verify_bound(payload, SignerKey::new(kid, key))?;
                Ok(Message::from_json(&verified.payload)?)
            }
            None => Ok(Message::from_json(payload.as_bytes())?),
        }
    }
}

fn utf8(text: &[u8]) -> Result<&str, Refusal> {
    str::from_utf8(text).map_err(|e| Refusal("Utf8Error".into(), e.to_string()))
}

/// Packs, or opens the envelope that is given, many times over, with all else read
/// once.
fn bench(params: &Value) -> Result<Value, Refusal> {
    let times = params["times"].as_u64().unwrap_or_default();
    if params["envelope"].is_null() {
        let packing = Packing::of(params)?;
        let began = processor_time();
        for _ in 0..times {
            packing.pack()?;
        }
        return Ok(json!({"nanoseconds": processor_time() - began}));
    }
    let envelope = params["envelope"].to_string();
    let opening = Opening::of(params)?;
    let began = processor_time();
    for _ in 0..times {
        opening.open(&envelope)?;
    }
    Ok(json!({"nanoseconds": processor_time() - began}))
}

/// What this process has taken of the processors, in nanoseconds.
fn processor_time() -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes the one structure that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn operate(op: &str, params: &Value) -> Result<Value, Refusal> {
    match op {
        "hello" => Ok(hello()),
        "pack" => pack(params),
        "unpack" => unpack(params),
        "unwrap" => unwrap(params),
        "bench" => bench(params),
        "create_peer_did" | "resolve" => Err(lacks("no DID methods: it takes keys")),
        _ => Err(lacks(format!("operation {op}"))),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut answers = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let (id, op) = (&request["id"], request["op"].as_str().unwrap_or_default());
        let answer = match operate(op, &request["params"]) {
            Ok(result) => json!({"id": id, "result": result}),
            Err(Refusal(kind, message)) => {
                eprintln!("{op}: {kind}: {message}");
                json!({"id": id, "error": {"type": kind, "message": message}})
            }
        };
        writeln!(answers, "{answer}")?;
        answers.flush()?;
    }
    Ok(())
}
