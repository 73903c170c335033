// Tokens: what a client may keep in its caches, and for how long: until it is asked back. Shared by many, or
// exclusive to one; who asks for what is in the way of others waits in line while these are recalled. No time
// limit, but a shortest time to hold one, against ping-pong. Plain data; what is to be sent comes back as a
// list. Several tokens are taken in the order of their keys, so that no two clients wait for each other.
// [GFS2: glocks; Lustre: ldlm]

export type TokenMode = 'shared' | 'exclusive';

interface Holder {
  readonly mode: TokenMode;
  readonly sinceMs: number;
  /** What it was told to go down to; absent: it was not told. */
  readonly recalledTo?: 'shared' | 'nothing';
}
interface Waiter {
  readonly client: string;
  readonly mode: TokenMode;
}
interface Token {
  readonly holders: Map<string, Holder>;
  waiting: Waiter[];
}
export interface TokenTable {
  readonly tokens: Map<string, Token>;
  /** Of the last grant; each has a greater one, and who keeps data refuses a write with a lesser. */
  fence: number;
  /** ms that a client has a token before it is asked back. */
  readonly holdMs: number;
}

export type TokenEffect =
  | {
      readonly type: 'grant';
      readonly key: string;
      readonly client: string;
      readonly mode: TokenMode;
      readonly fence: number;
    }
  | {
      readonly type: 'recall';
      readonly key: string;
      readonly client: string;
      readonly to: 'shared' | 'nothing';
      readonly notBeforeMs: number;
    };

export const tokenTable = (holdMs: number): TokenTable => ({ tokens: new Map(), fence: 0, holdMs });

/** The order in which several are taken. */
export const inOrder = (keys: readonly string[]): readonly string[] => [...new Set(keys)].sort();

/** A client would have a token, or more of one that it has. Granted at once, or later by an effect of another call. */
export function request(
  table: TokenTable,
  r: { readonly key: string; readonly client: string; readonly mode: TokenMode },
  nowMs: number,
): readonly TokenEffect[] {
  let token = table.tokens.get(r.key);
  if (!token) {
    token = { holders: new Map(), waiting: [] };
    table.tokens.set(r.key, token);
  }
  if (
    token.waiting.some(
      (w) => w.client === r.client && (w.mode === r.mode || w.mode === 'exclusive'),
    )
  )
    return [];
  token.waiting = [
    ...token.waiting.filter((w) => w.client !== r.client),
    { client: r.client, mode: r.mode },
  ];
  return settle(table, r.key, token, nowMs);
}

/** A client keeps less of a token, or nothing: its caches are written back and dropped by then. */
export function release(
  table: TokenTable,
  r: { readonly key: string; readonly client: string; readonly to: 'shared' | 'nothing' },
  nowMs: number,
): readonly TokenEffect[] {
  const token = table.tokens.get(r.key);
  const holder = token?.holders.get(r.client);
  if (!token || !holder) return [];
  if (r.to === 'shared') token.holders.set(r.client, { mode: 'shared', sinceMs: holder.sinceMs });
  else token.holders.delete(r.client);
  return settle(table, r.key, token, nowMs);
}

/** A client is gone, and what it had and waited for with it. */
export function drop(table: TokenTable, client: string, nowMs: number): readonly TokenEffect[] {
  return [...table.tokens].flatMap(([key, token]) => {
    const had = token.holders.delete(client);
    const before = token.waiting.length;
    token.waiting = token.waiting.filter((w) => w.client !== client);
    return had || token.waiting.length < before ? settle(table, key, token, nowMs) : [];
  });
}

/** Those in the way of a request: all others for an exclusive one, an exclusive one for a shared. */
const inTheWay = (token: Token, w: Waiter): readonly (readonly [string, Holder])[] =>
  [...token.holders].filter(
    ([client, h]) => client !== w.client && (w.mode === 'exclusive' || h.mode === 'exclusive'),
  );

/** Grants in line what nobody is in the way of; asks those back who are in the way of the first that is not. */
function settle(table: TokenTable, key: string, token: Token, nowMs: number): TokenEffect[] {
  const effects: TokenEffect[] = [];
  for (let w = token.waiting[0]; w; w = token.waiting[0]) {
    const blocking = inTheWay(token, w);
    if (blocking.length > 0) {
      effects.push(...recall(table, key, token, w, blocking));
      break;
    }
    token.waiting = token.waiting.slice(1);
    const had = token.holders.get(w.client);
    const mode = had?.mode === 'exclusive' ? 'exclusive' : w.mode;
    token.holders.set(w.client, { mode, sinceMs: nowMs });
    effects.push({ type: 'grant', key, client: w.client, mode, fence: ++table.fence });
  }
  if (token.holders.size === 0 && token.waiting.length === 0) table.tokens.delete(key);
  return effects;
}

function recall(
  table: TokenTable,
  key: string,
  token: Token,
  w: Waiter,
  blocking: readonly (readonly [string, Holder])[],
): TokenEffect[] {
  const to = w.mode === 'exclusive' ? 'nothing' : 'shared';
  const effects: TokenEffect[] = [];
  for (const [client, holder] of blocking) {
    // Told once; again only where it has to give up more than it was told.
    if (holder.recalledTo === to || holder.recalledTo === 'nothing') continue;
    token.holders.set(client, { ...holder, recalledTo: to });
    effects.push({ type: 'recall', key, client, to, notBeforeMs: holder.sinceMs + table.holdMs });
  }
  return effects;
}
