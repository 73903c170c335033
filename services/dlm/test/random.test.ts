// Random operations with all flags, value blocks, deaths and cancels, on more locks than can be
// exhausted: the core and the oracle do the same.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Flag, type Mode, modes, type Standing } from './oracle.ts';
import { type Operation, Pair } from './pair.ts';

const any: Flag[] = ['HEADQUE', 'NOORDER', 'NOQUEUE'];
const sometimes = (...flags: Flag[]) => fc.subarray(flags, { maxLength: 2 });
const wish = fc.record({
  kind: fc.constantFrom('request', 'request', 'convert', 'convert', 'unlock', 'cancel', 'die'),
  which: fc.nat({ max: 7 }),
  mode: fc.constantFrom(...modes),
  flags: fc.oneof({ weight: 2, arbitrary: fc.constant<Flag[]>([]) }, sometimes(...any)),
  alternative: fc.constantFrom(undefined, undefined, undefined, 'ALTPR' as const, 'ALTCW' as const),
  own: fc.subarray<Flag>(['EXPEDITE', 'QUECVT', 'CONVDEADLK', 'NODLCKWT'], { maxLength: 2 }),
  value: fc.option(fc.constantFrom('a', 'b', 'c'), { nil: undefined }),
});
type Wish = typeof wish extends fc.Arbitrary<infer W> ? W : never;

const rank = (mode: Mode) => modes.indexOf(mode);
const up = (from: Mode, to: Mode) => rank(to) > rank(from) || (from === 'PR' && to === 'CW');

/** The flags that go with this operation, by the combinations that are refused with EINVAL. */
function flagsFor(held: Mode | undefined, { mode, flags, alternative, own }: Wish): Flag[] {
  const all: Flag[] = [...flags, ...own, ...(alternative ? [alternative] : [])];
  return all.filter((flag) => {
    if (flag === 'EXPEDITE') return !held && mode === 'NL' && !flags.includes('NOQUEUE');
    const ordered = !flags.includes('HEADQUE') && !flags.includes('NOORDER');
    if (flag === 'QUECVT') return held !== undefined && up(held, mode) && ordered;
    if (flag === 'CONVDEADLK') return held !== undefined && !flags.includes('NOQUEUE');
    return true;
  });
}

function operation(standing: readonly Standing[], wanted: Wish): Operation | undefined {
  const { kind, which: id, mode, value } = wanted;
  const lock = standing.find((one) => one.id === id);
  if (!lock) return { op: 'request', id, mode, flags: flagsFor(undefined, wanted) };
  if (kind === 'unlock' || kind === 'die') return { op: kind, id, ...(value && { value }) };
  if (lock.asked) return kind === 'cancel' ? { op: 'cancel', id } : undefined;
  return { op: 'convert', id, mode, flags: flagsFor(lock.held, wanted), ...(value && { value }) };
}

test('DLM: with all flags the core does what the oracle does', () => {
  let operations = 0;
  fc.assert(
    fc.property(fc.array(wish, { maxLength: 60, size: 'max' }), (wishes) => {
      const pair = new Pair();
      for (const wanted of wishes) {
        const next = operation(pair.standing(), wanted);
        if (!next) continue;
        pair.run(next);
        operations += 1;
      }
    }),
    { numRuns: 2_000 },
  );
  expect(operations).toBeGreaterThan(20_000);
});
