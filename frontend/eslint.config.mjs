// Grafana's own rules, with the types read for our sources so that a use of a deprecated API is an error.
import grafanaConfig from '@grafana/eslint-config';
import { defineConfig } from 'eslint/config';

export default defineConfig([
  { ignores: ['node_modules/', 'coverage/'] },
  ...grafanaConfig,
  {
    files: ['**/*.{ts,tsx}'],
    languageOptions: { parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-deprecated': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
    },
  },
  {
    // What tests hand to Grafana's code has the fields that Grafana still asks for, deprecated or not.
    files: ['src/**/*.test.{ts,tsx}', 'src/testing/**'],
    rules: { '@typescript-eslint/no-deprecated': 'off' },
  },
  { rules: { 'react/prop-types': 'off', 'react/react-in-jsx-scope': 'off' } },
]);
