// Command go-plugin drives a built plugin through the real go-plugin and reads its answers with Grafana's own SDK: the
// proof that the protocol is spoken as Grafana speaks it.
//
//	go run . -plugin ../../target/release/examples/echo -spec echo.json
//
// Every check prints a line. The exit code is 1 when one fails.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/grafana/grafana-plugin-sdk-go/genproto/pluginv2"
)

const (
	killBar = time.Second
	warmUps = 20
)

func main() {
	program := flag.String("plugin", "", "the plugin's executable")
	specPath := flag.String("spec", "echo.json", "what to ask and what must be answered")
	calls := flag.Int("calls", 200, "how many calls are timed")
	bar := flag.Duration("bar", 2*time.Millisecond, "the median that a timed call must stay under")
	flag.Parse()
	spec, err := readSpec(*specPath)
	if err == nil {
		err = drive(*program, spec, *calls, *bar)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAILED", err)
		os.Exit(1)
	}
}

// users are those for whom all queries are asked: nobody, as for an alert rule, and people of unusual roles.
var users = []*pluginv2.User{
	nil,
	{Login: "nobody", Role: "None"},
	{Login: "blank", Role: ""},
	{Login: "root", Role: "Grafana Admin"},
	{Login: "admin", Role: "Admin"},
}

func drive(program string, spec *Spec, calls int, bar time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	begun := time.Now()
	plugin, err := start(program, spec.Env)
	if err != nil {
		return err
	}
	defer plugin.client.Kill()
	fmt.Printf("ok handshake: %.1f ms\n", milliseconds(time.Since(begun)))

	for _, check := range []struct {
		name string
		run  func(context.Context, *session, *Spec) error
	}{
		{"ping", func(_ context.Context, s *session, _ *Spec) error { return s.protocol.Ping() }},
		{"check_health", checkHealth},
		{"query_data", checkQueries},
		{"query_data as JSON", checkQueriesAsJSON},
		{"query_chunked_data", checkChunks},
		{"call_resource", checkResources},
		{"collect_metrics", checkMetrics},
		{"run_stream", checkStream},
		{"ping again", func(_ context.Context, s *session, _ *Spec) error { return s.protocol.Ping() }},
	} {
		if err := check.run(ctx, plugin, spec); err != nil {
			return fmt.Errorf("%s: %w\nthe plugin's log:\n%s", check.name, err, plugin.log)
		}
		fmt.Println("ok", check.name)
	}
	if err := bench(ctx, plugin, spec, calls, bar); err != nil {
		return err
	}
	took, err := plugin.kill()
	if err != nil {
		return fmt.Errorf("kill: %w\nthe plugin's log:\n%s", err, plugin.log)
	}
	fmt.Printf("kill: %.1f ms\n", milliseconds(took))
	if took >= killBar {
		return fmt.Errorf("kill took %v, the bar is %v", took, killBar)
	}
	return checkLog(plugin, spec)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func checkHealth(ctx context.Context, plugin *session, spec *Spec) error {
	response, err := plugin.diagnostics.CheckHealth(ctx, &pluginv2.CheckHealthRequest{PluginContext: spec.context(nil)})
	if err != nil {
		return err
	}
	if err := spec.leak("the answer", response.String()); err != nil {
		return err
	}
	wanted := spec.Health
	if wanted == "" {
		wanted = "OK"
	}
	if got := response.Status.String(); got != wanted {
		return fmt.Errorf("status %s, wanted %s: %s", got, wanted, response.Message)
	}
	if response.Message == "" {
		return errors.New("no message")
	}
	if len(response.JsonDetails) > 0 && !json.Valid(response.JsonDetails) {
		return fmt.Errorf("details are not JSON: %s", response.JsonDetails)
	}
	return nil
}

func protoQueries(spec *Spec) ([]*pluginv2.DataQuery, error) {
	queries := make([]*pluginv2.DataQuery, 0, len(spec.Queries))
	now := time.Now()
	for _, query := range spec.Queries {
		proto, err := query.proto(now)
		if err != nil {
			return nil, err
		}
		queries = append(queries, proto)
	}
	return queries, nil
}

func checkQueries(ctx context.Context, plugin *session, spec *Spec) error {
	queries, err := protoQueries(spec)
	if err != nil {
		return err
	}
	for _, user := range users {
		response, err := plugin.data.QueryData(ctx, &pluginv2.QueryDataRequest{
			PluginContext: spec.context(user),
			Headers:       map[string]string{"FromAlert": fmt.Sprint(user == nil)},
			Queries:       queries,
		})
		if err != nil {
			return err
		}
		if err := spec.leak("the answer", response.String()); err != nil {
			return err
		}
		for i, query := range spec.Queries {
			answer := response.Responses[queries[i].RefId]
			if answer == nil {
				return fmt.Errorf("%s: no answer", query.Name)
			}
			frames, err := data.UnmarshalArrowFrames(answer.Frames)
			if err != nil {
				return fmt.Errorf("%s: %w", query.Name, err)
			}
			if err := checkAnswer(query, queries[i].RefId, answer, frames); err != nil {
				return fmt.Errorf("%s: %w", query.Name, err)
			}
		}
	}
	return nil
}

func checkAnswer(query Query, refID string, answer *pluginv2.DataResponse, frames data.Frames) error {
	if query.Error != "" {
		if !strings.Contains(answer.Error, query.Error) {
			return fmt.Errorf("error %q, wanted %q", answer.Error, query.Error)
		}
		if answer.Status < 400 || (answer.ErrorSource != "plugin" && answer.ErrorSource != "downstream") {
			return fmt.Errorf("an error with status %d and source %q", answer.Status, answer.ErrorSource)
		}
		return nil
	}
	if answer.Error != "" || answer.Status != 200 {
		return fmt.Errorf("status %d: %s", answer.Status, answer.Error)
	}
	rows := 0
	for _, frame := range frames {
		if frame.RefID != refID {
			return fmt.Errorf("frame %q has the refId %q, wanted %q", frame.Name, frame.RefID, refID)
		}
		if frame.Meta == nil || frame.Meta.Type == "" || frame.Meta.TypeVersion != (data.FrameTypeVersion{0, 1}) {
			return fmt.Errorf("frame %q does not say its type: %+v", frame.Name, frame.Meta)
		}
		rows += frame.Rows()
	}
	if query.Rows >= 0 && rows != query.Rows || query.Rows < 0 && rows == 0 {
		return fmt.Errorf("%d rows, wanted %d", rows, query.Rows)
	}
	if len(query.Frame) == 0 {
		return nil
	}
	if len(frames) != 1 {
		return fmt.Errorf("%d frames, wanted 1", len(frames))
	}
	text, err := data.FrameToJSON(frames[0], data.IncludeAll)
	if err != nil {
		return err
	}
	return sameJSON(text, query.Frame)
}

// decodeExactly keeps numbers as they are written: the largest integers are not floats.
func decodeExactly(text []byte, into *any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(into)
}

func sameJSON(got, wanted []byte) error {
	var gotValue, wantedValue any
	if err := errors.Join(decodeExactly(got, &gotValue), decodeExactly(wanted, &wantedValue)); err != nil {
		return err
	}
	if !reflect.DeepEqual(gotValue, wantedValue) {
		return fmt.Errorf("got    %s\nwanted %s", got, wanted)
	}
	return nil
}

// checkQueriesAsJSON compares the frames that the plugin writes in JSON with those that it writes in Arrow.
func checkQueriesAsJSON(ctx context.Context, plugin *session, spec *Spec) error {
	queries, err := protoQueries(spec)
	if err != nil {
		return err
	}
	request := &pluginv2.QueryDataRequest{
		PluginContext: spec.context(users[4]), Queries: queries, Format: pluginv2.DataFrameFormat_JSON,
	}
	response, err := plugin.data.QueryData(ctx, request)
	if err != nil {
		return err
	}
	for i, query := range spec.Queries {
		answer := response.Responses[queries[i].RefId]
		frames := make(data.Frames, len(answer.Frames))
		for j, text := range answer.Frames {
			if err := json.Unmarshal(text, &frames[j]); err != nil {
				return fmt.Errorf("%s: %w: %s", query.Name, err, text)
			}
		}
		if err := checkAnswer(query, queries[i].RefId, answer, frames); err != nil {
			return fmt.Errorf("%s: %w", query.Name, err)
		}
	}
	return nil
}

func checkChunks(ctx context.Context, plugin *session, spec *Spec) error {
	queries, err := protoQueries(spec)
	if err != nil {
		return err
	}
	request := &pluginv2.QueryChunkedDataRequest{PluginContext: spec.context(users[4]), Queries: queries}
	stream, err := plugin.data.QueryChunkedData(ctx, request)
	if err != nil {
		return err
	}
	rows, failures := map[string]int{}, map[string]string{}
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		frame, err := data.UnmarshalArrowFrame(chunk.Frame)
		if err != nil {
			return fmt.Errorf("a chunk of %s: %w", chunk.RefId, err)
		}
		if chunk.FrameId == "" || frame.RefID != chunk.RefId {
			return fmt.Errorf("a chunk of %q has the frame %q and the refId %q", chunk.RefId, chunk.FrameId, frame.RefID)
		}
		if err := spec.leak("a chunk", chunk.String()); err != nil {
			return err
		}
		rows[chunk.RefId] += frame.Rows()
		failures[chunk.RefId] += chunk.Error
	}
	for i, query := range spec.Queries {
		refID := queries[i].RefId
		got, answered := rows[refID]
		switch {
		case !answered:
			return fmt.Errorf("%s: no chunk", query.Name)
		case !strings.Contains(failures[refID], query.Error) || query.Error == "" && failures[refID] != "":
			return fmt.Errorf("%s: error %q, wanted %q", query.Name, failures[refID], query.Error)
		case query.Error == "" && query.Rows >= 0 && got != query.Rows:
			return fmt.Errorf("%s: %d rows, wanted %d", query.Name, got, query.Rows)
		}
	}
	return nil
}

func checkResources(ctx context.Context, plugin *session, spec *Spec) error {
	for _, call := range spec.Resources {
		path, _, _ := strings.Cut(call.URL, "?")
		method := call.Method
		if method == "" {
			method = "GET"
		}
		stream, err := plugin.resource.CallResource(ctx, &pluginv2.CallResourceRequest{
			PluginContext: spec.context(users[4]), Path: path, Url: call.URL, Method: method, Body: []byte(call.Body),
		})
		if err != nil {
			return fmt.Errorf("%s: %w", call.URL, err)
		}
		var body []byte
		var status int32
		for {
			message, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return fmt.Errorf("%s: %w", call.URL, err)
			}
			if status == 0 {
				status = message.Code
			}
			body = append(body, message.Body...)
		}
		if err := spec.leak("the answer to "+call.URL, string(body)); err != nil {
			return err
		}
		if status != call.Status || !strings.Contains(string(body), call.Contains) {
			return fmt.Errorf("%s: status %d: %s", call.URL, status, body)
		}
	}
	return nil
}

func checkMetrics(ctx context.Context, plugin *session, spec *Spec) error {
	response, err := plugin.diagnostics.CollectMetrics(ctx, &pluginv2.CollectMetricsRequest{
		PluginContext: &pluginv2.PluginContext{PluginId: spec.PluginID},
	})
	if err != nil {
		return err
	}
	text := string(response.GetMetrics().GetPrometheus())
	for _, wanted := range spec.Metrics {
		if !strings.Contains(text, wanted) {
			return fmt.Errorf("no %q in\n%s", wanted, text)
		}
	}
	return spec.leak("the metrics", text)
}

func checkStream(ctx context.Context, plugin *session, spec *Spec) error {
	if spec.Stream == nil {
		return nil
	}
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	path, payload := spec.Stream.Path, spec.Stream.Data
	granted, err := plugin.stream.SubscribeStream(ctx, &pluginv2.SubscribeStreamRequest{
		PluginContext: spec.context(users[4]), Path: path, Data: payload,
	})
	if err != nil {
		return err
	}
	if granted.Status != pluginv2.SubscribeStreamResponse_OK {
		return fmt.Errorf("not granted: %s", granted.Status)
	}
	stream, err := plugin.stream.RunStream(ctx, &pluginv2.RunStreamRequest{
		PluginContext: spec.context(users[4]), Path: path, Data: payload,
	})
	if err != nil {
		return err
	}
	for range spec.Stream.Packets {
		packet, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := spec.leak("a packet", packet.String()); err != nil {
			return err
		}
		frame := &data.Frame{}
		if err := json.Unmarshal(packet.Data, frame); err != nil {
			return fmt.Errorf("%w: %s", err, packet.Data)
		}
		if len(frame.Fields) == 0 {
			return fmt.Errorf("a packet without fields: %s", packet.Data)
		}
	}
	return nil
}

// bench times the queries that are marked, decoding included, and holds their median against the bar.
func bench(ctx context.Context, plugin *session, spec *Spec, calls int, bar time.Duration) error {
	for _, query := range spec.Queries {
		if !query.Bench {
			continue
		}
		proto, err := query.proto(time.Now())
		if err != nil {
			return err
		}
		request := &pluginv2.QueryDataRequest{PluginContext: spec.context(users[4]), Queries: []*pluginv2.DataQuery{proto}}
		times := make([]time.Duration, 0, calls)
		rows := 0
		for call := range warmUps + calls {
			begun := time.Now()
			response, err := plugin.data.QueryData(ctx, request)
			if err != nil {
				return err
			}
			answer := response.Responses[proto.RefId]
			frames, err := data.UnmarshalArrowFrames(answer.GetFrames())
			if err != nil {
				return err
			}
			if call >= warmUps {
				times = append(times, time.Since(begun))
			}
			if answer.GetError() != "" {
				return fmt.Errorf("%s: %s", query.Name, answer.GetError())
			}
			rows = 0
			for _, frame := range frames {
				rows += frame.Rows()
			}
		}
		slices.Sort(times)
		median := times[len(times)/2]
		fmt.Printf("p50 query_data %d rows: %.3f ms (%s, p99 %.3f ms)\n",
			rows, milliseconds(median), query.Name, milliseconds(times[len(times)*99/100]))
		if median >= bar {
			return fmt.Errorf("p50 of %s is %v, the bar is %v", query.Name, median, bar)
		}
	}
	return nil
}

// checkLog looks for what must be in the log, and for secrets, which must not.
func checkLog(plugin *session, spec *Spec) error {
	log := plugin.log.String()
	for _, wanted := range spec.LogContains {
		if !strings.Contains(log, wanted) {
			return fmt.Errorf("no %q in the plugin's log:\n%s", wanted, log)
		}
	}
	if err := spec.leak("the plugin's log", log); err != nil {
		return err
	}
	fmt.Println("ok log")
	return nil
}
