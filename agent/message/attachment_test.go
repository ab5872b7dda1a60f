package message_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/didcomm-go/didcomm/agent/message"
)

func TestAttachmentBytes(t *testing.T) {
	type D = message.AttachmentData
	for _, test := range []struct {
		data D
		want string
		ok   bool
	}{
		// The padded example of section Attachments.
		{D{Base64: "WW91ciBob3ZlcmNyYWZ0IGlzIGZ1bGwgb2YgZWVscw=="}, "Your hovercraft is full of eels", true},
		{D{Base64: "WW91ciBob3ZlcmNyYWZ0IGlzIGZ1bGwgb2YgZWVscw"}, "Your hovercraft is full of eels", true},
		{D{Base64: "-_8"}, "\xfb\xff", true},
		{D{Base64: "+/8="}, "\xfb\xff", true},
		{D{JSON: json.RawMessage(`{"a": 1}`)}, `{"a": 1}`, true},
		{D{JSON: json.RawMessage(`1`), Links: []string{"x"}}, `1`, true},
		{D{Base64: "-/8"}, "", false},
		{D{Base64: "a"}, "", false},
		{D{Base64: "?"}, "", false},
		{D{Links: []string{"https://example.com"}}, "", false},
		{D{}, "", false},
	} {
		got, err := test.data.Bytes()
		if test.ok && (err != nil || string(got) != test.want) || !test.ok && !errors.Is(err, message.ErrInvalid) {
			t.Errorf("%+v: %q %v", test.data, got, err)
		}
	}
}

func TestVerifyHash(t *testing.T) {
	content := []byte("hello world")
	const (
		// sha256sum and sha512sum of the content, with the multihash head.
		sha256 = "1220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
		sha512 = "1340309ecc489c12d6eb4cc40f50c902f2b4d0ed77ee511a7c7a9bcd3ca86d4cd86f989dd35bc5ff499670da34255b45b0cfd830e81f605dcf7dc5542e93ae9cd76f"
		bare   = "QmaozNR7DZHQK1ZcU9p7QdrshMvXqWK6gpu5rmrkPdT3L4"
	)
	if got := message.Hash(content); got != "z"+bare {
		t.Errorf("got %s", got)
	}
	for _, test := range []struct {
		hash string
		want error
	}{
		{sha256, nil},
		{"f" + sha256, nil},
		{sha512, nil},
		{bare, nil},
		{"z" + bare, nil},
		{"uEiC5TSe5k00-CKUuUtfafav6xITv43pTgO6QiPes4u_N6Q", nil},
		{"mEiC5TSe5k00+CKUuUtfafav6xITv43pTgO6QiPes4u/N6Q", nil},
		{"bciqlstjhxgju2pqiuuxffv62pwv7vree57rxuu4a52iir55m4lx432i", nil},
		{message.Hash(content), nil},
		{message.Hash([]byte("other")), message.ErrHash},
		{"1220" + sha512[4:68], message.ErrHash},
		{"", message.ErrInvalid},
		{"z", message.ErrInvalid},
		{"zQm0", message.ErrInvalid},
		{"Q" + bare, message.ErrInvalid},
		{"x", message.ErrInvalid},
		{"zQm", message.ErrInvalid},
		{"1220b9", message.ErrInvalid},
		{sha256 + "00", message.ErrInvalid},
		{"f1114" + sha256[4:44], message.ErrInvalid}, // SHA-1
		{"b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9", message.ErrInvalid},
		{string(make([]byte, 257)), message.ErrInvalid},
	} {
		if err := (message.AttachmentData{Hash: test.hash}).VerifyHash(content); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", test.hash, err, test.want)
		}
	}
}
