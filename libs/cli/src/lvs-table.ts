// The director's table as people read and write it: ipvsadm's words and list, lvs.yaml, whole tables as changes.
import type { Ssi } from '@ssi/client';
import {
  fail,
  type lvs,
  ok,
  type RealServer,
  type Reply,
  type ReplyOf,
  type ServerCounts,
  type ServiceId,
  type TableChange,
  type VirtualService,
} from '@ssi/contracts';
import {
  type Counts,
  type IpvsCommand,
  type ListFormat,
  parseIpvsadm,
  parseLvsYaml,
  printList,
  type ServerState,
  serverText,
  serviceText,
  wordsOf,
} from '@ssi/lvs';

export type DirectorView = ReplyOf<typeof lvs.ops.table>;

const none: Counts = { connections: 0, inPackets: 0, outPackets: 0, inBytes: 0, outBytes: 0 };
const countNames = ['connections', 'inPackets', 'outPackets', 'inBytes', 'outBytes'] as const;
const rateMs = 1_000;

const nameOf = (id: ServiceId, server: { address: string; port: number }): string =>
  `${serviceText(id)} ${serverText(server)}`;

/** Of a second look, `rate`: what came in a second. */
export async function statesOf(
  ssi: Ssi,
  rate: boolean,
): Promise<Reply<(id: ServiceId, server: RealServer) => ServerState | undefined>> {
  const first = rate ? await ssi.director('stats', {}) : undefined;
  if (first && !first.ok) return first;
  if (first) await new Promise((done) => setTimeout(done, rateMs));
  const now = await ssi.director('stats', {});
  if (!now.ok) return now;
  const before = new Map(first?.value.servers.map((s) => [nameOf(s.id, s), s]));
  const seconds = (now.value.atMs - (first?.value.atMs ?? 0)) / 1_000;
  const states = new Map(
    now.value.servers.map((s): [string, ServerState] => [
      nameOf(s.id, s),
      {
        ...{ active: s.active, inactive: s.inactive, total: s },
        perSecond: first ? perSecond(s, before.get(nameOf(s.id, s)) ?? s, seconds) : none,
      },
    ]),
  );
  return ok((id, server) => states.get(nameOf(id, server)));
}

const perSecond = (now: ServerCounts, before: ServerCounts, seconds: number): Counts =>
  Object.fromEntries(
    countNames.map((name) => [name, Math.max(0, Math.round((now[name] - before[name]) / seconds))]),
  ) as unknown as Counts;

/** `id`: only that one. */
export async function listText(
  ssi: Ssi,
  services: readonly VirtualService[],
  format: ListFormat,
  id?: ServiceId,
): Promise<Reply<string>> {
  const wanted = services.filter((s) => !id || serviceText(s.id) === serviceText(id));
  if (id && wanted.length === 0) return fail('ENOENT', `${serviceText(id)}: no such service`);
  const states = await statesOf(ssi, format.rate);
  return states.ok ? ok(printList(wanted, format, states.value)) : states;
}

/** In the place of all services, in one step. */
export const restoring = (services: readonly VirtualService[]): TableChange[] => [
  { do: 'clear' },
  ...services.flatMap(({ servers, ...service }): TableChange[] => [
    { do: 'add-service', service },
    ...servers.map((server): TableChange => ({ do: 'add-server', id: service.id, server })),
  ]),
];

const changing: readonly string[] = [
  ...['add-service', 'edit-service', 'delete-service'],
  ...['add-server', 'edit-server', 'delete-server', 'clear'],
];

export const isChange = (command: IpvsCommand): command is IpvsCommand & TableChange =>
  changing.includes(command.do);

/** Rules as `save` prints them, or lvs.yaml: changes that restore what they say; each fault with its line. */
export function changesOf(text: string, name: string): Reply<TableChange[], 'EINVAL'> {
  const lines = text.split('\n').map((line) => line.trim());
  const isRules = lines.some((line) => /^(ipvsadm\s+)?-[Aa]\s/.test(line));
  if (!isRules) {
    const table = parseLvsYaml(text, name);
    return table.ok ? ok(restoring(table.value)) : table;
  }
  const changes: TableChange[] = [{ do: 'clear' }];
  for (const [at, line] of lines.entries()) {
    if (line === '' || line.startsWith('#')) continue;
    const command = parseIpvsadm(wordsOf(line));
    if (!command.ok) return fail('EINVAL', `${name}:${at + 1}: ${command.detail}`);
    if (!isChange(command.value)) return fail('EINVAL', `${name}:${at + 1}: changes nothing`);
    changes.push(command.value);
  }
  return ok(changes);
}
