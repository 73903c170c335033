// The Random port on the system's generator.
import { randomBytes } from 'node:crypto';
import type { Random } from '@ssi/ports';

export function systemRandom(): Random {
  return {
    float: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
    hex: (bytes) => randomBytes(bytes).toString('hex'),
  };
}
