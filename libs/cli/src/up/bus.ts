// nats-server and redis-server of a cluster on one machine: started by us on a free port of one
// address, NATS behind a key for each user, Redis behind a password; their data in the cluster's folder.
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, relative } from 'node:path';
import { fail, ok, type Reply } from '@ssi/contracts';
import { sessionFirst, startedFirst } from '@ssi/linux';
import { busCertificatePath, busKeyPath, natsLog } from '../security/authority.ts';
import { type HostProcess, startDetached, tool, until } from './host.ts';

export interface StartedServer {
  readonly url: string;
  readonly process: HostProcess;
}
type Started = Reply<StartedServer, 'EIO' | 'ENOENT'>;

const writeSecret = (path: string, text: string): void =>
  writeFileSync(path, text, { mode: 0o600 });

export interface NatsSettings {
  /** address:port, port -1: any free one. */
  readonly listen: string;
  readonly dataDir: string;
  /** A file with the bus's users, read again at SIGHUP. */
  readonly users: string;
  /** Files of its key and certificate: then whoever connects does so by TLS. */
  readonly tls?: { readonly key: string; readonly certificate: string };
  /** Port of the health check, on the loopback interface; absent: none. */
  readonly healthPort?: number;
}

export const writeNatsConfig = (path: string, q: NatsSettings): void =>
  writeSecret(
    path,
    [
      `listen: "${q.listen}"`,
      `ports_file_dir: "${q.dataDir}"`,
      // sync_interval always: what JetStream acknowledged is on disk (default: synced every 2 minutes).
      `jetstream { store_dir: "${q.dataDir}", max_memory_store: 256MB, sync_interval: always }`,
      // A path with a slash in front would be taken as relative too. [nats-server: include]
      `include "${relative(dirname(path), q.users)}"`,
      ...(q.tls ? [`tls { key_file: "${q.tls.key}", cert_file: "${q.tls.certificate}" }`] : []),
      ...(q.healthPort === undefined ? [] : [`http: "127.0.0.1:${q.healthPort}"`]),
      'max_payload: 1MB',
      'write_deadline: "10s"',
      '',
    ].join('\n'),
  );

export interface RedisSettings {
  /** `*`: all. */
  readonly address: string;
  readonly port: number;
  readonly password: string;
  readonly dataDir: string;
  readonly pidFile?: string;
}

export const writeRedisConfig = (path: string, q: RedisSettings): void =>
  writeSecret(
    path,
    [
      `bind ${q.address}`,
      `port ${q.port}`,
      `requirepass ${q.password}`,
      `dir ${q.dataDir}`,
      'save ""',
      'appendonly no',
      'maxmemory 128mb',
      'maxmemory-policy allkeys-lru',
      ...(q.pidFile === undefined ? [] : [`pidfile ${q.pidFile}`]),
      '',
    ].join('\n'),
  );

/** `isOpen`: the address is one that other machines reach, so what goes there is encrypted. */
export async function startNats(
  dir: string,
  { address, users, isOpen }: { address: string; users: string; isOpen: boolean },
): Promise<Started> {
  const data = `${dir}/nats`;
  mkdirSync(data, { recursive: true, mode: 0o700 });
  writeNatsConfig(`${data}/nats.conf`, {
    ...{ listen: `${address}:-1`, dataDir: data, users },
    ...(isOpen && { tls: { key: busKeyPath(dir), certificate: busCertificatePath(dir) } }),
  });
  const logPath = natsLog(dir);
  // A busy machine that keeps it from answering looks like one that has lost it.
  const program = startedFirst(tool('nats-server'), ['-c', `${data}/nats.conf`]);
  const { process } = startDetached(...program, { logPath });
  if (process) sessionFirst(process.pid);
  let port: string | undefined;
  const started = await until(() => {
    const file = readdirSync(data).find((f) => f.endsWith('.ports'));
    if (file)
      port = /"(?:nats|tls):\/\/[^"]*:(\d+)"/.exec(readFileSync(`${data}/${file}`, 'utf8'))?.[1];
    return port !== undefined;
  }, 10_000);
  if (!started || !process) return fail('EIO', `nats-server did not start; see ${logPath}`);
  return ok({ url: `${isOpen ? 'tls' : 'nats'}://${address}:${port}`, process });
}

const freePort = (address: string): Promise<number> =>
  new Promise((done, failed) => {
    const probe = createServer().once('error', failed);
    probe.listen(0, address, () => {
      const at = probe.address();
      probe.close(() => done(at && typeof at === 'object' ? at.port : 0));
    });
  });

export async function startRedis(dir: string, address: string): Promise<Started> {
  const data = `${dir}/redis`;
  mkdirSync(data, { recursive: true, mode: 0o700 });
  const password = randomBytes(16).toString('hex');
  const logPath = `${dir}/redis.log`;
  // A port that was free may be taken the next moment: try again with another.
  for (let attempt = 0; attempt < 5; attempt++) {
    const port = await freePort(address);
    writeRedisConfig(`${data}/redis.conf`, {
      ...{ address, port, password, dataDir: data, pidFile: `${data}/redis.pid` },
    });
    const before = readText(logPath).length;
    const { process, child } = startDetached(tool('redis-server'), [`${data}/redis.conf`], {
      logPath,
    });
    let ended = false;
    child.once('exit', () => {
      ended = true;
    });
    const ready = await until(
      () => ended || readText(logPath).slice(before).includes('eady to accept connections'),
      10_000,
    );
    if (ready && !ended && process)
      return ok({ url: `redis://:${password}@${address}:${port}`, process });
  }
  return fail('EIO', `redis-server did not start; see ${logPath}`);
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
