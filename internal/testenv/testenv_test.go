package testenv_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/testenv"
)

func TestEmptyPostgres_databases_are_apart(t *testing.T) {
	testenv.Goroutines(t)
	for range 2 {
		conn, err := pgx.Connect(t.Context(), testenv.EmptyPostgres(t))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		if _, err := conn.Exec(t.Context(), "CREATE TABLE mine (id int)"); err != nil {
			t.Errorf("the second database has the first one's table: %v", err)
		}
	}
}

func TestPostgres_has_the_migrations(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var plans int
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM plans").Scan(&plans); err != nil || plans == 0 {
		t.Errorf("plans = %d, %v; want those of the migrations", plans, err)
	}
}

func TestRedis_servers_are_apart(t *testing.T) {
	t.Parallel()
	for range 2 {
		options, err := redis.ParseURL(testenv.Redis(t))
		if err != nil {
			t.Fatal(err)
		}
		client := redis.NewClient(options)
		defer client.Close()
		if made, err := client.SetNX(t.Context(), "mine", 1, 0).Result(); err != nil || !made {
			t.Errorf("SET NX = %v, %v; want a server without the key", made, err)
		}
	}
}

func TestStartRedis_stop_takes_the_server_away(t *testing.T) {
	t.Parallel()
	url, stop := testenv.StartRedis(t)
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	options.MaxRetries = -1
	client := redis.NewClient(options)
	defer client.Close()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Error("Redis answered after its stop")
	}
}
