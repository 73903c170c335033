// Node's cache of compiled code (NODE_COMPILE_CACHE) for processes that are ended rather than end: written
// once what is loaded at the start is loaded, so that the next start takes half as long.
import { flushCompileCache } from 'node:module';

/**
 * Late enough to be in nobody's way: where the cache is empty this stops the process for tenths of a second, and
 * a node's processes start together.
 */
const settledMs = { least: 20_000, spread: 20_000 };

export function keepCompiledCode(): void {
  const afterMs = settledMs.least + Math.random() * settledMs.spread;
  setTimeout(flushCompileCache, afterMs).unref();
}
