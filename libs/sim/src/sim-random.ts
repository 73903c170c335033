// Seeded randomness: one stream for each purpose, all from one seed, so that a draw more in one place
// changes nothing in another. [xoshiro128**; SplitMix for seeding]
import type { Random } from '@ssi/ports';

/** A Random with the draws that simulations make. */
export interface SimRandom extends Random {
  /** low <= x < high */
  between(low: number, high: number): number;
  /** An integer, low <= n <= high. */
  integer(low: number, high: number): number;
  chance(part: number): boolean;
  /** One of them; there must be one. */
  pick<T>(items: readonly T[]): T;
}

/** The stream `name` of a seed. */
export function simRandom(seed: number, name: string): SimRandom {
  let mix = seed >>> 0;
  for (let i = 0; i < name.length; i++) mix = Math.imul(mix ^ name.charCodeAt(i), 0x01000193) >>> 0;
  const split = (): number => {
    mix = (mix + 0x9e3779b9) >>> 0;
    let z = mix;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  };
  let a = split();
  let b = split();
  let c = split();
  let d = split() | 1;
  const next = (): number => {
    const five = Math.imul(b, 5);
    const result = Math.imul((five << 7) | (five >>> 25), 9) >>> 0;
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = (d << 11) | (d >>> 21);
    return result;
  };
  const float = (): number => next() / 0x1_0000_0000;
  return {
    float,
    hex: (bytes) =>
      Array.from({ length: bytes }, () => (next() >>> 24).toString(16).padStart(2, '0')).join(''),
    between: (low, high) => low + float() * (high - low),
    integer: (low, high) => low + Math.floor(float() * (high - low + 1)),
    chance: (part) => float() < part,
    pick: (items) => {
      const item = items[Math.floor(float() * items.length)];
      if (items.length === 0) throw new Error('nothing to pick from');
      return item as (typeof items)[number];
    },
  };
}
