import { execFileSync } from 'node:child_process';
import { commandTable, exitCode, run } from '@ssi/cli';
import type { NodeInfo, Ssi } from '@ssi/client';
import { fail, ok, type ProcessInfo } from '@ssi/contracts';
import type { SpanRecord } from '@ssi/telemetry';
import { describe, expect, test } from 'vitest';
import { fakeAttachment, fakeIo } from './fake-io.ts';

const pid = 65_601;
const traceId = 'ab'.repeat(16);

const processOf = (num: number, node: number, more: Partial<ProcessInfo> = {}): ProcessInfo => ({
  ...{ pid: num, ppid: 0, pgid: num, sid: num, node, origin: 1, state: 'sleeping' },
  ...{ kind: 'native', command: 'sleep 100', uid: 0, threads: 1, rssBytes: 0, cpuMs: 65_000 },
  ...{ hop: 0 },
  ...more,
});

const nodeOf = (num: number, more: Partial<NodeInfo> = {}): NodeInfo => ({
  ...{ num, name: `n${num}`, state: 'UP', incarnation: { bootCount: 1, bootId: '0'.repeat(16) } },
  services: [{ name: 'vproc', state: 'serving' }],
  facts: {
    ...{ addresses: ['10.0.0.1'], cpus: 2, memBytes: 1, kernel: '6.12', arch: 'x86_64' },
    ...{ cpuFlags: ['avx2'], native: true, heartbeatPorts: { udp: 0, tcp: 0 }, versions: {} },
  },
  keyServices: [],
  isMaster: num === 1,
  answers: true,
  ...more,
});

const command = async (argv: string[], calls: Partial<Ssi> = {}) => {
  const io = fakeIo(calls);
  const code = await run(argv, io);
  return { code, out: io.out(), err: io.err(), io };
};

describe('command line: usage', () => {
  test('help for an unknown command: the same', async () => {
    const { code, err } = await command(['help', 'migrat']);
    expect(code).toBe(exitCode.usage);
    expect(err).toContain("unknown command 'migrat'");
    expect(err).toContain('migrate');
  });

  test('an unknown command: usage, a suggestion, nobody connected', async () => {
    const { code, err, io } = await command(['migrat', '1', '2']);
    expect(code).toBe(exitCode.usage);
    expect(err).toContain("unknown command 'migrat'");
    expect(err).toContain('migrate');
    expect(io.asked).toEqual([]);
  });

  test.each([
    [['migrate', '65601']],
    [['migrate', 'x', '2']],
    [['migrate', '65601', '0']],
    [['migrate', '65601', '2', '--jsno']],
    [['kill', '-NOPE', '65601']],
    [['kill']],
    [['wait', '65601', '--timeout', '-3']],
    [['run', '--node', '1']],
    [['run', '-e', 'novalue', 'true']],
    [['trace', 'xyz']],
    [['onclass', 'nonesuch', 'true']],
    [['completion', 'tcsh']],
    [['cluster', 'bootstrap']],
    [[]],
  ])('%j is a usage error and asks nothing of the cluster', async (argv) => {
    const { code, err, io } = await command(argv);
    expect(code).toBe(exitCode.usage);
    expect(err).not.toBe('');
    expect(io.asked).toEqual([]);
  });

  test('every command that takes something has help with examples, and help needs no cluster', async () => {
    for (const entry of commandTable.filter((e) => !e.hidden)) {
      const { code, out, io } = await command([entry.name, '--help']);
      expect(code, entry.name).toBe(0);
      const takesNothing = !out.includes('Arguments:') && (out.match(/^ {2}-/gm) ?? []).length <= 2;
      if (!takesNothing) expect(out, entry.name).toContain('Examples:');
      expect(io.asked).toEqual([]);
    }
  });

  test('help NAME is NAME --help; --cluster is understood before and after the command', async () => {
    const { out } = await command(['help', 'migrate']);
    expect(out).toBe((await command(['migrate', '--help'])).out);
    const ps = { ps: async () => ok({ processes: [], silent: [] }) };
    expect((await command(['--cluster', 'blue', 'ps'], ps)).io.asked).toEqual(['blue']);
    expect((await command(['ps', '--cluster', 'blue'], ps)).io.asked).toEqual(['blue']);
  });

  test('a failure names command, subject, errno and what to do', async () => {
    const { code, err, out, io } = await command(['migrate', '65601', '2'], {
      migrate: async () => fail('ESRCH', 'no such process'),
    });
    expect(code).toBe(exitCode.failed);
    expect(err).toBe('ssi: migrate: 65601: ESRCH no such process; see what runs with: ssi ps\n');
    expect(out).toBe('');
    expect(io.closed()).toBe(1);
  });

  test('no cluster: 1, but 125 where the exit code is a program’s', async () => {
    const connect = fail('ENOENT', 'no cluster on this machine; start one with: ssi up');
    const codeOf = (argv: string[]) => run(argv, fakeIo({}, { connect }));
    expect(await codeOf(['ps'])).toBe(exitCode.failed);
    expect(await codeOf(['run', 'true'])).toBe(exitCode.runFailed);
    expect(await codeOf(['wait', '65601'])).toBe(exitCode.runFailed);
  });

  test('SIGINT while it waits: 130, and the connection is closed', async () => {
    const io = fakeIo({ migrate: () => new Promise(() => {}) });
    const running = run(['migrate', '65601', '2'], io);
    await expect.poll(() => io.asked.length).toBe(1);
    io.signal('SIGINT');
    expect(await running).toBe(exitCode.interrupted);
    expect(io.closed()).toBe(1);
    expect(io.err()).toContain('ssi where 65601');
  });

  test('after it nothing else is said, though closing ends the call', async () => {
    let close = async (): Promise<void> => {};
    const ended = new Promise<never>((_, reject) => {
      close = async () => reject(new Error('closed'));
    });
    const io = fakeIo({
      migrate: () => ended.catch(() => fail('ETIMEDOUT', 'closed')),
      close: () => close(),
    });
    const running = run(['migrate', '65601', '2'], io);
    await expect.poll(() => io.asked.length).toBe(1);
    io.signal('SIGTERM');
    expect(await running).toBe(exitCode.interrupted);
    await ended.catch(() => {});
    expect(io.err()).toBe('ssi: migrate: interrupted; the move goes on, see: ssi where 65601\n');
  });

  test('a variable with a typo: 2, and the one that was meant', async () => {
    const io = fakeIo({}, { env: { SSI_CLSUTER: 'a' } });
    expect(await run(['ps'], io)).toBe(exitCode.usage);
    expect(io.err()).toBe(
      'ssi: SSI_CLSUTER: EINVAL there is no such variable; did you mean SSI_CLUSTER?\n',
    );
    expect(io.asked).toEqual([]);
  });
});

describe('command line: JSON that scripts rely on', () => {
  const parsed = async (argv: string[], calls: Partial<Ssi>) => {
    const { code, out } = await command(argv, calls);
    return { code, value: JSON.parse(out) };
  };

  test('nodes', async () => {
    const nodes = { nodes: async () => ok([nodeOf(1)]) };
    expect((await parsed(['nodes', '--json'], nodes)).value).toEqual([
      {
        num: 1,
        name: 'n1',
        state: 'UP',
        incarnation: { bootCount: 1, bootId: '0'.repeat(16) },
        services: [{ name: 'vproc', state: 'serving' }],
      },
    ]);
  });

  test('ps, and a node that does not answer is named on standard error', async () => {
    const silent = [{ node: 3, errno: 'ETIMEDOUT' as const }];
    const { out, err, code } = await command(['ps', '--json'], {
      ps: async () => ok({ processes: [processOf(pid, 2)], silent }),
    });
    expect(code).toBe(0);
    expect(JSON.parse(out)).toEqual([
      {
        ...{ pid, ppid: 0, pgid: pid, node: 2, origin: 1, state: 'sleeping', kind: 'native' },
        command: 'sleep 100',
      },
    ]);
    expect(err).toContain('node 3 does not answer (ETIMEDOUT)');
  });

  test('migrate', async () => {
    const moved = { pid, from: 1, to: 2, freezeMs: 41.5, bytes: 9, traceId };
    const asked: unknown[] = [];
    const { value } = await parsed(['migrate', '65601', '2', '--json', '--group'], {
      migrate: async (...args) => {
        asked.push(args);
        return ok(moved);
      },
    });
    expect(value).toEqual(moved);
    expect(asked).toEqual([[pid, 2, { group: true }]]);
  });

  test('wait ends with 0 under --json, with the status otherwise', async () => {
    const wait = async () => ok({ pid, code: null, signal: 'SIGTERM' });
    const { value, code } = await parsed(['wait', '65601', '--json'], { wait });
    expect([value, code]).toEqual([{ pid, code: null, signal: 'SIGTERM' }, 0]);
    expect((await command(['wait', '65601'], { wait })).code).toBe(143);
  });

  test('why-not', async () => {
    const reasons = [{ code: 'EINOTIFY' as const, detail: 'fd 5' }];
    const whyNot = async () => ok({ movable: false, reasons });
    expect((await parsed(['why-not', '65601', '--json'], { whyNot })).value).toEqual({
      movable: false,
      reasons,
    });
    const { code, out } = await command(['why-not', '65601'], { whyNot });
    expect([code, /EINOTIFY/.test(out)]).toEqual([1, true]);
  });

  test('run --detach', async () => {
    let request: Parameters<Ssi['run']>[0] | undefined;
    const { value } = await parsed(
      ['run', '--node', '1', '--detach', '--json', '-e', 'A=b', '--', 'sh', '-c', 'x', '--json'],
      {
        run: async (r) => {
          request = r;
          return ok({ pid, node: 1 });
        },
      },
    );
    expect(value).toEqual({ pid });
    expect(request).toEqual({
      argv: ['sh', '-c', 'x', '--json'],
      env: { A: 'b' },
      cwd: '/work',
      node: 1,
      noInput: true,
    });
  });

  test('trace, by the beginning of its id', async () => {
    const span: SpanRecord = {
      ...{ traceId, spanId: '1'.repeat(16), parentSpanId: null, name: 'ssi.migrate' },
      ...{ service: 'client', node: 0, kind: 'internal', startMs: 1, durationMs: 2 },
      ...{ status: 'ok', attributes: {} },
    };
    const summary = { traceId, name: 'x', startMs: 1, durationMs: 2, spans: 1 };
    const traces = async () => ok([{ ...summary, nodes: [], services: [], status: 'ok' as const }]);
    const trace = async (id: string) => ok(id === traceId ? [span] : []);
    expect((await parsed(['trace', 'abab', '--json'], { trace, traces })).value).toEqual([
      {
        ...{ spanId: '1'.repeat(16), parentSpanId: null, name: 'ssi.migrate' },
        ...{ service: 'client', node: 0, startMs: 1, durationMs: 2, status: 'ok' },
      },
    ]);
    const { code, err } = await command(['trace', 'ffff'], { trace, traces });
    expect([code, /ENOENT/.test(err)]).toEqual([1, true]);
  });
});

describe('command line: a program in the foreground', () => {
  const start = (argv: string[], more: Partial<Ssi> = {}, env: NodeJS.ProcessEnv = {}) => {
    const attached = fakeAttachment();
    const signals: [number, number][] = [];
    const requests: Parameters<Ssi['run']>[0][] = [];
    const io = fakeIo(
      {
        run: async (request) => {
          requests.push(request);
          return ok({ pid, node: request.node ?? 1 });
        },
        attach: () => attached,
        kill: async (to, signal) => {
          signals.push([to, signal]);
          return ok({ delivered: 1 });
        },
        wait: async () => ok({ pid, code: 3, signal: null }),
        ...more,
      },
      { env },
    );
    return { io, attached, signals, requests, ended: run(argv, io) };
  };
  const bytes = (text: string) => Buffer.from(text);

  test('its output, its input, its status', async () => {
    const { io, attached, ended } = start(['run', 'cat']);
    io.input.end('typed');
    attached.push({ type: 'data', stream: 'out', offset: 0, bytes: bytes('to out') });
    attached.push({ type: 'data', stream: 'err', offset: 0, bytes: bytes('to err') });
    await expect.poll(() => attached.inputEnded).toBe(true);
    attached.push({ type: 'exit', status: { pid, code: 3, signal: null } });
    expect(await ended).toBe(3);
    expect([io.out(), io.err()]).toEqual(['to out', 'to err']);
    expect(Buffer.concat(attached.written).toString()).toBe('typed');
    expect(io.closed()).toBe(1);
  });

  test('ended by a signal: 128 + its number; its node died: said so', async () => {
    const { io, attached, ended } = start(['run', 'x']);
    attached.push({
      type: 'exit',
      status: { pid, code: null, signal: 'SIGKILL', reason: 'EHOSTDOWN' },
    });
    expect(await ended).toBe(137);
    expect(io.err()).toContain('EHOSTDOWN');
  });

  test('signals go to its group; the fourth Ctrl-C leaves it alone', async () => {
    const { io, attached, signals, ended } = start(['run', 'x']);
    attached.push({ type: 'data', stream: 'out', offset: 0, bytes: bytes('up') });
    await expect.poll(() => io.out()).toBe('up');
    for (let i = 0; i < 3; i++) io.signal('SIGINT');
    io.signal('SIGTERM');
    expect(signals).toEqual([...Array(3).fill([-pid, 2]), [-pid, 15]]);
    io.signal('SIGINT');
    expect(await ended).toBe(0);
    expect(io.err()).toContain(`${pid} runs on`);
  });

  test('a signal before the program is there reaches it afterwards', async () => {
    let started = (): void => {};
    const gate = new Promise<void>((done) => {
      started = done;
    });
    const { io, attached, signals, ended } = start(['run', 'x'], {
      run: () => gate.then(() => ok({ pid, node: 1 })),
    });
    await expect.poll(() => io.asked.length).toBe(1);
    await new Promise((done) => setImmediate(done));
    io.signal('SIGINT');
    started();
    attached.push({ type: 'exit', status: { pid, code: null, signal: 'SIGINT' } });
    expect(await ended).toBe(130);
    expect(signals).toEqual([[pid, 2]]);
  });

  test.each([
    ['ENOENT', 127],
    ['EACCES', 126],
    ['ENOEXEC', 126],
    ['ENETDOWN', 125],
  ] as const)('%s: %d', async (errno, code) => {
    const { io, ended } = start(['run', 'nonesuch'], { run: async () => fail(errno, 'no') });
    expect(await ended).toBe(code);
    expect(io.err()).toContain(`ssi: run: nonesuch: ${errno}`);
  });

  test('the cluster’s credentials are not in its environment', async () => {
    const env = { SSI_NATS: 'nats://u:secret@h', SSI_NODE: '1', PATH: '/bin', SSI_CLUSTER: 'c' };
    const { attached, requests, ended } = start(['fast', 'x'], {}, env);
    attached.push({ type: 'exit', status: { pid, code: 0, signal: null } });
    await ended;
    expect(requests[0]?.env).toEqual({ PATH: '/bin', SSI_CLUSTER: 'c' });
  });

  test('-- before the command is no part of it, -- within it is', async () => {
    const { attached, requests, ended } = start(['onnode', '2', '--', 'git', 'log', '--', 'x']);
    attached.push({ type: 'exit', status: { pid, code: 0, signal: null } });
    await ended;
    expect(requests[0]).toMatchObject({ argv: ['git', 'log', '--', 'x'], node: 2 });
  });

  test('attach: Ctrl-C detaches with 0 and sends nothing', async () => {
    const { io, attached, signals, ended } = start(['attach', '65601']);
    attached.push({ type: 'data', stream: 'out', offset: 0, bytes: bytes('x') });
    await expect.poll(() => io.out()).toBe('x');
    io.signal('SIGINT');
    expect([await ended, signals, attached.closed]).toEqual([0, [], true]);
  });

  test('onall: whole lines with their node, the highest status', async () => {
    const attached = [fakeAttachment(), fakeAttachment()];
    const io = fakeIo({
      nodes: async () => ok([nodeOf(1), nodeOf(2), nodeOf(3, { state: 'DOWN' })]),
      run: async (r) => ok({ pid: (r.node ?? 0) * 65_536, node: r.node ?? 0 }),
      attach: (of) => attached[of / 65_536 - 1] ?? fakeAttachment(),
      wait: async () => fail('ECHILD', 'taken'),
    });
    const ended = run(['onall', 'hostname'], io);
    const push = (i: number, text: string) =>
      attached[i]?.push({ type: 'data', stream: 'out', offset: 0, bytes: bytes(text) });
    push(0, 'half');
    push(1, 'n2\nno newline');
    push(0, ' a line\n');
    attached[0]?.push({ type: 'exit', status: { pid: 1, code: 0, signal: null } });
    attached[1]?.push({ type: 'exit', status: { pid: 2, code: 5, signal: null } });
    expect(await ended).toBe(5);
    expect(io.out().split('\n').sort()).toEqual([
      '',
      'node 1: half a line',
      'node 2: n2',
      'node 2: no newline',
    ]);
  });
});

describe('command line: drain', () => {
  const view = async () =>
    ok({
      members: [1, 2, 3].map((n) => nodeOf(n)),
      keyServices: { ipc: { num: 1, since: 4 } },
    } as never);

  test('moves the tops of the trees, spread by load; what stays is listed with its reason', async () => {
    let processes = [
      processOf(pid, 1),
      processOf(pid + 1, 1, { ppid: pid }),
      processOf(pid + 2, 1, { command: 'stuck' }),
      processOf(200_001, 2),
    ];
    const moves: number[][] = [];
    const { code, out } = await command(['drain', '1', '--json'], {
      view,
      handover: async (_service, to) => ok({ transid: 9, num: to ?? 2 }),
      ps: async () => ok({ processes, silent: [] }),
      migrate: async (which, to) => {
        moves.push([which, to]);
        if (which === pid + 2) return fail('EOPNOTSUPP', 'EINOTIFY: fd 5');
        processes = processes.map((p) =>
          p.pid === which || p.ppid === which ? { ...p, node: to } : p,
        );
        return ok({ pid: which, from: 1, to, freezeMs: 40, bytes: 1, traceId });
      },
    });
    expect(code).toBe(exitCode.failed);
    expect(moves).toEqual([
      [pid, 3],
      [pid + 2, 2],
      [pid + 2, 3],
    ]);
    expect(JSON.parse(out)).toEqual({
      moved: [{ pid, to: 3, freezeMs: 40 }],
      stayed: [{ pid: pid + 2, command: 'stuck', errno: 'EOPNOTSUPP', detail: 'EINOTIFY: fd 5' }],
      keyServices: [{ name: 'ipc', to: 2 }],
    });
  });

  test('nothing to move: 0; an unknown node: EINVAL; the last node: EHOSTDOWN', async () => {
    const ps = async () => ok({ processes: [], silent: [] });
    const given = await command(['drain', '1'], {
      ...{ view, ps },
      handover: async () => ok({ transid: 9, num: 3 }),
    });
    expect(given.code).toBe(0);
    expect(given.out).toContain('key service ipc: on node 3 now');
    const kept = await command(['drain', '1'], {
      ...{ view, ps },
      handover: async () => fail('EAGAIN', 'no other node can run ipc'),
    });
    expect(kept.code).toBe(exitCode.failed);
    expect(kept.out).toContain('key service ipc: stayed, EAGAIN');
    expect((await command(['drain', '9'], { view, ps })).err).toContain('EINVAL');
    const alone = async () => ok({ members: [nodeOf(1)], keyServices: {} } as never);
    expect((await command(['drain', '1'], { view: alone, ps })).err).toContain('EHOSTDOWN');
  });
});

describe('command line: completion', () => {
  test('bash takes the script and completes commands and their options', async () => {
    const { out } = await command(['completion', 'bash']);
    const complete = (words: string, index: number) =>
      execFileSync('bash', [
        '-c',
        `${out}\nCOMP_WORDS=(${words}); COMP_CWORD=${index}; _ssi; echo "\${COMPREPLY[@]}"`,
      ])
        .toString()
        .trim();
    expect(complete('ssi mig', 1)).toBe('migrate');
    expect(complete('ssi migrate --post', 2)).toBe('--post-copy');
  });

  test.each(['zsh', 'fish'])('%s: every command is there', async (shell) => {
    const { out } = await command(['completion', shell]);
    for (const { name, hidden } of commandTable) if (!hidden) expect(out).toContain(name);
  });
});
