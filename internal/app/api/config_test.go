package api

import (
	"strings"
	"testing"
)

func TestConfig_lists_every_problem_and_no_value(t *testing.T) {
	t.Parallel()
	err := Config{
		DatabaseURL: "mysql://u:hunter2@h/d", RedisURL: "http://hunter2", Addr: "hunter2", AdminAddr: "127.0.0.1:1", InternalAddr: "127.0.0.1:2",
		FleetSecret: "hunter2", SealingKey: "aHVudGVyMg==", ConsoleURL: "hunter2", ServiceURL: "https://a.example/hunter2",
		SMTPURL: "http://hunter2", LogLevel: "loud", SignUpsPerHour: -1,
	}.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, name := range []string{
		"DATABASE_URL", "REDIS_URL", "SIGNALBOX_API_ADDR", "SIGNALBOX_FLEET_SECRET", "SIGNALBOX_SEALING_KEY", "SIGNALBOX_CONSOLE_URL",
		"SIGNALBOX_SERVICE_URL", "SIGNALBOX_SMTP_URL", "SIGNALBOX_LOG_LEVEL", "SIGNALBOX_SIGNUPS_PER_HOUR",
	} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a value is shown: %v", err)
	}
}

func TestReadConfig_names_what_is_missing(t *testing.T) {
	for _, name := range []string{"DATABASE_URL", "REDIS_URL", "SIGNALBOX_FLEET_SECRET", "SIGNALBOX_SEALING_KEY", "SIGNALBOX_CONSOLE_URL", "SIGNALBOX_SERVICE_URL"} {
		t.Setenv(name, "")
	}
	_, err := ReadConfig()
	if err == nil {
		t.Fatal("no error")
	}
	for _, name := range []string{"DATABASE_URL", "REDIS_URL", "SIGNALBOX_FLEET_SECRET", "SIGNALBOX_SEALING_KEY", "SIGNALBOX_CONSOLE_URL", "SIGNALBOX_SERVICE_URL"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
}
