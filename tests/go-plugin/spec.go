package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/genproto/pluginv2"
)

// Spec is what a plugin is asked and what it must answer, read from a JSON file.
type Spec struct {
	PluginID string            `json:"pluginId"`
	Env      map[string]string `json:"env"`
	Settings Settings          `json:"settings"`
	// Health is the status that CheckHealth must report: OK or ERROR. Empty means OK.
	Health    string         `json:"health"`
	Queries   []Query        `json:"queries"`
	Resources []ResourceCall `json:"resources"`
	Stream    *StreamCall    `json:"stream"`
	// Metrics are texts that CollectMetrics must contain.
	Metrics []string `json:"metrics"`
	// LogContains are texts that must be in the host's log of the plugin.
	LogContains []string `json:"logContains"`
}

// leak says which secret of the settings is in a text, if one is.
func (s *Spec) leak(where, text string) error {
	for name, secret := range s.Settings.SecureJSONData {
		if secret != "" && strings.Contains(text, secret) {
			return fmt.Errorf("the secret %s is in %s", name, where)
		}
	}
	return nil
}

// Settings are those of the data source.
type Settings struct {
	UID            string            `json:"uid"`
	Name           string            `json:"name"`
	JSONData       json.RawMessage   `json:"jsonData"`
	SecureJSONData map[string]string `json:"secureJsonData"`
}

// Query is one query and its answer.
type Query struct {
	// Name is how the query is called in the output.
	Name string `json:"name"`
	// Model is the query as the frontend saves it. Its refId and queryType are sent beside it.
	Model json.RawMessage `json:"model"`
	// Last is the time range, up to now, as Go writes durations; FromMS and ToMS name it when it is empty.
	Last          string `json:"last"`
	FromMS        int64  `json:"fromMs"`
	ToMS          int64  `json:"toMs"`
	MaxDataPoints int64  `json:"maxDataPoints"`
	IntervalMS    int64  `json:"intervalMs"`
	// Rows is how many rows all frames must have together; -1 means any number above zero.
	Rows int `json:"rows"`
	// Error is a part of the error that must come. Empty means that none may.
	Error string `json:"error"`
	// Frame is what the only frame must be, as the SDK writes it in JSON.
	Frame json.RawMessage `json:"frame"`
	// Bench is whether the query is timed.
	Bench bool `json:"bench"`
}

// ResourceCall is one resource call and its answer.
type ResourceCall struct {
	URL    string `json:"url"`
	Method string `json:"method"`
	Body   string `json:"body"`
	Status int32  `json:"status"`
	// Contains is a part of the body that must come.
	Contains string `json:"contains"`
}

// StreamCall is a channel to run.
type StreamCall struct {
	Path string          `json:"path"`
	Data json.RawMessage `json:"data"`
	// Packets is how many must come.
	Packets int `json:"packets"`
}

func readSpec(path string) (*Spec, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	spec := &Spec{}
	if err := json.Unmarshal(text, spec); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return spec, nil
}

func (q Query) proto(now time.Time) (*pluginv2.DataQuery, error) {
	var named struct {
		RefID     string `json:"refId"`
		QueryType string `json:"queryType"`
	}
	if err := json.Unmarshal(q.Model, &named); err != nil {
		return nil, fmt.Errorf("query %s: %w", q.Name, err)
	}
	timeRange := &pluginv2.TimeRange{FromEpochMS: q.FromMS, ToEpochMS: q.ToMS}
	if q.Last != "" {
		length, err := time.ParseDuration(q.Last)
		if err != nil {
			return nil, fmt.Errorf("query %s: %w", q.Name, err)
		}
		timeRange = &pluginv2.TimeRange{FromEpochMS: now.Add(-length).UnixMilli(), ToEpochMS: now.UnixMilli()}
	}
	return &pluginv2.DataQuery{
		RefId:         named.RefID,
		QueryType:     named.QueryType,
		MaxDataPoints: q.MaxDataPoints,
		IntervalMS:    q.IntervalMS,
		TimeRange:     timeRange,
		Json:          q.Model,
	}, nil
}

func (s *Spec) context(user *pluginv2.User) *pluginv2.PluginContext {
	return &pluginv2.PluginContext{
		OrgId:         1,
		PluginId:      s.PluginID,
		PluginVersion: "0.0.0",
		User:          user,
		DataSourceInstanceSettings: &pluginv2.DataSourceInstanceSettings{
			Id:                      1,
			Uid:                     s.Settings.UID,
			Name:                    s.Settings.Name,
			JsonData:                s.Settings.JSONData,
			DecryptedSecureJsonData: s.Settings.SecureJSONData,
			LastUpdatedMS:           1_700_000_000_000,
		},
		GrafanaConfig: map[string]string{"GF_SQL_ROW_LIMIT": "1000000", "GF_CONCURRENT_QUERY_COUNT": "10"},
		UserAgent:     "Grafana/12.4.0 (linux; amd64)",
	}
}
