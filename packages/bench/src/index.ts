/**
 * Benchmarks, paired against peers.
 *
 * @packageDocumentation
 */
export { BenchError, type BenchErrorCode } from './errors.js';
export { categories, formatCategories, type Category } from './categories.js';
export { formatLevelBoots, type LevelBoots, LevelBootsReader, type LevelBootsSubject } from './level-boots.js';
export { formatExits, formatLevels, type LevelRuns, LevelsReader, type NestedSubject } from './levels.js';
export { ConsoleReader, type Measurement, type Run, type Usage } from './log.js';
export { compare, formatMarkdown, formatWallTable, geometricMean, type Best, type Comparison, type Row, type Subject } from './report.js';
export { formatSlices, type Slice, SliceMeter, type SliceSubject, type SliceSummary } from './slices.js';
