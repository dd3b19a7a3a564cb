package transport

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/signalbox/signalbox/hubs"
)

func TestPollsLoseNothing(t *testing.T) {
	t.Parallel()
	write := func(t *testing.T, p *pollingState, s string) {
		t.Helper()
		if err := p.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(t *testing.T, own *poll, want string) {
		t.Helper()
		select {
		case a := <-own.answer:
			if string(a.data) != want || a.ended {
				t.Errorf("the poll is answered %q, ended %v; want %q", a.data, a.ended, want)
			}
		default:
			t.Errorf("the poll has no answer, want %q", want)
		}
	}
	t.Run("what is written after the client gave its poll up is for the next", func(t *testing.T) {
		t.Parallel()
		p := newPollingState(newPipe())
		own := p.begin()
		if !p.Ready() || !p.withdraw(own) || p.Ready() {
			t.Fatal("the poll can't be withdrawn")
		}
		write(t, p, "one")
		write(t, p, "two")
		expect(t, p.begin(), "onetwo")
	})
	t.Run("an answer that nobody was there for is for the next, in order", func(t *testing.T) {
		t.Parallel()
		p := newPollingState(newPipe())
		own := p.begin()
		write(t, p, "one")
		a := <-own.answer
		write(t, p, "two")
		if !p.putBack(own, a.data) {
			t.Fatal("the answer isn't taken back")
		}
		expect(t, p.begin(), "onetwo")
	})
	t.Run("an answer isn't taken back behind a later poll's", func(t *testing.T) {
		t.Parallel()
		p := newPollingState(newPipe())
		own := p.begin()
		write(t, p, "one")
		a := <-own.answer
		later := p.begin()
		write(t, p, "two")
		expect(t, later, "two")
		if p.putBack(own, a.data) {
			t.Error("the order is lost")
		}
	})
	t.Run("the end waits for what hasn't been fetched", func(t *testing.T) {
		t.Parallel()
		p := newPollingState(newPipe())
		p.withdraw(p.begin())
		write(t, p, "last words")
		p.Close(hubs.EndNormal)
		expect(t, p.begin(), "last words")
		if p.begin() != nil {
			t.Error("there is a poll after the end")
		}
	})
	t.Run("an abort doesn't", func(t *testing.T) {
		t.Parallel()
		p := newPollingState(newPipe())
		p.withdraw(p.begin())
		write(t, p, "x")
		p.Abort()
		if p.begin() != nil {
			t.Error("there is a poll after the end")
		}
		w := httptest.NewRecorder()
		if p.refuse(w); w.Code != http.StatusNotFound {
			t.Errorf("a poll is answered %d", w.Code)
		}
	})
}
