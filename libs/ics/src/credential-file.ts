// The credential of a service, from where its environment says: SSI_CREDS names the file, or
// SSI_CREDS_DIR the folder with one file for each service of the node.
import { readFileSync } from 'node:fs';
import { type Credential, fail, ok, parseCredential, type Reply } from '@ssi/contracts';

/** undefined: none was given, the bus's URL says it all. EACCES: it cannot be read, or is none. */
export function credentialOf(
  env: NodeJS.ProcessEnv,
  service: string,
): Reply<Credential | undefined, 'EACCES'> {
  const { SSI_CREDS: file, SSI_CREDS_DIR: dir } = env;
  const path = file || (dir && `${dir}/${service}.json`);
  if (!path) return ok(undefined);
  try {
    const found = parseCredential(readFileSync(path, 'utf8'));
    return found ? ok(found) : fail('EACCES', `${path} is no credential of a cluster`);
  } catch (error) {
    return fail('EACCES', String(error));
  }
}
