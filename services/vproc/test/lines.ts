// What the counting programs of the memory twins write, checked.
import assert from 'node:assert/strict';

/** Every number from 0 to the last, once, in order. Returns how many there are. */
export function assertLines(text: string, pid: number): number {
  const lines = text.split('\n').slice(0, -1);
  lines.forEach((line, i) => {
    assert.equal(line, `${pid} ${i}`);
  });
  return lines.length;
}
