// System V calls of the node's own programs, as infra/native/libssi-sysv.c sends them: words of a line, and a text.
// A program is a client like any other: its session lasts as long as the process, wherever that moves meanwhile.
import { fail, type IpcRequest, type IpcStat, ok, type Reply } from '@ssi/contracts';
import type { ProgramCaller } from '@ssi/ports';
import type { Agent, Caller } from './agent.ts';
import type { ProgramCall } from './ports.ts';

/** C has ids of 31 bits. [agent: epoch x 2^24 + n] */
const idsPerEpoch = 2 ** 24;
const shortIds = 2 ** 31;
/** [sys/ipc.h, sys/msg.h, sys/sem.h] */
const flag = { create: 0o1000, exclusive: 0o2000, nowait: 0o4000 } as const;
const msgFlag = { noerror: 0o10000, except: 0o20000 } as const;
const semUndo = 0x1000;

export interface ProgramsDeps {
  readonly agent: Agent;
  /** The view's transid: no object has a greater epoch. */
  readonly epochMax: () => number;
  /** The session of that process, opened if it has none; EAGAIN: not UP, or too many. */
  readonly sessionOf: (caller: ProgramCaller) => Reply<string, 'EAGAIN'>;
}

export function programCalls({ agent, epochMax, sessionOf }: ProgramsDeps): ProgramCall {
  /** The object of the last 128 epochs that has it. */
  function idOf(short: number): number {
    const epoch = Math.floor(short / idsPerEpoch);
    const spans = Math.max(0, Math.floor((epochMax() - epoch) / (shortIds / idsPerEpoch)));
    return short + spans * shortIds;
  }

  return async (caller, { words, text, signal }) => {
    const [call = '', ...rest] = words;
    const numbers = rest.map(Number);
    const session = sessionOf(caller);
    if (!session.ok) return session;
    const who: Caller = { cred: caller, signal, context: { priority: 2 } };

    if (call === 'msgget' || call === 'semget') {
      const [key = 0, second = 0, third = 0] = numbers;
      const flags = call === 'msgget' ? second : third;
      const got = await agent.get(
        {
          session: session.value,
          type: call === 'msgget' ? 'msg' : 'sem',
          ...(key !== 0 && { name: `${key}` }),
          create: key === 0 || (flags & flag.create) !== 0,
          exclusive: (flags & flag.exclusive) !== 0,
          mode: flags & 0o777,
          ...(call === 'semget' && { attributes: { nsems: second } }),
        },
        who,
      );
      return got.ok ? ok({ words: `${got.value.id % shortIds}` }) : got;
    }

    const request = requestOf(call, rest, text);
    if (!request) return fail('EINVAL', `no such call: ${words.slice(0, 3).join(' ')}`);
    const [id = 0, second = 0] = numbers;
    const waitMs = call === 'semop' && second >= 0 ? { waitMs: second } : {};
    const q = { session: session.value, id: idOf(id), request, ...waitMs };
    const done = id < 0 ? fail('EINVAL', 'no such object') : await agent.call(q, who);
    if (!done.ok) return done;
    const { stat, values, value, type, text: received } = done.value;
    if (stat) return ok({ words: statWords(stat) });
    if (received) return ok({ words: `${type ?? 0}`, text: received });
    return ok({ words: `${values?.join(' ') ?? value ?? 0}` });
  };
}

function requestOf(
  call: string,
  words: readonly string[],
  text: Uint8Array,
): IpcRequest | undefined {
  const [, second = 0, third = 0, fourth = 0] = words.map(Number);
  const nowait = (flags: number) => (flags & flag.nowait ? { nowait: true } : {});
  switch (call) {
    case 'msgsnd':
      return { op: 'msgsnd', type: second, text, ...nowait(third) };
    case 'msgrcv':
      return {
        ...{ op: 'msgrcv', size: second, type: third, ...nowait(fourth) },
        ...(fourth & msgFlag.noerror && { noerror: true }),
        ...(fourth & msgFlag.except && { except: true }),
      };
    case 'semop': {
      const ops = words.slice(2).map(Number);
      return {
        op: 'semop',
        ops: Array.from({ length: Math.floor(ops.length / 3) }, (_, i) => {
          const [num = 0, op = 0, flags = 0] = ops.slice(3 * i);
          return { num, op, ...nowait(flags), ...(flags & semUndo && { undo: true }) };
        }),
      };
    }
    case 'msgctl':
    case 'semctl':
      return controlOf(call, words);
    default:
      return undefined;
  }
}

function controlOf(call: string, words: readonly string[]): IpcRequest | undefined {
  const command = words[1] ?? '';
  const values = words.slice(2).map(Number);
  const [uid = 0, gid = 0, mode = 0, queueBytes = 0] = values;
  if (command === 'stat') return { op: 'stat' };
  if (command === 'remove') return { op: 'remove' };
  if (command === 'set')
    return { op: 'set', uid, gid, mode, ...(call === 'msgctl' && { queueBytes }) };
  if (call !== 'semctl') return undefined;
  if (command === 'GETALL') return { op: 'semctl', command };
  if (command === 'SETALL') return { op: 'semctl', command, values };
  const [num = 0, ...value] = values;
  if (command === 'SETVAL') return { op: 'semctl', command, num, values: value };
  if (command === 'GETVAL' || command === 'GETNCNT' || command === 'GETZCNT')
    return { op: 'semctl', command, num };
  return undefined;
}

const statWords = ({ perm, holds, bytes, queueBytes, nsems }: IpcStat): string =>
  [
    ...[perm.uid, perm.gid, perm.cuid, perm.cgid, perm.mode],
    ...(nsems === undefined ? [holds, bytes, queueBytes ?? 0] : [nsems]),
  ].join(' ');
