// Node's cache of compiled code (NODE_COMPILE_CACHE) for processes that are ended rather than end: written
// once what is loaded at the start is loaded, so that the next start takes half as long.
import { flushCompileCache } from 'node:module';

/** Late enough to be in nobody's way: a start and the joining after it. */
const settledMs = 3_000;

export function keepCompiledCode(): void {
  setTimeout(flushCompileCache, settledMs).unref();
}
