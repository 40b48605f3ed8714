// Command mapping asks the real statsd_exporter what it makes of mapping files, names and events.
//
// It reads a list of cases from standard input as JSON and writes as many answers to standard output. What it answers
// about a mapping is what the exporter would hand to Prometheus' client: names escaped, defaults resolved.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/statsd_exporter/pkg/event"
	"github.com/prometheus/statsd_exporter/pkg/exporter"
	"github.com/prometheus/statsd_exporter/pkg/mapper"
)

// Case is a mapping file, names to look up under it, and events to add up under it.
type Case struct {
	Config  string      `json:"config"`
	Queries [][2]string `json:"queries"`
	Events  []Event     `json:"events"`
}

// Event is one sample, as the line parser would hand it on: timers in seconds.
type Event struct {
	Type     string            `json:"type"`
	Name     string            `json:"name"`
	Value    float64           `json:"value"`
	Relative bool              `json:"relative"`
	Labels   map[string]string `json:"labels"`
}

// Answer is what became of a case.
type Answer struct {
	Error       string     `json:"error,omitempty"`
	Mappings    []*Mapping `json:"mappings"`
	Text        string     `json:"text,omitempty"`
	OpenMetrics string     `json:"openMetrics,omitempty"`
	Conflicts   float64    `json:"conflicts"`
	Errors      float64    `json:"errors"`
}

// Mapping is what a name is mapped to. It is null where no rule matches.
type Mapping struct {
	Drop       bool              `json:"drop"`
	Empty      bool              `json:"empty"`
	Name       string            `json:"name"`
	Labels     map[string]string `json:"labels"`
	Help       string            `json:"help"`
	Honor      bool              `json:"honor"`
	TTL        int64             `json:"ttl"`
	Scale      *float64          `json:"scale"`
	Histogram  bool              `json:"histogram"`
	Buckets    []float64         `json:"buckets"`
	Quantiles  []float64         `json:"quantiles"`
	MaxAge     int64             `json:"maxAge"`
	AgeBuckets uint32            `json:"ageBuckets"`
	BufCap     uint32            `json:"bufCap"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var cases []Case
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		return fmt.Errorf("reading the cases: %w", err)
	}
	answers := make([]Answer, 0, len(cases))
	for _, c := range cases {
		answers = append(answers, ask(c))
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func ask(c Case) Answer {
	m := &mapper.MetricMapper{Logger: promslog.NewNopLogger()}
	if err := m.InitFromYAMLString(c.Config); err != nil {
		return Answer{Error: err.Error()}
	}
	answer := Answer{Mappings: []*Mapping{}}
	for _, query := range c.Queries {
		answer.Mappings = append(answer.Mappings, lookUp(m, mapper.MetricType(query[0]), query[1]))
	}
	if len(c.Events) > 0 {
		addUp(m, c.Events, &answer)
	}
	return answer
}

// lookUp resolves what a mapping says the way pkg/exporter and pkg/registry do.
func lookUp(m *mapper.MetricMapper, kind mapper.MetricType, name string) *Mapping {
	found, labels, present := m.GetMapping(name, kind)
	if !present {
		return nil
	}
	mapping := &Mapping{
		Drop:   found.Action == mapper.ActionTypeDrop,
		Empty:  found.Name == "",
		Name:   mapper.EscapeMetricName(found.Name),
		Labels: labels,
		Help:   found.HelpText,
		Honor:  found.HonorLabels,
		TTL:    int64(found.Ttl),
	}
	if found.Scale.Set {
		mapping.Scale = &found.Scale.Val
	}
	observer := found.ObserverType
	if observer == mapper.ObserverTypeDefault {
		observer = m.Defaults.ObserverType
	}
	if observer == mapper.ObserverTypeHistogram {
		mapping.Histogram = true
		mapping.Buckets = m.Defaults.HistogramOptions.Buckets
		if found.HistogramOptions != nil && len(found.HistogramOptions.Buckets) > 0 {
			mapping.Buckets = found.HistogramOptions.Buckets
		}
		return mapping
	}
	quantiles := m.Defaults.SummaryOptions.Quantiles
	options := m.Defaults.SummaryOptions
	if found.SummaryOptions != nil {
		options = *found.SummaryOptions
		if len(options.Quantiles) > 0 {
			quantiles = options.Quantiles
		}
	}
	for _, quantile := range quantiles {
		mapping.Quantiles = append(mapping.Quantiles, quantile.Quantile)
	}
	mapping.MaxAge = int64(or(options.MaxAge, prometheus.DefMaxAge))
	mapping.AgeBuckets = or(options.AgeBuckets, prometheus.DefAgeBuckets)
	mapping.BufCap = or(options.BufCap, prometheus.DefBufCap)
	return mapping
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// addUp hands events to a real exporter and reads its registry as text.
func addUp(m *mapper.MetricMapper, events []Event, answer *Answer) {
	own := prometheus.NewRegistry()
	counters := func(name string, labels ...string) *prometheus.CounterVec {
		vector := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name}, labels)
		own.MustRegister(vector)
		return vector
	}
	registry := prometheus.NewRegistry()
	unmapped := prometheus.NewCounter(prometheus.CounterOpts{Name: "unmapped"})
	conflicts := counters("conflicts", "type", "metric_name")
	failures := counters("failures", "reason")
	count := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "count"}, []string{"type"})
	e := exporter.NewExporter(registry, m, promslog.NewNopLogger(), counters("actions", "action"), unmapped, failures,
		counters("events", "type"), conflicts, count)
	channel := make(chan event.Events, 1)
	channel <- convert(events)
	close(channel)
	e.Listen(channel)

	families, err := registry.Gather()
	if err != nil {
		answer.Error = err.Error()
		return
	}
	var text, openMetrics bytes.Buffer
	textEncoder := expfmt.NewEncoder(&text, expfmt.NewFormat(expfmt.TypeTextPlain))
	openEncoder := expfmt.NewEncoder(&openMetrics, expfmt.NewFormat(expfmt.TypeOpenMetrics))
	for _, family := range families {
		if err := textEncoder.Encode(family); err != nil {
			answer.Error = err.Error()
		}
		if err := openEncoder.Encode(family); err != nil {
			answer.Error = err.Error()
		}
	}
	if closer, ok := openEncoder.(expfmt.Closer); ok {
		if err := closer.Close(); err != nil {
			answer.Error = err.Error()
		}
	}
	answer.Text, answer.OpenMetrics = text.String(), openMetrics.String()
	answer.Conflicts, answer.Errors = total(own, "conflicts"), total(own, "failures")
}

func total(registry *prometheus.Registry, name string) float64 {
	sum := 0.0
	families, _ := registry.Gather()
	for _, family := range families {
		if family.GetName() == name {
			for _, metric := range family.GetMetric() {
				sum += metric.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func convert(events []Event) event.Events {
	converted := make(event.Events, 0, len(events))
	for _, e := range events {
		// The exporter adds the mapping's labels to this map.
		labels := make(map[string]string, len(e.Labels))
		for label, value := range e.Labels {
			labels[mapper.EscapeMetricName(label)] = value
		}
		switch mapper.MetricType(e.Type) {
		case mapper.MetricTypeCounter:
			converted = append(converted, &event.CounterEvent{CMetricName: e.Name, CValue: e.Value, CLabels: labels})
		case mapper.MetricTypeGauge:
			converted = append(converted, &event.GaugeEvent{GMetricName: e.Name, GValue: e.Value, GRelative: e.Relative, GLabels: labels})
		case mapper.MetricTypeObserver:
			converted = append(converted, &event.ObserverEvent{OMetricName: e.Name, OValue: e.Value, OLabels: labels})
		}
	}
	return converted
}
