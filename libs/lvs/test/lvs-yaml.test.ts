// lvs.yaml: what it may say, and that each fault is told with its line.
import { describe, expect, test } from 'vitest';
import { parseLvsYaml, printRules } from '../src/index.ts';

const whole = `# the shop
services:
  - tcp: 10.9.0.1:80
    scheduler: sh
    flags: [sh-port]
    persistent: { timeout: 60, netmask: 255.255.255.0 }
    servers:
      - { address: 10.1.0.1:8080, weight: 2, node: 3 }
      - address: 10.1.0.2:8080
        forward: fullnat
        upper: 9
        lower: 3
  - udp: 10.9.0.1:53
  - fwmark: 7
    servers: [{ address: 10.1.0.1:0 }]
`;

describe('LVS: lvs.yaml', () => {
  test('a table, with defaults: wlc, masq, weight 1', () => {
    const table = parseLvsYaml(whole);
    if (!table.ok) throw new Error(table.detail);
    expect(printRules(table.value).split('\n')).toEqual([
      '-A -t 10.9.0.1:80 -s sh -p 60 -M 255.255.255.0 -b sh-port',
      '-a -t 10.9.0.1:80 -r 10.1.0.1:8080 -m -w 2',
      '-a -t 10.9.0.1:80 -r 10.1.0.2:8080 --fullnat -w 1 -x 9 -y 3',
      '-A -u 10.9.0.1:53 -s wlc',
      '-A -f 7 -s wlc',
      '-a -f 7 -r 10.1.0.1:0 -m -w 1',
      '',
    ]);
    expect(table.value[0]?.servers.map((s) => s.node)).toEqual([3, undefined]);
  });

  const checked = `services:
  - tcp: 10.9.0.1:80
    sorryServer: { address: 10.1.0.9:80 }
    health: { quorum: 2 }
    servers:
      - address: 10.1.0.1:80
        health:
          checkers: [{ kind: HTTP_GET, delayLoopMs: 1000, urls: [{ path: /, statusCodes: [{ from: 200, to: 204 }] }] }]
          notifyDown: [/bin/logger, down]
`;

  test('health: checkers, quorum, sorry server; a word of theirs that is not known is a fault', () => {
    const table = parseLvsYaml(checked);
    if (!table.ok) throw new Error(table.detail);
    expect(table.value[0]).toMatchObject({
      ...{ health: { quorum: 2 }, sorryServer: { address: '10.1.0.9', port: 80 } },
      servers: [
        { health: { checkers: [{ kind: 'HTTP_GET' }], notifyDown: ['/bin/logger', 'down'] } },
      ],
    });
    for (const [from, to, line] of [
      ['quorum: 2', 'quorum: 0', 4],
      ['quorum: 2', 'quorums: 2', 4],
      ['delayLoopMs', 'delay_loop', 8],
      ['path: /', 'path: x', 8],
      ['from: 200', 'from: 99', 8],
      ['statusCodes', 'status_code', 8],
      ['HTTP_GET', 'SMTP_CHECK', 8],
      ['notifyDown', 'notify_down', 9],
    ] as const) {
      const faults = parseLvsYaml(checked.replace(from, to));
      expect([to, faults.ok ? '' : faults.detail.split(': ')[0]]).toEqual([to, `lvs.yaml:${line}`]);
    }
  });

  test('an empty file is an empty table', () => {
    expect([parseLvsYaml(''), parseLvsYaml('services: []\n')]).toEqual([
      ...[
        { ok: true, value: [] },
        { ok: true, value: [] },
      ],
    ]);
  });

  const refused: [what: string, from: string, to: string, detail: RegExp][] = [
    [
      'a scheduler that is not there',
      'scheduler: sh',
      'scheduler: best',
      /^lvs.yaml:4: services\[0\].scheduler: /,
    ],
    [
      'a weight out of range',
      'weight: 2',
      'weight: -2',
      /^lvs.yaml:8: services\[0\].servers\[0\].weight: /,
    ],
    [
      'an unknown word',
      'upper: 9',
      'uper: 9',
      /^lvs.yaml:11: services\[0\].servers\[1\]: .*"uper"/,
    ],
    ['no address', '10.1.0.2:8080', '10.1.0.2', /^lvs.yaml:9: .*10.1.0.2 is not ADDRESS:PORT/],
    [
      'no service',
      '- udp: 10.9.0.1:53',
      '- scheduler: rr',
      /^lvs.yaml:13: services\[1\]: one of tcp, udp, fwmark/,
    ],
    [
      'two services in one',
      '- fwmark: 7',
      '- { fwmark: 7, tcp: 10.9.0.1:81 }\n  - fwmark: 8',
      /^lvs.yaml:14: .*one of tcp/,
    ],
    [
      'a service twice',
      '- udp: 10.9.0.1:53',
      '- tcp: 10.9.0.1:80',
      /^lvs.yaml:13: -t 10.9.0.1:80: there is this service$/,
    ],
    [
      'overlapping services',
      '- udp: 10.9.0.1:53',
      '- { tcp: 10.9.0.1:0, persistent: {} }',
      /^lvs.yaml:13: .*overlaps -t 10.9.0.1:80$/,
    ],
    [
      'thresholds the wrong way round',
      'lower: 3',
      'lower: 30',
      /^lvs.yaml:9: .*lower threshold 30 is above upper 9$/,
    ],
    [
      "another scheduler's flag",
      'scheduler: sh',
      'scheduler: rr',
      /^lvs.yaml:3: .*flag sh-port is not one of scheduler rr$/,
    ],
    [
      'a node that cannot be',
      'node: 3',
      'node: 0',
      /^lvs.yaml:8: services\[0\].servers\[0\].node: /,
    ],
    ['not YAML', 'flags: [sh-port]', 'flags: [sh-port', /^lvs.yaml:\d+: /],
    [
      'a key twice',
      'scheduler: sh',
      'scheduler: sh\n    scheduler: rr',
      /^lvs.yaml:5: Map keys must be unique/,
    ],
  ];
  test.each(refused)('refused with its line: %s', (_, from, to, detail) => {
    expect(whole).toContain(from);
    const reply = parseLvsYaml(whole.replace(from, to));
    expect(reply).toMatchObject({ ok: false, errno: 'EINVAL' });
    if (!reply.ok) expect(reply.detail).toMatch(detail);
  });

  test('all faults at once; not a map; a bomb of aliases', () => {
    const two = parseLvsYaml(
      whole.replace('weight: 2', 'weight: x').replace('upper: 9', 'upper: x'),
    );
    expect(two.ok ? [] : two.detail.split('\n').map((line) => line.split(': ')[0])).toEqual([
      ...['lvs.yaml:8', 'lvs.yaml:11'],
    ]);
    expect(parseLvsYaml('- 1\n', 'my.yaml')).toMatchObject({
      detail: expect.stringMatching(/^my.yaml:1: /),
    });
    const names = 'abcdefgh'.split('');
    const bomb = names.map(
      (n, i) => `${n}: &${n} [${i ? Array(9).fill(`*${names[i - 1]}`) : 'x'}]`,
    );
    expect(parseLvsYaml(bomb.join('\n'))).toMatchObject({ ok: false, errno: 'EINVAL' });
  });
});
