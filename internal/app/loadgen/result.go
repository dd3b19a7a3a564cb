package loadgen

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what one run has measured. Latencies are from when a publish was due
// to when a client had read it; CPU and memory are those of Config.PIDs.
type Result struct {
	Config Config `json:"-"`

	Connections       int     `json:"connections"`
	ConnectsPerSecond float64 `json:"connects_per_second"`
	ConnectCPU        float64 `json:"connect_cpu_seconds"`

	Publishes           int     `json:"publishes"`
	PublishesPerSecond  float64 `json:"publishes_per_second"`
	DeliveriesPerSecond float64 `json:"deliveries_per_second"`
	MessagesPerRead     float64 `json:"messages_per_read"`
	P50                 float64 `json:"p50_ms"`
	P99                 float64 `json:"p99_ms"`
	Max                 float64 `json:"max_ms"`

	CPU                 float64 `json:"cpu_seconds"`
	CPUPerMillion       float64 `json:"cpu_seconds_per_million_deliveries"`
	Memory              int64   `json:"memory_bytes"`
	MemoryPerConnection float64 `json:"memory_bytes_per_connection"`

	Lost    int `json:"lost"`    // deliveries that didn't come within 10 s
	Ended   int `json:"ended"`   // connections that ended by themselves
	Refused int `json:"refused"` // answers 429 and 503, each waited out

	// Received are the messages, stamped with ClockStamp by somebody else, that
	// came while idle connections were held. Latencies are theirs.
	Received int `json:"received"`
}

// hold takes over what came while connections were held.
func (r *Result) hold(m *measure) {
	latencies, received, _ := m.total()
	r.latencies(latencies)
	r.Received = received
	m.mu.Lock()
	defer m.mu.Unlock()
	r.Refused = m.refused
}

func (r *Result) latencies(h *hdrhistogram.Histogram) {
	milliseconds := func(µs int64) float64 { return float64(µs) / 1000 }
	r.P50, r.P99, r.Max = milliseconds(h.ValueAtQuantile(50)), milliseconds(h.ValueAtQuantile(99)), milliseconds(h.Max())
}

// fill takes over what the publishing has measured.
func (r *Result) fill(m *measure, latencies *hdrhistogram.Histogram, elapsed time.Duration, within int) {
	r.latencies(latencies)
	r.DeliveriesPerSecond = float64(within) / elapsed.Seconds()
	r.Lost = m.lost()
	m.mu.Lock()
	defer m.mu.Unlock()
	r.Publishes, r.Refused = m.publish, m.refused
	r.PublishesPerSecond = float64(m.publish) / elapsed.Seconds()
}

// Write prints the result: as one line of name=value pairs, or as JSON.
func (r Result) Write(w io.Writer) error {
	if r.Config.JSON {
		return json.NewEncoder(w).Encode(r)
	}
	line := fmt.Sprintf("transport=%s protocol=%s connections=%d connects/s=%.0f", r.Config.Transport, r.Config.Protocol, r.Connections, r.ConnectsPerSecond)
	if r.Config.Duration > 0 {
		line += fmt.Sprintf(" publishes/s=%.0f deliveries/s=%.0f p50=%.2fms p99=%.2fms max=%.2fms messages/read=%.2f lost=%d refused=%d",
			r.PublishesPerSecond, r.DeliveriesPerSecond, r.P50, r.P99, r.Max, r.MessagesPerRead, r.Lost, r.Refused)
	}
	if r.Received > 0 {
		line += fmt.Sprintf(" received=%d p50=%.2fms p99=%.2fms max=%.2fms", r.Received, r.P50, r.P99, r.Max)
	}
	if len(r.Config.PIDs) > 0 {
		line += fmt.Sprintf(" cpu/connect=%.0fµs cpu=%.2fs cpu/million=%.2fs rss/connection=%.1fKB",
			1e6*r.ConnectCPU/float64(max(1, r.Connections)), r.CPU, r.CPUPerMillion, r.MemoryPerConnection/1024)
	}
	_, err := fmt.Fprintf(w, "%s ended=%d\n", line, r.Ended)
	return err
}
