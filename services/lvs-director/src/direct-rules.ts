// Direct routing as nftables rules: packets for a cluster address are handed on as they came, at the interface
// they come in by, to a node that has the address too and answers the client itself. Which connection is whose is
// in the table `flows`, kept by the packets themselves. [ipvsadm(8): -g; nft(8): ingress hook, fwd]
import type { ClientFlow, ServiceId } from '@ssi/contracts';
import { tableComment, tableName } from './nft-rules.ts';
import type { Planned } from './ports.ts';

const t = `netdev ${tableName}`;
export const directTable = t;

/** A service with its number in the table, and for each server its mark: one for each address. */
export interface DirectService extends Planned {
  readonly number: number;
  readonly marks: readonly number[];
}

export interface DirectPlan {
  readonly services: readonly DirectService[];
  /** Every address that has a mark: also of servers that left and still have connections. */
  readonly hosts: ReadonlyMap<string, number>;
  /** Not handed on but for this node to answer: its own, and of nodes that are no more, which it resets. */
  readonly here: ReadonlySet<string>;
  readonly device: string;
}

/** Idle connections are forgotten. [net/netfilter/ipvs/ip_vs_proto_tcp.c, ..._udp.c: time-outs] */
const idleS = { tcp: 900, udp: 300 } as const;
/** One that a side has closed. */
const closingS = 60;
const flowsMax = 1_048_576;
const clientsMax = 65_536;

type Protocol = 'tcp' | 'udp';
type AddressId = Extract<ServiceId, { address: string }>;
const keyOf = (p: Protocol): string => `ip saddr . ${p} sport . ip daddr . ${p} dport`;
const flowType = 'ipv4_addr . inet_service . ipv4_addr . inet_service';
const list = (elements: readonly string[]): string => `{ ${elements.join(', ')} }`;

/** undefined: this data plane has no answer to it. */
export const directId = (id: ServiceId): AddressId | undefined =>
  id.protocol === 'fwmark' ? undefined : id;

const matchOf = (id: AddressId): string =>
  `ip daddr ${id.address} ${id.port === 0 ? `meta l4proto ${id.protocol}` : `${id.protocol} dport ${id.port}`}`;

function placeRule({ places }: DirectService, p: Protocol): string {
  const all = places.servers.length;
  const what = {
    turn: `numgen inc mod ${all}`,
    destination: `jhash ip daddr mod ${all} seed 0x55`,
    client: `jhash ip saddr mod ${all} seed 0x55`,
    'client-port': `jhash ip saddr . ${p} sport mod ${all} seed 0x55`,
  };
  return `meta mark set ${what[places.by]}`;
}

/** Chain of a service: to the server that has the connection, else to the one whose turn it is. */
function serviceRules(s: DirectService): string[] {
  const id = directId(s.service.id) as AddressId;
  const { number: n, places } = s;
  const p = id.protocol;
  const { persistence } = s.service;
  const client = persistence && `ip saddr & ${persistence.netmask}`;
  const known = [
    'meta mark set 0',
    `meta mark set ${keyOf(p)} map @${p}_flows`,
    `meta mark != 0 counter name meta mark map @s${n}_taken goto ${p}_known`,
    // Of a server that left this service.
    `meta mark != 0 goto ${p}_known`,
  ];
  const place =
    places.servers.length > 0 ? [placeRule(s, p), `meta mark set meta mark map @s${n}_places`] : [];
  // What belongs to no connection that is known: where places go by the client any director puts it alike.
  const stray =
    p === 'tcp'
      ? [
          `tcp flags & (fin | syn | rst | ack) != syn meta mark set ${keyOf(p)} map @tcp_closing`,
          'meta mark != 0 goto tcp_closing',
          ...(places.by === 'client' || places.by === 'client-port'
            ? []
            : ['tcp flags & (fin | syn | rst | ack) != syn accept']),
        ]
      : [];
  const stay = persistence
    ? [
        `meta mark set ${client} map @s${n}_clients`,
        `meta mark @s${n}_marks goto s${n}_new`,
        `meta mark != 0 delete @s${n}_clients { ${client} : meta mark }`,
      ]
    : [];
  const chain = [
    ...known,
    ...stray,
    ...stay,
    ...place,
    `meta mark @s${n}_marks goto s${n}_new`,
    'meta mark set 0',
    ...(p === 'tcp' ? ['reject with tcp reset'] : ['reject']),
  ];
  const begin = [
    ...(persistence
      ? [`update @s${n}_clients { ${client} timeout ${persistence.timeoutS}s : meta mark }`]
      : []),
    `counter name meta mark map @s${n}_begun`,
    `counter name meta mark map @s${n}_taken`,
    `goto ${p}_known`,
  ];
  return [
    ...chain.map((rule) => `add rule ${t} s${n} ${rule}`),
    ...begin.map((rule) => `add rule ${t} s${n}_new ${rule}`),
  ];
}

/** Chains that all services share. */
function sharedRules(device: string): string[] {
  const update = (map: string, p: Protocol, seconds: number): string =>
    `update @${map} { ${keyOf(p)} timeout ${seconds}s : meta mark }`;
  const out = [`fwd ip to meta mark map @hosts device "${device}"`, 'meta mark set 0 accept'];
  const rules: Record<string, string[]> = {
    tcp_known: [
      'tcp flags & (fin | rst) != 0 goto tcp_ending',
      update('tcp_flows', 'tcp', idleS.tcp),
      'goto out',
    ],
    tcp_ending: [`delete @tcp_flows { ${keyOf('tcp')} : meta mark }`, 'goto tcp_closing'],
    tcp_closing: [update('tcp_closing', 'tcp', closingS), 'goto out'],
    udp_known: [update('udp_flows', 'udp', idleS.udp), 'goto out'],
    out,
  };
  return Object.entries(rules).flatMap(([name, all]) =>
    all.map((rule) => `add rule ${t} ${name} ${rule}`),
  );
}

export const flowMaps = ['tcp_flows', 'tcp_closing', 'udp_flows'] as const;
const sharedChains = ['out', 'tcp_closing', 'tcp_ending', 'tcp_known', 'udp_known'];

function create(device: string): string[] {
  return [
    `add table ${t} { comment "${tableComment}"; }`,
    `add map ${t} hosts { type mark : ipv4_addr; }`,
    ...flowMaps.map(
      (m) =>
        `add map ${t} ${m} { type ${flowType} : mark; flags dynamic,timeout; size ${flowsMax}; }`,
    ),
    ...sharedChains.map((chain) => `add chain ${t} ${chain}`),
    ...sharedRules(device),
    `add chain ${t} in { type filter hook ingress device "${device}" priority 0; }`,
  ];
}

const declare = (n: number): string[] => [
  `add set ${t} s${n}_marks { type mark; }`,
  `add map ${t} s${n}_places { type mark : mark; }`,
  `add map ${t} s${n}_begun { type mark : counter; }`,
  `add map ${t} s${n}_taken { type mark : counter; }`,
  `add map ${t} s${n}_clients { type ipv4_addr : mark; flags dynamic,timeout; size ${clientsMax}; }`,
  `add chain ${t} s${n}`,
  `add chain ${t} s${n}_new`,
];

const undeclare = (s: DirectService): string[] => [
  ...[`s${s.number}`, `s${s.number}_new`].map((c) => `delete chain ${t} ${c}`),
  `delete set ${t} s${s.number}_marks`,
  ...['places', 'begun', 'taken', 'clients'].map((m) => `delete map ${t} s${s.number}_${m}`),
  ...['begun', 'taken'].flatMap((name) =>
    [...new Set(s.marks)].map((m) => `delete counter ${t} ${name}_${s.number}_${m}`),
  ),
];

const fill = (kind: 'map' | 'set', name: string, elements: readonly string[]): string[] => [
  `flush ${kind} ${t} ${name}`,
  ...(elements.length > 0 ? [`add element ${t} ${name} ${list(elements)}`] : []),
];

const placeElements = (s: DirectService): string[] =>
  s.places.servers.flatMap((at, place) => (at < 0 ? [] : [`${place} : ${s.marks[at] ?? 0}`]));

/** Counters of marks that came and went, with the map that leads to them. */
function counters(q: {
  map: string;
  name: string;
  had: ReadonlySet<number>;
  has: ReadonlySet<number>;
}): string[] {
  const gone = [...q.had].filter((m) => !q.has.has(m));
  const come = [...q.has].filter((m) => !q.had.has(m));
  return [
    ...gone.map((m) => `delete element ${t} ${q.map} { ${m} }`),
    ...gone.map((m) => `delete counter ${t} ${q.name}_${m}`),
    ...come.map((m) => `add counter ${t} ${q.name}_${m}`),
    ...come.map((m) => `add element ${t} ${q.map} { ${m} : "${q.name}_${m}" }`),
  ];
}

/** From what is in the table (undefined: no table yet) to `after`, as one transaction. */
export function directTransaction(before: DirectPlan | undefined, after: DirectPlan): string {
  const lines: string[] = before ? [] : create(after.device);
  const old = new Map((before?.services ?? []).map((s) => [s.number, s]));
  const kept = new Set(after.services.map((s) => s.number));
  lines.push(`flush chain ${t} in`);
  for (const s of old.values())
    for (const c of [`s${s.number}`, `s${s.number}_new`]) lines.push(`flush chain ${t} ${c}`);
  for (const s of old.values()) if (!kept.has(s.number)) lines.push(...undeclare(s));
  const away = [...after.hosts].filter(([address]) => !after.here.has(address));
  lines.push(
    ...fill(
      'map',
      'hosts',
      away.map(([address, mark]) => `${mark} : ${address}`),
    ),
  );
  for (const s of after.services) {
    const was = old.get(s.number);
    const n = s.number;
    if (!was) lines.push(...declare(n));
    const [had, has] = [new Set(was?.marks), new Set(s.marks)];
    for (const name of ['begun', 'taken'])
      lines.push(...counters({ map: `s${n}_${name}`, name: `${name}_${n}`, had, has }));
    lines.push(...fill('set', `s${n}_marks`, [...has].map(String)));
    const places = placeElements(s);
    if (!was || placeElements(was).join() !== places.join())
      lines.push(...fill('map', `s${n}_places`, places));
    lines.push(...serviceRules(s));
  }
  // An address with a port is more than an address with all of them.
  const order = (s: DirectService): number => Number(directId(s.service.id)?.port === 0);
  for (const s of [...after.services].sort((a, b) => order(a) - order(b)))
    lines.push(
      `add rule ${t} in ${matchOf(directId(s.service.id) as AddressId)} goto s${s.number}`,
    );
  return `${lines.join('\n')}\n`;
}

export interface MarkedFlow extends ClientFlow {
  readonly mark: number;
}

const flowKey = (f: ClientFlow): string =>
  `${f.client} . ${f.clientPort} . ${f.address} . ${f.port}`;

/** Connections and whose they are, for a table that is new. */
export const flowLines = (flows: readonly MarkedFlow[]): string[] =>
  (['tcp', 'udp'] as const).flatMap((p) => {
    const all = flows.filter((f) => f.protocol === p);
    const elements = all.map((f) => `${flowKey(f)} timeout ${idleS[p]}s : ${f.mark}`);
    return elements.length > 0 ? [`add element ${t} ${p}_flows ${list(elements)}`] : [];
  });
