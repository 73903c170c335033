// The AsyncAPI 3 document of the contracts: one channel for each operation with its subject, messages
// with JSON Schema of request and reply. Generated from the one declaration, for people and tools.
import { z } from 'zod';
import type { Contract, Op } from './contract.ts';
import { errnoNumber } from './errno.ts';

type Json = { [key: string]: unknown };

/** zod writes what JSON cannot say (undefined, bytes) as "anything". */
const schema = (type: z.ZodType): Json =>
  z.toJSONSchema(type, { unrepresentable: 'any', io: 'input', target: 'draft-7' }) as Json;

const replySchema = (op: Op): Json => ({
  oneOf: [
    {
      type: 'object',
      required: ['ok'],
      properties: { ok: { const: true }, value: schema(op.reply) },
    },
    {
      type: 'object',
      required: ['ok', 'errno', 'detail'],
      properties: {
        ok: { const: false },
        errno: { enum: [...op.errnos] },
        detail: { type: 'string' },
        node: { type: 'integer' },
      },
    },
  ],
});

/** Stable: the same contracts give the same document. `version` is the document's own. */
export function asyncApi(contracts: readonly Contract[], version: string): Json {
  const channels: Json = {};
  const operations: Json = {};
  for (const contract of contracts)
    for (const [name, op] of Object.entries(contract.ops)) {
      const id = `${contract.name}.${name}`;
      channels[id] = channel(contract, name, op);
      operations[id] = operation(contract, name, op);
    }
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'OpenSSI in user space',
      version,
      description:
        'Operations that the services of a cluster serve for each other and for clients. Bodies are msgpack inside the ICS frame (libs/contracts/src/envelope.ts); every call may also end with an errno of ICS itself.',
      license: { name: 'Apache-2.0' },
    },
    defaultContentType: 'application/msgpack',
    channels,
    operations,
    components: {
      schemas: { errno: { type: 'string', enum: Object.keys(errnoNumber) } },
    },
  };
}

function channel(contract: Contract, name: string, op: Op): Json {
  const messages: Json = { request: { name: 'request', payload: schema(op.request) } };
  if (op.kind === 'rpc') messages.reply = { name: 'reply', payload: replySchema(op) };
  return {
    address: `ssi.{cluster}.${contract.name}.v${contract.version}.{node}.${name}.{source}`,
    description: op.summary,
    parameters: {
      cluster: { description: 'Name of the cluster.' },
      node: { description: 'Number of the node that serves.' },
      source: { description: '<node>-<service> of the caller.' },
    },
    messages,
  };
}

function operation(contract: Contract, name: string, op: Op): Json {
  const id = `${contract.name}.${name}`;
  const ref = `#/channels/${id}`;
  const base: Json = {
    action: 'receive',
    channel: { $ref: ref },
    summary: op.summary,
    messages: [{ $ref: `${ref}/messages/request` }],
    'x-ssi-kind': op.kind,
    'x-ssi-priority': op.priority ?? 0,
    'x-ssi-timeout-ms': op.timeoutMs ?? 5_000,
    'x-ssi-calls': [...(op.calls ?? [])],
    'x-ssi-errnos': [...op.errnos],
  };
  if (op.longPoll) base['x-ssi-long-poll'] = true;
  if (op.kind === 'rpc')
    base.reply = { channel: { $ref: ref }, messages: [{ $ref: `${ref}/messages/reply` }] };
  return base;
}
