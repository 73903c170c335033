// The node map and the order of interconnects, as plain functions.
import type { MemberId, ServiceEndpoint, View } from '@ssi/contracts';
import { describe, expect, test } from 'vitest';
import { measured, ordered, withoutPeer } from '../src/interconnects.ts';
import { digest, inView, withNode, withoutDead, withService } from '../src/node-map.ts';
import { entry, life, viewOf } from './view.ts';

const self: MemberId = { num: 1, incarnation: life(1) };

describe('ICS: node map', () => {
  test('a service that registers again takes the place of its former life', () => {
    const map = withService(withService([], entry(1, 'vproc', 'a')), entry(1, 'vproc', 'b'));
    expect(map).toEqual([entry(1, 'vproc', 'b')]);
  });

  test('a router tells of its own node only', () => {
    const map: ServiceEndpoint[] = [entry(1, 'ics', 'a'), entry(2, 'ics', 'b')];
    const told = withNode(map, 2, [entry(1, 'ics', 'forged'), entry(2, 'vproc', 'c')]);
    expect(told).toEqual([entry(1, 'ics', 'a'), entry(2, 'vproc', 'c')]);
  });

  test('entries of lives the view does not know are left out', () => {
    const view: View = viewOf(3, [
      [1, 'UP', 1],
      [2, 'KCLEANUP', 1],
      [3, 'UP', 2],
    ]);
    const map = [
      entry(1, 'ics', 'a'),
      entry(2, 'ics', 'b'),
      entry(3, 'ics', 'c'),
      entry(4, 'ics', 'd'),
    ];
    expect(inView(map, view, self)).toEqual([entry(1, 'ics', 'a')]);
    expect(withoutDead(map, [{ num: 2, incarnation: life(1) }])).toHaveLength(3);
    expect(withoutDead(map, [{ num: 2, incarnation: life(9) }])).toHaveLength(4);
  });

  test('the digest does not depend on who told when', () => {
    const a = withService(withService([], entry(2, 'vproc', 'a')), entry(1, 'ics', 'b'));
    const b = withService(withService([], entry(1, 'ics', 'b')), entry(2, 'vproc', 'a'));
    expect(digest(a)).toBe(digest(b));
    expect(digest(a)).not.toBe(digest(withService(a, entry(1, 'ics', 'c'))));
  });
});

describe('ICS: interconnects', () => {
  const addresses = ['10.0.0.1', '10.1.0.1', '10.2.0.1'];
  test('the configured order stands until something is measured', () => {
    expect(ordered(addresses, new Map(), 2)).toEqual(addresses);
  });

  test('the fastest first, never measured before not answering, none left out', () => {
    let health = measured(new Map(), { peer: 2, index: 0, rttMs: undefined });
    health = measured(health, { peer: 2, index: 2, rttMs: 0.4 });
    expect(ordered(addresses, health, 2)).toEqual(['10.2.0.1', '10.1.0.1', '10.0.0.1']);
    expect(ordered(addresses, health, 3)).toEqual(addresses);
    expect(ordered(addresses, withoutPeer(health, 2), 2)).toEqual(addresses);
  });

  test('an interconnect that answers again counts again', () => {
    let health = measured(new Map(), { peer: 2, index: 0, rttMs: undefined });
    health = measured(health, { peer: 2, index: 0, rttMs: 0.2 });
    expect(ordered(addresses, health, 2)[0]).toBe('10.0.0.1');
  });
});
