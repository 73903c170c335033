// Every export of the process entry.
export { type Entry, enter, exitCodes } from './entry.ts';
export { environmentOf, type ServiceEnvironment, serviceEnvironment } from './environment.ts';
