// Randomness of a client process: names and ids that nobody guesses.
import { randomBytes } from 'node:crypto';
import type { Random } from '@ssi/ports';

export const clientRandom: Random = {
  float: () => randomBytes(4).readUInt32LE() / 2 ** 32,
  hex: (bytes) => randomBytes(bytes).toString('hex'),
};
