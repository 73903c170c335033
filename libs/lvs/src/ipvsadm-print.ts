// The table as ipvsadm prints it: -S, -L, -L --stats, --rate, --thresholds; to the blank, for scripts that parse
// the original's. Always with numbers, as with -n. [ipvsadm 1.31: its formats]
import type { Forwarding, RealServer, ServiceId, VirtualService } from '@ssi/contracts';
import type { ListFormat } from './ipvsadm-parse.ts';
import { serverText, serviceText, type Table } from './table.ts';

/** What is counted of a server; rates are these for a second. */
export interface Counts {
  readonly connections: number;
  readonly inPackets: number;
  readonly outPackets: number;
  readonly inBytes: number;
  readonly outBytes: number;
}

export interface ServerState {
  readonly active: number;
  readonly inactive: number;
  readonly total: Counts;
  readonly perSecond: Counts;
}

const none: Counts = { connections: 0, inPackets: 0, outPackets: 0, inBytes: 0, outBytes: 0 };
const idle: ServerState = { active: 0, inactive: 0, total: none, perSecond: none };

const forwardOption: Record<Forwarding, string> = {
  ...{ masq: '-m', route: '-g', tunnel: '-i', fullnat: '--fullnat' },
};
const forwardName: Record<Forwarding, string> = {
  ...{ masq: 'Masq', route: 'Route', tunnel: 'Tunnel', fullnat: 'FullNat' },
};
const everyBit = '255.255.255.255';

const serviceRule = ({ id, scheduler, persistence, flags }: VirtualService): string =>
  [
    `-A ${serviceText(id)} -s ${scheduler}`,
    ...(persistence ? [`-p ${persistence.timeoutS}`] : []),
    ...(persistence && persistence.netmask !== everyBit ? [`-M ${persistence.netmask}`] : []),
    ...(flags.length > 0 ? [`-b ${flags.join(',')}`] : []),
  ].join(' ');

const serverRule = (id: ServiceId, s: RealServer): string =>
  [
    `-a ${serviceText(id)} -r ${serverText(s)} ${forwardOption[s.forward]} -w ${s.weight}`,
    // ipvsadm forgets these two; it reads them.
    ...(s.upper > 0 ? [`-x ${s.upper}`] : []),
    ...(s.lower > 0 ? [`-y ${s.lower}`] : []),
  ].join(' ');

/** -S: lines that -R reads. */
export const printRules = (table: Table): string =>
  table
    .flatMap((s) => [serviceRule(s), ...s.servers.map((server) => serverRule(s.id, server))])
    .map((line) => `${line}\n`)
    .join('');

const units = [
  { below: 1e8, unit: '', of: 1 },
  { below: 1e9, unit: 'K', of: 1e3 },
  { below: 1e11, unit: 'M', of: 1e6 },
  { below: 1e14, unit: 'G', of: 1e9 },
  { below: Number.POSITIVE_INFINITY, unit: 'T', of: 1e12 },
];

/** In nine columns; more with --exact where needed, then after a blank. */
export function largeNumber(n: number, exact: boolean): string {
  if (exact) return ` ${String(n).padStart(8)}`;
  const { unit, of } = units.find(({ below }) => n < below) ?? { unit: 'T', of: 1e12 };
  return `${Math.floor(n / of)}${unit}`.padStart(9);
}

const countsText = (c: Counts, exact: boolean): string =>
  [c.connections, c.inPackets, c.outPackets, c.inBytes, c.outBytes]
    .map((n) => largeNumber(n, exact))
    .join('');

const nameOf = (id: ServiceId): string =>
  id.protocol === 'fwmark'
    ? `FWM  ${id.mark}`
    : `${id.protocol.toUpperCase().padEnd(4)} ${id.address}:${id.port}`;

function flagsText({ persistence, flags }: VirtualService): string {
  const parts: string[] = [];
  if (flags.length > 0) parts.push(`(${flags.join(',')})`);
  if (persistence) parts.push(`persistent ${persistence.timeoutS}`);
  if (persistence && persistence.netmask !== everyBit) parts.push(`mask ${persistence.netmask}`);
  return parts.map((part) => ` ${part}`).join('');
}

const local = 'Prot LocalAddress:Port';
const remote = '  -> RemoteAddress:Port';
const titles = (names: readonly string[], pad: (name: string) => string): string =>
  `${local.padEnd(33)} ${names.map(pad).join(' ')}\n${remote}\n`;

function title({ stats, rate, thresholds }: ListFormat): string {
  const right = (name: string): string => name.padStart(8);
  if (stats) return titles(['Conns', 'InPkts', 'OutPkts', 'InBytes', 'OutBytes'], right);
  if (rate) return titles(['CPS', 'InPPS', 'OutPPS', 'InBPS', 'OutBPS'], right);
  if (thresholds)
    return titles(['Uthreshold', 'Lthreshold', 'ActiveConn', 'InActConn'], (n) => n.padEnd(10));
  return `${local} Scheduler Flags\n${remote}           Forward Weight ActiveConn InActConn\n`;
}

const sum = (all: readonly Counts[]): Counts =>
  all.reduce(
    (a, b) => ({
      connections: a.connections + b.connections,
      inPackets: a.inPackets + b.inPackets,
      outPackets: a.outPackets + b.outPackets,
      inBytes: a.inBytes + b.inBytes,
      outBytes: a.outBytes + b.outBytes,
    }),
    none,
  );

const column = (n: number, width: number): string => `${n}`.padEnd(width);

/** -L; `stateOf`: of a server, undefined where nothing is known. A service's counts are its servers' sum. */
export function printList(
  table: Table,
  format: ListFormat,
  stateOf: (id: ServiceId, server: RealServer) => ServerState | undefined,
): string {
  const counted = format.stats ? 'total' : format.rate ? 'perSecond' : undefined;
  const lines = sorted(table, format).flatMap((service) => {
    const states = service.servers.map((server) => stateOf(service.id, server) ?? idle);
    const all = counted && sum(states.map((state) => state[counted]));
    const name = nameOf(service.id);
    const head = all
      ? `${name.padEnd(33)}${countsText(all, format.exact)}`
      : format.thresholds
        ? name
        : `${name} ${service.scheduler}${flagsText(service)}`;
    const rows = service.servers.map((server, at) => {
      const state = states[at] ?? idle;
      const start = `  -> ${serverText(server).padEnd(28)}`;
      if (counted) return `${start}${countsText(state[counted], format.exact)}`;
      const now = [column(state.active, 10), column(state.inactive, 10)];
      const own = format.thresholds
        ? [column(server.upper, 10), column(server.lower, 10)]
        : [forwardName[server.forward].padEnd(7), column(server.weight, 6)];
      return [start, ...own, ...now].join(' ');
    });
    return [head, ...rows];
  });
  const body = lines.map((line) => `${line}\n`).join('');
  return `IP Virtual Server version 1.2.1 (size=4096)\n${title(format)}${body}`;
}

const number = (address: string): number =>
  address.split('.').reduce((n, byte) => n * 256 + Number(byte), 0);

/** Services by protocol, address, port, marks last; servers by address and port. */
function sorted(table: Table, { nosort }: ListFormat): readonly VirtualService[] {
  if (nosort) return table;
  const order = ['tcp', 'udp', 'fwmark'];
  const keys = ({ id }: VirtualService): number[] =>
    id.protocol === 'fwmark'
      ? [2, id.mark, 0]
      : [order.indexOf(id.protocol), number(id.address), id.port];
  const by = (a: readonly number[], b: readonly number[]): number =>
    a.map((n, at) => n - (b[at] ?? 0)).find((d) => d !== 0) ?? 0;
  return table
    .map((service) => ({
      ...service,
      servers: [...service.servers].sort((a, b) =>
        by([number(a.address), a.port], [number(b.address), b.port]),
      ),
    }))
    .sort((a, b) => by(keys(a), keys(b)));
}
