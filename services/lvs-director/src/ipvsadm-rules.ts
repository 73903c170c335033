// The plan as lines for `ipvsadm -R`, and its listings read: from what stands in the kernel to what is to be, only what
// differs. [ipvsadm(8)]
import type { ServiceId, VirtualService } from '@ssi/contracts';
import {
  addServer,
  addService,
  findService,
  parseIpvsadm,
  printRules,
  serverText,
  serviceText,
  type Table,
  wordsOf,
} from '@ssi/lvs';
import type { Connections, Traffic } from './ports.ts';

/** `-A ...`, then `-a ...` of each server in their order. */
const linesOf = (service: VirtualService): string[] => printRules([service]).trim().split('\n');

/** -S does not tell them: compared with what was last set. */
const withoutThresholds = (line: string): string => line.replace(/ -[xy] \d+/g, '');

/** Servers come before others go: a service is never without any. `lastSet`: for the thresholds. */
export function changes(from: Table, to: Table, lastSet: Table): string {
  const lines: string[] = [];
  for (const service of from)
    if (!findService(to, service.id)) lines.push(`-D ${serviceText(service.id)}`);
  for (const service of to) {
    const stands = findService(from, service.id);
    const [head = '', ...servers] = linesOf(service);
    if (!stands) {
      lines.push(head, ...servers);
      continue;
    }
    const [oldHead, ...oldServers] = linesOf(stands);
    if (head !== oldHead) lines.push(head.replace('-A', '-E'));
    const last = findService(lastSet, service.id);
    const lastLines = new Set(last && linesOf(last));
    const known = new Set(oldServers.map(withoutThresholds));
    const names = new Set(stands.servers.map(serverText));
    for (const [at, line] of servers.entries()) {
      const server = service.servers[at];
      if (!server || !names.has(serverText(server))) lines.push(line);
      else if (!known.has(withoutThresholds(line)) || !lastLines.has(line))
        lines.push(line.replace('-a', '-e'));
    }
    const stay = new Set(service.servers.map(serverText));
    for (const server of stands.servers)
      if (!stay.has(serverText(server)))
        lines.push(`-d ${serviceText(service.id)} -r ${serverText(server)}`);
  }
  return lines.map((line) => `${line}\n`).join('');
}

/** What `ipvsadm -S -n` says; a service that this model has not (IPv6, SCTP) is left out. */
export function readRules(text: string): Table {
  let table: Table = [];
  for (const line of text.split('\n').filter(Boolean)) {
    const command = parseIpvsadm(wordsOf(line));
    if (!command.ok) continue;
    const { value } = command;
    const next =
      value.do === 'add-service'
        ? addService(table, value.service)
        : value.do === 'add-server'
          ? addServer(table, value.id, value.server)
          : undefined;
    if (next?.ok) table = next.value;
  }
  return table;
}

const protocols: Readonly<Record<string, string>> = { TCP: '-t', UDP: '-u', FWM: '-f' };

/** The numbers behind each server in a listing, by `serviceText serverText`. */
function* rows(text: string): Generator<[link: string, columns: string[]]> {
  let service: string | undefined;
  for (const line of text.split('\n')) {
    const [, protocol = '', name] = /^(TCP|UDP|FWM) +(\S+)/.exec(line) ?? [];
    if (name) service = `${protocols[protocol]} ${name}`;
    const [, server, rest = ''] = /^ {2}-> (\d\S*:\d+) +(.*)$/.exec(line) ?? [];
    if (service && server) yield [`${service} ${server}`, rest.trim().split(/ +/)];
  }
}

/** Of `ipvsadm -L -n`. */
export const readConnections = (text: string): Map<string, Connections> =>
  new Map(
    [...rows(text)].map(([link, columns]) => [
      link,
      { active: Number(columns[2]), inactive: Number(columns[3]) },
    ]),
  );

/** Of `ipvsadm -L -n --stats --exact`. */
export const readTraffic = (text: string): Map<string, Traffic> =>
  new Map(
    [...rows(text)].map(([link, columns]) => {
      const [connections = 0, inPackets = 0, outPackets = 0, inBytes = 0, outBytes = 0] =
        columns.map(Number);
      return [link, { connections, inPackets, outPackets, inBytes, outBytes }];
    }),
  );

export const isIn = (ids: readonly ServiceId[], { id }: VirtualService): boolean =>
  ids.some((one) => serviceText(one) === serviceText(id));
