// The Random port on the system's generator.
import { randomBytes, randomFillSync } from 'node:crypto';
import type { Random } from '@ssi/ports';

/** Bytes asked for at a time: a question to the generator for each number was most of what an unsampled span cost. */
const poolBytes = 4_096;

export function systemRandom(): Random {
  const pool = Buffer.allocUnsafeSlow(poolBytes);
  let at = poolBytes;
  /** Where the next `count` unused bytes begin. */
  const take = (count: number): number => {
    if (at + count > poolBytes) {
      randomFillSync(pool);
      at = 0;
    }
    at += count;
    return at - count;
  };
  return {
    float: () => pool.readUIntBE(take(6), 6) / 2 ** 48,
    hex: (bytes) => {
      if (bytes > poolBytes) return randomBytes(bytes).toString('hex');
      const from = take(bytes);
      return pool.toString('hex', from, from + bytes);
    },
  };
}
