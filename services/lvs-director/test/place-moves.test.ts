// Places that move ahead of the rest: with them done, nft's transaction comes to the same table.
import type { VirtualService } from '@ssi/contracts';
import { seededRandom } from '@ssi/ports';
import { expect, test } from 'vitest';
import { markOf, type Numbered } from '../src/nft-rules.ts';
import { placeMoves } from '../src/place-moves.ts';

const id = { protocol: 'tcp', address: '10.9.0.1', port: 80 } as const;
const service: VirtualService = { id, scheduler: 'wlc', flags: [], servers: [] };
const numbered = (servers: number[], marks: number[]): Numbered => ({
  ...{ service, places: { by: 'turn', servers }, number: 1, marks: marks.map(markOf) },
});
/** What the map holds, by place. */
const held = (s: Numbered): Map<number, number> =>
  new Map(
    s.places.servers.flatMap((at, place) => {
      const mark = s.marks[at];
      return mark === undefined ? [] : [[place, mark] as const];
    }),
  );

test('LVS: place moves: to servers that are there at once, to new ones not yet; back is the way back', () => {
  const random = seededRandom(31);
  const any = (n: number): number => Math.floor(random.float() * n);
  for (let round = 0; round < 200; round++) {
    const places = 1 + any(20);
    const [was, is] = [0, 1].map(() => {
      const marks = [1, 2, 3, 4, 5].filter(() => random.float() < 0.6);
      const servers = Array.from({ length: places }, () => any(marks.length + 1) - 1);
      return numbered(servers, marks);
    }) as [Numbered, Numbered];
    const { changes, back, moved } = placeMoves([was], [is]);
    const map = held(was);
    const apply = (all: typeof changes): void => {
      for (const { gone, come } of all) {
        for (const place of gone) expect(map.delete(place)).toBe(true);
        for (const [place, mark] of come) {
          expect(map.has(place)).toBe(false);
          map.set(place, mark);
        }
      }
    };
    apply(changes);
    expect(map).toEqual(held(moved[0] as Numbered));
    const [now, next] = [held(moved[0] as Numbered), held(is)];
    for (let place = 0; place < places; place++) {
      const to = next.get(place);
      if (to === undefined || was.marks.includes(to)) expect(now.get(place)).toBe(to);
      else expect(now.get(place)).toBe(held(was).get(place));
    }
    apply(back);
    expect(map).toEqual(held(was));
  }
});
