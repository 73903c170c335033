// Rendezvous (highest random weight) hashing: every node computes the same owner for a key from the
// same candidates, and a candidate's loss moves only its own keys. [Thaler & Ravishankar 1998]

/** FNV-1a over UTF-16 code units with a final avalanche: cheap, stable on every machine. */
export function hash32(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    h ^= text.charCodeAt(i);
    h = Math.imul(h, 0x01000193);
  }
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The candidate with the highest weight for `key`; ties go to the lowest number. undefined: none. */
export function rendezvous(key: string, candidates: readonly number[]): number | undefined {
  let best: { num: number; weight: number } | undefined;
  for (const num of candidates) {
    const weight = hash32(`${key}|${num}`);
    if (!best || weight > best.weight || (weight === best.weight && num < best.num))
      best = { num, weight };
  }
  return best?.num;
}
