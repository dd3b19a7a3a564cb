package adminapi

import "testing"

func TestSpecIsValid(t *testing.T) {
	if _, err := Spec(); err != nil {
		t.Fatal(err)
	}
}
