// The plan as nftables rules: one table of our own, for each service a chain and maps that begin with its number.
// A new connection gets the mark of its server (ct mark) and by that its address; what comes after goes by
// connection tracking. [nft(8): map, vmap, dnat, numgen, jhash]
import type { RealServer, ServiceId } from '@ssi/contracts';
import type { Planned } from './ports.ts';

export const tableName = 'ssi_lvs';
/** Tells a table of ours from another of that name. */
export const tableComment = 'lvs-director of ssi: do not edit';
/** Marks of servers are 0x55000001 and up; below are places, for the moment of one rule. */
const markBase = 0x5500_0000;

/** A service with the numbers that it and its servers have in the table for as long as they are in it. */
export interface Numbered extends Planned {
  readonly number: number;
  /** For each server its mark. */
  readonly marks: readonly number[];
}

export const markOf = (n: number): number => markBase + n;

/** Hands numbers out by name; the same name keeps its own while it is in use. */
export function numbers(): { of(name: string): number; keep(names: ReadonlySet<string>): void } {
  const used = new Map<string, number>();
  let next = 1;
  return {
    of(name) {
      const known = used.get(name);
      if (known !== undefined) return known;
      const taken = new Set(used.values());
      while (taken.has(next)) next = (next % 0xf_ffff) + 1;
      used.set(name, next);
      // Not the next one's: connections of a server that left still have its number.
      const given = next;
      next = (next % 0xf_ffff) + 1;
      return given;
    },
    keep(names) {
      for (const name of used.keys()) if (!names.has(name)) used.delete(name);
    },
  };
}

const t = `ip ${tableName}`;
const hex = (mark: number): string => `0x${mark.toString(16)}`;
const list = (elements: readonly string[]): string => `{ ${elements.join(', ')} }`;

const matchOf = (id: ServiceId): string => {
  if (id.protocol === 'fwmark') return `meta mark ${id.mark}`;
  const port = id.port === 0 ? `meta l4proto ${id.protocol}` : `${id.protocol} dport ${id.port}`;
  return `ip daddr ${id.address} ${port}`;
};

const protocolsOf = (id: ServiceId): readonly ('tcp' | 'udp')[] =>
  id.protocol === 'fwmark' ? ['tcp', 'udp'] : [id.protocol];

/** The rule that gives a connection the number of its place. */
function placeRules({ service, places }: Numbered): string[] {
  const all = places.servers.length;
  if (places.by === 'turn') return [`ct mark set numgen inc mod ${all}`];
  if (places.by === 'destination') return [`ct mark set jhash ip daddr mod ${all} seed 0x55`];
  if (places.by === 'client') return [`ct mark set jhash ip saddr mod ${all} seed 0x55`];
  return protocolsOf(service.id).map(
    (p) => `meta l4proto ${p} ct mark set jhash ip saddr . ${p} sport mod ${all} seed 0x55`,
  );
}

/** The rules of its chain, in their order. */
function chainRules(s: Numbered): string[] {
  const { service, places, number: n } = s;
  const { id, persistence, servers } = service;
  const client = persistence && `ip saddr & ${persistence.netmask}`;
  const rules: string[] = [];
  // Where the server of an entry has gone, the entry goes: `update` would leave it as it is.
  if (persistence)
    rules.push(
      `ct mark set ${client} map @s${n}_clients`,
      `ct mark @s${n}_marks goto s${n}_to`,
      `delete @s${n}_clients { ${client} : ct mark }`,
    );
  if (places.servers.length > 0)
    rules.push(...placeRules(s), `ct mark set ct mark map @s${n}_places`);
  rules.push(`ct mark @s${n}_marks goto s${n}_to`, 'ct mark set 0 reject');
  const to: string[] = [];
  // Told anew with each connection: the time runs from the last one.
  if (persistence)
    to.push(`update @s${n}_clients { ${client} timeout ${persistence.timeoutS}s : ct mark }`);
  to.push('counter name ct mark map @begun');
  if (servers.some((server) => server.port === 0)) to.push(`dnat ip to ct mark map @s${n}_hosts`);
  for (const p of protocolsOf(id))
    to.push(`meta l4proto ${p} dnat ip addr . port to ct mark map @s${n}_ports`);
  return [
    ...rules.map((rule) => `add rule ${t} s${n} ${rule}`),
    ...to.map((rule) => `add rule ${t} s${n}_to ${rule}`),
  ];
}

const withMarks = (s: Numbered): { server: RealServer; mark: string }[] =>
  s.service.servers.map((server, i) => ({ server, mark: hex(s.marks[i] ?? 0) }));

const fill = (kind: 'map' | 'set', name: string, elements: readonly string[]): string[] => [
  `flush ${kind} ${t} ${name}`,
  ...(elements.length > 0 ? [`add element ${t} ${name} ${list(elements)}`] : []),
];

/** Element texts of the places; a place of nobody is left out. */
const placeElements = (s: Numbered): string[] =>
  s.places.servers.map((at, place) => (at < 0 ? '' : `${place} : ${hex(s.marks[at] ?? 0)}`));

const markAt = (s: Numbered, place: number): number | undefined =>
  s.marks[s.places.servers[place] ?? -1];

/** Only what differs, where the number of places is the same. */
function changePlaces(s: Numbered, before: Numbered | undefined): string[] {
  const same = before?.places.servers.length === s.places.servers.length;
  if (same && s.places.servers.every((_, place) => markAt(s, place) === markAt(before, place)))
    return [];
  const now = placeElements(s);
  const was = before ? placeElements(before) : [];
  const name = `s${s.number}_places`;
  if (now.length !== was.length) return fill('map', name, now.filter(Boolean));
  const gone = was.filter((text, i) => text && text !== now[i]).map((text) => text.split(' ')[0]);
  const come = now.filter((text, i) => text && text !== was[i]);
  return [
    ...(gone.length > 0 ? [`delete element ${t} ${name} ${list(gone as string[])}`] : []),
    ...(come.length > 0 ? [`add element ${t} ${name} ${list(come)}`] : []),
  ];
}

function declare(s: Numbered): string[] {
  const n = s.number;
  return [
    `add set ${t} s${n}_marks { type mark; }`,
    `add map ${t} s${n}_places { type mark : mark; }`,
    `add map ${t} s${n}_ports { type mark : ipv4_addr . inet_service; }`,
    `add map ${t} s${n}_hosts { type mark : ipv4_addr; }`,
    ...(s.service.persistence ? [declareClients(n)] : []),
    `add chain ${t} s${n}`,
    `add chain ${t} s${n}_to`,
  ];
}

const declareClients = (n: number): string =>
  `add map ${t} s${n}_clients { type ipv4_addr : mark; flags dynamic,timeout; size 65536; }`;

function undeclare(s: Numbered): string[] {
  const n = s.number;
  return [
    ...[`s${n}`, `s${n}_to`].map((chain) => `flush chain ${t} ${chain}`),
    ...[`s${n}`, `s${n}_to`].map((chain) => `delete chain ${t} ${chain}`),
    `delete set ${t} s${n}_marks`,
    ...['places', 'ports', 'hosts'].map((map) => `delete map ${t} s${n}_${map}`),
    ...(s.service.persistence ? [`delete map ${t} s${n}_clients`] : []),
  ];
}

function content(s: Numbered): string[] {
  const servers = withMarks(s);
  const n = s.number;
  const fixed = servers.filter(({ server }) => server.port !== 0);
  const free = servers.filter(({ server }) => server.port === 0);
  return [
    ...fill(
      'set',
      `s${n}_marks`,
      servers.map(({ mark }) => mark),
    ),
    ...fill(
      'map',
      `s${n}_ports`,
      fixed.map(({ server, mark }) => `${mark} : ${server.address} . ${server.port}`),
    ),
    ...fill(
      'map',
      `s${n}_hosts`,
      free.map(({ server, mark }) => `${mark} : ${server.address}`),
    ),
  ];
}

/** From what is in the table (undefined: no table yet) to `after`, as one transaction. */
export function transaction(
  before: readonly Numbered[] | undefined,
  after: readonly Numbered[],
): string {
  const lines: string[] = before ? [] : create();
  const old = new Map((before ?? []).map((s) => [s.number, s]));
  const kept = new Set(after.map((s) => s.number));
  lines.push(...['pre', 'out'].map((chain) => `flush chain ${t} ${chain}`));
  for (const s of before ?? []) if (!kept.has(s.number)) lines.push(...undeclare(s));
  lines.push(...changeServers(before ?? [], after));
  for (const s of after) {
    const was = old.get(s.number);
    if (!was) lines.push(...declare(s));
    else lines.push(...changeClients(was, s));
    const isNew = !was || content(was).join() !== content(s).join();
    if (isNew) lines.push(...content(s));
    lines.push(...changePlaces(s, was));
    if (!was || chainRules(was).join() !== chainRules(s).join())
      lines.push(
        `flush chain ${t} s${s.number}`,
        `flush chain ${t} s${s.number}_to`,
        ...chainRules(s),
      );
    // Rules that name a map of clients go first, then it.
    if (was?.service.persistence && !s.service.persistence)
      lines.push(`delete map ${t} s${s.number}_clients`);
  }
  // An address with a port is more than an address with all of them.
  const order = (s: Numbered) =>
    Number(s.service.id.protocol !== 'fwmark' && s.service.id.port === 0);
  for (const s of [...after].sort((a, b) => order(a) - order(b)))
    for (const chain of ['pre', 'out'])
      lines.push(`add rule ${t} ${chain} ${matchOf(s.service.id)} goto s${s.number}`);
  return `${lines.join('\n')}\n`;
}

const changeClients = (was: Numbered, s: Numbered): string[] =>
  s.service.persistence && !was.service.persistence ? [declareClients(s.number)] : [];

/** Counters by mark, and which marks have the director's address put in the place of the client's. */
function changeServers(before: readonly Numbered[], after: readonly Numbered[]): string[] {
  const marks = (all: readonly Numbered[]) => new Set(all.flatMap((s) => s.marks));
  const [was, is] = [marks(before), marks(after)];
  const gone = [...was].filter((mark) => !is.has(mark));
  const come = [...is].filter((mark) => !was.has(mark));
  const kinds = ['begun', 'in', 'out'] as const;
  const place = {
    begun: (m: number) => `begun { ${hex(m)}`,
    in: (m: number) => `traffic { original . ${hex(m)}`,
    out: (m: number) => `traffic { reply . ${hex(m)}`,
  };
  const full = after.flatMap((s) =>
    withMarks(s).flatMap(({ server, mark }) => (server.forward === 'fullnat' ? [mark] : [])),
  );
  return [
    ...kinds.flatMap((kind) => gone.map((m) => `delete element ${t} ${place[kind](m)} }`)),
    ...kinds.flatMap((kind) => gone.map((m) => `delete counter ${t} ${kind}_${hex(m)}`)),
    ...kinds.flatMap((kind) => come.map((m) => `add counter ${t} ${kind}_${hex(m)}`)),
    ...kinds.flatMap((kind) =>
      come.map((m) => `add element ${t} ${place[kind](m)} : "${kind}_${hex(m)}" }`),
    ),
    ...fill('set', 'fullnat', full),
  ];
}

function create(): string[] {
  const traffic = ['forward', 'input', 'output'].flatMap((hook) => [
    `add chain ${t} count_${hook} { type filter hook ${hook} priority filter; }`,
    // One look-up for each packet: this is what the data plane costs more than a dnat rule by hand.
    `add rule ${t} count_${hook} counter name ct direction . ct mark map @traffic`,
  ]);
  return [
    `add table ${t} { comment "${tableComment}"; }`,
    `add map ${t} begun { type mark : counter; }`,
    `add map ${t} traffic { type ct_dir . mark : counter; }`,
    `add set ${t} fullnat { type mark; }`,
    `add chain ${t} pre { type nat hook prerouting priority dstnat; }`,
    `add chain ${t} out { type nat hook output priority -100; }`,
    `add chain ${t} post { type nat hook postrouting priority srcnat; }`,
    `add rule ${t} post ct mark @fullnat masquerade`,
    ...traffic,
  ];
}
