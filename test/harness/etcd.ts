// etcd, a peer of the lock manager: one server, unpacked from Debian's package, and the four calls of its
// lock service that matter here, over gRPC. Messages are so small that they are written by hand.
// [etcd: api/etcdserverpb/rpc.proto, server/etcdserver/api/v3lock/v3lockpb/v3lock.proto]
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { Client, credentials } from '@grpc/grpc-js';
import { waitUntil } from './wait-until.ts';

export interface EtcdServer {
  /** host:port */
  readonly address: string;
  stop(): Promise<void>;
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((s) => once(s, 'listening')));
  const ports = servers.map((s) => (s.address() as { port: number }).port);
  await Promise.all(servers.map((s) => new Promise((done) => s.close(done))));
  return ports;
}

export async function startEtcd(): Promise<EtcdServer> {
  const dir = mkdtempSync(`${tmpdir()}/ssi-etcd-`);
  // apt's own user can't write here and it says so; the file comes all the same.
  execFileSync('apt-get', ['download', '-qq', 'etcd-server'], { cwd: dir, stdio: 'ignore' });
  const [deb = ''] = readdirSync(dir);
  execFileSync('dpkg-deb', ['-x', `${dir}/${deb}`, dir]);
  const [port = 0, peer = 0] = await freePorts(2);
  const url = `http://127.0.0.1:${port}`;
  const peerUrl = `http://127.0.0.1:${peer}`;
  const child: ChildProcess = spawn(
    `${dir}/usr/bin/etcd`,
    [
      ...['--data-dir', `${dir}/data`, '--listen-client-urls', url, '--advertise-client-urls', url],
      ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
      ...['--initial-cluster', `default=${peerUrl}`],
    ],
    { stdio: 'ignore' },
  );
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }
    rmSync(dir, { recursive: true, force: true });
  };
  const healthy = async (): Promise<boolean> => {
    try {
      return (await (await fetch(`${url}/health`)).text()).includes('true');
    } catch {
      return false;
    }
  };
  try {
    await waitUntil('etcd is healthy', healthy, 20_000);
  } catch (error) {
    await stop();
    throw error;
  }
  return { address: `127.0.0.1:${port}`, stop };
}

/** Fields of a message by number; numbers as bigint, bytes as Buffer. [Protocol Buffers: encoding] */
type Fields = Readonly<Record<number, bigint | Buffer>>;

function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
}

function encode(fields: Fields): Buffer {
  const parts = Object.entries(fields).map(([number, value]) =>
    typeof value === 'bigint'
      ? Buffer.from([(Number(number) << 3) | 0, ...varint(value)])
      : Buffer.concat([
          Buffer.from([(Number(number) << 3) | 2, ...varint(BigInt(value.length))]),
          value,
        ]),
  );
  return Buffer.concat(parts);
}

function decode(bytes: Buffer): Fields {
  const fields: Record<number, bigint | Buffer> = {};
  let at = 0;
  const number = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++] ?? 0;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(number());
    const value = number();
    if ((tag & 7) === 0) fields[tag >> 3] = value;
    else {
      fields[tag >> 3] = bytes.subarray(at, at + Number(value));
      at += Number(value);
    }
  }
  return fields;
}

/** A lease that is kept, and locks of it. */
export class EtcdSession {
  readonly #client: Client;
  readonly #lease: bigint;
  readonly #keeper: NodeJS.Timeout;

  private constructor(client: Client, lease: bigint, keeper: NodeJS.Timeout) {
    this.#client = client;
    this.#lease = lease;
    this.#keeper = keeper;
  }

  static async open(address: string, ttlMs: number): Promise<EtcdSession> {
    const client = new Client(address, credentials.createInsecure());
    const ttl = BigInt(Math.ceil(ttlMs / 1_000));
    const lease = (await call(client, 'etcdserverpb.Lease/LeaseGrant', { 1: ttl }))[2] as bigint;
    const stream = client.makeBidiStreamRequest(
      '/etcdserverpb.Lease/LeaseKeepAlive',
      encode,
      decode,
    );
    stream.on('data', () => {}).on('error', () => {}); // closed
    const keeper = setInterval(() => stream.write({ 1: lease }), ttlMs / 3);
    return new EtcdSession(client, lease, keeper);
  }

  /** Waits; gives the key that is held. */
  async lock(name: string): Promise<Buffer> {
    const request = { 1: Buffer.from(name), 2: this.#lease };
    return (await call(this.#client, 'v3lockpb.Lock/Lock', request))[2] as Buffer;
  }

  async unlock(key: Buffer): Promise<void> {
    await call(this.#client, 'v3lockpb.Lock/Unlock', { 1: key });
  }

  async close(): Promise<void> {
    clearInterval(this.#keeper);
    await call(this.#client, 'etcdserverpb.Lease/LeaseRevoke', { 1: this.#lease }).catch(() => {});
    this.#client.close();
  }
}

const call = (client: Client, method: string, request: Fields): Promise<Fields> =>
  new Promise((done, failed) => {
    client.makeUnaryRequest(`/${method}`, encode, decode, request, (error, reply) => {
      if (error || !reply) failed(error);
      else done(reply);
    });
  });
