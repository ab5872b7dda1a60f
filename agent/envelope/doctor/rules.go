package doctor

import "slices"

// Severity says how bad a finding is.
type Severity string

// Severities, the worst first.
const (
	// Error: the specification forbids the message, or the message cannot be opened. Some
	// receivers refuse such messages. This library opens them if the fault is harmless.
	Error Severity = "error"
	// Warning: the specification advises against such a message, or some receivers have
	// problems with it.
	Warning Severity = "warning"
	// Info: the specification permits the message, but some receivers do not support the
	// feature.
	Info Severity = "info"
)

func (s Severity) rank() int {
	switch s {
	case Error:
		return 2
	case Warning:
		return 1
	}
	return 0
}

// Rule is a rule that messages are checked against. Its code is stable, so that scripts can
// compare it. The code of a rule whose breach Unpack tolerates is the code of the deviation.
type Rule struct {
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	Clause   string   `json:"clause"`
	Fix      string   `json:"fix"`
}

// Rules returns all rules that messages are checked against.
func Rules() []Rule { return slices.Concat(joseRules(), plaintextRules(), openRules()) }

// find returns the rule of a code. For a code that is not listed it returns a rule of
// severity Error without clause and fix.
func find(code string) Rule {
	for _, r := range Rules() {
		if r.Code == code {
			return r
		}
	}
	return Rule{Code: code, Severity: Error}
}

// Clauses that several rules come from.
const (
	spec = "DIDComm v2.1, "

	encryption = spec + "Message Encryption"
	wrapping   = spec + "ECDH-1PU and ECDH-ES key wrapping and common protected headers"
	authWraps  = spec + "ECDH-1PU key wrapping and common protected headers"
	contentEnc = spec + "Curves and Content Encryption Algorithms"
	keyWraps   = spec + "Key Wrapping Algorithms"
	keyIDs     = spec + "Key IDs"
	mediaTypes = spec + "IANA Media Types"
	signing    = spec + "Message Signing, Construction"
	signAlgs   = spec + "Message Signing, Algorithms"
	signedMsgs = spec + "DIDComm Signed Messages"
	headers    = spec + "Message Headers"
	addressing = spec + "Message Layer Addressing Consistency"
	attached   = spec + "Attachments"
	routing    = spec + "Routing Protocol 2.0, Messages"
	practice   = "no clause: what receivers are known to take"
)

func joseRules() []Rule {
	return []Rule{
		// Both formats.
		{Code: "malformed", Severity: Error, Clause: "RFC 7515 and RFC 7516, section 7", Fix: "send a JWE, a JWS or a message as JSON, its parts in base64url"},
		{Code: "too-large", Severity: Error, Clause: practice, Fix: "send less than 5 MiB; attach large content by links"},
		{Code: "too-deep", Severity: Error, Clause: practice, Fix: "nest objects and arrays no deeper than 64"},
		{Code: "duplicate-member", Severity: Error, Clause: "RFC 7515 and RFC 7516, section 4; RFC 8259, section 4", Fix: "name each member of an object once"},
		{Code: "nesting", Severity: Error, Clause: mediaTypes, Fix: "sign first, then encrypt; put anoncrypt around one authcrypt or one signature, and nothing else around anything"},
		{Code: "authcrypt-of-signed", Severity: Warning, Clause: mediaTypes, Fix: "put the signed message into anoncrypt alone"},
		{Code: "serialization", Severity: Error, Clause: encryption + "; Message Signing, Construction", Fix: "use the General JSON serialization"},
		{Code: "base64-padding", Severity: Error, Clause: "RFC 7515, section 2", Fix: "leave the = padding out of base64url"},
		{Code: "envelope-typ", Severity: Warning, Clause: spec + "DIDComm Encrypted Messages; DIDComm Signed Messages", Fix: "set in the protected header typ"},
		{Code: "alg-unprotected", Severity: Error, Clause: wrapping + "; RFC 7515, section 10.7", Fix: "move alg and enc into the protected header"},
		{Code: "crit", Severity: Error, Clause: "RFC 7515, section 4.1.11", Fix: "leave crit and b64 out: DIDComm has no extension that must be understood"},
		{Code: "kid-missing", Severity: Error, Clause: keyIDs + "; Message Signing, Construction", Fix: "name each key in kid: the DID URL of its verification method"},

		// Encrypted.
		{Code: "jwe-incomplete", Severity: Error, Clause: "RFC 7516, section 7.2.1", Fix: "send protected, iv, ciphertext and tag"},
		{Code: "recipients-missing", Severity: Error, Clause: "RFC 7516, section 7.2.1", Fix: "list each recipient's key in recipients"},
		{Code: "too-many-recipients", Severity: Error, Clause: practice, Fix: "encrypt for at most 100 keys in one envelope"},
		{Code: "alg-unsupported", Severity: Error, Clause: keyWraps, Fix: "use ECDH-1PU+A256KW (authcrypt) or ECDH-ES+A256KW (anoncrypt)"},
		{Code: "enc-unsupported", Severity: Error, Clause: contentEnc, Fix: "use A256CBC-HS512, or A256GCM or XC20P in anoncrypt"},
		{Code: "enc-optional", Severity: Info, Clause: contentEnc, Fix: "nothing, unless the recipient lacks it; every recipient has enc"},
		{Code: "authcrypt-enc", Severity: Error, Clause: authWraps + "; draft-madden-jose-ecdh-1pu-04, section 2.1", Fix: "make authcrypt by draft-04, whose key derivation has the tag, and with enc"},
		{Code: "iv-tag-size", Severity: Error, Clause: "RFC 7518, section 5; draft-amringer-jose-chacha-02", Fix: "make iv and tag as long as enc says: 16 and 32 bytes for A256CBC-HS512, 12 and 16 for A256GCM, 24 and 16 for XC20P"},
		{Code: "zip", Severity: Error, Clause: practice, Fix: "do not compress: a receiver would have to unpack what nobody has proven yet"},
		{Code: "apv-missing", Severity: Error, Clause: wrapping, Fix: `add apv to the protected header: BASE64URL(SHA256(sorted kids joined with "."))`},
		{Code: "apv-mismatch", Severity: Error, Clause: wrapping, Fix: `make apv BASE64URL(SHA256(sorted kids joined with ".")), of the kids as they stand in recipients`},
		{Code: "apu-missing", Severity: Error, Clause: authWraps, Fix: "add apu to the protected header: BASE64URL(skid)"},
		{Code: "skid-missing", Severity: Warning, Clause: authWraps, Fix: "beside apu, add to the protected header skid"},
		{Code: "sender-missing", Severity: Error, Clause: authWraps, Fix: "name the sender's key in skid and in apu"},
		{Code: "sender-conflict", Severity: Error, Clause: authWraps, Fix: "make apu BASE64URL(skid)"},
		{Code: "skid-not-key", Severity: Error, Clause: keyIDs, Fix: "make skid the DID URL, with fragment, of the sender's key as its document lists it"},
		{Code: "kid-not-key", Severity: Error, Clause: keyIDs, Fix: "make kid the DID URL, with fragment, of the recipient's key as its document lists it"},
		{Code: "kid-alias", Severity: Warning, Clause: keyIDs, Fix: "name the recipient's key as its document does"},
		{Code: "mixed-dids", Severity: Error, Clause: encryption, Fix: "encrypt for each DID on its own"},
		{Code: "recipients-unsorted", Severity: Warning, Clause: practice, Fix: "sort the recipients by kid"},
		{Code: "epk-missing", Severity: Error, Clause: wrapping, Fix: "add epk to the protected header: one ephemeral public key for all recipients"},
		{Code: "epk-conflict", Severity: Error, Clause: wrapping, Fix: "leave the epk of the protected header alone"},
		{Code: "epk-unprotected", Severity: Error, Clause: wrapping, Fix: "make one epk for all recipients and move it into the protected header"},
		{Code: "epk-string", Severity: Error, Clause: "RFC 7518, section 4.6.1.1", Fix: "make epk a JWK, a JSON object"},
		{Code: "epk-short-coordinate", Severity: Error, Clause: "RFC 7518, section 6.2.1.2", Fix: "keep the leading zeros of x and y: 32 bytes for P-256, 48 for P-384, 66 for P-521"},
		{Code: "epk-invalid", Severity: Error, Clause: contentEnc, Fix: "make epk a public key on X25519, P-256, P-384 or P-521, the curve of the recipients' keys"},
		{Code: "epk-low-order", Severity: Error, Clause: "RFC 7748, section 6.1; RFC 8037, section 3.2", Fix: "make a fresh ephemeral key: with this one the secret is zero for everyone"},

		// Signed.
		{Code: "signatures-missing", Severity: Error, Clause: "RFC 7515, section 7.2.1", Fix: "sign, and list the signature in signatures"},
		{Code: "too-many-signatures", Severity: Error, Clause: practice, Fix: "sign at most five times"},
		{Code: "several-signatures", Severity: Info, Clause: signing, Fix: "nothing, if all are the sender's; one is enough"},
		{Code: "sign-alg-unsupported", Severity: Error, Clause: signAlgs, Fix: "sign with EdDSA, ES256 or ES256K"},
		{Code: "sign-alg-extra", Severity: Warning, Clause: signAlgs, Fix: "sign with EdDSA, ES256 or ES256K, which every receiver verifies"},
		{Code: "es256k-high-s", Severity: Warning, Clause: practice, Fix: "send the lower of the two forms of the signature: s or the group order minus s"},
		{Code: "signer-not-key", Severity: Error, Clause: signing, Fix: "make kid the DID URL, with fragment, of an authentication key of the signer"},
		{Code: "kid-conflict", Severity: Error, Clause: signing + "; RFC 7515, section 7.2.1", Fix: "name one key, in the unprotected header"},
		{Code: "kid-twice", Severity: Warning, Clause: "RFC 7515, section 7.2.1", Fix: "leave kid out of the protected header"},
		{Code: "kid-protected", Severity: Info, Clause: signing + "; Appendix C.2", Fix: "move kid into the unprotected header, where the specification's examples have it"},
		{Code: "kid-unprotected", Severity: Info, Clause: signing + "; Appendix C.2", Fix: "nothing, unless the recipient reads the protected header alone"},
		{Code: "signer-mismatch", Severity: Error, Clause: addressing, Fix: "make from the DID of the key that signs, one that its document lists for authentication"},
		{Code: "signed-no-to", Severity: Warning, Clause: signedMsgs, Fix: "say in to for whom the signed message is"},
		{Code: "signed-encrypted-no-to", Severity: Error, Clause: signedMsgs, Fix: "say in to for whom the signed message is"},
	}
}

func plaintextRules() []Rule {
	return []Rule{
		{Code: "message-malformed", Severity: Error, Clause: headers, Fix: "give each header the type that the specification says"},
		{Code: "id-missing", Severity: Error, Clause: spec + "Message IDs", Fix: "add id: a string that is unique, such as a UUID"},
		{Code: "type-missing", Severity: Error, Clause: headers, Fix: "add type: the message type URI"},
		{Code: "type-uri", Severity: Error, Clause: spec + "Message Type URI", Fix: "make type a message type URI: https://didcomm.org/trust-ping/2.0/ping"},
		{Code: "message-typ", Severity: Error, Clause: spec + "DIDComm Plaintext Messages", Fix: "set typ"},
		{Code: "message-typ-missing", Severity: Warning, Clause: spec + "DIDComm Plaintext Messages", Fix: "where a message is neither signed nor encrypted, set typ"},
		{Code: "from-not-did", Severity: Error, Clause: headers, Fix: "make from a DID, or a DID URL without fragment"},
		{Code: "to-not-did", Severity: Error, Clause: headers, Fix: "make each of to a DID, or a DID URL without fragment"},
		{Code: "list-string", Severity: Error, Clause: headers, Fix: "make it a list of strings"},
		{Code: "time-iso8601", Severity: Error, Clause: headers, Fix: "write the time as integer seconds since 1970"},
		{Code: "time-milliseconds", Severity: Error, Clause: headers, Fix: "write the time in seconds since 1970, not in milliseconds"},
		{Code: "time-string", Severity: Error, Clause: headers, Fix: "write the time as a number, without quotes"},
		{Code: "time-float", Severity: Error, Clause: headers, Fix: "write the time as an integer"},
		{Code: "body-missing", Severity: Warning, Clause: headers, Fix: "DIDComm v2.0 demands it: send at least an empty body"},
		{Code: "report-body", Severity: Error, Clause: spec + "Problem Reports", Fix: "make the body an object with the code in it"},
		{Code: "null-member", Severity: Warning, Clause: headers, Fix: "leave a member out that has no value"},
		{Code: "please-ack-boolean", Severity: Error, Clause: spec + "ACKs", Fix: `make please_ack a list of ids; "" is the message itself`},
		{Code: "return-route", Severity: Warning, Clause: "DIDComm extension Return-Route", Fix: "make return_route none, all or thread"},
		{Code: "attachment-no-id", Severity: Warning, Clause: attached, Fix: "give each attachment an id"},
		{Code: "attachment-no-data", Severity: Error, Clause: attached, Fix: "give data one of json, base64 and links"},
		{Code: "attachment-no-hash", Severity: Error, Clause: attached, Fix: "add hash, the multihash of the content, to what is given by links"},
		{Code: "forward-next", Severity: Error, Clause: routing, Fix: "set next in the body: the DID, or the DID URL of a key, to pass the message on to"},
		{Code: "forward-no-attachment", Severity: Error, Clause: routing, Fix: "attach the message to pass on"},
		{Code: "forward-attachments", Severity: Warning, Clause: practice, Fix: "send a forward for each message, with one attachment"},
		{Code: "forward-not-json", Severity: Warning, Clause: practice, Fix: "attach the encrypted message in data.json, as an object"},
		{Code: "forward-please-ack", Severity: Warning, Clause: spec + "Routing Protocol 2.0; ACKs", Fix: "leave please_ack out of forwards"},
	}
}

// openRules are the rules that can be checked only with keys.
func openRules() []Rule {
	return []Rule{
		{Code: "no-key", Severity: Error, Clause: keyIDs, Fix: "encrypt for a key that the recipient's document lists now; or open with the keys that the envelope names"},
		{Code: "decrypt", Severity: Error, Clause: authWraps + "; draft-madden-jose-ecdh-1pu-04, section 2.3", Fix: "encrypt for the key that kid names, change nothing behind it, and derive the key by draft-04: with the tag, its 32-bit length before it (draft-03 has no tag, some libraries leave the length out)"},
		{Code: "signature", Severity: Error, Clause: spec + "Message Signing, Verification", Fix: "sign the bytes that are sent, with the key that kid names"},
		{Code: "sender-mismatch", Severity: Error, Clause: addressing, Fix: "make from the DID of skid, a key that its document lists for keyAgreement"},
		{Code: "recipient-mismatch", Severity: Error, Clause: addressing, Fix: "name the recipient's DID in to"},
		{Code: "from-prior", Severity: Error, Clause: spec + "DID Rotation", Fix: "make from_prior a JWT whose sub is from and whose iss is the prior DID, signed by its authentication key, inside encryption"},
		{Code: "from-prior-kid", Severity: Error, Clause: spec + "DID Rotation; RFC 7515, section 4.1.4", Fix: "make kid in from_prior a whole DID URL: iss with the fragment of its authentication key"},
		{Code: "from-prior-sender", Severity: Error, Clause: addressing, Fix: "once from is the new DID, encrypt with a key of the new DID"},
		{Code: "unresolved", Severity: Error, Clause: "DID Core 1.0, section 7.1", Fix: "use a DID that the recipient can resolve; here, --did-docs or the packer's resolver can add documents"},
		{Code: "not-opened", Severity: Error, Clause: practice, Fix: "see the detail"},
	}
}
