// lvs.yaml: the virtual server table as people write it. Each fault is told with its line.
import {
  checkedUrl,
  checker,
  fail,
  forwarding,
  nodeNum,
  ok,
  type Reply,
  schedulerFlag,
  schedulerName,
  serverHealth,
  serviceHealth,
  type VirtualService,
} from '@ssi/contracts';
import { isNode, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { addServer, addService, type Table } from './table.ts';

const addressPort = z.string().transform((text, ctx) => {
  const [address = '', port = '', ...more] = text.split(':');
  const number = /^\d{1,5}$/.test(port) ? Number(port) : Number.NaN;
  if (more.length === 0 && z.ipv4().safeParse(address).success && number <= 65_535)
    return { address, port: number };
  ctx.addIssue(`${text} is not ADDRESS:PORT, as 10.0.0.1:80`);
  return z.NEVER;
});

// The model's own, but that a word it does not know is a fault.
const urls = z.array(checkedUrl.strict()).min(1).max(64);
const checkers = z.array(
  z.discriminatedUnion(
    'kind',
    checker.options.map((one) =>
      ('urls' in one.shape ? one.extend({ urls }) : one).strict(),
    ) as unknown as typeof checker.options,
  ),
);
const healthOfServer = serverHealth.extend({ checkers: checkers.max(16).default([]) }).strict();

const threshold = z.int().min(0).max(65_535).default(0);
const server = z
  .strictObject({
    address: addressPort,
    forward: forwarding.default('masq'),
    weight: z.int().min(0).max(2_147_483_647).default(1),
    upper: threshold,
    lower: threshold,
    node: nodeNum.optional(),
    health: healthOfServer.optional(),
  })
  .transform(({ address, node, health, ...rest }) => ({
    ...{ ...address, ...rest },
    ...(node !== undefined && { node }),
    ...(health && { health }),
  }));

const persistent = z
  .strictObject({
    timeout: z
      .int()
      .min(1)
      .max(31 * 24 * 3600)
      .default(300),
    netmask: z.ipv4().default('255.255.255.255'),
  })
  .transform(({ timeout, netmask }) => ({ timeoutS: timeout, netmask }));

const service = z
  .strictObject({
    tcp: addressPort.optional(),
    udp: addressPort.optional(),
    fwmark: z.int().min(1).max(0xffff_ffff).optional(),
    scheduler: schedulerName.default('wlc'),
    flags: z.array(schedulerFlag).max(2).default([]),
    persistent: persistent.optional(),
    servers: z.array(server).max(4_096).default([]),
    sorryServer: server.optional(),
    health: serviceHealth.strict().optional(),
  })
  .transform(({ tcp, udp, fwmark, persistent: persistence, ...rest }, ctx): VirtualService => {
    const ids = [
      ...(tcp ? [{ protocol: 'tcp' as const, ...tcp }] : []),
      ...(udp ? [{ protocol: 'udp' as const, ...udp }] : []),
      ...(fwmark === undefined ? [] : [{ protocol: 'fwmark' as const, mark: fwmark }]),
    ];
    const [id] = ids;
    if (ids.length === 1 && id) return { id, ...rest, ...(persistence && { persistence }) };
    ctx.addIssue('one of tcp, udp, fwmark says what the service is');
    return z.NEVER;
  });

const file = z.strictObject({ services: z.array(service).max(1_024).default([]) });

/** EINVAL: every fault found, a line each, as `NAME:LINE: what`. */
export function parseLvsYaml(text: string, name = 'lvs.yaml'): Reply<Table, 'EINVAL'> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const faults = document.errors.map(
    (e) => `${name}:${lines.linePos(e.pos[0]).line}: ${e.message.split(' at line ')[0]}`,
  );
  if (faults.length > 0) return fail('EINVAL', faults.join('\n'));

  /** Of what is there, or of the nearest that it would be in. */
  function lineOf(path: readonly PropertyKey[]): number {
    const keys = path.filter((key) => typeof key !== 'symbol');
    for (let length = keys.length; length > 0; length--) {
      const node = document.getIn(keys.slice(0, length), true);
      if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
    }
    return 1;
  }

  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 }) ?? {};
  } catch (error) {
    return fail('EINVAL', `${name}: ${String(error)}`);
  }
  const parsed = file.safeParse(value);
  if (!parsed.success)
    return fail(
      'EINVAL',
      parsed.error.issues
        .map(({ path, message, ...issue }) => {
          const at = issue.code === 'unrecognized_keys' ? [...path, issue.keys[0] ?? ''] : path;
          const where = path.length > 0 ? `${z.core.toDotPath(path)}: ` : '';
          return `${name}:${lineOf(at)}: ${where}${message}`;
        })
        .join('\n'),
    );

  // What fits each by itself may not fit together.
  let table: Table = [];
  for (const [n, { servers, ...options }] of parsed.data.services.entries()) {
    const added = addService(table, options);
    if (!added.ok) return fail('EINVAL', `${name}:${lineOf(['services', n])}: ${added.detail}`);
    table = added.value;
    for (const [m, one] of servers.entries()) {
      const joined = addServer(table, options.id, one);
      const at = lineOf(['services', n, 'servers', m]);
      if (!joined.ok) return fail('EINVAL', `${name}:${at}: ${joined.detail}`);
      table = joined.value;
    }
  }
  return ok(table);
}
