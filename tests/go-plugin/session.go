package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend/grpcplugin"
	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
)

// session is a plugin that runs, started and configured as Grafana does it.
type session struct {
	client      *goplugin.Client
	protocol    goplugin.ClientProtocol
	log         *lockedBuffer
	data        grpcplugin.DataClient
	diagnostics grpcplugin.DiagnosticsClient
	resource    grpcplugin.ResourceClient
	stream      grpcplugin.StreamClient
}

// lockedBuffer collects what the host logs.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func start(program string, env map[string]string) (*session, error) {
	command := exec.Command(program)
	command.Env = os.Environ()
	for name, value := range env {
		command.Env = append(command.Env, name+"="+value)
	}
	log := &lockedBuffer{}
	client := goplugin.NewClient(&goplugin.ClientConfig{
		Cmd: command,
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion:  grpcplugin.ProtocolVersion,
			MagicCookieKey:   grpcplugin.MagicCookieKey,
			MagicCookieValue: grpcplugin.MagicCookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{
			grpcplugin.ProtocolVersion: {
				"diagnostics": &grpcplugin.DiagnosticsGRPCPlugin{},
				"resource":    &grpcplugin.ResourceGRPCPlugin{},
				"data":        &grpcplugin.DataGRPCPlugin{},
				"stream":      &grpcplugin.StreamGRPCPlugin{},
			},
		},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: log, JSONFormat: true}),
	})
	protocol, err := client.Client()
	if err != nil {
		client.Kill()
		return nil, fmt.Errorf("handshake: %w\n%s", err, log)
	}
	s := &session{client: client, protocol: protocol, log: log}
	for name, into := range map[string]any{
		"diagnostics": &s.diagnostics, "resource": &s.resource, "data": &s.data, "stream": &s.stream,
	} {
		raw, err := protocol.Dispense(name)
		if err != nil {
			client.Kill()
			return nil, fmt.Errorf("dispense %s: %w", name, err)
		}
		if err := assign(into, raw); err != nil {
			client.Kill()
			return nil, fmt.Errorf("dispense %s: %w", name, err)
		}
	}
	return s, nil
}

func assign(into, raw any) error {
	ok := false
	switch target := into.(type) {
	case *grpcplugin.DiagnosticsClient:
		*target, ok = raw.(grpcplugin.DiagnosticsClient)
	case *grpcplugin.ResourceClient:
		*target, ok = raw.(grpcplugin.ResourceClient)
	case *grpcplugin.DataClient:
		*target, ok = raw.(grpcplugin.DataClient)
	case *grpcplugin.StreamClient:
		*target, ok = raw.(grpcplugin.StreamClient)
	}
	if !ok {
		return fmt.Errorf("%T is no client", raw)
	}
	return nil
}

// kill ends the plugin as Grafana does and says how long it took and whether it ended well.
func (s *session) kill() (time.Duration, error) {
	begun := time.Now()
	s.client.Kill()
	took := time.Since(begun)
	if !s.client.Exited() {
		return took, fmt.Errorf("the plugin still runs")
	}
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, "plugin failed to exit gracefully") {
			return took, fmt.Errorf("the plugin had to be killed")
		}
		if strings.Contains(line, "plugin process exited") && strings.Contains(line, `"error"`) {
			return took, fmt.Errorf("the plugin did not exit with 0: %s", line)
		}
	}
	return took, nil
}
