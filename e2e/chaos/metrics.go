package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// metrics are a process's, by name without labels; those that differ in labels
// alone are summed up, and kept with their labels too.
type metrics map[string]float64

// scrape reads a process's metrics.
func (p *process) scrape(ctx context.Context) (metrics, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", p.name, err)
	}
	defer res.Body.Close() //nolint:errcheck // it is read
	all := make(metrics)
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		line := lines.Text()
		cut := strings.LastIndexByte(line, ' ')
		if cut < 0 || line[0] == '#' {
			continue
		}
		value, err := strconv.ParseFloat(line[cut+1:], 64)
		if err != nil {
			continue
		}
		all[line[:cut]] += value
		if name, _, labelled := strings.Cut(line[:cut], "{"); labelled {
			all[name] += value
		}
	}
	return all, nil
}

// sum adds up the values of a metric whose labels have all of the texts in them.
func (m metrics) sum(name string, labels ...string) (sum float64) {
next:
	for key, value := range m {
		if !strings.HasPrefix(key, name+"{") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(key, l) {
				continue next
			}
		}
		sum += value
	}
	return sum
}

// The names of metrics that rows look at.
const (
	metricGoroutines  = "go_goroutines"
	metricFiles       = "process_open_fds"
	metricMemory      = "process_resident_memory_bytes"
	metricHeap        = "go_memstats_heap_inuse_bytes"
	metricConnections = "signalr_server_active_connections"
	metricLosses      = "signalbox_backplane_losses_total"
	metricEntries     = "signalbox_backplane_entries_total"
	metricRefusals    = "signalbox_edge_refusals_total"
)

// hygiene is what a process holds.
type hygiene struct {
	goroutines, files, memory, connections float64
}

func (p *process) hygiene(ctx context.Context) (hygiene, error) {
	m, err := p.scrape(ctx)
	if err != nil {
		return hygiene{}, err
	}
	return hygiene{m[metricGoroutines], m[metricFiles], m[metricMemory], m[metricConnections]}, nil
}
