// What a check of `ssi doctor` is and what it finds. A check that only matters for part of what ssi does is
// `optional`: it warns, and fails nothing.

export interface Finding {
  readonly check: string;
  readonly ok: boolean;
  readonly detail: string;
  /** What to do; empty where nothing is to be done. */
  readonly remedy: string;
  /** Without it the rest works: not counted as a failure. */
  readonly optional: boolean;
}

export interface Look {
  readonly ok: boolean;
  readonly detail: string;
  readonly remedy?: string;
}
export interface Check {
  readonly name: string;
  readonly optional?: boolean;
  look(): Promise<Look> | Look;
}

export const good = (detail: string): Look => ({ ok: true, detail });
export const bad = (detail: string, remedy: string): Look => ({ ok: false, detail, remedy });

/** True where `version` (1.2.3) is at least `min`. */
export function atLeast(version: string, min: string): boolean {
  const [a, b] = [version, min].map((v) => v.split('.').map((n) => Number.parseInt(n, 10) || 0));
  for (let i = 0; i < 3; i++) {
    const difference = (a?.[i] ?? 0) - (b?.[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

export const versionOf = (text: string): string => /(\d+\.\d+(\.\d+)?)/.exec(text)?.[1] ?? '';

/** A check that fails in a way nobody foresaw is a finding too. */
export async function lookAt(check: Check): Promise<Finding> {
  const optional = check.optional ?? false;
  try {
    const { ok, detail, remedy = '' } = await check.look();
    return { check: check.name, ok, detail, remedy, optional };
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return { check: check.name, ok: false, detail, remedy: 'see what the message says', optional };
  }
}
