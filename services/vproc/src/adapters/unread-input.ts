// How far back in the input log the bytes begin that a terminal still held. They are the last that were fed,
// but for what the terminal itself used up on the way: erased characters, and \r read as \n.

const sameKey = (a: number | undefined, b: number | undefined): boolean =>
  a === b || (a === 13 && b === 10);

/** Bytes at the end of `fed` that must be fed again for a program to read `waiting`. */
export function bytesToFeedAgain(fed: Uint8Array, waiting: Uint8Array): number {
  let at = fed.length;
  for (let i = waiting.length - 1; i >= 0; i--) {
    do at--;
    while (at >= 0 && !sameKey(fed[at], waiting[i]));
    // Not from here, at least not as it reads: as many bytes as wait.
    if (at < 0) return Math.min(waiting.length, fed.length);
  }
  return fed.length - at;
}
