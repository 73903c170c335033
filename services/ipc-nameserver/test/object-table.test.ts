// The nameserver's table alone: its rules by the manual pages they come from, and properties of random runs.
import type { IpcBinding, ipc, RequestOf } from '@ssi/contracts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  bind,
  checkName,
  drop,
  lookupOrCreate,
  newTable,
  type ObjectTable,
  unbind,
} from '../src/index.ts';

type Lookup = RequestOf<typeof ipc.ops.lookup>;
const root = { uid: 0, gid: 0 };
const alice = { uid: 1000, gid: 100 };
const bob = { uid: 1001, gid: 100 };
let asking = 0;
const ask = (t: ObjectTable, q: Partial<Lookup>, node = 1) =>
  lookupOrCreate(
    t,
    {
      type: 'msg',
      mode: 0o600,
      cred: root,
      bootId: `${node}`.repeat(16),
      madeBy: `${++asking}`,
      ...q,
    },
    node,
  );

describe('IPC: lookup or create', () => {
  test('IPC_CREAT makes what is not there, IPC_EXCL refuses what is; without them ENOENT', () => {
    const t = newTable(7);
    expect(ask(t, { name: '5' })).toMatchObject({ errno: 'ENOENT' });
    const first = ask(t, { name: '5', create: true });
    expect(first).toMatchObject({ ok: true, value: { created: true, binding: { node: 1 } } });
    expect(ask(t, { name: '5', create: true }, 2)).toMatchObject({
      value: { created: false, binding: { node: 1 } },
    });
    expect(ask(t, { name: '5', create: true, exclusive: true })).toMatchObject({ errno: 'EEXIST' });
    expect(ask(t, { type: 'sem', name: '5' })).toMatchObject({ errno: 'ENOENT' });
  });

  test('IPC_PRIVATE is a new one each time', () => {
    const t = newTable(7);
    const [a, b] = [ask(t, {}), ask(t, {})];
    expect(a.ok && b.ok && a.value.binding.id !== b.value.binding.id).toBe(true);
  });

  test('the same asking, repeated, finds what it made: also with IPC_EXCL, also without a name', () => {
    const t = newTable(7);
    for (const name of ['9', undefined]) {
      const q = { ...(name && { name }), create: true, exclusive: true, madeBy: `again-${name}` };
      const [once, twice] = [ask(t, q), ask(t, q)];
      expect(once).toEqual(twice);
      expect(ask(t, q, 2)).not.toEqual(once);
    }
  });

  test('rights of one that is there are asked for by mode: owner, group, others [ipcperms]', () => {
    const t = newTable(7);
    ask(t, { name: '1', create: true, mode: 0o640, cred: alice });
    expect(ask(t, { name: '1', mode: 0o600, cred: alice }).ok).toBe(true);
    expect(ask(t, { name: '1', mode: 0o400, cred: bob }).ok).toBe(true);
    expect(ask(t, { name: '1', mode: 0o600, cred: bob })).toMatchObject({ errno: 'EACCES' });
    expect(ask(t, { name: '1', mode: 0, cred: { uid: 5, gid: 5 } }).ok).toBe(true);
    expect(ask(t, { name: '1', mode: 0o666, cred: root }).ok).toBe(true);
  });

  test('semget: more semaphores than the set has, or none of a new one: EINVAL', () => {
    const t = newTable(7);
    const set = { type: 'sem' as const, name: '1' };
    expect(ask(t, { ...set, create: true, nsems: 0 })).toMatchObject({ errno: 'EINVAL' });
    expect(ask(t, { ...set, create: true, nsems: 3 }).ok).toBe(true);
    expect(ask(t, { ...set, nsems: 0 }).ok).toBe(true);
    expect(ask(t, { ...set, nsems: 4 })).toMatchObject({ errno: 'EINVAL' });
  });

  test('names: what each type takes', () => {
    const is = (type: 'msg' | 'mq' | 'psem' | 'fifo', name: string): string => {
      const reply = checkName(type, name);
      return reply.ok ? 'ok' : reply.errno;
    };
    expect(['1', '-1', '2147483647', '-2147483648'].map((n) => is('msg', n))).toEqual(
      Array(4).fill('ok'),
    );
    for (const bad of ['0', '', 'x', '2147483648', '1.5', '01', '+1', '-0'])
      expect(is('msg', bad)).toBe('EINVAL');
    expect(is('mq', '/q')).toBe('ok');
    expect(is('mq', 'q')).toBe('EINVAL');
    expect(is('mq', '/')).toBe('ENOENT');
    expect(is('mq', '/a/b')).toBe('EACCES');
    expect(is('psem', '/a/b')).toBe('EINVAL');
    expect(is('mq', `/${'x'.repeat(255)}`)).toBe('ok');
    expect(is('mq', `/${'x'.repeat(256)}`)).toBe('ENAMETOOLONG');
    expect(is('fifo', '/tmp/a/b')).toBe('ok');
  });
});

describe('IPC: the table over its life', () => {
  const step = fc.oneof(
    fc.record({
      kind: fc.constant('get' as const),
      node: fc.integer({ min: 1, max: 3 }),
      name: fc.option(fc.integer({ min: 1, max: 6 }).map(String), { nil: undefined }),
      exclusive: fc.boolean(),
    }),
    fc.record({ kind: fc.constant('remove' as const), at: fc.nat(20) }),
    fc.record({ kind: fc.constant('nodedown' as const), node: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ kind: fc.constant('takeover' as const) }),
  );

  test('no id twice, one object for a name, and a rebuilt table is the one before less what died', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let t = newTable(1);
        const given = new Set<number>();
        const held = new Map<number, IpcBinding>();
        for (const s of steps) {
          if (s.kind === 'get') {
            const q = { ...(s.name && { name: s.name }), create: true, exclusive: s.exclusive };
            const reply = ask(t, q, s.node);
            if (reply.ok && reply.value.created) {
              expect(given.has(reply.value.binding.id)).toBe(false);
              given.add(reply.value.binding.id);
              held.set(reply.value.binding.id, reply.value.binding);
            } else if (reply.ok) expect(held.has(reply.value.binding.id)).toBe(true);
            else expect(reply.errno).toBe('EEXIST');
          } else if (s.kind === 'remove') {
            const id = [...held.keys()][s.at];
            if (id === undefined) continue;
            unbind(t, id);
            held.delete(id);
          } else if (s.kind === 'nodedown') {
            drop(t, (b) => b.node === s.node);
            for (const [id, b] of held) if (b.node === s.node) held.delete(id);
          } else {
            const next = newTable(t.epoch + 1);
            for (const b of held.values()) bind(next, b);
            t = next;
          }
          expect(new Map([...t.byId].sort(([a], [b]) => a - b))).toEqual(
            new Map([...held].sort(([a], [b]) => a - b)),
          );
          const names = [...held.values()].flatMap((b) => b.name ?? []);
          expect(new Set(names).size).toBe(names.length);
          expect(t.byName.size).toBe(names.length);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('a nameserver that is started anew in its epoch goes on after the greatest id', () => {
    const t = newTable(3);
    const first = ask(t, {});
    const again = newTable(3, t.lastId);
    const second = ask(again, {});
    expect(first.ok && second.ok && second.value.binding.id).toBe(t.lastId + 1);
    expect(newTable(4, t.lastId).lastId).toBe(4 * 2 ** 24);
  });
});
