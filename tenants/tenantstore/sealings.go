package tenantstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

// sealedBy has the columns that say what a kind's values are sealed for; ” = none.
var sealedBy = map[string][3]string{
	"access_keys.sealed_secret":     {"tenant_id", "id", "''"},
	"webhook_secrets.sealed_secret": {"tenant_id", "id", "''"},
	"second_factors.sealed_secret":  {"user_id", "''", "''"},
	"operators.sealed_secret":       {"id", "''", "''"},
	"idempotent_requests.answer":    {"user_id", "account_id", "key"},
	"mail_outbox.sealed":            {"id", "''", "''"},
}

// sealedColumn splits a kind; row is an expression that names its rows, in an order.
func sealedColumn(kind string) (table, column, row string, ids [3]string, err error) {
	ids, known := sealedBy[kind]
	if !known {
		return "", "", "", ids, fmt.Errorf("no such kind of sealed values: %s", kind)
	}
	table, column, _ = strings.Cut(kind, ".")
	return table, column, "concat_ws('/', " + strings.Join(ids[:], ", ") + `) COLLATE "C"`, ids, nil
}

// SealedValues implements tenants.Sealings.
func (s *Store) SealedValues(ctx context.Context, kind string, head []byte, after string, limit int) ([]tenants.SealedValue, error) {
	table, column, row, ids, err := sealedColumn(kind)
	if err != nil {
		return nil, err
	}
	return many(ctx, s, "sealed values", func(r pgx.CollectableRow) (v tenants.SealedValue, err error) {
		var name string
		var of [3]string
		var sealed []byte
		if err := r.Scan(&name, &of[0], &of[1], &of[2], &sealed); err != nil {
			return v, err
		}
		return tenants.NewSealedValue(kind, name, of, sealed), nil
	}, "SELECT "+row+", "+strings.Join(ids[:], ", ")+", "+column+" FROM "+table+
		" WHERE "+row+" > $1 AND substring("+column+" FROM 1 FOR octet_length($2::bytea)) <> $2 ORDER BY 1 LIMIT $3", after, head, limit)
}

// CountSealed implements tenants.Sealings.
func (s *Store) CountSealed(ctx context.Context, kind string, head []byte) (int, error) {
	table, column, _, _, err := sealedColumn(kind)
	if err != nil {
		return 0, err
	}
	return one(ctx, s, "sealed values", pgx.RowTo[int], "SELECT count(*) FROM "+table+" WHERE substring("+column+" FROM 1 FOR octet_length($1::bytea)) = $1", head)
}

// Reseal implements tenants.Sealings.
func (s *Store) Reseal(ctx context.Context, kind string, v tenants.SealedValue, with []byte) (bool, error) {
	table, column, row, _, err := sealedColumn(kind)
	if err != nil {
		return false, err
	}
	tag, err := s.db.Exec(ctx, "UPDATE "+table+" SET "+column+" = $3 WHERE "+row+" = $1 AND "+column+" = $2", v.Row, v.Sealed, with)
	if err != nil {
		return false, postgres.Error("reseal", err)
	}
	return tag.RowsAffected() == 1, nil
}
