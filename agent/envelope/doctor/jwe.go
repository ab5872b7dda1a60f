package doctor

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
	"github.com/didcomm-go/didcomm/agent/envelope/internal/jwe"
	"github.com/didcomm-go/didcomm/did"
)

// encrypted examines a JWE.
func (x *exam) encrypted(data []byte) {
	data = bytes.TrimSpace(data)
	env, refused := jwe.Survey(data, jwe.Limits{
		MaxBytes: envelope.DefaultMaxBytes, MaxRecipients: envelope.DefaultMaxRecipients, MaxDepth: envelope.DefaultMaxDepth,
	})
	x.report.Layers = append(x.report.Layers, showJWE(data, env, refused))
	switch {
	case strings.HasPrefix(env.Alg, "ECDH-1PU"):
		x.nest("auth")
	case env.Alg != "":
		x.nest("anon")
	}
	x.refusals(refused)
	kids := !has(refused, "kid-missing", "recipients-missing", "too-many-recipients") && len(env.KIDs) > 0
	for _, d := range env.Deviations {
		value := ""
		switch d.Code {
		case envelope.DeviationAPVMissing, envelope.DeviationAPVMismatch:
			if !kids {
				continue
			}
			value = jose.Base64.EncodeToString(jwe.APV(env.KIDs))
		case envelope.DeviationAPUMissing:
			value = jose.Base64.EncodeToString([]byte(env.SKID))
		case envelope.DeviationSKIDMissing:
			value = env.SKID
		case envelope.DeviationTyp:
			value = jwe.Type
		}
		x.add(string(d.Code), d.Detail, value)
	}
	if env.SKID != "" && !isKey(env.SKID) {
		x.add("skid-not-key", fmt.Sprintf("the sender is %.200q", env.SKID), "")
	}
	if kids {
		x.recipients(env.KIDs)
	}
	if env.Alg == jwe.AlgES && (env.Enc == jwe.XC20P || env.Enc == jwe.A256GCM) {
		x.add("enc-optional", fmt.Sprintf("enc is %s", env.Enc), string(jwe.A256CBCHS512))
	}
}

// recipients checks the kids of a JWE.
func (x *exam) recipients(kids []string) {
	for _, kid := range kids {
		if !isKey(kid) {
			x.add("kid-not-key", fmt.Sprintf("a recipient's kid is %.200q", kid), "")
		}
		if did.Base(kid) != did.Base(kids[0]) {
			x.add(string(envelope.DeviationMixedDIDs), fmt.Sprintf("keys of %.200s and of %.200s", did.Base(kids[0]), did.Base(kid)), "")
		}
	}
	if !slices.IsSorted(kids) {
		x.add("recipients-unsorted", "the recipients are not in the order of their kids", strings.Join(slices.Sorted(slices.Values(kids)), " "))
	}
}

// refusals adds a finding for each reason to refuse a JWE or JWS.
func (x *exam) refusals(refused []jose.Refusal) {
	for _, r := range refused {
		// alg is missing in the protected header because it is in an unprotected one.
		if (r.Code == "alg-unsupported" || r.Code == "enc-unsupported") && has(refused, "alg-unprotected") {
			continue
		}
		value := ""
		if r.Code == "authcrypt-enc" {
			value = string(jwe.A256CBCHS512)
		}
		x.add(string(r.Code), r.Err.Error(), value)
	}
}

func has(refused []jose.Refusal, codes ...string) bool {
	return slices.ContainsFunc(refused, func(r jose.Refusal) bool { return slices.Contains(codes, string(r.Code)) })
}

// isKey reports whether a kid is a DID URL with a fragment.
func isKey(kid string) bool {
	u, err := did.ParseURL(kid)
	return err == nil && u.Fragment != ""
}

func showJWE(data []byte, env *jwe.Envelope, refused []jose.Refusal) Layer {
	l := Layer{Kind: Encrypted, Bytes: len(data), Sender: env.SKID}
	if has(refused, "too-large", "too-deep", "too-many-recipients") {
		return l
	}
	var a anatomy
	a, l.Serialization = dissect(data)
	l.Protected, l.Unprotected = object(decoded(a.Protected)), object(a.Unprotected)
	l.ContentBytes = len(decoded(a.Ciphertext))
	each := elements(a.Recipients)
	for i, kid := range env.KIDs {
		r := Recipient{KID: kid, Header: object(a.Header), EncryptedKeyBytes: len(decoded(a.EncryptedKey))}
		if i < len(each) {
			r.Header, r.EncryptedKeyBytes = object(each[i].Header), len(decoded(each[i].EncryptedKey))
		}
		l.Recipients = append(l.Recipients, r)
	}
	return l
}
