// The macros that the backend expands in SQL, as the editor completes and explains them.

export interface Macro {
  name: string;
  /** What follows the name: the arguments, with an example for each. */
  example: string;
  meaning: string;
}

export const MACROS: Macro[] = [
  { name: '$__timeFilter', example: '(column)', meaning: 'the column lies in the time range' },
  { name: '$__timeFrom', example: '()', meaning: 'the start of the time range, as a timestamp literal' },
  { name: '$__timeTo', example: '()', meaning: 'the end of the time range, as a timestamp literal' },
  {
    name: '$__timeGroup',
    example: "(column, '5m')",
    meaning: "the start of the column's interval; a third argument fills gaps: NULL, previous or a number",
  },
  {
    name: '$__timeGroupAlias',
    example: '(column, $__interval)',
    meaning: 'the same, named "time", for the SELECT list',
  },
  { name: '$__time', example: '(column)', meaning: 'the column, named "time"' },
  { name: '$__timeEpoch', example: '(column)', meaning: 'the column as seconds since the epoch, named "time"' },
  { name: '$__unixEpochFilter', example: '(column)', meaning: 'a column of epoch seconds lies in the time range' },
  { name: '$__unixEpochFrom', example: '()', meaning: 'the start of the time range in epoch seconds' },
  { name: '$__unixEpochTo', example: '()', meaning: 'the end of the time range in epoch seconds' },
  { name: '$__unixEpochNanoFilter', example: '(column)', meaning: 'the same, for a column of epoch nanoseconds' },
  { name: '$__unixEpochNanoFrom', example: '()', meaning: 'the start of the time range in epoch nanoseconds' },
  { name: '$__unixEpochNanoTo', example: '()', meaning: 'the end of the time range in epoch nanoseconds' },
  {
    name: '$__unixEpochGroup',
    example: "(column, '5m')",
    meaning: 'like $__timeGroup, for a column of epoch seconds',
  },
  { name: '$__unixEpochGroupAlias', example: "(column, '5m')", meaning: 'the same, named "time"' },
  { name: '$__timezone', example: '()', meaning: "the name of the panel's time zone, as a literal" },
  { name: '$__interval', example: '', meaning: "the panel's interval, such as 5m" },
  { name: '$__interval_ms', example: '', meaning: "the panel's interval in milliseconds" },
];
