// Tests run in jsdom, their TypeScript compiled by swc as the build compiles it.

// Packages that ship ES modules only, which Jest cannot load before they are compiled.
const esModules = [
  '@grafana/schema',
  '@wojtekmaj/date-utils',
  'd3',
  'd3-[a-z-]+',
  'delaunator',
  'get-user-locale',
  'internmap',
  'marked',
  'memoize',
  'mimic-function',
  'ol',
  'react-calendar',
  'react-colorful',
  'robust-predicates',
  'rxjs',
  'uuid',
];

const parser = { syntax: 'typescript', tsx: true };
const transform = { react: { runtime: 'automatic' } };

/** @type {import('jest').Config} */
module.exports = {
  // Generous, for a machine that compiles something else at the same time.
  testTimeout: 30_000,
  testEnvironment: 'jest-environment-jsdom',
  testMatch: ['<rootDir>/src/**/*.test.{ts,tsx}'],
  setupFilesAfterEnv: ['<rootDir>/jest-setup.ts'],
  moduleNameMapper: {
    '\\.css$': '<rootDir>/src/testing/emptyStyle.js',
    '^react-inlinesvg$': '<rootDir>/src/testing/InlineSvg.tsx',
  },
  transform: { '^.+\\.m?[jt]sx?$': ['@swc/jest', { sourceMaps: 'inline', jsc: { parser, transform } }] },
  transformIgnorePatterns: [`node_modules/(?!(?:.*/)?(?:${esModules.join('|')})/)`],
};
