// ssi user add|revoke|list: credentials of people, given where the cluster was started.
import { readFileSync } from 'node:fs';
import { type ClusterFile, clusterDir } from '@ssi/client';
import { fail, ok, parsePrincipal, type Reply, type Role, roles } from '@ssi/contracts';
import { type Command, InvalidArgumentError } from 'commander';
import type { Define } from '../command-table.ts';
import { hasAuthority, issueUser, revoke, starter } from '../security/authority.ts';
import { readHolders } from '../security/register.ts';
import type { Shell } from '../shell.ts';
import { localCluster } from '../up/bring-up.ts';

function nameArgument(text: string): string {
  if (/^[a-z_][a-z0-9_-]{0,31}$/.test(text) && text !== starter) return text;
  throw new InvalidArgumentError('Lower case letters, digits, - and _; a letter first.');
}

function roleArgument(text: string): Role {
  const role = roles.find((r) => r === text);
  if (!role) throw new InvalidArgumentError(`One of ${roles.join(', ')}.`);
  return role;
}

function idArgument(text: string): number {
  const id = Number(text);
  if (/^\d{1,10}$/.test(text) && id < 2 ** 32 - 1) return id;
  throw new InvalidArgumentError('A number, as id(1) shows it.');
}

/** As this machine's passwd(5) has them. */
function idsOf(name: string): { uid: number; gid: number } | undefined {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((l) => l.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  return uid && gid ? { uid: Number(uid), gid: Number(gid) } : undefined;
}

/** The cluster of this command, if it is from here that credentials are given. */
function authorityOf(command: Command, shell: Shell): Reply<ClusterFile> {
  const wanted = command.optsWithGlobals<{ cluster?: string }>().cluster;
  const cluster = localCluster(wanted ?? shell.io.env.SSI_CLUSTER);
  if (!cluster.ok || hasAuthority(clusterDir(cluster.value.name))) return cluster;
  return fail(
    'EOPNOTSUPP',
    'credentials are given where "ssi up" ran, and for a bus that it started',
  );
}

interface AddOptions {
  readonly role: Role;
  readonly uid?: number;
  readonly gid?: number;
}

async function add(cluster: ClusterFile, name: string, o: AddOptions): Promise<Reply<string>> {
  const here = idsOf(name);
  const uid = o.uid ?? here?.uid;
  if (uid === undefined)
    return fail('EINVAL', `no user ${name} on this machine: say --uid, the same on every node`);
  if (uid === 0 && o.role === 'operate')
    return fail('EINVAL', 'user 0 may signal and move everything: that is --role admin');
  const gid = o.gid ?? (here?.uid === uid ? here.gid : uid);
  const dir = clusterDir(cluster.name);
  const held = await issueUser(cluster, dir, { name, principal: { role: o.role, uid, gid } });
  return ok(`${JSON.stringify(held, null, 2)}\n`);
}

async function take(cluster: ClusterFile, name: string): Promise<Reply<string>> {
  const isTheirs = (h: { node: number; name?: string | undefined }): boolean =>
    h.node === 0 && h.name === name;
  const found = await revoke(cluster, clusterDir(cluster.name), isTheirs);
  return found.length > 0
    ? ok('')
    : fail('ENOENT', `nobody holds a credential as ${name}; ssi user list`);
}

function list(cluster: ClusterFile): string {
  const people = readHolders(clusterDir(cluster.name)).filter((h) => h.node === 0);
  return people
    .map(({ name, service }) => {
      const p = parsePrincipal(service);
      return `${name}  ${p?.role}  uid ${p?.uid}  gid ${p?.gid}\n`;
    })
    .join('');
}

export const define: Define = (command, shell) => {
  command.addHelpText(
    'after',
    `
read looks; operate also runs programs, and signals and moves its own; admin may everything. Whoever ran
"ssi up" is admin without any of this.

Examples:
  ssi user add alice --role operate > alice.json     give it to her; SSI_CREDS=alice.json ssi run -- make
  ssi user revoke alice                              at once: what she is connected with is cut off`,
  );
  const adding = command
    .command('add')
    .description('print a credential for somebody; one that the name had before ends')
    .argument('<name>', 'who, for this list only', nameArgument)
    .requiredOption('--role <role>', roles.join(', '), roleArgument)
    .option('--uid <number>', 'user that programs run as (default: of that name here)', idArgument)
    .option('--gid <number>', 'its group', idArgument);
  adding.action(
    shell.act(async (name: string, options: AddOptions) => {
      const cluster = authorityOf(adding, shell);
      const reply = cluster.ok ? await add(cluster.value, name, options) : cluster;
      if (!reply.ok) return shell.fail(adding, name, reply);
      shell.out(reply.value);
      return 0;
    }),
  );
  const taking = command
    .command('revoke')
    .description('end what somebody holds, and every connection with it')
    .argument('<name>', 'as in "ssi user list"');
  taking.action(
    shell.act(async (name: string) => {
      const cluster = authorityOf(taking, shell);
      const reply = cluster.ok ? await take(cluster.value, name) : cluster;
      if (!reply.ok) return shell.fail(taking, name, reply);
      shell.note(`user: ${name} holds nothing any more`);
      return 0;
    }),
  );
  const listing = command.command('list').description('who holds a credential');
  listing.action(
    shell.act(async () => {
      const cluster = authorityOf(listing, shell);
      if (!cluster.ok) return shell.fail(listing, undefined, cluster);
      shell.out(list(cluster.value));
      return 0;
    }),
  );
};
