// Values by ascending number, against a Map as the model.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Numbered } from '../src/numbered.ts';

test('ICS: numbered: the same as a Map, whatever is added with gaps and taken out', () => {
  const step = fc.oneof(
    fc.record({ gap: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 500 })) }),
    fc.record({ take: fc.nat(400) }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 40 }), fc.array(step), (start, steps) => {
      const model = new Map<number, { n: number }>();
      const numbered = new Numbered<{ n: number }>();
      let last = start;
      for (const s of steps) {
        if ('gap' in s) {
          last += s.gap;
          model.set(last, { n: last });
          numbered.add(last, { n: last });
        } else {
          const number = last - s.take;
          model.delete(number);
          numbered.delete(number);
          expect(numbered.get(number)).toBeUndefined();
        }
        expect(numbered.size).toBe(model.size);
        expect(numbered.first).toBe([...model.keys()][0]);
      }
      expect([...numbered]).toEqual([...model]);
      for (const [number, value] of model) expect(numbered.get(number)).toEqual(value);
    }),
  );
});

test('ICS: numbered: what is taken out while it is walked is not seen; numbers only grow', () => {
  const numbered = new Numbered<{ n: number }>();
  for (let n = 60; n < 70; n++) numbered.add(n, { n });
  const seen: number[] = [];
  for (const [n] of numbered) {
    seen.push(n);
    numbered.delete(n);
    numbered.delete(n + 1);
  }
  expect(seen).toEqual([60, 62, 64, 66, 68]);
  expect(numbered.size).toBe(0);
  expect(() => numbered.add(69, { n: 69 })).toThrow(RangeError);
});
