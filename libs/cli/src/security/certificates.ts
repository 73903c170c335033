// The certificates of a cluster: an authority of its own, made when the cluster is; one certificate for
// each node, which names it, and one for the bus. What they are for is in libs/ics/src/hello.ts.
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  webcrypto,
} from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { busHost, nodeHost } from '@ssi/contracts';
import { authorityDir } from './register.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
/** A cluster does not outlive its certificates by oversight: what ends one is revocation. */
const yearsValid = 20;
/** A clock that is a little behind must not make a new one invalid. */
const slackMs = 24 * 3_600_000;

const keyPath = (dir: string): string => `${authorityDir(dir)}/ca.key`;
const certificatePath = (dir: string): string => `${authorityDir(dir)}/ca.crt`;

/** A key pair as PEM. */
export function createKeys(): { key: string; publicKey: string } {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKey: pair.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

/** Loaded where a certificate is made only: most commands make none. */
async function library() {
  await import('reflect-metadata');
  return import('@peculiar/x509');
}

const span = () => ({
  notBefore: new Date(Date.now() - slackMs),
  notAfter: new Date(Date.now() + yearsValid * 365 * slackMs),
});
// A serial number is positive and at most 20 bytes. [RFC 5280 4.1.2.2]
const serialNumber = (): string => `01${randomBytes(15).toString('hex')}`;

async function imported(pem: string, usage: 'sign' | 'verify'): Promise<webcrypto.CryptoKey> {
  const [object, format] =
    usage === 'sign'
      ? ([createPrivateKey(pem), 'pkcs8'] as const)
      : ([createPublicKey(pem), 'spki'] as const);
  const der = object.export({ type: format, format: 'der' } as never) as unknown as Uint8Array;
  return webcrypto.subtle.importKey(format, der as never, algorithm, true, [usage]);
}

/** The authority: its key stays in its folder, its certificate goes to everybody. */
export async function createCa(clusterDir: string, cluster: string): Promise<void> {
  const x509 = await library();
  const made = createKeys();
  const keys = {
    privateKey: await imported(made.key, 'sign'),
    publicKey: await imported(made.publicKey, 'verify'),
  };
  const { keyCertSign, cRLSign } = x509.KeyUsageFlags;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...span(),
    serialNumber: serialNumber(),
    name: `CN=authority of ${cluster}`,
    signingAlgorithm: algorithm,
    keys: keys as never,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(keyCertSign | cRLSign, true),
    ],
  });
  writeFileSync(keyPath(clusterDir), made.key, { mode: 0o600 });
  writeFileSync(certificatePath(clusterDir), certificate.toString('pem'), { mode: 0o644 });
}

export const caCertificate = (clusterDir: string): string =>
  readFileSync(certificatePath(clusterDir), 'utf8');

/** PEM. `host` is the name that the other side insists on. */
async function certify(clusterDir: string, host: string, publicKey: string): Promise<string> {
  const x509 = await library();
  const ca = new x509.X509Certificate(caCertificate(clusterDir));
  const certificate = await x509.X509CertificateGenerator.create({
    ...span(),
    serialNumber: serialNumber(),
    subject: `CN=${host}`,
    issuer: ca.subject,
    publicKey: (await imported(publicKey, 'verify')) as never,
    signingKey: (await imported(readFileSync(keyPath(clusterDir), 'utf8'), 'sign')) as never,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: host }]),
    ],
  });
  return certificate.toString('pem');
}

export const certifyNode = (
  clusterDir: string,
  cluster: string,
  num: number,
  publicKey: string,
): Promise<string> => certify(clusterDir, nodeHost(cluster, num), publicKey);

export const certifyBus = (
  clusterDir: string,
  cluster: string,
  publicKey: string,
): Promise<string> => certify(clusterDir, busHost(cluster), publicKey);
