import { describe, expect, test } from 'vitest';
import { cfsMutation } from '../src/index.ts';

const make = { op: 'make', at: [1, 2], uid: 0, gid: 0, parent: 1, mode: 0o100644 };
const accepts = (name: string): boolean => cfsMutation.safeParse({ ...make, name }).success;

describe('contracts: CFS', () => {
  test('a name is 1 to 255 bytes that a directory can have', () => {
    expect(['a', '..a', '\xff\x01', 'n'.repeat(255)].map(accepts)).toEqual([
      true,
      true,
      true,
      true,
    ]);
    const bad = ['', '.', '..', 'a/b', 'a\0', 'n'.repeat(256)];
    expect(bad.map(accepts)).toEqual(bad.map(() => false));
  });
});
