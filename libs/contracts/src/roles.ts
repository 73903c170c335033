// Who asks: a person by role and user, or a service of a node. A client's name in subjects and frames is
// its principal, role_uid_gid, which the bus lets nobody but the holder of that credential use.
import { type Caller, type Role, roles } from './contract.ts';

export interface Principal {
  readonly role: Role;
  /** As whom programs run and are signalled; admin: anybody. */
  readonly uid: number;
  readonly gid: number;
}

export const principalName = (p: Principal): string => `${p.role}_${p.uid}_${p.gid}`;

/**
 * The person a client's name stands for; undefined for the random name of one on a bus without credentials
 * (tests, embedded), where nobody is kept from anything.
 */
export function parsePrincipal(service: string): Principal | undefined {
  const m = /^([a-z]+)_(\d{1,10})_(\d{1,10})$/.exec(service);
  const role = roles.find((r) => r === m?.[1]);
  return m && role ? { role, uid: Number(m[2]), gid: Number(m[3]) } : undefined;
}

/** Whether `who` may ask a server on node `server`. */
export function mayCall(
  callers: readonly Caller[] | undefined,
  who: { readonly node: number; readonly service: string },
  server: number,
): boolean {
  if (!callers) return true;
  if (who.node === 0) {
    const role = parsePrincipal(who.service)?.role ?? 'admin';
    return callers.some((c) => includes(role, c));
  }
  const own = who.node === server;
  return callers.some((c) =>
    c.endsWith(here)
      ? own && isCalled(c.slice(0, -here.length), who.service)
      : isCalled(c, who.service),
  );
}

const here = '@node';
const isCalled = (name: string, service: string): boolean => name === service || name === 'service';

const includes = (role: Role, wanted: Caller): boolean => {
  const at = (roles as readonly Caller[]).indexOf(wanted);
  return at >= 0 && at <= roles.indexOf(role);
};

/** Whether it may act for this user: services and admins for any, a person for himself. */
export function mayActFor(
  who: { readonly node: number; readonly service: string },
  uid: number,
  gid?: number,
): boolean {
  const person = who.node === 0 ? parsePrincipal(who.service) : undefined;
  if (!person || person.role === 'admin') return true;
  return person.uid === uid && (gid === undefined || person.gid === gid);
}
