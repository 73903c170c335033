// Rules that hold over all contracts, and the document generated from them.
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import * as all from '../src/index.ts';
import {
  asyncApi,
  type Contract,
  callFaults,
  defineContract,
  rpc,
  serviceOps,
} from '../src/index.ts';

const isContract = (v: unknown): v is Contract =>
  typeof v === 'object' && v !== null && 'ops' in v && 'version' in v;
/** Whatever the package exports: a new contract is looked at without being named here. */
const contracts: readonly Contract[] = Object.values<unknown>(all).filter(isContract);

/** An operation that calls others. */
const op = (...calls: string[]) =>
  rpc({ summary: 's', request: z.object({}), reply: z.object({}), errnos: [], calls });

describe('contracts: calls', () => {
  test('no cycle, at most three deep, the highest priority calls nothing', () => {
    expect(callFaults(contracts)).toEqual([]);
  });

  test('a cycle, a chain of four, an unknown operation and a calling top priority are found', () => {
    const cycle = defineContract('a', 1, { x: op('a.y'), y: op('a.x') });
    expect(callFaults([cycle]).join()).toContain('cycle: a.x -> a.y -> a.x');
    const deep = defineContract('b', 1, {
      v: op('b.w'),
      w: op('b.x'),
      x: op('b.y'),
      y: op('b.z'),
      z: op(),
    });
    expect(callFaults([deep])).toEqual(['b.v is followed by calls 4 deep']);
    expect(callFaults([defineContract('c', 1, { x: op('c.y') })])).toHaveLength(1);
    const top = defineContract('d', 1, { x: { ...op('d.y'), priority: 3 }, y: op() });
    expect(callFaults([top]).join()).toContain('highest priority');
  });

  test('every service serves what membership needs of it', () => {
    for (const c of contracts)
      for (const name of Object.keys(serviceOps)) expect(c.ops).toHaveProperty(name);
  });
});

describe('contracts: AsyncAPI document', () => {
  const document = asyncApi(contracts, '1');
  const shape = z.object({
    asyncapi: z.literal('3.0.0'),
    info: z.object({ title: z.string(), version: z.string() }),
    channels: z.record(
      z.string(),
      z.object({
        address: z.string(),
        description: z.string().min(10),
        parameters: z.record(z.string(), z.object({ description: z.string() })),
        messages: z.record(z.string(), z.object({ payload: z.record(z.string(), z.unknown()) })),
      }),
    ),
    operations: z.record(
      z.string(),
      z.object({
        action: z.enum(['send', 'receive']),
        channel: z.object({ $ref: z.string() }),
        messages: z.array(z.object({ $ref: z.string() })).min(1),
        reply: z
          .object({
            channel: z.object({ $ref: z.string() }),
            messages: z.array(z.object({ $ref: z.string() })),
          })
          .optional(),
      }),
    ),
  });

  test('has every operation of every contract', () => {
    const parsed = shape.parse(document);
    const all = contracts.flatMap((c) => Object.keys(c.ops).map((o) => `${c.name}.${o}`));
    expect(Object.keys(parsed.operations).sort()).toEqual([...all].sort());
    expect(Object.keys(parsed.channels).sort()).toEqual([...all].sort());
  });

  test('every reference leads somewhere, every address has its parameters', () => {
    const parsed = shape.parse(document);
    const find = (ref: string): unknown =>
      ref
        .slice(2)
        .split('/')
        .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], document);
    for (const o of Object.values(parsed.operations)) {
      const refs = [
        o.channel,
        ...o.messages,
        ...(o.reply ? [o.reply.channel, ...o.reply.messages] : []),
      ];
      for (const { $ref } of refs) expect(find($ref), $ref).toBeDefined();
    }
    for (const c of Object.values(parsed.channels)) {
      const named = [...c.address.matchAll(/\{(\w+)\}/g)].map((m) => m[1]);
      expect(Object.keys(c.parameters)).toEqual(named);
    }
  });

  test('is the same each time, and plain JSON', () => {
    expect(asyncApi(contracts, '1')).toEqual(document);
    expect(JSON.parse(JSON.stringify(document))).toEqual(document);
  });
});
