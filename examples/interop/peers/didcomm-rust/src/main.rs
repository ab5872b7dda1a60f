//! SICPA's didcomm for Rust behind the interop suite's JSON lines.
//!
//! One request a line on standard input, one answer a line on standard output;
//! all else goes to standard error. Only public calls of didcomm are used.

use std::io::{BufRead, Write};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use didcomm::algorithms::{AnonCryptAlg, AuthCryptAlg, SignAlg};
use didcomm::did::resolvers::ExampleDIDResolver;
use didcomm::did::{DIDDoc, VerificationMethod, VerificationMethodType};
use didcomm::protocols::routing::try_parse_forward;
use didcomm::secrets::resolvers::ExampleSecretsResolver;
use didcomm::secrets::{Secret, SecretMaterial, SecretType};
use didcomm::{FromPrior, Message, PackEncryptedOptions, UnpackMetadata, UnpackOptions};
use serde_json::{Value, json};

/// Why a request has no result: the kind of error and its text.
struct Refusal(String, String);

impl From<didcomm::error::Error> for Refusal {
    fn from(e: didcomm::error::Error) -> Self {
        Refusal(format!("{:?}", e.kind()), e.to_string())
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

/// Whom a request is about: the keys and documents that came with it.
struct Known {
    secrets: ExampleSecretsResolver,
    documents: ExampleDIDResolver,
}

impl Known {
    fn of(params: &Value) -> Result<Known, Refusal> {
        let secrets = list(&params["secrets"]).iter().map(|jwk| Secret {
            id: text(&jwk["kid"]).unwrap_or_default(),
            type_: SecretType::JsonWebKey2020,
            secret_material: SecretMaterial::JWK {
                private_key_jwk: jwk.clone(),
            },
        });
        let documents = list(&params["documents"]).iter().map(document);
        Ok(Known {
            secrets: ExampleSecretsResolver::new(secrets.collect()),
            documents: ExampleDIDResolver::new(documents.collect::<Result<_, _>>()?),
        })
    }
}

/// The library's form of a document: its own parser demands members that are
/// optional, and knows no other types of verification methods than its own.
fn document(value: &Value) -> Result<DIDDoc, Refusal> {
    let ids = |name: &str| {
        list(&value[name])
            .iter()
            .filter_map(text)
            .collect::<Vec<_>>()
    };
    let methods = list(&value["verificationMethod"]).iter().map(|method| {
        let kind = serde_json::from_value(method["type"].clone());
        Ok(VerificationMethod {
            id: text(&method["id"]).unwrap_or_default(),
            type_: kind.unwrap_or(VerificationMethodType::Other),
            controller: text(&method["controller"]).unwrap_or_default(),
            verification_material: serde_json::from_value(method.clone())?,
        })
    });
    Ok(DIDDoc {
        id: text(&value["id"]).unwrap_or_default(),
        key_agreement: ids("keyAgreement"),
        authentication: ids("authentication"),
        verification_method: methods.collect::<Result<_, Refusal>>()?,
        service: serde_json::from_value(Value::from(list(&value["service"])))?,
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn hello() -> Value {
    // The manifest's exact pins are the versions.
    let pin = |name: &str| {
        include_str!("../Cargo.toml").lines().find_map(|line| {
            let rest = line.strip_prefix(name)?.strip_prefix(" = ")?;
            rest.split('"').nth(1)?.strip_prefix('=')
        })
    };
    json!({
        "name": "didcomm",
        "language": "Rust",
        "versions": {"didcomm": pin("didcomm"), "askar-crypto": pin("askar-crypto")},
    })
}

async fn pack(params: &Value) -> Result<Value, Refusal> {
    let known = Known::of(params)?;
    let message = message(params, &known).await?;
    let packed = envelope(params, &known, &message).await?;
    Ok(json!({"envelope": serde_json::from_str::<Value>(&packed)?}))
}

async fn message(params: &Value, known: &Known) -> Result<Message, Refusal> {
    let mut message = params["message"].clone();
    let prior = message.as_object_mut().and_then(|m| m.remove("from_prior"));
    let mut message: Message = serde_json::from_value(message)?;
    if let Some(prior) = prior {
        let prior: FromPrior = serde_json::from_value(prior)?;
        let issuer = params["from_prior_issuer_kid"].as_str();
        let packed = prior.pack(issuer, &known.documents, &known.secrets);
        message.from_prior = Some(packed.await?.0);
    }
    Ok(message)
}

async fn envelope(params: &Value, known: &Known, message: &Message) -> Result<String, Refusal> {
    let (documents, secrets) = (&known.documents, &known.secrets);
    let (from, signer) = (params["from"].as_str(), params["sign_by"].as_str());
    match (params["to"].as_str(), signer) {
        (Some(to), _) => {
            let options = PackEncryptedOptions {
                protect_sender: params["protect_sender"] == true,
                forward: params["forward"] == true,
                enc_alg_anon: anoncrypt(&params["enc"])?,
                ..Default::default()
            };
            let packed = message.pack_encrypted(to, from, signer, documents, secrets, &options);
            Ok(packed.await?.0)
        }
        (None, Some(signer)) => Ok(message.pack_signed(signer, documents, secrets).await?.0),
        (None, None) => Ok(message.pack_plaintext(documents).await?),
    }
}

fn anoncrypt(enc: &Value) -> Result<AnonCryptAlg, Refusal> {
    match enc.as_str() {
        None => Ok(AnonCryptAlg::default()),
        Some("A256CBC-HS512") => Ok(AnonCryptAlg::A256cbcHs512EcdhEsA256kw),
        Some("A256GCM") => Ok(AnonCryptAlg::A256gcmEcdhEsA256kw),
        Some("XC20P") => Ok(AnonCryptAlg::Xc20pEcdhEsA256kw),
        Some(other) => Err(lacks(format!("enc {other}"))),
    }
}

async fn open(
    params: &Value,
    options: &UnpackOptions,
) -> Result<(Message, UnpackMetadata), Refusal> {
    let known = Known::of(params)?;
    let envelope = &params["envelope"];
    // One in Compact serialization is a string.
    let envelope = text(envelope).unwrap_or_else(|| envelope.to_string());
    Ok(Message::unpack(&envelope, &known.documents, &known.secrets, options).await?)
}

async fn unpack(params: &Value) -> Result<Value, Refusal> {
    let (mut message, m) = open(params, &UnpackOptions::default()).await?;
    message.from_prior = None;
    let mut metadata = json!({
        "encrypted": m.encrypted,
        "authenticated": m.authenticated,
        "non_repudiation": m.non_repudiation,
        "anonymous_sender": m.anonymous_sender,
        "re_wrapped_in_forward": m.re_wrapped_in_forward,
        "encrypted_from_kid": m.encrypted_from_kid,
        "encrypted_to_kids": m.encrypted_to_kids,
        "sign_from": m.sign_from,
        "sign_alg": m.sign_alg.map(|alg| match alg {
            SignAlg::EdDSA => "EdDSA",
            SignAlg::ES256 => "ES256",
            SignAlg::ES256K => "ES256K",
        }),
        "enc_alg_auth": m.enc_alg_auth.map(|alg| match alg {
            AuthCryptAlg::A256cbcHs512Ecdh1puA256kw => "A256CBC-HS512",
        }),
        "enc_alg_anon": m.enc_alg_anon.map(|alg| match alg {
            AnonCryptAlg::A256cbcHs512EcdhEsA256kw => "A256CBC-HS512",
            AnonCryptAlg::Xc20pEcdhEsA256kw => "XC20P",
            AnonCryptAlg::A256gcmEcdhEsA256kw => "A256GCM",
        }),
        "from_prior_issuer_kid": m.from_prior_issuer_kid,
    });
    if let Some(members) = metadata.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    Ok(json!({"message": message, "from_prior": m.from_prior, "metadata": metadata}))
}

/// The mediator's part: opens one forward.
async fn unwrap(params: &Value) -> Result<Value, Refusal> {
    let options = UnpackOptions {
        unwrap_re_wrapping_forward: false,
        ..Default::default()
    };
    let (message, metadata) = open(params, &options).await?;
    let forward = try_parse_forward(&message)
        .ok_or_else(|| Refusal("None".into(), "try_parse_forward finds no forward".into()))?;
    Ok(json!({
        "next": forward.next,
        "envelope": forward.forwarded_msg,
        "encrypted_to_kids": metadata.encrypted_to_kids,
    }))
}

/// Packs, or opens the envelope that is given, many times over, with all else read
/// once.
async fn bench(params: &Value) -> Result<Value, Refusal> {
    let known = Known::of(params)?;
    let times = params["times"].as_u64().unwrap_or_default();
    if params["envelope"].is_null() {
        let message = message(params, &known).await?;
        let began = processor_time();
        for _ in 0..times {
            envelope(params, &known, &message).await?;
        }
        return Ok(json!({"nanoseconds": processor_time() - began}));
    }
    let envelope = params["envelope"].to_string();
    let options = UnpackOptions::default();
    let began = processor_time();
    for _ in 0..times {
        Message::unpack(&envelope, &known.documents, &known.secrets, &options).await?;
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

async fn operate(op: &str, params: &Value) -> Result<Value, Refusal> {
    match op {
        "hello" => Ok(hello()),
        "pack" => pack(params).await,
        "unpack" => unpack(params).await,
        "unwrap" => unwrap(params).await,
        "bench" => bench(params).await,
        "create_peer_did" | "resolve" => Err(lacks("no DID methods: resolvers are the user's")),
        _ => Err(lacks(format!("operation {op}"))),
    }
}

/// Runs what has nothing to wait for, as the resolvers hold all that they know.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the library waits for something"),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut answers = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let (id, op) = (&request["id"], request["op"].as_str().unwrap_or_default());
        let answer = match now(operate(op, &request["params"])) {
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
