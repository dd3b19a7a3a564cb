package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"
)

const (
	// feedInterval is how often this machine is sampled.
	feedInterval = time.Second
	// feedTimeout bounds one publish.
	feedTimeout = 5 * time.Second
	// feedTarget is the client method that gets the samples.
	feedTarget = "sample"
)

// sample is what clients of hub "machine" get.
type sample struct {
	Time              time.Time `json:"time"`
	CPUPercent        float64   `json:"cpu_percent"` // of all cores together, 0 to 100
	MemoryUsedBytes   uint64    `json:"memory_used_bytes"`
	MemoryTotalBytes  uint64    `json:"memory_total_bytes"`
	ReceivedPerSecond float64   `json:"network_received_bytes_per_second"` // all interfaces but loopback
	SentPerSecond     float64   `json:"network_sent_bytes_per_second"`
}

// machine samples this machine; each sample covers the time since the last one.
type machine struct {
	last           time.Time
	received, sent uint64
}

// read takes the next sample. The first one of a machine covers no time: drop it.
func (m *machine) read(ctx context.Context) (sample, error) {
	used, err := cpu.PercentWithContext(ctx, 0, false)
	if err != nil || len(used) == 0 {
		return sample{}, fmt.Errorf("read CPU time: %w", err)
	}
	memory, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return sample{}, fmt.Errorf("read memory: %w", err)
	}
	interfaces, err := net.IOCountersWithContext(ctx, true)
	if err != nil {
		return sample{}, fmt.Errorf("read network counters: %w", err)
	}
	var received, sent uint64
	for _, i := range interfaces {
		if i.Name != "lo" && i.Name != "lo0" {
			received += i.BytesRecv
			sent += i.BytesSent
		}
	}
	now := time.Now()
	s := sample{Time: now.UTC(), CPUPercent: used[0], MemoryUsedBytes: memory.Used, MemoryTotalBytes: memory.Total}
	if seconds := now.Sub(m.last).Seconds(); !m.last.IsZero() && seconds > 0 {
		s.ReceivedPerSecond = float64(received-min(received, m.received)) / seconds
		s.SentPerSecond = float64(sent-min(sent, m.sent)) / seconds
	}
	m.last, m.received, m.sent = now, received, sent
	return s, nil
}

// feed publishes samples to the demo tenant as any backend would, through the
// public REST API, until ctx ends.
func feed(ctx context.Context, serviceURL, accessKey string, logger *slog.Logger) {
	client := &http.Client{Timeout: feedTimeout}
	address := serviceURL + "/api/v1/hubs/" + feedHub
	ticker := time.NewTicker(feedInterval)
	defer ticker.Stop()
	var m machine
	_, failing := m.read(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		s, err := m.read(ctx)
		if err == nil {
			err = publishSample(ctx, client, address, accessKey, s)
		}
		if ctx.Err() != nil {
			return
		}
		// One line when it begins to fail, one when it works again.
		switch {
		case err != nil && failing == nil:
			logger.WarnContext(ctx, "sample feed does not get through", "error", err)
		case err == nil && failing != nil:
			logger.InfoContext(ctx, "sample feed gets through")
		}
		failing = err
	}
}

func publishSample(ctx context.Context, client *http.Client, address, accessKey string, s sample) error {
	body, err := json.Marshal(map[string]any{"target": feedTarget, "arguments": []sample{s}})
	if err != nil {
		return fmt.Errorf("encode sample: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("publish sample: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+accessKey)
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("publish sample: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // read below
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1000))
	if err != nil {
		return fmt.Errorf("publish sample: %w", err)
	}
	if response.StatusCode != http.StatusAccepted {
		return fmt.Errorf("publish sample: status %d: %s", response.StatusCode, bytes.TrimSpace(answer))
	}
	return nil
}
