// Builds module.js the way Grafana loads a plugin (an AMD module without a name, its shared libraries left to
// Grafana) and lays the plugin's manifest, documents, dashboards and logo beside it, into the installable folder.
// The backend's executables (gpx_*) arrive in that folder by another way, and every build leaves them there.
import { createRequire } from 'node:module';
import path from 'node:path';
import CopyWebpackPlugin from 'copy-webpack-plugin';
import TerserPlugin from 'terser-webpack-plugin';

const require = createRequire(import.meta.url);
const { name: pluginId, version } = require('./package.json');

const frontend = import.meta.dirname;
const repository = path.dirname(frontend);
const source = path.join(frontend, 'src');

// The libraries that Grafana hands to a plugin at run time.
const externals = [
  'lodash',
  'jquery',
  'moment',
  'slate',
  'emotion',
  '@emotion/react',
  '@emotion/css',
  'prismjs',
  'slate-plain-serializer',
  '@grafana/slate-react',
  'react',
  'react/jsx-runtime',
  'react/jsx-dev-runtime',
  'react-dom',
  'react-redux',
  'redux',
  'rxjs',
  'i18next',
  'react-router',
  'd3',
  'angular',
  /^@grafana\/(ui|runtime|data)/,
];

function fillPlaceholders(content) {
  const today = new Date().toISOString().slice(0, 10);
  return content
    .toString()
    .replaceAll('%VERSION%', version)
    .replaceAll('%TODAY%', today)
    .replaceAll('%PLUGIN_ID%', pluginId);
}

export default function config(env) {
  const production = Boolean(env.production);
  const mode = production ? 'production' : 'development';

  return {
    mode,
    context: source,
    entry: { module: './module.ts' },
    devtool: production ? 'source-map' : 'eval-source-map',
    externals,
    resolve: { extensions: ['.ts', '.tsx', '.js'] },
    module: {
      rules: [
        {
          test: /\.tsx?$/,
          exclude: /node_modules/,
          use: {
            loader: 'swc-loader',
            options: {
              jsc: {
                target: 'es2020',
                parser: { syntax: 'typescript', tsx: true },
                transform: { react: { runtime: 'automatic' } },
              },
            },
          },
        },
      ],
    },
    output: {
      path: path.join(repository, 'dist', pluginId),
      filename: '[name].js',
      library: { type: 'amd' },
      publicPath: `public/plugins/${pluginId}/`,
      uniqueName: pluginId,
      clean: { keep: /^gpx_/ },
    },
    optimization: {
      minimizer: [new TerserPlugin({ extractComments: false })],
    },
    plugins: [
      new CopyWebpackPlugin({
        patterns: [
          {
            from: path.join(repository, 'plugin.json'),
            transform: (content) =>
              JSON.stringify({ ...JSON.parse(fillPlaceholders(content)), buildMode: mode }, null, 2) + '\n',
          },
          { from: path.join(repository, 'README.md'), transform: fillPlaceholders },
          { from: path.join(repository, 'CHANGELOG.md') },
          { from: path.join(repository, 'LICENSE'), to: '[name]' },
          { from: '*.json', context: path.join(repository, 'dashboards'), to: 'dashboards', noErrorOnMissing: true },
          { from: 'img', to: 'img' },
        ],
      }),
    ],
    performance: { maxEntrypointSize: 100_000, maxAssetSize: 400_000 },
  };
}
