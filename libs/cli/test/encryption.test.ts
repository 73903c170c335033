// Direct connections that leave the machine: encrypted, to a node of the cluster or not at all.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { type Credential, parseCredential } from '@ssi/contracts';
import { encryptionOf, identityOf, tcpStreams, tcpTransport } from '@ssi/ics';
import { systemClock } from '@ssi/linux';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { issueFirst } from '../src/security/authority.ts';
import { nodeCredentials } from '../src/security/holder.ts';

const clock = systemClock();
/** An address of this machine that is not the loopback's: as another machine's, to who does not know. */
const outside = Object.values(networkInterfaces())
  .flatMap((i) => i ?? [])
  .find((i) => i.family === 'IPv4' && !i.internal)?.address;
const dirs: string[] = [];
const token = '0123456789abcdef0123456789abcdef';

async function clusterOf(name: string): Promise<(num: number) => Credential> {
  const dir = mkdtempSync(`${tmpdir()}/ssi-encryption-`);
  dirs.push(dir);
  await issueFirst({ name, processes: [] }, dir, { nodes: 2, isOpen: true });
  return (num) => {
    const text = readFileSync(`${nodeCredentials(dir, num)}/vproc.json`, 'utf8');
    const held = parseCredential(text);
    if (!held) throw new Error('no credential');
    return held;
  };
}

describe.skipIf(outside === undefined)('direct connections that leave the machine', () => {
  const host = outside ?? '';
  let ours: (num: number) => Credential;
  let others: (num: number) => Credential;
  beforeAll(async () => {
    [ours, others] = await Promise.all([clusterOf('ours'), clusterOf('others')]);
  });
  afterAll(() => {
    for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
  });
  const there = (node: number, port: number) => ({ node, addresses: [host], port });
  const streamsOf = (held: Credential) => tcpStreams({ clock, encryption: encryptionOf(held) });

  test('a stream: every byte, both ends, and none of it readable on the way', async () => {
    const listener = await streamsOf(ours(1)).listen();
    const echoed = Promise.withResolvers<number>();
    listener.accept(token, async (stream) => {
      let bytes = 0;
      for (let m = await stream.read(); m; m = await stream.read()) {
        bytes += m.length;
        await stream.write(m);
      }
      await stream.end();
      echoed.resolve(bytes);
    });
    // A wiretap: passes everything on and keeps it.
    const seen: Buffer[] = [];
    const tap = createServer({ allowHalfOpen: true }, (from: Socket) => {
      const to = new (from.constructor as typeof Socket)({ allowHalfOpen: true });
      to.connect(listener.port, host);
      for (const [a, b] of [
        [from, to],
        [to, from],
      ] as const) {
        a.on('data', (chunk: Buffer) => seen.push(chunk));
        a.on('error', () => {});
        a.pipe(b);
      }
    });
    await new Promise<void>((done) => tap.listen(0, host, done));
    const at = tap.address();
    const port = typeof at === 'object' ? (at?.port ?? 0) : 0;
    const opened = await streamsOf(ours(2)).connect(there(1, port), token, 5_000);
    if (!opened.ok) throw new Error(opened.detail);
    const piece = Buffer.from('a secret that is easily found '.repeat(2_000));
    let back = 0;
    const reading = (async () => {
      for (let m = await opened.value.read(); m; m = await opened.value.read()) back += m.length;
    })();
    for (let i = 0; i < 50; i++) await opened.value.write(piece);
    await opened.value.end();
    await reading;
    expect(await echoed.promise).toBe(50 * piece.length);
    expect(back).toBe(50 * piece.length);
    const wire = Buffer.concat(seen);
    expect(wire.length).toBeGreaterThan(100 * piece.length);
    expect(wire.includes('a secret')).toBe(false);
    expect(wire.includes(token)).toBe(false);
    await listener.close();
    tap.close();
  });

  test('no stream to who is not of the cluster, none in plain text, and no bare one', async () => {
    const theirs = await streamsOf(others(1)).listen();
    theirs.accept(token, () => {});
    const wrong = await streamsOf(ours(2)).connect(there(1, theirs.port), token, 5_000);
    expect(wrong).toMatchObject({ ok: false, errno: 'EHOSTUNREACH' });
    const plain = await tcpStreams({ clock }).connect(there(1, theirs.port), token, 5_000);
    expect(plain).toMatchObject({ ok: false, errno: 'EHOSTUNREACH' });
    const bare = await streamsOf(others(2)).connectBare?.(there(1, theirs.port), token, 5_000);
    expect(bare).toMatchObject({ ok: false, errno: 'EHOSTUNREACH' });
    await theirs.close();
  });

  test('no stream to another node of the cluster than the one that was meant', async () => {
    const listener = await streamsOf(ours(1)).listen();
    listener.accept(token, () => {});
    const wrong = await streamsOf(ours(2)).connect(there(3, listener.port), token, 5_000);
    expect(wrong).toMatchObject({ ok: false, errno: 'EHOSTUNREACH' });
    expect(wrong.ok || wrong.detail).toContain('answers for n3.');
    const right = await streamsOf(ours(2)).connect(there(1, listener.port), token, 5_000);
    expect(right.ok).toBe(true);
    if (right.ok) right.value.destroy();
    await listener.close();
  });

  test('between nodes of one machine a stream stays plain', async () => {
    const own = (num: number): Credential => ({
      ...ours(num),
      encrypt: { machine: host.slice(0, host.lastIndexOf('.') + 1) },
    });
    const listener = await streamsOf(own(1)).listen();
    const got = Promise.withResolvers<string>();
    listener.accept(token, async (stream) => {
      const message = await stream.read();
      got.resolve(Buffer.from(message ?? []).toString());
    });
    const opened = await streamsOf(own(2)).connect(there(1, listener.port), token, 5_000);
    if (!opened.ok) throw new Error(opened.detail);
    await opened.value.write(Buffer.from('hello'));
    expect(await got.promise).toBe('hello');
    opened.value.destroy();
    await listener.close();
  });

  test('calls: the hello inside says whose they are; a stranger gets nowhere', async () => {
    const transport = (held: Credential) =>
      tcpTransport({
        ...{ cluster: held.cluster, clock },
        ...{ identity: identityOf(held), encryption: encryptionOf(held) },
      });
    const came: [string, number | undefined][] = [];
    const server = transport(ours(1));
    let forged = 0;
    server.open({
      frame: (bytes, _, claim) => void came.push([Buffer.from(bytes).toString(), claim?.node]),
      forged: () => void forged++,
      unreachable: () => {},
      broken: () => {},
      changed: () => {},
    });
    const port = await server.listen(0);
    const life = { bootCount: 1, bootId: '0000000000000001' };
    const where = {
      node: 1,
      service: 'vproc',
      incarnation: life,
      bootId: '1',
      tcp: [{ host, port }],
    };
    const say = (held: Credential, text: string): (() => Promise<void>) => {
      const client = transport(held);
      client.open({
        frame: () => {},
        unreachable: () => {},
        broken: () => {},
        changed: () => {},
      });
      client.setMap([where]);
      const frame = Buffer.from(text);
      client.send({ ...{ to: 1, contract: 'vproc', version: 1, op: 'list', tag: 't' }, frame });
      return () => client.close();
    };
    const closing = [say(ours(2), 'of node 2'), say(others(2), 'a stranger')];
    await expect.poll(() => came.length, { timeout: 5_000 }).toBeGreaterThan(0);
    server.setRevoked([identityOf(ours(2))?.certificate.serialNumber ?? '']);
    closing.push(say(ours(2), 'revoked'));
    await expect.poll(() => forged, { timeout: 5_000 }).toBeGreaterThan(0);
    expect(came).toEqual([['of node 2', 2]]);
    for (const close of closing) await close();
    await server.close();
  });
});
