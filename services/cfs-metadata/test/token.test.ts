// Tokens under random requests and clients that answer recalls whenever they like: never two that exclude each
// other, nobody waits for ever, nobody is asked back too soon.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  dropTokens,
  inOrder,
  releaseToken,
  requestToken,
  type TokenEffect,
  type TokenMode,
  tokenTable,
} from '../src/index.ts';

const holdMs = 10;
const key = fc.constantFrom('1:data', '2:data');
const client = fc.constantFrom('n1', 'n2', 'n3');
const step = fc.oneof(
  fc.record({
    kind: fc.constant('request' as const),
    ...{ key, client, mode: fc.constantFrom('shared' as const, 'exclusive' as const) },
  }),
  fc.record({ kind: fc.constant('answer' as const), which: fc.nat(5), more: fc.boolean() }),
  fc.record({ kind: fc.constant('drop' as const), client }),
);

/** The clients and the wire: what each believes to have, and the recalls that it has not answered. */
class Clients {
  readonly table = tokenTable(holdMs);
  readonly have = new Map<string, TokenMode>();
  readonly want = new Map<string, TokenMode>();
  recalls: Extract<TokenEffect, { type: 'recall' }>[] = [];
  nowMs = 0;
  fence = 0;

  take(effects: readonly TokenEffect[]): void {
    for (const e of effects) {
      const who = `${e.key} ${e.client}`;
      if (e.type === 'recall') {
        expect(this.have.has(who)).toBe(true);
        this.recalls.push(e);
        continue;
      }
      expect(e.fence).toBeGreaterThan(this.fence);
      this.fence = e.fence;
      this.have.set(who, e.mode);
      if (e.mode === 'exclusive' || this.want.get(who) === e.mode) this.want.delete(who);
      const all = [...this.have].filter(([k]) => k.startsWith(`${e.key} `));
      const exclusive = all.filter(([, mode]) => mode === 'exclusive').length;
      expect(exclusive === 0 || all.length === 1).toBe(true);
    }
  }

  request(r: { key: string; client: string; mode: TokenMode }): void {
    const who = `${r.key} ${r.client}`;
    if (this.want.get(who) !== 'exclusive') this.want.set(who, r.mode);
    this.take(requestToken(this.table, r, this.nowMs));
  }

  answer(which: number, more: boolean): void {
    const e = this.recalls[which % this.recalls.length];
    if (!e) return;
    this.recalls = this.recalls.filter((other) => other !== e);
    const who = `${e.key} ${e.client}`;
    this.nowMs = Math.max(this.nowMs + 1, e.notBeforeMs);
    const to = more ? 'nothing' : e.to;
    if (to === 'nothing') this.have.delete(who);
    else if (this.have.has(who)) this.have.set(who, 'shared');
    this.take(releaseToken(this.table, { key: e.key, client: e.client, to }, this.nowMs));
  }

  drop(gone: string): void {
    for (const map of [this.have, this.want])
      for (const who of map.keys()) if (who.endsWith(` ${gone}`)) map.delete(who);
    this.recalls = this.recalls.filter((e) => e.client !== gone);
    this.take(dropTokens(this.table, gone, this.nowMs));
  }
}

describe('CFS: tokens', () => {
  test('no two that exclude each other; with all recalls answered nobody waits', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const clients = new Clients();
        for (const s of steps) {
          if (s.kind === 'request') clients.request(s);
          else if (s.kind === 'answer') clients.answer(s.which, s.more);
          else clients.drop(s.client);
        }
        for (let i = 0; i < 200 && clients.recalls.length > 0; i++) clients.answer(0, false);
        expect([...clients.want]).toEqual([]);
        for (const c of ['n1', 'n2', 'n3']) clients.drop(c);
        expect(clients.table.tokens.size).toBe(0);
      }),
      { numRuns: 500 },
    );
  });

  test('a holder is asked back once, after the time that it may keep it, and readers do not pass a writer', () => {
    const table = tokenTable(holdMs);
    const ask = (client: string, mode: TokenMode, nowMs: number) =>
      requestToken(table, { key: 'k', client, mode }, nowMs);
    expect(ask('n1', 'exclusive', 5)).toMatchObject([{ type: 'grant', fence: 1 }]);
    const recall = { type: 'recall', key: 'k', client: 'n1', to: 'shared', notBeforeMs: 15 };
    expect(ask('n2', 'shared', 6)).toEqual([recall]);
    expect(ask('n2', 'shared', 7)).toEqual([]);
    expect(ask('n3', 'exclusive', 7)).toEqual([]);
    expect(ask('n4', 'shared', 8)).toEqual([]);
    const after = releaseToken(table, { key: 'k', client: 'n1', to: 'shared' }, 15);
    expect(after.map((e) => [e.type, e.client])).toEqual([
      ...[
        ['grant', 'n2'],
        ['recall', 'n1'],
        ['recall', 'n2'],
      ],
    ]);
    expect(dropTokens(table, 'n1', 16)).toEqual([]);
    const last = releaseToken(table, { key: 'k', client: 'n2', to: 'nothing' }, 25);
    expect(last.map((e) => [e.type, e.client])).toEqual([
      ...[
        ['grant', 'n3'],
        ['recall', 'n3'],
      ],
    ]);
  });

  test('several are taken in one order', () => {
    expect(inOrder(['b', 'a', 'b'])).toEqual(['a', 'b']);
  });
});
