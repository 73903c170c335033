import {
  bytes,
  cpuTime,
  duration,
  errorLine,
  killArguments,
  signalNumber,
  statusOf,
  table,
  waterfall,
} from '@ssi/cli';
import { fail } from '@ssi/contracts';
import type { SpanRecord } from '@ssi/telemetry';
import { describe, expect, test } from 'vitest';
import { usage } from '../src/commands/top.ts';
import { atLeast, lookAt } from '../src/finding.ts';
import { lockTree } from '../src/lock-tree.ts';
import { missingCapabilities } from '../src/machine-checks.ts';

describe('arguments of kill', () => {
  test.each([
    ['-TERM 65601', '--signal TERM 65601'],
    ['-SIGTERM 65601', '--signal SIGTERM 65601'],
    ['-9 65601', '--signal 9 65601'],
    ['-0 65601', '--signal 0 65601'],
    ['-RTMIN+3 65601', '--signal RTMIN+3 65601'],
    ['-9 -65601', '--signal 9 -- -65601'],
    ['-65601', '-- -65601'],
    ['-99 65601', '--signal 99 65601'],
    ['-s HUP -65601', '-s HUP -- -65601'],
    ['-9 -- -65601', '--signal 9 -- -65601'],
    ['-l', '-l'],
    ['--json 65601', '--json 65601'],
    ['--cluster blue -INT 65601', '--cluster blue --signal INT 65601'],
  ])('%s', (typed, understood) => {
    expect(killArguments(typed.split(' ')).join(' ')).toBe(understood);
  });
});

test('signals by name and number', () => {
  expect(['TERM', 'SIGTERM', 'term', '15', 'RTMIN', 'RTMAX-1'].map(signalNumber)).toEqual([
    15, 15, 15, 15, 34, 63,
  ]);
  expect(['NOPE', '65', 'RTMIN+31', ''].map(signalNumber)).toEqual(Array(4).fill(undefined));
});

test('a status as a shell gives it', () => {
  expect(statusOf({ pid: 1, code: 7, signal: null })).toBe(7);
  expect(statusOf({ pid: 1, code: null, signal: 'SIGSEGV' })).toBe(139);
});

test('figures for people', () => {
  expect([0, 999, 1_000, 12_345_678, 999_600_000].map(bytes)).toEqual([
    '0 B',
    '999 B',
    '1.0 kB',
    '12.3 MB',
    '1.0 GB',
  ]);
  expect([0.4, 43.2, 999.7, 61_000].map(duration)).toEqual([
    '0.40 ms',
    '43 ms',
    '1.00 s',
    '1m 01s',
  ]);
  expect([0, 65_000, 90_061_000].map(cpuTime)).toEqual(['00:00:00', '00:01:05', '1-01:01:01']);
});

test('a table: columns as wide as needed, cut at the terminal, control characters made harmless', () => {
  const rows = [
    { pid: 7, command: 'a\u001b[2J' },
    { pid: 65_601, command: 'sleep 100000' },
  ];
  const columns = [
    { title: 'PID', of: (r: (typeof rows)[0]) => r.pid, align: 'right' as const },
    { title: 'COMMAND', of: (r: (typeof rows)[0]) => r.command },
  ];
  expect(table(columns, rows)).toBe('  PID  COMMAND\n    7  a?[2J\n65601  sleep 100000\n');
  expect(table(columns, rows, { width: 12 })).toBe('  PID  COMMA\n    7  a?[2J\n65601  sleep\n');
});

test('errors: the remedy is left out where the detail has one', () => {
  expect(errorLine('ps', undefined, fail('ESRCH', 'none; see: ssi ps'))).toBe(
    'ssi: ps: ESRCH none; see: ssi ps\n',
  );
  expect(errorLine('ps', 'x', fail('EIO', 'disk'))).toBe('ssi: ps: x: EIO disk\n');
});

describe('waterfall', () => {
  const span = (id: string, parent: string | null, startMs: number, durationMs: number) =>
    ({
      ...{ traceId: 't', spanId: id, parentSpanId: parent, name: id, service: 'vproc', node: 1 },
      ...{ kind: 'internal', startMs, durationMs, status: 'unset', attributes: {} },
    }) satisfies SpanRecord;

  test('a line for each span, children under their parent by start, bars to scale', () => {
    const text = waterfall(
      [
        span('dump', 'migrate', 50, 25),
        span('freeze', 'migrate', 0, 50),
        span('migrate', null, 0, 100),
      ],
      { width: 60 },
    );
    const lines = text.trimEnd().split('\n');
    expect(lines.map((l) => l.split('  n1')[0]?.trimEnd())).toEqual([
      'migrate',
      '  freeze',
      '  dump',
    ]);
    const bars = lines.map((l) => /[ █▏▎▍▌▋▊▉]+$/.exec(l.slice(l.indexOf(' ms') + 5))?.[0] ?? '');
    const full = bars[0]?.length ?? 0;
    expect(full).toBeGreaterThan(20);
    expect(bars[1]?.length).toBe(Math.ceil(full / 2));
    expect(bars[2]?.match(/^ */)?.[0].length).toBe(Math.floor(full / 2));
  });

  test('an orphan is marked, an error says why, a cycle and one instant do not hang', () => {
    const text = waterfall(
      [
        { ...span('lost', 'gone', 0, 0), status: 'error', message: 'ECANCELED no' },
        span('a', 'b', 0, 0),
        span('b', 'a', 0, 0),
      ],
      { width: 80 },
    );
    expect(text).toMatch(/^\? lost .*ECANCELED no$/m);
    expect(text.trimEnd().split('\n')).toHaveLength(3);
  });
});

describe('doctor', () => {
  test('versions are compared by number', () => {
    expect(atLeast('2.10.1', '2.10.0')).toBe(true);
    expect(atLeast('2.9.10', '2.10.0')).toBe(false);
    expect(atLeast('', '2.10.0')).toBe(false);
  });

  test('missing capabilities by name', () => {
    expect(missingCapabilities('000001ffffffffff')).toEqual([]);
    expect(missingCapabilities('00000000a80425fb')).toEqual([
      'CAP_NET_ADMIN',
      'CAP_SYS_PTRACE',
      'CAP_SYS_ADMIN',
      'CAP_SYS_NICE',
    ]);
  });

  test('a check that throws is a finding', async () => {
    const look = () => {
      throw new Error('odd');
    };
    expect(await lookAt({ name: 'x', look })).toMatchObject({ ok: false, detail: 'odd' });
  });
});

test('top: use between two looks; a process that moved never counts below zero', () => {
  const of = (pid: number, cpuMs: number) => ({ pid, cpuMs }) as never;
  const rows = usage([of(1, 100), of(2, 900)], [of(1, 600), of(2, 10), of(3, 50)], 1_000);
  expect(rows.map((r) => [r.pid, r.cpu])).toEqual([
    [1, 50],
    [3, 0],
    [2, 0],
  ]);
});

test('locks as a tree: parents, byte ranges, and who waits', () => {
  const lock = (lkid: number, label: string, node: number) => ({
    ...{ lkid, label, node, granted: 'NL' as const },
  });
  const range = { type: 'write' as const, start: 0, length: 10, lkid: 1, waits: false };
  const text = lockTree([
    {
      ...{ lockspace: 'fs', resource: 'a.db', parents: ['vol'], master: 1, directory: 2 },
      ...{ recovering: false, valueInvalid: false, converting: [], waiting: [] },
      granted: [lock(1, 'writer', 1), lock(2, 'reader', 3)],
      ranges: [range, { ...range, type: 'read', start: 5, length: 0, lkid: 2, waits: true }],
    },
  ]);
  expect(text.trimEnd().split('\n')).toEqual([
    'fs/vol > a.db  master 1, directory 2',
    '  NL writer@1',
    '  NL reader@3',
    '  write 0-9 writer@1',
    '    read 5-end reader@3 waits',
  ]);
});
