// One suite for whatever looks at servers: this machine's sockets and processes, and their twin in memory.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as httpServer } from 'node:http';
import { createServer as httpsServer } from 'node:https';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { systemClock } from '@ssi/linux';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FakeProber, hostProber, type Probe, type Prober } from '../src/index.ts';

interface World {
  readonly prober: Prober;
  /** Their ports on 127.0.0.1. */
  readonly ports: { web: number; tls: number; silent: number; closed: number };
  script(kind: 'good' | 'weighs' | 'hangs' | 'none'): readonly string[];
  /** Whether what the script that hangs started has gone. */
  nothingLeft(): boolean;
  stop(): Promise<void>;
}

const body = 'alive 42\n';

function fakeWorld(): World {
  const prober = new FakeProber(systemClock());
  const ports = { web: 1, tls: 2, silent: 3, closed: 4 };
  for (const port of [ports.web, ports.tls])
    prober.servers.set(`127.0.0.1:${port}`, { status: 200, body });
  prober.servers.set(`127.0.0.1:${ports.silent}`, 'listens');
  for (const [name, does] of [
    ['/good', 0],
    ['/weighs', 52],
    ['/hangs', 'hangs'],
  ] as const)
    prober.scripts.set(name, does);
  return {
    ...{ prober, ports, script: (kind) => [`/${kind}`], nothingLeft: () => true },
    stop: () => Promise.resolve(),
  };
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return (server.address() as AddressInfo).port;
}

async function hostWorld(): Promise<World> {
  const dir = mkdtempSync(`${tmpdir()}/ssi-prober-`);
  const key = ['-keyout', `${dir}/key`, '-out', `${dir}/cert`, '-subj', '/CN=localhost'];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...key], {
    stdio: 'ignore',
  });
  const pair = { key: readFileSync(`${dir}/key`), cert: readFileSync(`${dir}/cert`) };
  const answer = (_: unknown, response: { end(text: string): void }): void => response.end(body);
  const servers: Server[] = [httpServer(answer), httpsServer(pair, answer), createServer(() => {})];
  const closed = createServer();
  const [web = 0, tls = 0, silent = 0, gone = 0] = await Promise.all(
    [...servers, closed].map(listen),
  );
  closed.close();
  // Its child outlives it unless the whole group is killed, and neither heeds SIGTERM.
  const hangs = `trap '' TERM; sh -c 'trap "" TERM; echo $$ > ${dir}/child; while :; do sleep 0.05; done' & wait`;
  writeFileSync(`${dir}/hangs`, hangs);
  const scripts: Record<string, string[]> = {
    good: ['/bin/true'],
    weighs: ['/bin/sh', '-c', 'exit 52'],
    hangs: ['/bin/sh', `${dir}/hangs`],
    none: [`${dir}/none`],
  };
  return {
    prober: hostProber(systemClock()),
    ports: { web, tls, silent, closed: gone },
    script: (kind) => scripts[kind] ?? [],
    nothingLeft() {
      const pid = readFileSync(`${dir}/child`, 'utf8').trim();
      try {
        return / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
      } catch {
        return true;
      }
    },
    async stop() {
      for (const server of servers) {
        if ('closeAllConnections' in server)
          (server as { closeAllConnections(): void }).closeAllConnections();
        server.close();
      }
      rmSync(dir, { recursive: true });
    },
  };
}

for (const [kind, make] of [
  ['memory', fakeWorld],
  ['host', hostWorld],
] as const)
  describe(`LVS: prober: ${kind}`, () => {
    let world: World;
    beforeAll(async () => {
      world = await make();
    });
    afterAll(() => world?.stop());

    const never = new AbortController().signal;
    const look = (probe: Probe, signal = never) => world.prober.probe(probe, signal);
    const at = (port: number, timeoutMs = 5_000) => ({ address: '127.0.0.1', port, timeoutMs });
    const http = (port: number, tls: boolean, timeoutMs = 5_000): Probe => ({
      ...{ kind: 'http', ...at(port, timeoutMs), tls, path: '/', host: 'example', sni: tls },
    });

    test('TCP: what listens, what does not', async () => {
      expect(await look({ kind: 'tcp', ...at(world.ports.silent) })).toEqual({
        ok: true,
        kind: 'tcp',
      });
      expect(await look({ kind: 'tcp', ...at(world.ports.closed) })).toEqual({
        ...{ ok: false, reason: 'ECONNREFUSED' },
      });
    });

    test('HTTP and TLS: status, digest, text; a server that never answers is late', async () => {
      const right = { ok: true, kind: 'http', status: 200, md5: expect.any(String), text: body };
      const plain = await look(http(world.ports.web, false));
      expect(plain).toEqual(right);
      expect(await look(http(world.ports.tls, true))).toEqual(plain);
      expect(await look(http(world.ports.closed, false))).toMatchObject({ reason: 'ECONNREFUSED' });
      expect(await look(http(world.ports.silent, false, 100))).toEqual({
        ...{ ok: false, reason: 'no answer in time' },
      });
    });

    test('scripts: exit status; not there; one that hangs and heeds no SIGTERM is gone, with its children', async () => {
      const run = (name: 'good' | 'weighs' | 'hangs' | 'none', timeoutMs = 5_000, signal = never) =>
        look({ kind: 'script', argv: world.script(name), timeoutMs }, signal);
      expect(await run('good')).toEqual({ ok: true, kind: 'script', exitCode: 0 });
      expect(await run('weighs')).toEqual({ ok: true, kind: 'script', exitCode: 52 });
      expect(await run('none')).toEqual({ ok: false, reason: 'ENOENT' });
      expect(await run('hangs', 300)).toEqual({ ok: false, reason: 'timed out after 300 ms' });
      await expect.poll(() => world.nothingLeft(), { timeout: 5_000 }).toBe(true);
    });

    test('a signal ends it', async () => {
      const ends = new AbortController();
      const looked = look(
        { kind: 'script', argv: world.script('hangs'), timeoutMs: 60_000 },
        ends.signal,
      );
      ends.abort();
      expect((await looked).ok).toBe(false);
      const waits = new AbortController();
      const asked = look(http(world.ports.silent, false, 60_000), waits.signal);
      waits.abort();
      expect((await asked).ok).toBe(false);
    });
  });
