// The life of a node in the cluster, and its role. Pure: what the world looks like comes in with the
// event, what is to be done leaves as an effect that life.ts performs. [OpenSSI CLMS: node states]
import { setup } from 'xstate';

export type LifeEvent =
  /** The applied view, as it speaks of this life. */
  | { type: 'view.COMINGUP' | 'view.UP' | 'view.SHUTDOWN' }
  /** The applied view has this life as gone. */
  | { type: 'view.out' }
  /** It does not speak of this life: another one of this number, or none. */
  | { type: 'view.other' }
  | { type: 'programs.killed' }
  | { type: 'role.stand' | 'role.master' | 'role.slave' };

export type LifeEffect =
  | { type: 'findCluster'; params: undefined }
  | { type: 'becomeReady'; params: undefined }
  | { type: 'killPrograms'; params: undefined }
  | { type: 'beginNextLife'; params: undefined }
  | { type: 'stopped'; params: undefined };

export const nodeMachine = setup({
  types: { events: {} as LifeEvent },
  actions: {
    findCluster: () => {},
    becomeReady: () => {},
    killPrograms: () => {},
    beginNextLife: () => {},
    stopped: () => {},
  },
  delays: { RETRY: 500 },
}).createMachine({
  type: 'parallel',
  states: {
    life: {
      initial: 'NEVERUP',
      states: {
        // Not in a view: looks for the cluster and asks to join until a view has this life.
        NEVERUP: {
          entry: 'findCluster',
          on: {
            'view.COMINGUP': 'COMINGUP',
            'view.UP': 'UP',
            'view.SHUTDOWN': 'SHUTDOWN',
            // It was in and is out again before this node heard of either.
            'view.out': 'GOINGDOWN',
            'view.other': {},
          },
        },
        COMINGUP: {
          entry: 'becomeReady',
          on: {
            'view.COMINGUP': {},
            'view.UP': 'UP',
            'view.SHUTDOWN': 'SHUTDOWN',
            'view.out': 'GOINGDOWN',
            'view.other': 'GOINGDOWN',
          },
        },
        UP: {
          on: {
            'view.UP': {},
            'view.SHUTDOWN': 'SHUTDOWN',
            'view.out': 'GOINGDOWN',
            'view.other': 'GOINGDOWN',
          },
        },
        SHUTDOWN: { on: { 'view.SHUTDOWN': {}, 'view.out': 'DOWN', 'view.other': 'DOWN' } },
        // Excluded: nothing of this life may run on, then the next one begins.
        GOINGDOWN: {
          entry: 'killPrograms',
          after: { RETRY: { target: 'GOINGDOWN', reenter: true } },
          on: {
            'programs.killed': { target: 'NEVERUP', actions: 'beginNextLife' },
            'view.out': {},
            'view.other': {},
          },
        },
        DOWN: { entry: 'stopped', on: { 'view.out': {}, 'view.other': {} } },
      },
    },
    role: {
      initial: 'slave',
      states: {
        slave: { on: { 'role.stand': 'candidate', 'role.master': 'master', 'role.slave': {} } },
        candidate: { on: { 'role.master': 'master', 'role.slave': 'slave', 'role.stand': {} } },
        master: { on: { 'role.slave': 'slave', 'role.master': {} } },
      },
    },
  },
});
