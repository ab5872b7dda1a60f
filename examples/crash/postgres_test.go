//go:build crash

package crash_test

import (
	"context"
	"errors"

	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

func openPostgres(context.Context, string, sqlstore.Config) (*sqlstore.Store, error) {
	return nil, errors.New("later")
}
