// Every export, by file.
export type { Fence } from './fence.ts';
export { type FencedFile, fencedFile } from './file.ts';
export { type FencedRedis, fencedRedis } from './redis.ts';
