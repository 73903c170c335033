// Names of IPC objects, and what each type takes for one. Every type has a name space of its own, as the
// kernel's have. [ftok(3), mq_overview(7), sem_overview(7), fifo(7)]
import { fail, type IpcType, ok, type Reply } from '@ssi/contracts';

/** [NAME_MAX, PATH_MAX; a semaphore's file name begins with "sem."] */
const nameMax = { mq: 255, psem: 251, fifo: 4_095 } as const;

/** How the tables know a name. */
export const nameKey = (type: IpcType, name: string): string => `${type}:${name}`;

const bytes = (text: string): number => new TextEncoder().encode(text).length;

/** ENAMETOOLONG, EACCES a slash within, ENOENT no more than a slash, EINVAL else. */
export function checkName(
  type: IpcType,
  name: string,
): Reply<undefined, 'EINVAL' | 'EACCES' | 'ENOENT' | 'ENAMETOOLONG'> {
  if (type === 'msg' || type === 'sem') {
    const key = Number(name);
    const isKey = /^-?[0-9]{1,10}$/.test(name) && String(key) === name && key === (key | 0);
    return isKey && key !== 0 ? ok() : fail('EINVAL', `"${name}" is no key of 32 bits`);
  }
  if (!name.startsWith('/') || name.includes('\0'))
    return fail('EINVAL', `a name begins with a slash, "${name}" does not`);
  if (bytes(name.slice(1)) > nameMax[type])
    return fail('ENAMETOOLONG', `a name has at most ${nameMax[type]} bytes`);
  if (name === '/') return fail('ENOENT', 'a slash alone is no name');
  if (type !== 'fifo' && name.indexOf('/', 1) > 0)
    return fail(type === 'mq' ? 'EACCES' : 'EINVAL', 'one slash only, at the beginning');
  return ok();
}
