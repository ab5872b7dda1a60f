package server_test

import (
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/cmd/internal/server"
	"github.com/didcomm-go/didcomm/did"
)

func TestCheck(t *testing.T) {
	good := server.Config{
		Listen: "127.0.0.1:0", MaxBytes: 1, ReadTimeout: time.Second, DeliverWithin: time.Hour, KeepReceived: time.Hour,
		ReportBurst: 1, ReportsPerHour: 1, AnswerBurst: 1, AnswersPerHour: 1,
		StrangerWithin: time.Minute, StrangerTries: 1, RefusedTries: 1, HostTries: 1, StrangerBytes: 1,
		Documents: did.CacheConfig{Lifetime: time.Hour, Strangers: did.StrangerLimits{PerMinute: 1, HostPerMinute: 1}},
		Home:      home.Config{MaxItems: 1, MaxBytes: 1, MaxRemembered: 1},
	}
	mediator := server.MediatorConfig{
		On: true, MaxAge: time.Hour, MaxAccounts: 1, MaxMessages: 1, MaxBytes: 1,
		BoxMessages: 1, BoxBytes: 1, PairMessages: 1, PairBytes: 1, SenderMessages: 1, SenderBytes: 1,
	}
	for name, tt := range map[string]struct {
		change func(*server.Config)
		ok     bool
	}{
		"good":                       {func(*server.Config) {}, true},
		"any address":                {func(c *server.Config) { c.Listen = ":0" }, false},
		"any address, public URL":    {func(c *server.Config) { c.Listen, c.PublicURL = ":0", "https://a.example" }, true},
		"any address, did:web":       {func(c *server.Config) { c.Listen, c.DID = "[::]:0", "did:web:a.example" }, true},
		"did:web of nothing":         {func(c *server.Config) { c.DID = "did:web:" }, false},
		"another DID":                {func(c *server.Config) { c.DID = "did:example:a" }, false},
		"no port":                    {func(c *server.Config) { c.Listen = "127.0.0.1" }, false},
		"URL of a check":             {func(c *server.Config) { c.PublicURL = "https://a.example/readyz" }, false},
		"origins":                    {func(c *server.Config) { c.AllowOrigins = []string{"https://a.example", "http://b:80", "*"} }, true},
		"origin with a path":         {func(c *server.Config) { c.AllowOrigins = []string{"https://a.example/"} }, false},
		"origin without a scheme":    {func(c *server.Config) { c.AllowOrigins = []string{"a.example"} }, false},
		"origin in upper case":       {func(c *server.Config) { c.AllowOrigins = []string{"https://A.example"} }, false},
		"proxies":                    {func(c *server.Config) { c.Limits.TrustedProxies = []string{"10.0.0.0/8", "::1", "127.0.0.1"} }, true},
		"proxy by name":              {func(c *server.Config) { c.Limits.TrustedProxies = []string{"proxy"} }, false},
		"proxy with a port":          {func(c *server.Config) { c.Limits.TrustedProxies = []string{"127.0.0.1:80"} }, false},
		"fewer than no connections":  {func(c *server.Config) { c.Limits.MaxConns = -1 }, false},
		"key without certificate":    {func(c *server.Config) { c.TLSKey = "k" }, false},
		"clients without TLS":        {func(c *server.Config) { c.ClientCA = "ca" }, false},
		"URL of the health check":    {func(c *server.Config) { c.PublicURL = "https://a.example/healthz" }, false},
		"URL of the invitation":      {func(c *server.Config) { c.PublicURL = "https://a.example/invitation" }, false},
		"URL of a document":          {func(c *server.Config) { c.PublicURL = "https://a.example/x/did.json" }, false},
		"URL that is a pattern":      {func(c *server.Config) { c.PublicURL = "https://a.example/:x" }, false},
		"URL with user":              {func(c *server.Config) { c.PublicURL = "https://u@a.example/" }, false},
		"URL with a port":            {func(c *server.Config) { c.PublicURL = "https://a.example:65535/" }, true},
		"URL with no such port":      {func(c *server.Config) { c.PublicURL = "https://a.example:65536/" }, false},
		"URL without host":           {func(c *server.Config) { c.PublicURL = "https:///x" }, false},
		"nothing may be large":       {func(c *server.Config) { c.MaxBytes = 0 }, false},
		"no room for a message":      {func(c *server.Config) { c.UnreadBytes = 1 }, false},
		"room for a message":         {func(c *server.Config) { c.UnreadBytes = 2 }, true},
		"nobody may take their time": {func(c *server.Config) { c.ReadTimeout = 0 }, false},
		"no time to deliver":         {func(c *server.Config) { c.DeliverWithin = 0 }, false},
		"no time for strangers":      {func(c *server.Config) { c.StrangerWithin = 0 }, false},
		"no byte for strangers":      {func(c *server.Config) { c.StrangerBytes = 0 }, false},
		"nothing is remembered":      {func(c *server.Config) { c.KeepReceived = 0 }, false},
		"no report at once":          {func(c *server.Config) { c.ReportBurst = 0 }, false},
		"no report later":            {func(c *server.Config) { c.ReportsPerHour = -1 }, false},
		"no answer at once":          {func(c *server.Config) { c.AnswerBurst = 0 }, false},
		"no answer later":            {func(c *server.Config) { c.AnswersPerHour = 0 }, false},
		"no document is kept":        {func(c *server.Config) { c.Documents.Lifetime = 0 }, false},
		"no document is fetched":     {func(c *server.Config) { c.Documents.Strangers.PerMinute = 0 }, false},
		"none from a host":           {func(c *server.Config) { c.Documents.Strangers.HostPerMinute = 0 }, false},
		"no message may wait":        {func(c *server.Config) { c.Home.MaxItems = 0 }, false},
		"no byte may wait":           {func(c *server.Config) { c.Home.MaxBytes = 0 }, false},
		"mediator without limits":    {func(c *server.Config) { c.Mediator.On = true }, false},
		"mediator":                   {func(c *server.Config) { c.Mediator = mediator }, true},
		"rate below 0":               {func(c *server.Config) { c.Mediator.ForwardsOfSender = -1 }, false},
		"next hop":                   {func(c *server.Config) { c.Mediator.NextHops = []string{"did:web:hop.example"} }, true},
		"next hop that is no DID":    {func(c *server.Config) { c.Mediator.NextHops = []string{"hop.example"} }, false},
		"behind a mediator":          {func(c *server.Config) { c.Via, c.Listen = "did:web:mediator.example", ":0" }, true},
		"behind a short URL":         {func(c *server.Config) { c.Via = "https://mediator.example/?_oobid=a" }, true},
		"behind nothing":             {func(c *server.Config) { c.Via = "mediator.example" }, false},
		"a mediator behind another":  {func(c *server.Config) { c.Via, c.Mediator = "did:web:mediator.example", mediator }, false},
		"public behind a mediator":   {func(c *server.Config) { c.Via, c.PublicURL = "did:web:mediator.example", "https://a.example" }, false},
		"named behind a mediator":    {func(c *server.Config) { c.Via, c.DID = "did:web:mediator.example", "did:web:a.example" }, false},
		"no byte behind a mediator":  {func(c *server.Config) { c.Via, c.MaxBytes = "did:web:mediator.example", 0 }, false},
	} {
		c := good
		tt.change(&c)
		if err := c.Check(); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
