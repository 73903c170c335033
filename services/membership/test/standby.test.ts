// Whose turn it is among the membership processes of a node.

import { systemClock, systemRandom } from '@ssi/linux';
import { expect, test } from 'vitest';
import { takeTurn } from '../src/standby.ts';

const ask = (name: string) => ({ name, clock: systemClock(), onEnd: () => {} });

test('CLMS: standby: a caretaker learns that another one waits, and only then', async () => {
  const name = `ssi-turn-${systemRandom().hex(4)}`;
  const caretaker = await takeTurn(ask(name));
  let seen = false;
  const heir = caretaker.heir().then(() => {
    seen = true;
  });
  await new Promise((done) => setImmediate(done));
  expect(seen).toBe(false);
  const ended = Promise.withResolvers<void>();
  void takeTurn({ ...ask(name), onEnd: () => ended.resolve() });
  await heir;
  caretaker.end();
  await ended.promise;
});

test('CLMS: standby: one that ends passes its turn to the one that waits, once it is there', async () => {
  const name = `ssi-turn-${systemRandom().hex(4)}`;
  const first = await takeTurn(ask(name));
  const heir = first.heir(60_000);
  const second = takeTurn(ask(name));
  await heir;
  first.pass();
  (await second).end();
});
