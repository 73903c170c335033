// A fence in Redis: the newest token beside the data, both looked at and changed in one script, which
// Redis runs as one step. [Redis: EVAL]
import { ok, type Reply } from '@ssi/contracts';
import { type Fence, noToken, padded, stale } from './fence.ts';

/** KEYS: newest token, data. ARGV: token, and the value where one is to be written. 1: done; 0: stale. */
const script = `
local newest = redis.call('GET', KEYS[1])
if newest and newest > ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
if ARGV[2] then redis.call('SET', KEYS[2], ARGV[2]) end
return 1`;

export interface FencedRedis extends Fence {
  /** Writes key `resource`. */
  set(
    resource: string,
    token: string,
    value: string,
  ): Promise<Reply<undefined, 'ESTALE' | 'EINVAL'>>;
}

/** `command`: sends one command of any Redis client, as words; rejects where Redis answers an error. */
export function fencedRedis(command: (words: readonly string[]) => Promise<unknown>): FencedRedis {
  const run = async (resource: string, token: string, values: readonly string[]) => {
    const text = padded(token);
    if (!text) return noToken(token);
    // One slot of a Redis cluster for both.
    const keys = [`{${resource}}:fence`, resource];
    const done = await command(['EVAL', script, '2', ...keys, text, ...values]);
    return Number(done) === 1 ? ok() : stale(resource, token);
  };
  return {
    check: (resource, token) => run(resource, token, []),
    set: (resource, token, value) => run(resource, token, [value]),
  };
}
