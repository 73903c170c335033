// Takes joining machines in: one line of JSON each way over TLS. It runs while a token is open, with the
// certificate that the token names. The machine shows its token and its public keys, and gets a number
// and a certificate; no private key travels.

import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTls, createServer, type TLSSocket } from 'node:tls';
import { clusterDir, connect, readClusterFile } from '@ssi/client';
import { errno, fail, ok, type Reply } from '@ssi/contracts';
import { z } from 'zod';
import { isAlive, program, startDetached, until } from '../up/host.ts';
import { admitNode, busCertificatePath, busKeyPath } from './authority.ts';
import { caCertificate } from './certificates.ts';
import { authorityDir, nodeServices, readHolders } from './register.ts';
import { checkToken, type Invitation, openUntilMs, useToken } from './token.ts';

const publicNkey = z.string().regex(/^U[A-Z2-7]{55}$/);
const request = z.object({
  id: z.string().regex(/^[0-9a-f]{16}$/),
  secret: z.string().regex(/^[0-9a-f]{32}$/),
  num: z.int().min(1).max(1023).optional(),
  keys: z.object(Object.fromEntries(nodeServices.map((s) => [s, publicNkey]))),
  publicKey: z.string().max(1_024),
  user: publicNkey,
});
export type EnrolRequest = z.infer<typeof request>;

const enrolled = z.object({
  num: z.int(),
  nats: z.string(),
  pidBits: z.union([z.literal(14), z.literal(16)]),
  ca: z.string(),
  certificate: z.string(),
  /** As in `Credential`. */
  heartbeatKey: z.string().optional(),
  /** Principal of the person there. */
  person: z.string(),
});
export type Enrolled = z.infer<typeof enrolled>;
const answer = z.union([
  z.object({ ok: z.literal(true), value: enrolled }),
  z.object({ ok: z.literal(false), errno, detail: z.string() }),
]);

const lineMaxBytes = 65_536;
const lineMs = 10_000;

/** One line; undefined: none came in time, or it is too long. */
function readLine(socket: TLSSocket): Promise<string | undefined> {
  return new Promise((done) => {
    let text = '';
    socket.setEncoding('utf8');
    socket.setTimeout(lineMs, () => socket.destroy());
    socket.on('error', () => {});
    socket.on('close', () => done(undefined));
    socket.on('data', (chunk: string) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end >= 0) done(text.slice(0, end));
      else if (text.length > lineMaxBytes) socket.destroy();
    });
  });
}

async function take(name: string, text: string): Promise<Reply<Enrolled>> {
  let said: unknown;
  try {
    said = JSON.parse(text);
  } catch {
    said = undefined;
  }
  const q = request.safeParse(said);
  const cluster = readClusterFile(name);
  if (!q.success) return fail('EBADMSG', 'not a request to join');
  if (!cluster.ok) return cluster;
  const dir = clusterDir(name);
  const { id, secret, keys, publicKey, user } = q.data;
  const open = checkToken(dir, id, secret, Date.now());
  if (!open.ok) return open;
  const num = await freeNumber(name, q.data.num);
  if (!num.ok) return num;
  const used = useToken(dir, id, secret, Date.now());
  if (!used.ok) return used;
  const admitted = await admitNode(cluster.value, dir, { num: num.value, keys, publicKey, user });
  const { nats = '', pidBits } = cluster.value;
  return ok({ num: num.value, nats, pidBits, ca: caCertificate(dir), ...admitted });
}

/** EEXIST: a living node has it. Absent: the lowest that nobody ever had. */
async function freeNumber(name: string, wanted: number | undefined): Promise<Reply<number>> {
  const { SSI_CREDS: _, ...env } = process.env;
  const ssi = await connect({ cluster: name, env });
  if (!ssi.ok) return ssi;
  const view = await ssi.value.view();
  await ssi.value.close();
  if (!view.ok) return view;
  const { members } = view.value;
  if (wanted !== undefined) {
    const taken = members.find((m) => m.num === wanted && m.state !== 'DOWN');
    return taken
      ? fail('EEXIST', `node ${wanted} is ${taken.state}; choose another with --num`)
      : ok(wanted);
  }
  const known = new Set([
    ...members.map((m) => m.num),
    ...readHolders(clusterDir(name)).map((h) => h.node),
  ]);
  let num = 1;
  while (known.has(num)) num++;
  return ok(num);
}

const portPath = (name: string): string => `${authorityDir(clusterDir(name))}/enrolment.port`;

/** The process: until the last open token is used or has expired, or it is told to stop. */
export async function serveEnrolment(name: string, host: string, stop: AbortSignal): Promise<void> {
  const dir = clusterDir(name);
  const server = createServer(
    { key: readFileSync(busKeyPath(dir)), cert: readFileSync(busCertificatePath(dir)) },
    (socket) => {
      void readLine(socket).then(async (line) => {
        if (line !== undefined) socket.end(`${JSON.stringify(await take(name, line))}\n`);
      });
    },
  );
  server.on('tlsClientError', () => {});
  await new Promise<void>((done) => server.listen(0, host, done));
  const at = server.address();
  writeFileSync(`${portPath(name)}.tmp`, String(typeof at === 'object' ? at?.port : 0));
  renameSync(`${portPath(name)}.tmp`, portPath(name));
  const over = (): boolean => stop.aborted || Date.now() > openUntilMs(dir);
  while (!(await until(over, 60_000, 200)));
  rmSync(portPath(name), { force: true });
  // Whoever was let in last still gets the answer.
  await new Promise((done) => server.close(done));
}

/** Where to join: starts the process if it does not run. `entered` makes it part of the cluster's file. */
export async function startEnrolment(
  name: string,
  host: string,
  entered: (process: { name: string; pid: number; startTicks: number }) => void,
): Promise<Reply<{ port: number; pin: string }>> {
  const cluster = readClusterFile(name);
  if (!cluster.ok) return cluster;
  const runs = cluster.value.processes.find((p) => p.name === enrolmentName && isAlive(p));
  if (!runs || !existsSync(portPath(name))) {
    rmSync(portPath(name), { force: true });
    const started = startDetached(
      process.execPath,
      [program('libs/cli/src/main.ts'), 'enrolment', name, host],
      { logPath: `${clusterDir(name)}/enrolment.log` },
    );
    if (!started.process) return fail('EIO', 'the enrolment did not start');
    entered({ name: enrolmentName, ...started.process });
  }
  if (!(await until(() => existsSync(portPath(name)), 10_000)))
    return fail('EIO', `the enrolment did not start; see ${clusterDir(name)}/enrolment.log`);
  const certificate = new X509Certificate(readFileSync(busCertificatePath(clusterDir(name))));
  const port = Number(readFileSync(portPath(name), 'utf8'));
  return ok({ port, pin: certificate.fingerprint256 });
}

const enrolmentName = 'enrolment';

/** The joining machine's side. EACCES: token refused, or somebody else answers there. */
export function enrol(
  { host, port, pin, id, secret }: Invitation,
  q: Omit<EnrolRequest, 'id' | 'secret'>,
): Promise<Reply<Enrolled>> {
  return new Promise((done) => {
    // The token names the certificate itself: no authority is asked.
    const socket = connectTls({ host, port, rejectUnauthorized: false }, () => {
      if (socket.getPeerX509Certificate()?.fingerprint256 !== pin) {
        done(fail('EACCES', `${host}:${port} is not who gave this token`));
        socket.destroy();
        return;
      }
      socket.write(`${JSON.stringify({ ...q, id, secret })}\n`);
      void readLine(socket).then((line) => {
        socket.destroy();
        try {
          const said = answer.parse(JSON.parse(line ?? ''));
          done(said.ok ? ok(said.value) : fail(said.errno, said.detail));
        } catch {
          done(fail('EIO', `no answer from ${host}:${port}`));
        }
      });
    });
    socket.once('error', (error) =>
      done(
        fail(
          'EHOSTUNREACH',
          `${host}:${port}: ${error.message}; nobody is let in there now: was the token used, or has it expired?`,
        ),
      ),
    );
  });
}
