// System calls that the freeze interrupted. The kernel would restart them; criu keeps those with a time
// limit as failed with EINTR, which no signal handler asked for: `tail -f` ends with an error, a sleep is
// cut short. Here they are made again instead. [criu: compel/arch/x86, get_task_regs; restart_syscall(2)]
import {
  type Field,
  numberOf,
  parseEntries,
  parseFields,
  withEntries,
  writeFields,
} from './criu-image.ts';

/** Fields of core_entry and, for x86_64, of thread_info_x86. [core.proto, core-x86.proto] */
const core = { mtype: 1, threadInfo: 2 } as const;
const threadInfo = { gpregs: 2 } as const;
const x86_64 = 1;
/** Fields of user_x86_regs_entry. */
const reg = { r10: 8, ax: 11, dx: 13, si: 14, di: 15, origAx: 16, ip: 17, cs: 18 } as const;
/** The code segment of 64-bit programs; 32-bit ones have other numbers for their calls. */
const userCs = 0x33;
/** `syscall` is two bytes long. */
const instructionBytes = 2n;
const interrupted = BigInt.asUintN(64, -4n);

/**
 * Calls that end by a restart block, and where the remaining time was written: then that is what is left to
 * wait for. Without it the call waits its whole time again: no program may be woken early.
 */
const calls: ReadonlyMap<number, { readonly time: number; readonly left: number } | undefined> =
  new Map([
    [7, undefined], // poll
    [35, { time: reg.di, left: reg.si }], // nanosleep
    [202, undefined], // futex
    [230, { time: reg.dx, left: reg.r10 }], // clock_nanosleep
  ]);

/** core-TID.img with the call to be made again; undefined: nothing to mend. */
export function mendCall(image: Uint8Array): Uint8Array | undefined {
  const [entry] = parseEntries(image);
  if (!entry) return undefined;
  const fields = parseFields(entry);
  if (numberOf(fields, core.mtype) !== x86_64) return undefined;
  const info = fields.find((field) => field.number === core.threadInfo);
  const parts = parseFields(info?.bytes ?? new Uint8Array());
  const registers = parts.find((field) => field.number === threadInfo.gpregs);
  const mended = registers && again(parseFields(registers.bytes));
  if (!info || !mended) return undefined;
  const put = (all: readonly Field[], old: Field, bytes: Uint8Array): Uint8Array =>
    writeFields(all.map((field) => (field === old ? { ...field, bytes } : field)));
  const next = put(fields, info, put(parts, registers, writeFields(mended)));
  return withEntries(image, [next]);
}

function again(registers: readonly Field[]): Field[] | undefined {
  const get = (number: number): bigint =>
    registers.find((field) => field.number === number)?.value ?? 0n;
  const call = Number(get(reg.origAx));
  if (get(reg.ax) !== interrupted || Number(get(reg.cs)) !== userCs) return undefined;
  if (!calls.has(call)) return undefined;
  const rest = calls.get(call);
  const set = new Map<number, bigint>([
    [reg.ax, BigInt(call)],
    [reg.ip, get(reg.ip) - instructionBytes],
  ]);
  if (rest && get(rest.left) !== 0n) set.set(rest.time, get(rest.left));
  return registers.map((field) => {
    const value = set.get(field.number);
    return value === undefined ? field : { ...field, value };
  });
}
