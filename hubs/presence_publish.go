package hubs

import (
	"context"
	"time"
)

// What of presence is published without anybody who waits for it: ends of
// connections that left, and what is announced again.

const (
	presencePatience = 5 * time.Second
	presencePause    = 100 * time.Millisecond
	presenceMost     = 2 * time.Second
)

// PublishPresence publishes an end of presence whose first publish has failed.
func (s *Server) PublishPresence(e *Entry) { s.publishLater(e) }

// publishLater publishes an entry behind those before it, again and again while
// the Backplane is away. It doesn't block.
func (s *Server) publishLater(e *Entry) {
	p := &s.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return // the process ends: the Backplane's others publish the ends
	}
	p.due = append(p.due, e)
	if p.working == nil {
		p.working = make(chan struct{})
		go s.publishDue(p.working)
	}
}

// publishDue publishes what is due until there is nothing.
func (s *Server) publishDue(done chan struct{}) {
	defer close(done)
	p := &s.presence
	pause := presencePause
	for {
		p.mu.Lock()
		if len(p.due) == 0 || p.ctx.Err() != nil {
			p.due, p.working = nil, nil
			p.mu.Unlock()
			return
		}
		e := p.due[0]
		p.mu.Unlock()
		ctx, cancel := context.WithTimeout(p.ctx, p.patience)
		_, err := s.Backplane().Publish(ctx, e, PublishOptions{})
		cancel()
		if err != nil {
			s.log.Debug("presence is not published", "hub", s.name, "error", err)
			select {
			case <-time.After(pause):
			case <-p.ctx.Done():
			}
			pause = min(2*pause, presenceMost)
			continue // twice is once: it has a token
		}
		pause = presencePause
		p.mu.Lock()
		if len(p.due) > 0 {
			p.due = p.due[1:]
		}
		p.mu.Unlock()
	}
}

// publishing reports whether something is still to be published.
func (p *presence) publishing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.working != nil
}

// stopPresence waits for what is due, for a while and not beyond ctx, and has nothing
// published any more.
func (s *Server) stopPresence(ctx context.Context) {
	p := &s.presence
	p.mu.Lock()
	working := p.working
	p.mu.Unlock()
	if working != nil {
		timer := time.NewTimer(p.patience)
		defer timer.Stop()
		select {
		case <-working:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	p.stop()
	p.mu.Lock()
	working = p.working
	for _, w := range p.watched {
		w.stop()
	}
	p.mu.Unlock()
	if working != nil {
		<-working
	}
}
