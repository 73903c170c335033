// ipvsadm's command line as a command. Addresses and ports are numbers: nothing is looked up.
// [ipvsadm(8), 1.31; defaults: wlc, -g, weight 1, 300 s, 255.255.255.255]
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
  serviceId,
} from '@ssi/contracts';
import { cut } from './ipvsadm-options.ts';
import type { ServerId, ServiceOptions } from './table.ts';

export interface ListFormat {
  readonly numeric: boolean;
  readonly stats: boolean;
  readonly rate: boolean;
  readonly exact: boolean;
  readonly thresholds: boolean;
  readonly nosort: boolean;
}

export type IpvsCommand =
  | { readonly do: 'add-service' | 'edit-service'; readonly service: ServiceOptions }
  | { readonly do: 'delete-service'; readonly id: ServiceId }
  | {
      readonly do: 'add-server' | 'edit-server';
      readonly id: ServiceId;
      readonly server: RealServer;
    }
  | { readonly do: 'delete-server'; readonly id: ServiceId; readonly server: ServerId }
  | { readonly do: 'clear' | 'restore' | 'save' }
  | { readonly do: 'list'; readonly id?: ServiceId; readonly format: ListFormat }
  | { readonly do: 'zero'; readonly id?: ServiceId };

const services = ['tcp-service', 'udp-service', 'fwmark-service'];
const forwards: Readonly<Record<string, Forwarding>> = {
  ...{ gatewaying: 'route', ipip: 'tunnel', masquerading: 'masq', fullnat: 'fullnat' },
};
const ofService = ['scheduler', 'persistent', 'netmask', 'sched-flags'];
const ofServer = ['real-server', ...Object.keys(forwards), 'weight', 'u-threshold', 'l-threshold'];
const ofList = ['stats', 'rate', 'exact', 'thresholds', 'nosort', 'sort'];

/** Which options go with a command: those it needs, those it may have. */
const table: Readonly<Record<string, readonly [needs: string[], may: string[]]>> = {
  'add-service': [['service'], ofService],
  'edit-service': [['service'], ofService],
  'delete-service': [['service'], []],
  'add-server': [['service', 'real-server'], ofServer],
  'edit-server': [['service', 'real-server'], ofServer],
  'delete-server': [['service', 'real-server'], []],
  list: [[], ['service', 'numeric', ...ofList]],
  zero: [[], ['service']],
  save: [[], ['numeric']],
  ...{ clear: [[], []], restore: [[], []] },
};

/** What does not go together, in ipvsadm's words. */
function misfit(command: string, options: ReadonlyMap<string, string>): string | undefined {
  const [needs, may] = table[command] ?? [[], []];
  const named = [...options.keys()].map((o) => (services.includes(o) ? 'service' : o));
  for (const need of needs)
    if (!named.includes(need))
      return `You need to supply the '${need}' option for the '${command}' command`;
  for (const o of named)
    if (!needs.includes(o) && !may.includes(o))
      return `Illegal '${o}' option with the '${command}' command`;
  for (const group of [services, Object.keys(forwards), ['stats', 'rate', 'thresholds']]) {
    const [one, other] = group.filter((o) => options.has(o));
    if (other) return `The option '${one}' conflicts with the '${other}' option`;
  }
  if (options.has('netmask') && !options.has('persistent'))
    return "You need to supply the 'persistent' option with 'netmask'";
  return undefined;
}

/** Decimal, 0..max. */
function number(text: string | undefined, max: number): number | undefined {
  const value = text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  return value <= max ? value : undefined;
}

/** `10.0.0.1:80`, `10.0.0.1`: then without a port. */
function hostPort(text: string): { address: string; port?: number } | undefined {
  const [address = '', port, ...more] = text.split(':');
  if (more.length > 0) return undefined;
  if (port === undefined) return { address };
  const value = number(port, 65_535);
  return value === undefined ? undefined : { address, port: value };
}

function idOf(options: ReadonlyMap<string, string>): Reply<ServiceId, 'EINVAL'> {
  const mark = options.get('fwmark-service');
  const text = options.get('tcp-service') ?? options.get('udp-service') ?? '';
  const protocol = options.has('tcp-service') ? 'tcp' : 'udp';
  const at = hostPort(text);
  const parsed = serviceId.safeParse(
    mark === undefined
      ? { protocol, address: at?.address, port: at && (at.port ?? 0) }
      : { protocol: 'fwmark', mark: number(mark, 0xffff_ffff) },
  );
  if (parsed.success) return ok(parsed.data);
  return mark === undefined
    ? fail('EINVAL', `illegal virtual server address[:port] specified: ${text}`)
    : fail('EINVAL', `invalid fwmark value \`${mark}' specified`);
}

function serviceOf(
  id: ServiceId,
  options: ReadonlyMap<string, string>,
): Reply<ServiceOptions, 'EINVAL'> {
  const scheduler = schedulerName.safeParse(options.get('scheduler') ?? 'wlc');
  if (!scheduler.success)
    return fail(
      'EINVAL',
      `no scheduler ${options.get('scheduler')}: there are ${schedulerName.options.join(' ')}`,
    );
  const flags: SchedulerFlag[] = [];
  for (const text of options.get('sched-flags')?.split(',') ?? []) {
    const flag = schedulerFlag.safeParse(text);
    if (!flag.success) return fail('EINVAL', `invalid scheduler flag \`${text}'`);
    if (!flags.includes(flag.data)) flags.push(flag.data);
  }
  const service = { id, scheduler: scheduler.data, flags };
  if (!options.has('persistent')) return ok(service);
  const timeoutS = number(options.get('persistent') || '300', 31 * 24 * 3600);
  if (!timeoutS)
    return fail('EINVAL', `invalid timeout value \`${options.get('persistent')}' specified`);
  const netmask = options.get('netmask') ?? '255.255.255.255';
  return ok({ ...service, persistence: { timeoutS, netmask } });
}

function serverOf(
  id: ServiceId,
  options: ReadonlyMap<string, string>,
): Reply<RealServer, 'EINVAL'> {
  const text = options.get('real-server') ?? '';
  const at = hostPort(text);
  const weight = number(options.get('weight') ?? '1', 2_147_483_647);
  const upper = number(options.get('u-threshold') ?? '0', 65_535);
  const lower = number(options.get('l-threshold') ?? '0', 65_535);
  if (weight === undefined) return fail('EINVAL', 'illegal weight specified: 0 to 2147483647');
  if (upper === undefined) return fail('EINVAL', 'illegal u_threshold specified: 0 to 65535');
  if (lower === undefined) return fail('EINVAL', 'illegal l_threshold specified: 0 to 65535');
  const forward = Object.keys(forwards).find((name) => options.has(name)) ?? 'gatewaying';
  const parsed = realServer.safeParse({
    address: at?.address,
    port: at?.port ?? (id.protocol === 'fwmark' ? 0 : id.port),
    forward: forwards[forward],
    ...{ weight, upper, lower },
  });
  return parsed.success && at
    ? ok(parsed.data)
    : fail('EINVAL', `illegal real server address[:port] specified: ${text}`);
}

/** EINVAL with what ipvsadm would say, and more where it says little. */
export function parseIpvsadm(argv: readonly string[]): Reply<IpvsCommand, 'EINVAL'> {
  const words = cut(argv);
  if (!words.ok) return words;
  const { command, options } = words.value;
  const fault = misfit(command, options);
  if (fault) return fail('EINVAL', fault);
  if (command === 'clear' || command === 'restore' || command === 'save')
    return ok({ do: command });
  const named = services.some((o) => options.has(o)) ? idOf(options) : undefined;
  if (named && !named.ok) return named;
  const id = named?.value;
  if (command === 'list') {
    const has = (name: string): boolean => options.has(name);
    const format = {
      ...{ numeric: has('numeric'), stats: has('stats'), rate: has('rate') },
      ...{ exact: has('exact'), thresholds: has('thresholds'), nosort: has('nosort') },
    };
    return ok({ do: 'list', format, ...(id && { id }) });
  }
  if (command === 'zero') return ok({ do: 'zero', ...(id && { id }) });
  if (!id) return fail('EINVAL', 'no service');
  if (command === 'delete-service') return ok({ do: command, id });
  if (command === 'add-service' || command === 'edit-service') {
    const service = serviceOf(id, options);
    return service.ok ? ok({ do: command, service: service.value }) : service;
  }
  const server = serverOf(id, options);
  if (!server.ok) return server;
  if (command === 'add-server' || command === 'edit-server')
    return ok({ do: command, id, server: server.value });
  const { address, port } = server.value;
  return ok({ do: 'delete-server', id, server: { address, port } });
}

/** A line of -S's output, with or without `ipvsadm` before it, as words. */
export const wordsOf = (line: string): string[] => {
  const words = line.split(/\s+/).filter(Boolean);
  return words[0] === 'ipvsadm' ? words.slice(1) : words;
};
