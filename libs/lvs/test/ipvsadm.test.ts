// ipvsadm's words: read as it reads them, printed as it prints them.
import { type RealServer, schedulerName, type VirtualService } from '@ssi/contracts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addServer,
  addService,
  type ListFormat,
  largeNumber,
  parseIpvsadm,
  printList,
  printRules,
  type Table,
  tableOf,
  wordsOf,
} from '../src/index.ts';

const parse = (line: string) => parseIpvsadm(wordsOf(line));
const plain: ListFormat = {
  ...{ numeric: true, stats: false, rate: false, exact: false, thresholds: false, nosort: false },
};
const web = { protocol: 'tcp', address: '10.9.0.1', port: 80 } as const;
const zero = { connections: 0, inPackets: 0, outPackets: 0, inBytes: 0, outBytes: 0 };
const server: RealServer = {
  ...{ address: '10.1.0.1', port: 8080, forward: 'masq', weight: 1, upper: 0, lower: 0 },
};

/** What -R does: each line a command on the table. */
function restore(text: string): Table {
  let table: Table = [];
  for (const line of text.split('\n').filter(Boolean)) {
    const command = parse(line);
    if (!command.ok) throw new Error(command.detail);
    const c = command.value;
    const next =
      c.do === 'add-service'
        ? addService(table, c.service)
        : c.do === 'add-server'
          ? addServer(table, c.id, c.server)
          : undefined;
    if (!next?.ok) throw new Error(`${line}: ${next?.detail}`);
    table = next.value;
  }
  return table;
}

describe('LVS: ipvsadm: command lines', () => {
  test('services: defaults, every option, long and short, apart and together', () => {
    const wlc = { do: 'add-service', service: { id: web, scheduler: 'wlc', flags: [] } };
    expect(parse('-A -t 10.9.0.1:80')).toEqual({ ok: true, value: wlc });
    expect(parse('ipvsadm --add-service --tcp-service=10.9.0.1:80 -s wlc')).toEqual({
      ...{ ok: true, value: wlc },
    });
    const persistence = { timeoutS: 60, netmask: '255.255.0.0' };
    const udp = { protocol: 'udp', address: '10.9.0.1', port: 53 };
    expect(parse('-E -u 10.9.0.1:53 -s mh -b mh-port,mh-fallback -p60 -M 255.255.0.0')).toEqual({
      ok: true,
      value: {
        do: 'edit-service',
        service: { id: udp, scheduler: 'mh', flags: ['mh-port', 'mh-fallback'], persistence },
      },
    });
    expect(parse('-A -f 7 -p -s rr')).toMatchObject({
      value: { service: { id: { mark: 7 }, scheduler: 'rr', persistence: { timeoutS: 300 } } },
    });
  });

  test('servers: the port of the service, forwarding, weight, thresholds', () => {
    expect(parse('-a -t 10.9.0.1:80 -r 10.1.0.1:8080 -m')).toEqual({
      ...{ ok: true, value: { do: 'add-server', id: web, server } },
    });
    expect(parse('-e -t 10.9.0.1:80 -r 10.1.0.1 --fullnat -w 0 -x 9 -y 3')).toMatchObject({
      value: { server: { port: 80, forward: 'fullnat', weight: 0, upper: 9, lower: 3 } },
    });
    expect(parse('-a -f 7 -r 10.1.0.1')).toMatchObject({
      value: { server: { port: 0, forward: 'route' } },
    });
    expect(parse('-d -t 10.9.0.1:80 -r 10.1.0.1:8080')).toEqual({
      ok: true,
      value: { do: 'delete-server', id: web, server: { address: '10.1.0.1', port: 8080 } },
    });
  });

  test('the rest: -L with its formats, nothing at all, -Z -C -S -R -D', () => {
    expect(parse('-Ln')).toEqual({ ok: true, value: { do: 'list', format: plain } });
    expect(parse('')).toMatchObject({ value: { do: 'list' } });
    expect(parse('-l -n --stats --exact -t 10.9.0.1:80')).toMatchObject({
      value: { id: web, format: { stats: true, exact: true } },
    });
    expect(['-Z', '-C', '-Sn', '-R', '-D -f 3'].map((line) => parse(line))).toMatchObject([
      ...[{ value: { do: 'zero' } }, { value: { do: 'clear' } }, { value: { do: 'save' } }],
      ...[{ value: { do: 'restore' } }, { value: { do: 'delete-service', id: { mark: 3 } } }],
    ]);
  });

  const refused: [string, string][] = [
    [
      '-A -t 10.9.0.1:80 -s best',
      `no scheduler best: there are ${schedulerName.options.join(' ')}`,
    ],
    ['-A -t 10.9.0.1:80 -b sh-ports', "invalid scheduler flag `sh-ports'"],
    ['-A -t 10.9.0.1:99999', 'illegal virtual server address[:port] specified: 10.9.0.1:99999'],
    ['-A -t somewhere:80', 'illegal virtual server address[:port] specified: somewhere:80'],
    ['-A -f 0', "invalid fwmark value `0' specified"],
    ['-A -t 10.9.0.1:80 -p 0', "invalid timeout value `0' specified"],
    ['-A', "You need to supply the 'service' option for the 'add-service' command"],
    [
      '-a -t 10.9.0.1:80',
      "You need to supply the 'real-server' option for the 'add-server' command",
    ],
    ['-A -t 10.9.0.1:80 -w 3', "Illegal 'weight' option with the 'add-service' command"],
    ['-C -t 10.9.0.1:80', "Illegal 'service' option with the 'clear' command"],
    [
      '-A -t 10.9.0.1:80 -u 10.9.0.1:80',
      "The option 'tcp-service' conflicts with the 'udp-service' option",
    ],
    [
      '-a -t 10.9.0.1:80 -r 10.1.0.1 -g -m',
      "The option 'gatewaying' conflicts with the 'masquerading' option",
    ],
    ['-L --stats --rate', "The option 'stats' conflicts with the 'rate' option"],
    ['-A -t 10.9.0.1:80 -M 255.0.0.0', "You need to supply the 'persistent' option with 'netmask'"],
    ['-a -t 10.9.0.1:80 -r 10.1.0.1 -w 2147483648', 'illegal weight specified: 0 to 2147483647'],
    ['-a -t 10.9.0.1:80 -r 10.1.0.1 -w -1', 'illegal weight specified: 0 to 2147483647'],
    ['-a -t 10.9.0.1:80 -r 10.1.0.1 -x 65536', 'illegal u_threshold specified: 0 to 65535'],
    ['-a -t 10.9.0.1:80 -r 10.1.0', 'illegal real server address[:port] specified: 10.1.0'],
    ['-A -D -t 10.9.0.1:80', 'multiple commands specified: -D'],
    ['-A -t 10.9.0.1:80 -s rr -s lc', "multiple 'scheduler' options specified"],
    ['-A -t 10.9.0.1:80 -s', 'option -s wants a value'],
    ['-A -q', 'unknown option -q'],
    ['--set 1 2 3', 'unknown option --set'],
    ['list', 'unexpected argument list'],
  ];
  test.each(refused)('refused: %s', (line, detail) => {
    expect(parse(line)).toEqual({ ok: false, errno: 'EINVAL', detail });
  });
});

const table: Table = [
  {
    ...{ id: { protocol: 'fwmark', mark: 7 }, scheduler: 'rr', flags: [] },
    servers: [{ ...server, port: 0, forward: 'fullnat' }],
  },
  {
    ...{ id: web, scheduler: 'sh', flags: ['sh-fallback', 'sh-port'] },
    persistence: { timeoutS: 600, netmask: '255.255.255.0' },
    servers: [{ ...server, address: '10.1.0.12', weight: 100, upper: 20 }, server],
  },
];

describe('LVS: ipvsadm: output', () => {
  test('-S, and it is read again as what it was', () => {
    const text = printRules(table);
    expect(text).toBe(
      [
        '-A -f 7 -s rr',
        '-a -f 7 -r 10.1.0.1:0 --fullnat -w 1',
        '-A -t 10.9.0.1:80 -s sh -p 600 -M 255.255.255.0 -b sh-fallback,sh-port',
        '-a -t 10.9.0.1:80 -r 10.1.0.12:8080 -m -w 100 -x 20',
        '-a -t 10.9.0.1:80 -r 10.1.0.1:8080 -m -w 1',
        '',
      ].join('\n'),
    );
    expect(restore(text)).toEqual(table);
  });

  test('-S then -R gives any table back', () => {
    const service = fc.record({
      id: fc.record({
        protocol: fc.constantFrom('tcp' as const, 'udp' as const),
        address: fc.ipV4().filter((a) => !a.startsWith('0.') && !a.startsWith('127.')),
        port: fc.integer({ min: 1, max: 65_535 }),
      }),
      scheduler: fc.constantFrom(...schedulerName.options),
      flags: fc.constant<VirtualService['flags']>([]),
      servers: fc.uniqueArray(
        fc.record({
          address: fc.ipV4().filter((a) => a !== '0.0.0.0'),
          port: fc.integer({ min: 1, max: 65_535 }),
          forward: fc.constantFrom('masq' as const, 'fullnat' as const),
          weight: fc.nat(2_147_483_647),
          upper: fc.integer({ min: 100, max: 65_535 }),
          lower: fc.nat(100),
        }),
        { maxLength: 4, selector: (s) => `${s.address}:${s.port}` },
      ),
    });
    fc.assert(
      fc.property(fc.array(service, { maxLength: 4 }), (services: VirtualService[]) => {
        const made = tableOf(services);
        fc.pre(made.ok);
        if (made.ok) expect(restore(printRules(made.value))).toEqual(made.value);
      }),
    );
  });

  test('-Ln: to the blank', () => {
    const state = { active: 3, inactive: 12, total: zero, perSecond: zero };
    expect(printList(table, plain, (_, s) => (s.weight > 1 ? state : undefined))).toBe(
      `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.9.0.1:80 sh (sh-fallback,sh-port) persistent 600 mask 255.255.255.0
  -> 10.1.0.1:8080                Masq    1      0          0         
  -> 10.1.0.12:8080               Masq    100    3          12        
FWM  7 rr
  -> 10.1.0.1:0                   FullNat 1      0          0         
`,
    );
  });

  test('--stats, --rate: sums of a service; --thresholds', () => {
    const total = {
      connections: 5,
      inPackets: 10,
      outPackets: 99_999_999,
      inBytes: 123_456_789,
      outBytes: 5e9,
    };
    const state = { active: 0, inactive: 1, total, perSecond: { ...zero, connections: 2 } };
    const one = table.slice(1);
    expect(
      printList(one, { ...plain, stats: true }, () => state)
        .split('\n')
        .slice(1, 5),
    ).toEqual([
      'Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes',
      '  -> RemoteAddress:Port',
      'TCP  10.9.0.1:80                        10       20  199999K  246913K   10000M',
      '  -> 10.1.0.1:8080                       5       10 99999999  123456K    5000M',
    ]);
    expect(printList(one, { ...plain, rate: true }, () => state).split('\n')[3]).toBe(
      'TCP  10.9.0.1:80                         4        0        0        0        0',
    );
    expect(printList(one, { ...plain, thresholds: true }, () => state).split('\n')[5]).toBe(
      '  -> 10.1.0.12:8080               20         0          0          1         ',
    );
  });

  test('large numbers: nine columns, with --exact all digits after a blank', () => {
    expect([99_999_999, 1e8, 1e9, 1e11, 1e14].map((n) => largeNumber(n, false))).toEqual([
      ...[' 99999999', '  100000K', '    1000M', '     100G', '     100T'],
    ]);
    expect([5, 99_999_999, 123_456_789, 1e12].map((n) => largeNumber(n, true))).toEqual([
      ...['        5', ' 99999999', ' 123456789', ' 1000000000000'],
    ]);
  });
});
