// Every export of the ports, by file.
export * from './clock.ts';
export * from './ics.ts';
export * from './kv.ts';
export * from './log.ts';
export type * from './program.ts';
export * from './random.ts';
export * from './stream.ts';
