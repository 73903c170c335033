// What the oracle found in the core, each as the shortest way there.
import { expect, test } from 'vitest';
import { bitsOf, checkConvert } from '../src/index.ts';
import type { Flag, Mode } from './oracle.ts';
import { Pair } from './pair.ts';

/** Conversions of granted locks, in order; then who holds and asks what. */
function after(held: readonly Mode[], ...asks: [id: number, mode: Mode, ...flags: Flag[]][]) {
  const pair = new Pair();
  held.forEach((mode, id) => {
    pair.run({ op: 'request', id, mode });
  });
  for (const [id, mode, ...flags] of asks) pair.run({ op: 'convert', id, mode, flags });
  return pair.standing().map(({ id, held: has, asked }) => `${id} ${has ?? '-'} ${asked ?? '-'}`);
}

test('DLM: a request that HEADQUE puts before those that wait is granted if it can be, not at the next event', () => {
  const pair = new Pair();
  pair.run({ op: 'request', id: 0, mode: 'PW' });
  pair.run({ op: 'request', id: 1, mode: 'PR' });
  pair.run({ op: 'request', id: 2, mode: 'NL', flags: ['HEADQUE'] });
  expect(pair.standing()).toContainEqual({ id: 2, held: 'NL', asked: undefined });
});

test('DLM: conversion deadlock: no false victim: one at the head waits for a third only', () => {
  const asks = after(['CR', 'CR', 'PW'], [0, 'EX'], [1, 'PW', 'HEADQUE']);
  expect(asks).toEqual(['2 PW -', '1 CR PW', '0 CR EX']);
});

test('DLM: conversion deadlock: one at the head that waits for what its successor holds is refused', () => {
  const asks = after(['CR', 'CR', 'PW'], [0, 'PW'], [1, 'EX', 'HEADQUE']);
  expect(asks).toEqual(['1 CR -', '2 PW -', '0 CR PW']);
});

test('DLM: conversion deadlock: NOORDER waits for nobody’s turn', () => {
  const asks = after(['CR', 'CR', 'PW'], [0, 'EX'], [1, 'PW', 'NOORDER']);
  expect(asks).toEqual(['2 PW -', '0 CR EX', '1 CR PW']);
});

test('DLM: conversion deadlock: one that waits with NODLCKWT makes no victim of another', () => {
  expect(after(['PR', 'PR'], [0, 'EX', 'NODLCKWT'], [1, 'EX'])).toEqual(['0 PR EX', '1 PR EX']);
  expect(after(['PR', 'PR'], [0, 'EX'], [1, 'EX'])).toEqual(['1 PR -', '0 PR EX']);
});

test('DLM: conversion deadlock: one that has its alternative at once waits for nobody', () => {
  expect(after(['PR', 'PR'], [0, 'EX'], [1, 'EX', 'ALTPR'])).toEqual(['1 PR -', '0 PR EX']);
});

test('DLM: EINVAL: QUECVT goes behind who waits, HEADQUE and NOORDER before', () => {
  for (const other of ['HEADQUE', 'NOORDER'] as const)
    expect(checkConvert('NL', 'EX', bitsOf(['QUECVT', other]))).toMatchObject({ errno: 'EINVAL' });
});
