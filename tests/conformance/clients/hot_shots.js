// Says everything that hot-shots can say to the server that the arguments name: protocol, port, prefix.
'use strict';

const StatsD = require('hot-shots');

const [protocol, port, prefix] = process.argv.slice(2);

const client = new StatsD({
  host: '127.0.0.1',
  port: Number(port),
  protocol,
  prefix,
  datadog: true,
  containerID: 'ci-0123456789abcdef',
  cardinality: 'low',
  includeDatadogTelemetry: false,
  maxBufferSize: prefix.endsWith('buffered') ? 1000 : 0,
  globalTags: { site: 'berlin' },
  errorHandler(error) {
    console.error(error);
    process.exitCode = 1;
  },
});

client.increment('hits');
client.increment('hits', 4);
client.decrement('hits', 2);
client.increment(['these', 'those']);
client.gauge('level', 123.45);
client.gauge('moved', 10);
client.gaugeDelta('moved', -4);
client.gaugeDelta('moved', 1);
client.timing('query', 42);
client.histogram('size', 10, { kind: 'a' });
client.histogram('size', 20, ['kind:a']);
client.distribution('latency', 0.5);
client.set('users', 'alice');
client.unique('users', 'bob');
client.event('deployed', 'version 1.2\nby alice', { alert_type: 'warning' }, { service: 'api' });
client.check('up', client.CHECKS.WARNING, { hostname: 'web-1', message: 'slow' }, ['service:api']);

client.close();
