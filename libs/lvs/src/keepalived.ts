// keepalived.conf's virtual_server blocks as our table. A setting of the virtual server is its real servers', of a
// real server its checkers', where these have none of their own. What we cannot do is a fault, with its line; other
// parts of the file (VRRP, global definitions) are left out and named. [keepalived.conf(5): LVS CONFIGURATION]
import {
  type Forwarding,
  fail,
  ok,
  type RealServer,
  type Reply,
  realServer,
  type SchedulerFlag,
  type ServiceId,
  schedulerFlag,
  schedulerName,
  serviceHealth,
  serviceId,
} from '@ssi/contracts';
import { type Line, parseBlocks } from './keepalived-blocks.ts';
import { checkerOf } from './keepalived-checkers.ts';
import { type Inherited, Reader } from './keepalived-words.ts';
import { addServer, addService, type Table } from './table.ts';

export interface Imported {
  readonly table: Table;
  /** What was left out, a line each, as `NAME:LINE: what`. */
  readonly leftOut: readonly string[];
}

/** EINVAL: every fault found, a line each, as `NAME:LINE: what`. */
export function parseKeepalived(text: string, name = 'keepalived.conf'): Reply<Imported, 'EINVAL'> {
  const blocks = parseBlocks(text, name);
  if (!blocks.ok) return blocks;
  const reader = new Reader(name);
  let table: Table = [];
  for (const line of blocks.value) {
    if (line.words[0] === 'virtual_server') table = addVirtualServer(reader, table, line);
    else reader.leave(line, `${line.words[0]}: not a virtual_server`);
  }
  const { faults, leftOut } = reader;
  return faults.length > 0 ? fail('EINVAL', faults.join('\n')) : ok({ table, leftOut });
}

function idOf(
  reader: Reader,
  { words, ...line }: Line,
  protocol: 'tcp' | 'udp',
): ServiceId | undefined {
  const at = { words, ...line };
  const [, first = '', second = '0'] = words;
  if (first === 'group') return reader.fault(at, 'virtual_server group: give each its own block');
  const id =
    first === 'fwmark'
      ? { protocol: 'fwmark', mark: Number(second) }
      : { protocol, address: first, port: Number(second) };
  const parsed = serviceId.safeParse(id);
  return parsed.success
    ? parsed.data
    : reader.fault(
        at,
        `virtual_server: IPv4 ADDRESS PORT or fwmark NUMBER, not ${words.slice(1).join(' ')}`,
      );
}

function addVirtualServer(reader: Reader, before: Table, vs: Line): Table {
  let own: Inherited = {};
  let protocol: 'tcp' | 'udp' = 'tcp';
  let scheduler: string | undefined;
  let timeoutS: number | undefined;
  let netmask = '255.255.255.255';
  let sorry: { line: Line; forward?: Forwarding } | undefined;
  const flags: SchedulerFlag[] = [];
  const health: Record<string, unknown> = {};
  const realServers: Line[] = [];
  for (const line of vs.block ?? []) {
    const [word = '', value = ''] = line.words;
    const inherited = reader.inherited(line);
    const flag = schedulerFlag.safeParse(word);
    if (inherited) own = { ...own, ...inherited };
    else if (word === 'real_server') realServers.push(line);
    else if (word === 'lvs_sched' || word === 'lb_algo') scheduler = value;
    else if (flag.success) flags.push(flag.data);
    else if (word === 'protocol' && (value === 'TCP' || value === 'UDP'))
      protocol = value === 'TCP' ? 'tcp' : 'udp';
    else if (word === 'protocol') reader.fault(line, `protocol: TCP or UDP, not ${value}`);
    else if (word === 'persistence_timeout')
      timeoutS = value === '' ? 360 : reader.number(line, 1, 31 * 24 * 3_600);
    else if (word === 'persistence_granularity') netmask = value;
    else if (word === 'quorum' || word === 'hysteresis')
      health[word] = reader.number(line, word === 'quorum' ? 1 : 0, 1_000_000);
    else if (word === 'quorum_up') health.quorumUp = reader.script(line);
    else if (word === 'quorum_down') health.quorumDown = reader.script(line);
    else if (word === 'omega') health.omega = reader.boolean(line);
    else if (word === 'sorry_server') sorry = { ...sorry, line };
    else if (word === 'sorry_server_lvs_method') {
      const forward = reader.method(line);
      if (forward) sorry = { line: sorry?.line ?? line, ...sorry, forward };
    } else reader.unknown(line, 'virtual_server');
  }
  const id = idOf(reader, vs, protocol);
  const named = schedulerName.safeParse(scheduler ?? 'wlc');
  if (!named.success)
    reader.fault(vs, `lvs_sched ${scheduler}: there are ${schedulerName.options.join(' ')}`);
  if (!id || !named.success) return before;
  const checked = serviceHealth.safeParse(health);
  if (!checked.success) return before;
  const port = id.protocol === 'fwmark' ? 0 : id.port;
  const sorryServer =
    sorry &&
    serverOf(reader, sorry.line, port, { forward: sorry.forward ?? own.forward ?? 'masq' });
  const added = addService(before, {
    ...{ id, scheduler: named.data, flags },
    ...(timeoutS !== undefined && { persistence: { timeoutS, netmask } }),
    ...(sorryServer && { sorryServer }),
    ...(Object.keys(health).length > 0 && { health: checked.data }),
  });
  if (!added.ok) {
    reader.fault(vs, added.detail ?? '');
    return before;
  }
  let table = added.value;
  for (const line of realServers) {
    const server = realServerOf(reader, line, port, own);
    const joined = server && addServer(table, id, server);
    if (joined?.ok) table = joined.value;
    else if (joined) reader.fault(line, joined.detail ?? '');
  }
  return table;
}

/** `WORD ADDRESS [PORT]` with what is known of it. */
function serverOf(
  reader: Reader,
  line: Line,
  port: number,
  more: Partial<RealServer>,
): RealServer | undefined {
  const [word, address, own] = line.words;
  const parsed = realServer.safeParse({
    ...{ address, port: own === undefined ? port : Number(own), weight: 1, upper: 0, lower: 0 },
    ...{ forward: 'masq', ...more },
  });
  if (parsed.success) return parsed.data;
  return reader.fault(line, `${word}: IPv4 ADDRESS [PORT], not ${line.words.slice(1).join(' ')}`);
}

function realServerOf(
  reader: Reader,
  rs: Line,
  port: number,
  above: Inherited,
): RealServer | undefined {
  let own: Inherited = above;
  let [upper, lower] = [0, 0];
  const scripts: { notifyUp?: string[]; notifyDown?: string[] } = {};
  const checkers: Line[] = [];
  for (const line of rs.block ?? []) {
    const [word = ''] = line.words;
    const inherited = reader.inherited(line);
    if (inherited) own = { ...own, ...inherited };
    else if (['TCP_CHECK', 'HTTP_GET', 'SSL_GET', 'MISC_CHECK'].includes(word)) checkers.push(line);
    else if (word === 'uthreshold') upper = reader.number(line, 0, 65_535) ?? 0;
    else if (word === 'lthreshold') lower = reader.number(line, 0, 65_535) ?? 0;
    else if (word === 'notify_up' || word === 'notify_down') {
      const script = reader.script(line);
      if (script) scripts[word === 'notify_up' ? 'notifyUp' : 'notifyDown'] = script;
    } else reader.unknown(line, 'real_server');
  }
  const found = checkers.map((line) => checkerOf(reader, line, own)).filter((c) => c !== undefined);
  const { inhibitOnFailure } = own;
  const health = {
    ...{ checkers: found, ...scripts },
    ...(inhibitOnFailure !== undefined && { inhibitOnFailure }),
  };
  const says = found.length > 0 || Object.keys(health).length > 1;
  const { weight = 1, forward = 'masq' } = own;
  return serverOf(reader, rs, port, { weight, forward, upper, lower, ...(says && { health }) });
}
