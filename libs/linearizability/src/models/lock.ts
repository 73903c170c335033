// A lock in VMS's six modes with a fencing token and a value block, as its clients see it: who is
// granted together, that tokens only grow, that a value block comes back as it was written and is told
// to be invalid after a writer's death. Who waits for whom is no part of it: a request takes effect
// when it is granted. [VMS DLM lock modes; fs/dlm/lock.c: the matrix and the value-block table]
import type { Model } from '../model.ts';

export type LockMode = 'NL' | 'CR' | 'CW' | 'PR' | 'PW' | 'EX';

/** `owner`: one lock of one client; it holds the resource at most once at a time. */
export type LockInput = { readonly resource?: string; readonly owner: string } & (
  | { readonly op: 'lock'; readonly mode: LockMode }
  /** `value` is written where the conversion leaves PW or EX for a mode that is not higher. */
  | { readonly op: 'convert'; readonly mode: LockMode; readonly value?: string }
  /** `value` is written where PW or EX was held. */
  | { readonly op: 'unlock'; readonly value?: string }
  /** The owner ended without unlocking; PW and EX leave the value block invalid. */
  | { readonly op: 'die' }
);

/** What a grant told; what is absent is not checked. A request that was refused is a `fail` event. */
export interface LockOutput {
  readonly token?: bigint;
  readonly value?: string;
  readonly valid?: boolean;
}

interface Holder {
  readonly owner: string;
  readonly mode: LockMode;
  readonly token: bigint | undefined;
}

export interface LockState {
  readonly holders: readonly Holder[];
  /** The highest token that was told. */
  readonly token: bigint;
  readonly value: string;
  readonly valid: boolean;
}

/** Columns are the modes in the order NL CR CW PR PW EX. */
const compatible: Record<LockMode, string> = {
  ...{ NL: '111111', CR: '111110', CW: '111000' },
  ...{ PR: '110100', PW: '110000', EX: '100000' },
};
const modes = Object.keys(compatible) as LockMode[];
const together = (a: LockMode, b: LockMode) => compatible[a][modes.indexOf(b)] === '1';
const writes = (mode: LockMode) => mode === 'PW' || mode === 'EX';
const up = (from: LockMode, to: LockMode) => modes.indexOf(to) > modes.indexOf(from);

export function lock(value = ''): Model<LockState, LockInput, LockOutput> {
  return {
    init: { holders: [], token: 0n, value, valid: true },
    step(state, input, output) {
      const { owner } = input;
      const mine = state.holders.find((holder) => holder.owner === owner);
      const rest = state.holders.filter((holder) => holder !== mine);
      if (input.op === 'die') {
        const valid = state.valid && !(mine && writes(mine.mode));
        return { ...state, holders: rest, valid };
      }
      if (input.op === 'unlock') {
        if (!mine) return undefined;
        return { ...state, holders: rest, ...(writes(mine.mode) && written(input.value)) };
      }
      if (input.op === 'lock' ? mine : !mine) return undefined;
      if (!rest.every((holder) => together(holder.mode, input.mode))) return undefined;

      const down = mine && writes(mine.mode) && !up(mine.mode, input.mode);
      const wrote = down && input.op === 'convert' ? written(input.value) : undefined;
      const reads = !mine || up(mine.mode, input.mode) || mine.mode === input.mode;
      if (reads && !wrote && !agrees(state, output)) return undefined;
      const told = output?.token;
      if (told !== undefined && told <= state.token && told !== mine?.token) return undefined;
      const token = told !== undefined && told > state.token ? told : state.token;
      const holders = [...rest, { owner, mode: input.mode, token: told ?? mine?.token }];
      holders.sort((a, b) => (a.owner < b.owner ? -1 : 1));
      return { ...state, holders, token, ...wrote };
    },
    key: ({ holders, token, value, valid }) => {
      const held = holders.map((h) => `${JSON.stringify(h.owner)} ${h.mode} ${h.token ?? '-'}`);
      return `[${held.join(', ')}] token ${token} value ${JSON.stringify(value)}${valid ? '' : ' (invalid)'}`;
    },
    partition: ({ resource }) => resource ?? '',
    describe(input, output) {
      const { op, owner } = input;
      const mode = 'mode' in input ? ` ${input.mode}` : '';
      const value = 'value' in input && input.value !== undefined ? ` writing ${input.value}` : '';
      const told = Object.entries(output ?? {}).map(([name, v]) => ` ${name} ${v}`);
      return `${op} ${owner}${mode}${value}${told.length ? ' →' : ''}${told.join(',')}`;
    },
  };
}

function written(value: string | undefined): { value: string; valid: true } | undefined {
  return value === undefined ? undefined : { value, valid: true };
}

/** What is told of an invalid value block is its flag; the bytes may be any older ones. */
function agrees(state: LockState, output: LockOutput | undefined): boolean {
  if (!output) return true;
  if (output.valid !== undefined && output.valid !== state.valid) return false;
  return output.value === undefined || !state.valid || output.value === state.value;
}
