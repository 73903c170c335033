// Programs of Debian that a test moves: what is not on this machine is unpacked with its libraries into the
// project's own folder, never installed. Downloaded once.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../../.tools/debian', import.meta.url));

export interface DebianPrograms {
  /** Where a program is: unpacked, else this machine's own. */
  path(name: string): string;
  /** For the environment of what is started. */
  readonly libraries: string;
}

/** undefined: apt cannot get them here. */
export function debianPrograms(packages: readonly string[]): DebianPrograms | undefined {
  const root = `${folder}/${packages.join('-')}`;
  try {
    if (!existsSync(root)) unpack(packages, root);
  } catch {
    return undefined;
  }
  const found = (name: string): string =>
    ['usr/sbin', 'usr/bin'].map((bin) => `${root}/${bin}/${name}`).find(existsSync) ??
    `/usr/bin/${name}`;
  const arch = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
  const libraries = ['usr/lib', 'lib'].map((lib) => `${root}/${lib}/${arch}-linux-gnu`).join(':');
  return { path: found, libraries };
}

function unpack(packages: readonly string[], root: string): void {
  const part = `${root}.${process.pid}`;
  mkdirSync(`${part}/debs`, { recursive: true });
  try {
    const quiet = { cwd: `${part}/debs`, stdio: ['ignore', 'pipe', 'ignore'] as const };
    // What is not installed here: `Inst nginx (1.22.1 …)`; an upgrade has the old version in brackets.
    const simulated = ['install', '-s', '--no-install-recommends', ...packages];
    const printed = execFileSync('apt-get', simulated, quiet as never).toString();
    const all = [...printed.matchAll(/^Inst (\S+) \(/gm)].map((m) => m[1] ?? '');
    // apt's own user can't write here and it says so; the files come all the same.
    if (all.length > 0) execFileSync('apt-get', ['download', '-qq', ...all], quiet as never);
    for (const deb of readdirSync(`${part}/debs`))
      execFileSync('dpkg-deb', ['-x', `${part}/debs/${deb}`, part]);
    rmSync(`${part}/debs`, { recursive: true });
    renameSync(part, root);
  } finally {
    rmSync(part, { recursive: true, force: true });
  }
}
