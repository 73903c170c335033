// Failpoints of a real vproc, for tests. `SSI_FAILPOINTS` is a list `point=action,...`, or `file`: then the
// list is what <nodeDir>/failpoints says at that moment, so that one cluster serves for many cases.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fail, ok, type Reply } from '@ssi/contracts';
import { type Clock, sleep } from '@ssi/ports';
import { type Failpoint, failpoints, noFailpoint } from '../failpoint.ts';

const lookMs = 5;

/** point -> `kill`, `stop` or `wait`. */
type Actions = ReadonlyMap<string, string>;

function parse(text: string): Reply<Actions, 'EINVAL'> {
  const actions = new Map<string, string>();
  for (const part of text.trim().split(',').filter(Boolean)) {
    const [name = '', action = 'kill'] = part.split('=');
    if (!failpoints.some((f) => f === name))
      return fail('EINVAL', `no point ${name}: ${failpoints.join(' ')}`);
    actions.set(name, action);
  }
  return ok(actions);
}

/**
 * `kill`: this process dies at the point as by SIGKILL; `stop`: it stands still there for ever; `wait`: until
 * the mark <nodeDir>/failpoint.<point> is removed. A point whose mark is there is passed by, so that the
 * next start does what it would after a death by chance.
 */
export function armedFailpoints(
  text: string | undefined,
  q: { readonly nodeDir: string; readonly clock: Clock },
): Reply<Failpoint, 'EINVAL'> {
  if (!text) return ok(noFailpoint);
  const file = `${q.nodeDir}/failpoints`;
  const given = parse(text === 'file' ? '' : text);
  if (!given.ok) return given;
  const actionAt = (name: string): string | undefined => {
    if (text !== 'file') return given.value.get(name);
    const now = existsSync(file) ? parse(readFileSync(file, 'utf8')) : given;
    return now.ok ? now.value.get(name) : undefined;
  };
  return ok(async (name) => {
    const action = actionAt(name);
    const mark = `${q.nodeDir}/failpoint.${name}`;
    if (!action || existsSync(mark)) return;
    writeFileSync(mark, '');
    if (action === 'kill') process.kill(process.pid, 'SIGKILL');
    while (action !== 'wait' || existsSync(mark)) await sleep(q.clock, lookMs);
  });
}
